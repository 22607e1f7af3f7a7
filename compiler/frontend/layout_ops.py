"""Ops that move elements: reshapes cost nothing, every other one is a selection matrix.

What a moving op does is read off ONNX's own reference evaluator: it is run on labels instead of
numbers, and the labels that come out say which element went where, and whether windows were mixed.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import prod

import numpy as np

from .builder import selection
from .call import Call, arithmetic
from .problems import MIXES_WINDOWS, Unsupported
from .value import Array, Constant, Deferred, Operand, Shape, Value, labels, locate, one_window

Results = tuple[Operand, ...]

# Which inputs hold data; the others (indices, shapes, pads) must be known.
DATA_INPUTS: dict[str, tuple[int, ...]] = {
    "Transpose": (0,),
    "Split": (0,),
    "Slice": (0,),
    "Gather": (0,),
    "GatherElements": (0,),
    "GatherND": (0,),
    "Expand": (0,),
    "Tile": (0,),
    "Pad": (0, 2),
    "DepthToSpace": (0,),
    "SpaceToDepth": (0,),
    "Trilu": (0,),
    "Where": (1, 2),
    "ReverseSequence": (0,),
    "Compress": (0,),
    "ScatterElements": (0, 2),
    "ScatterND": (0, 2),
}


def identity(call: Call) -> Results:
    operand = call.operand(0)
    if operand is None:
        raise Unsupported("has no input", "check the model with onnxruntime")
    return (operand,)


def cast(call: Call) -> Results:
    """Casts between kinds of floats; after a final ArgMax any, for the client decides its type."""
    target = call.attribute("to", 1)
    floats = {1, 10, 11, 16}
    if target not in floats and not isinstance(call.operand(0), Deferred):
        raise Unsupported(
            "rounds an encrypted value to an integer or a truth value",
            "keep floating point; round, or compare with a threshold, after decryption",
        )
    return identity(call)


def dropout(call: Call) -> Results:
    mode = call.array(2, "training mode")
    if mode is not None and bool(np.any(mode)):
        raise Unsupported(
            "was exported in training mode: it is random", "call module.eval() before the export"
        )
    return identity(call)


def flatten(call: Call) -> Results:
    def shape(x: Value) -> tuple[Shape, int | None]:
        full = x.full_shape(call.windows)
        axis = int(call.attribute("axis", 1))
        axis = axis + len(full) if axis < 0 else axis
        return (prod(full[:axis]), prod(full[axis:])), None

    return _reshaped(call, shape)


def squeeze(call: Call) -> Results:
    def shape(x: Value) -> tuple[Shape, int | None]:
        full = x.full_shape(call.windows)
        axes = call.axes(len(full))
        if axes is None:
            axes = tuple(k for k, n in enumerate(full) if n == 1)
        if any(full[a] != 1 for a in axes):
            if x.batch is not None and x.batch.axis in axes:
                raise Unsupported(*MIXES_WINDOWS)
            raise Unsupported(
                f"squeezes axis {axes} of a tensor of shape {full}", "check it with onnxruntime"
            )
        kept = [k for k in range(len(full)) if k not in axes]
        moved = x.batch is not None and x.batch.axis in kept
        prefer = kept.index(x.batch.axis) if moved and x.batch is not None else None
        return tuple(full[k] for k in kept), prefer

    return _reshaped(call, shape)


def unsqueeze(call: Call) -> Results:
    def shape(x: Value) -> tuple[Shape, int | None]:
        full = list(x.full_shape(call.windows))
        given = call.attribute("axes")
        wanted = np.asarray(call.array(1, "list of axes") if given is None else given).reshape(-1)
        rank = len(full) + len(wanted)
        axes = sorted(call.axis(int(a), rank) for a in wanted)
        olds = [k for k in range(rank) if k not in axes]
        for axis in axes:
            full.insert(axis, 1)
        return tuple(full), olds[x.batch.axis] if x.batch is not None else None

    return _reshaped(call, shape)


def reshape(call: Call) -> Results:
    target = call.array(1, "target shape")
    if target is None:
        raise Unsupported("has no target shape", "check the model with onnxruntime")
    goal = [int(n) for n in target.reshape(-1)]
    keep_zero = bool(call.attribute("allowzero", 0))
    operand = call.operand(1)
    written = call.build.symbolic and isinstance(operand, Constant) and operand.twin is None

    def shape(x: Value) -> tuple[Shape, int | None]:
        full = x.full_shape(call.windows)
        wanted = [full[k] if n == 0 and not keep_zero else n for k, n in enumerate(goal)]
        resolved = _resolve(wanted, prod(full))
        if resolved is not None and (not written or _fits(x, resolved, call.windows)):
            return resolved, None
        other = _for_other_batch(x, wanted, call.windows) if written else None
        if other is None and resolved is None:
            raise Unsupported(
                f"reshapes {full} to {tuple(goal)}, of another size",
                "export with a symbolic batch axis; write x.flatten(1) or x.reshape(len(x), -1)",
            )
        return other or resolved or (), None

    return _reshaped(call, shape)


def _resolve(wanted: list[int], size: int) -> Shape | None:
    """The target with its -1 filled in, or None where it does not fit the size."""
    known = prod(n for n in wanted if n != -1)
    if -1 not in wanted:
        return tuple(wanted) if known == size else None
    if known == 0 or size % known:
        return None
    return tuple(size // known if n == -1 else n for n in wanted)


def _fits(x: Value, full: Shape, windows: int) -> bool:
    """Whether the batch keeps an axis of its own, if it had one."""
    if x.batch is None or not x.clean:
        return True
    batch = locate(full, x.inner, windows)
    return batch is not None and full[batch.axis] == windows


def _for_other_batch(x: Value, wanted: list[int], windows: int) -> Shape | None:
    """A target written for some other number of windows (a batch size fixed in the export).

    With a -1 in it only a batch of 1 is recognised: other numbers could be meant as they stand.
    """
    size = x.size if -1 in wanted and wanted[0] == 1 else prod(wanted)
    if x.batch is None or size < 1 or size % x.size:
        return None
    resolved, there = _resolve(wanted, size), size // x.size
    batch = None if resolved is None else locate(resolved, x.inner, there)
    if resolved is None or batch is None:
        return None
    axis = batch.axis
    return (*resolved[:axis], resolved[axis] // there * windows, *resolved[axis + 1 :])


def _reshaped(call: Call, shape: Callable[[Value], tuple[Shape, int | None]]) -> Results:
    """The same elements in another shape: no node at all."""
    operand = call.operand(0)
    if isinstance(operand, Deferred):
        if operand.post == "argmax":
            return (operand,)
        inner = _same_elements(call, operand.value, shape)
        return (Deferred(inner, operand.post, _follow(operand, inner)),)
    return (_same_elements(call, call.encrypted(0), shape),)


def _same_elements(
    call: Call, x: Value, shape: Callable[[Value], tuple[Shape, int | None]]
) -> Value:
    full, prefer = shape(x)
    if x.batch is None:
        return Value(x.node, full, None)
    batch = locate(full, x.inner, call.windows, prefer)
    if batch is None and call.windows > 1:
        raise Unsupported(*MIXES_WINDOWS)
    if batch is None:
        return Value(x.node, full, None)
    axis = batch.axis
    own = (*full[:axis], full[axis] // call.windows, *full[axis + 1 :])
    return Value(x.node, own, batch)


def _follow(old: Deferred, new: Value) -> int:
    """Where the axis of a deferred softmax went."""
    if old.post == "sigmoid":
        return -1
    before, length = prod(old.value.shape[: old.axis]), old.value.shape[old.axis]
    for axis, own in enumerate(new.shape):
        if own == length and prod(new.shape[:axis]) == before:
            return axis
    raise Unsupported(
        f"splits the axis of a final {old.post}", "reshape before it, or return its result as it is"
    )


@dataclass(frozen=True, slots=True)
class _Moved:
    """One encrypted operand and, for every output, the labels that came out."""

    value: Value
    outputs: tuple[Array, ...]


def move(call: Call) -> Results:
    """Any op that only moves elements, padding included."""
    data = DATA_INPUTS.get(call.node.op_type, tuple(range(len(call.operands))))
    first = call.operand(0)
    if isinstance(first, Deferred) and call.node.op_type == "Transpose":
        return _transpose_deferred(call, first)
    if call.attribute("reduction", "none") != "none":
        raise Unsupported("adds up or multiplies what it scatters", "scatter constants only")
    inputs: list[Array | None] = []
    for k in range(len(call.operands)):
        inputs.append(None if k in data else call.array(k, _role(call, k)))
    values = {k: call.encrypted(k) for k in data if isinstance(call.operand(k), Value | Deferred)}
    constants = {k: arithmetic(o) for k in data if isinstance(o := call.operand(k), Constant)}
    full = {k: labels(v, call.windows) for k, v in values.items()}
    blank = {k: np.zeros(c.shape, dtype=np.int64) for k, c in constants.items()}
    moved = []
    for k, value in values.items():
        others = {j: np.zeros_like(a) for j, a in full.items() if j != k}
        moved.append(_Moved(value, _run(call, inputs, {**blank, **others, k: full[k]})))
    bias: tuple[Array, ...] | None = None
    if any(c.any() for c in constants.values()):
        zeros = {k: np.zeros(a.shape) for k, a in full.items()}
        bias = _run(call, inputs, {**zeros, **constants})
    return tuple(_assemble(call, moved, bias, number) for number in range(len(call.node.output)))


def _run(call: Call, inputs: list[Array | None], data: dict[int, Array]) -> tuple[Array, ...]:
    return call.evaluate(*(data.get(k, given) for k, given in enumerate(inputs)))


def _role(call: Call, index: int) -> str:
    roles = {"Gather": "indices", "GatherElements": "indices", "GatherND": "indices"}
    if call.node.op_type == "Where":
        return "condition"
    return roles.get(call.node.op_type, "arguments")


def _assemble(
    call: Call, moved: list[_Moved], bias: tuple[Array, ...] | None, number: int
) -> Value:
    arrays: list[Array] = [m.outputs[number] for m in moved]
    steps = [m.value.size if m.value.batch is not None else 0 for m in moved]
    if bias is not None:
        arrays.append(bias[number])
        steps.append(0)
    window = one_window(arrays, steps, call.windows, _prefer(call, moved))
    terms = [
        (m.value, selection(part.astype(np.int64) - 1, m.value.size))
        for m, part in zip(moved, window.parts, strict=False)
    ]
    offset = window.parts[-1] if bias is not None else None
    return call.build.affine(terms, offset, window.shape, window.batch, call.origin)


def _prefer(call: Call, moved: list[_Moved]) -> int | None:
    """Where the batch axis goes, for a batch of one, in which labels cannot tell."""
    batch = next((m.value.batch for m in moved if m.value.batch is not None), None)
    if batch is None or call.node.op_type != "Transpose":
        return None if batch is None else batch.axis
    return _permutation(call, len(moved[0].value.shape)).index(batch.axis)


def _permutation(call: Call, rank: int) -> list[int]:
    given = call.attribute("perm")
    return [int(p) for p in given] if given is not None else list(range(rank))[::-1]


def _transpose_deferred(call: Call, operand: Deferred) -> Results:
    if operand.post == "argmax":
        raise Unsupported("transposes the result of a final ArgMax", "transpose the logits instead")
    bare = Call(
        call.node, (operand.value,), call.opset, call.build, call.origin, False, call.conditions
    )
    (value,) = move(bare)
    if not isinstance(value, Value):
        raise TypeError("a transposed value is a value")
    axis = (
        -1
        if operand.post == "sigmoid"
        else _permutation(bare, len(value.shape)).index(operand.axis)
    )
    return (Deferred(value, operand.post, axis),)
