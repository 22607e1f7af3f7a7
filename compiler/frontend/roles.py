"""Roles of a model's inputs: weights that come encrypted at run time, and inputs without a batch.

Both are kept in the ONNX file itself, as metadata, so that a file that was compiled once is read
the same way again. The trained values of weights stay in it: they are where a user's own start.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from eer.runtime.errors import DataError, UsageError

WEIGHTS_KEY, WHOLE_KEY = "eer.encrypted_weights", "eer.whole_inputs"


@dataclass(frozen=True, slots=True)
class Roles:
    """What is to be encrypted at run time.

    encrypt_weights  names of initialisers that become inputs
    whole            no input has a batch axis, unless the file leaves its length open
    """

    encrypt_weights: tuple[str, ...] = ()
    whole: bool = False


def apply_roles(proto: onnx.ModelProto, roles: Roles, where: str) -> onnx.ModelProto:
    """The model with these roles noted down in it; those that it has already stay.

    Raises UsageError for weights that it does not have.
    """
    weights = {t.name: t for t in proto.graph.initializer}
    unknown = [n for n in roles.encrypt_weights if n not in weights]
    if unknown:
        floats = [n for n, t in weights.items() if t.data_type == onnx.TensorProto.FLOAT]
        raise UsageError(
            f"no weight of the model is named {', '.join(map(repr, unknown))}",
            where=where,
            hint=f"weights here: {', '.join(floats[:20]) or 'none'}",
        )
    present = {v.name for v in proto.graph.input}
    for name in roles.encrypt_weights:
        tensor = weights[name]
        if name not in present:
            value = helper.make_tensor_value_info(name, tensor.data_type, list(tensor.dims))
            proto.graph.input.append(value)
    kept = dict.fromkeys((*noted(proto, WEIGHTS_KEY), *roles.encrypt_weights))
    _note(proto, WEIGHTS_KEY, kept)
    if roles.whole:
        _note(proto, WHOLE_KEY, ["all"])
    return proto


def noted(proto: onnx.ModelProto, key: str) -> tuple[str, ...]:
    """The names noted under a key."""
    found = next((p.value for p in proto.metadata_props if p.key == key), "")
    return tuple(n for n in found.split("\n") if n)


def _note(proto: onnx.ModelProto, key: str, names: Iterable[str]) -> None:
    value = "\n".join(names)
    kept = {p.key: p.value for p in proto.metadata_props} | ({key: value} if value else {})
    del proto.metadata_props[:]
    helper.set_model_props(proto, kept)


def trained_weights(proto: onnx.ModelProto) -> dict[str, NDArray[np.float64]]:
    """The values in the file of the weights that come encrypted at run time."""
    names = set(noted(proto, WEIGHTS_KEY))
    return {
        t.name: numpy_helper.to_array(t).astype(np.float64)
        for t in proto.graph.initializer
        if t.name in names
    }


def with_public(
    proto: onnx.ModelProto, encrypted: tuple[str, ...], data: Mapping[str, Any] | None, where: str
) -> onnx.ModelProto:
    """The model with every graph input that is not in `encrypted` made the constant that `data`
    [rows, ...] has for it.

    Raises UsageError for names of no input, DataError where an input varies over the rows.
    """
    weights = {t.name for t in proto.graph.initializer}
    inputs = {v.name: v for v in proto.graph.input if v.name not in weights}
    unknown = [n for n in encrypted if n not in inputs]
    if unknown:
        raise UsageError(
            f"no input of the model is named {', '.join(map(repr, unknown))}",
            where=where,
            hint=f"inputs here: {', '.join(inputs)}",
        )
    for name, value in inputs.items():
        if name in encrypted:
            continue
        rows = np.asarray((data or {}).get(name, ()), dtype=np.float64)
        if not len(rows) or (rows != rows[:1]).any():
            problem = "varies over the calibration rows" if len(rows) else "has no calibration data"
            raise DataError(
                f"input '{name}' is not encrypted, and {problem}",
                where=where,
                hint=f"a public input is compiled in as a constant: give it the same value in "
                f"every row, or encrypt it as well (--encrypted {','.join((*encrypted, name))})",
            )
        rank = len(value.type.tensor_type.shape.dim)
        array = rows[:1] if rank == rows.ndim else rows[0]
        kind = helper.tensor_dtype_to_np_dtype(value.type.tensor_type.elem_type)
        proto.graph.initializer.append(numpy_helper.from_array(array.astype(kind), name))
        proto.graph.input.remove(value)
    return proto
