"""What the import of one ONNX node works on: its operands, its attributes, the graph so far."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper

from ..ir.tensor import Origin
from .builder import Builder
from .evaluate import evaluate_node
from .problems import MIXES_WINDOWS, Unsupported
from .source import node_name
from .value import Array, Constant, Deferred, Operand, Value


@dataclass(frozen=True, slots=True)
class Condition:
    """What must hold once the graph is whole: a value is "positive" or "nonzero" everywhere.

    It can hold only for a function of one encrypted value, such as the 1 + exp(-x) of a sigmoid
    written by hand. "fused" says that the value, a step function, must vanish in another function.
    """

    kind: str
    value: Value
    origin: Origin


@dataclass(frozen=True)
class Call:
    """One node. `final` says that its result reaches graph outputs only, through mere reshaping."""

    node: onnx.NodeProto
    operands: tuple[Operand | None, ...]
    opset: int
    build: Builder
    origin: Origin
    final: bool
    conditions: list[Condition]

    @property
    def windows(self) -> int:
        return self.build.windows

    @property
    def name(self) -> str:
        return node_name(self.node)

    @cached_property
    def attributes(self) -> dict[str, Any]:
        return {a.name: helper.get_attribute_value(a) for a in self.node.attribute}

    def attribute(self, name: str, default: Any = None) -> Any:
        value = self.attributes.get(name, default)
        return value.decode() if isinstance(value, bytes) else value

    def operand(self, index: int) -> Operand | None:
        """The operand, or None where it is left out."""
        return self.operands[index] if index < len(self.operands) else None

    def encrypted(self, index: int) -> Value:
        operand = self.operand(index)
        if isinstance(operand, Value):
            return operand
        if isinstance(operand, Deferred):
            raise Unsupported(
                f"works on the result of a final {operand.post}, which only the client has",
                "return the logits, and compute this after decryption",
            )
        raise Unsupported(
            f"needs an encrypted tensor as input {index}", "exchange the operands of this node"
        )

    def array(self, index: int, what: str) -> Array | None:
        """A known argument (shape, axes, indices, weights), or None where it is left out."""
        operand = self.operand(index)
        if operand is None:
            return None
        if not isinstance(operand, Constant):
            raise Unsupported(
                f"its {what} depends on encrypted data",
                f"make the {what} a constant or a parameter of the module",
            )
        return operand.array

    def numbers(self, index: int, what: str) -> NDArray[np.float64] | None:
        """A known operand of an arithmetic operation; it must not depend on the batch size."""
        array = self.array(index, what)
        if array is None:
            return None
        return arithmetic(self.operands[index])

    def axes(self, rank: int, index: int = 1) -> tuple[int, ...] | None:
        """Axes given as an attribute (older opsets) or as an input, counted from the front."""
        given = self.attribute("axes")
        if given is None:
            given = self.array(index, "list of axes")
        if given is None:
            return None
        return tuple(self.axis(int(a), rank) for a in np.asarray(given).reshape(-1))

    def axis(self, axis: int, rank: int) -> int:
        if not -rank <= axis < rank:
            raise Unsupported(
                f"its axis {axis} is outside a tensor of {rank} axes",
                "check the model with onnxruntime",
            )
        return axis % rank

    def keep_batch(self, value: Value, axes: tuple[int, ...], *, strictly: bool = False) -> None:
        """Refuse to work along the batch axis (`strictly`: even where the batch is one window)."""
        if value.batch is None or value.batch.axis not in axes:
            return
        if self.windows > 1 or (strictly and value.clean):
            raise Unsupported(*MIXES_WINDOWS)

    def require(self, kind: str, value: Value) -> None:
        self.conditions.append(Condition(kind, value, self.origin))

    def evaluate(self, *arrays: Array | None) -> tuple[Array, ...]:
        return evaluate_node(self.node, self.opset, arrays)


def arithmetic(operand: Operand | None) -> NDArray[np.float64]:
    """A constant's numbers. Raises where they depend on how many windows there are."""
    if not isinstance(operand, Constant):
        raise TypeError("not a constant")
    array, twin = operand.array, operand.twin
    if twin is not None and not _same_in_each_window(array, twin):
        raise Unsupported(
            "computes with the number of windows in the batch",
            "use a constant, or average over the other axes only",
        )
    if array.dtype.kind not in "fiub" and not str(array.dtype).startswith(("bfloat", "float8")):
        raise Unsupported(f"has a constant of type {array.dtype}", "use floating-point numbers")
    return np.asarray(array, dtype=np.float64)


def _same_in_each_window(array: Array, twin: Array) -> bool:
    """Whether two arrays made for different numbers of windows agree in the first window."""
    if array.ndim != twin.ndim:
        return False
    for axis, (here, there) in enumerate(zip(array.shape, twin.shape, strict=True)):
        if here != there:
            array, twin = array.take([0], axis), twin.take([0], axis)
    return np.array_equal(array, twin)
