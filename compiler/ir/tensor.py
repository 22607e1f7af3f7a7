"""The tensor graph: affine maps, elementwise functions and products over flat tensors.

Tensors are one window's (a batch axis of 1), flat in C order; `shape` is kept for reports. Every
linear ONNX op, from Conv to Transpose, is an `Affine` with an explicit sparse matrix, so merging
two of them is one sparse product and no op needs a rule of its own.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from eer.runtime.program import Slots

if TYPE_CHECKING:
    from .poly_plan import PolyPlan

Vector = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a node comes from: ONNX node names and op types, and the source line if recorded."""

    names: tuple[str, ...] = ()
    ops: tuple[str, ...] = ()
    source: str | None = None

    def __or__(self, other: Origin) -> Origin:
        names = tuple(dict.fromkeys((*self.names, *other.names)))
        return Origin(names, (*self.ops, *other.ops), self.source or other.source)

    def __str__(self) -> str:
        where = ", ".join(self.names) or "<unnamed>"
        return f"{where} ({self.source})" if self.source else where


@dataclass(frozen=True, slots=True)
class Input:
    """A named input of the model; `encrypted` inputs come as ciphertexts."""

    name: str


@dataclass(frozen=True, slots=True, eq=False)
class Affine:
    """y = sum_k matrices[k] @ x_k + bias; one matrix [m, n_k] for each operand, bias [m].

    Both are real, but complex where a Readout follows (see `backend/roots.py`).
    """

    matrices: tuple[csr_array, ...]
    bias: Slots


@dataclass(frozen=True, slots=True, eq=False)
class Elementwise:
    """y_e = function(x_e): a function of one real variable, not (yet) a polynomial.

    `function` maps an array [..., n] to an array of the same shape, elementwise over the last
    axis (which it may index, for parameters that differ by element). `name` is its usual name
    ("Relu", "SiLU"), for reports.
    """

    name: str
    function: Callable[[Vector], Vector]


@dataclass(frozen=True, slots=True, eq=False)
class Polynomial:
    """y_e = sum_k chebyshev[k, e] * T_k((x_e - center[e]) / radius[e]).

    chebyshev is [degree + 1, n]; center and radius are [n], radius > 0. T_k is the Chebyshev
    polynomial of the first kind, so high degrees stay well conditioned on center +- radius.
    """

    chebyshev: Vector
    center: Vector
    radius: Vector
    name: str = "Polynomial"

    @property
    def degree(self) -> int:
        return len(self.chebyshev) - 1


@dataclass(frozen=True, slots=True)
class Product:
    """Elementwise product of two operands of the same size."""


@dataclass(frozen=True, slots=True, eq=False)
class Core:
    """y_e = the core of a polynomial's evaluation plan at x_e.

    The scales and shifts around it are in the neighbouring affine maps.
    """

    plan: PolyPlan


@dataclass(frozen=True, slots=True, eq=False)
class Contraction:
    """y_o = sum over the pairs j of output o of a[left[j]] * b[right[j]], plus addends, plus bias.

    A product of two tensors (Mul, MatMul, Gemm, Einsum) without any arrangement of them: which
    elements meet is known, and where is left to the planner. `left`, `right` and `owner` (the
    output) are [pairs]. Operands are (a, b, *addends); `addends[k]` [m, n] has at most one entry
    in a row, and applies to an Input.
    """

    left: NDArray[np.int64]
    right: NDArray[np.int64]
    owner: NDArray[np.int64]
    addends: tuple[csr_array, ...]
    bias: Vector

    @property
    def sums(self) -> csr_array:
        """The matrix [outputs, pairs] that adds each output's pairs."""
        count = len(self.owner)
        return csr_array(
            (np.ones(count), (self.owner, np.arange(count))), shape=(len(self.bias), count)
        )


@dataclass(frozen=True, slots=True, eq=False)
class Readout:
    """y_o = the sum of Re(x_e + shift[e]) where real[e] = o, and of Im(x_e + shift[e]) where
    imaginary[e] = o: what the client reads, at no level.

    All three are [n]; -1 stands for a part that is not read. `size` is the number of outputs.
    """

    real: NDArray[np.int64]
    imaginary: NDArray[np.int64]
    shift: NDArray[np.complex128]
    size: int


TensorOp = Input | Affine | Elementwise | Polynomial | Product | Core | Contraction | Readout


@dataclass(frozen=True, slots=True, eq=False)
class Node:
    """One op. `operands` are numbers of earlier nodes; the node's own number is its position."""

    op: TensorOp
    operands: tuple[int, ...]
    shape: tuple[int, ...]
    origin: Origin = Origin()

    @property
    def size(self) -> int:
        return int(np.prod(self.shape, dtype=np.int64))


@dataclass(frozen=True, slots=True)
class Output:
    """A named output, and what the client computes from it after decryption.

    `state` names the input that it feeds in the next step, or is "". An error is measured against
    `span`, a typical difference between values, where that is not 0.
    """

    name: str
    node: int
    shape: tuple[int, ...]
    post: str = "none"
    axis: int = -1
    state: str = ""
    span: float = 0.0


@dataclass(frozen=True, slots=True, eq=False)
class TensorGraph:
    """Nodes in topological order. Immutable: passes return new graphs."""

    name: str
    nodes: tuple[Node, ...]
    outputs: tuple[Output, ...]

    @property
    def inputs(self) -> tuple[int, ...]:
        return tuple(i for i, n in enumerate(self.nodes) if isinstance(n.op, Input))

    def users(self, number: int) -> tuple[int, ...]:
        return tuple(i for i, n in enumerate(self.nodes) if number in n.operands)

    def pruned(self) -> TensorGraph:
        """The same graph without nodes that no output (transitively) reads; inputs stay."""
        live = {o.node for o in self.outputs} | set(self.inputs)
        for number in range(len(self.nodes) - 1, -1, -1):
            if number in live:
                live.update(self.nodes[number].operands)
        new = {old: i for i, old in enumerate(sorted(live))}
        nodes = tuple(
            replace(self.nodes[old], operands=tuple(new[o] for o in self.nodes[old].operands))
            for old in sorted(live)
        )
        outputs = tuple(replace(o, node=new[o.node]) for o in self.outputs)
        return TensorGraph(self.name, nodes, outputs)
