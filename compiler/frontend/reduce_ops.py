"""Sums and means over axes, and the global and cumulative kinds of them."""

from __future__ import annotations

from math import prod

import numpy as np
from scipy.sparse import csr_array, eye_array, kron

from .arithmetic_ops import raised
from .builder import summing
from .call import Call
from .problems import Unsupported
from .value import Array, Batch, Operand, Shape, Value

Results = tuple[Operand, ...]


def reduce_sum(call: Call) -> Results:
    return (_over_given_axes(call, call.encrypted(0), average=False),)


def reduce_mean(call: Call) -> Results:
    return (_over_given_axes(call, call.encrypted(0), average=True),)


def reduce_sum_square(call: Call) -> Results:
    return (_over_given_axes(call, raised(call, call.encrypted(0), 2), average=False),)


def reduce_l1(call: Call) -> Results:
    x = call.build.elementwise("Abs", np.abs, call.encrypted(0), call.origin)
    return (_over_given_axes(call, x, average=False),)


def global_average_pool(call: Call) -> Results:
    x = call.encrypted(0)
    return (reduced(call, x, tuple(range(2, len(x.shape))), average=True, keep=True),)


def _over_given_axes(call: Call, x: Value, *, average: bool) -> Value:
    axes = call.axes(len(x.shape))
    if not axes:
        if call.attribute("noop_with_empty_axes", 0):
            return x
        axes = tuple(range(len(x.shape)))
    return reduced(call, x, axes, average=average, keep=bool(call.attribute("keepdims", 1)))


def reduced(call: Call, x: Value, axes: tuple[int, ...], *, average: bool, keep: bool) -> Value:
    """The sum or the mean of x over the axes."""
    call.keep_batch(x, axes, strictly=True)
    kept = tuple(1 if k in axes else n for k, n in enumerate(x.shape))
    size = prod(kept)
    target = np.broadcast_to(np.arange(size).reshape(kept), x.shape).reshape(-1)
    count = prod(x.shape[a] for a in axes)
    matrix = summing(target, size, 1 / count if average else 1.0)
    shape, batch = kept, x.batch
    if not keep:
        shape, batch = _dropped(kept, axes, x.batch)
    return call.build.affine([(x, matrix)], None, shape, batch, call.origin)


def _dropped(
    shape: Shape, axes: tuple[int, ...], batch: Batch | None
) -> tuple[Shape, Batch | None]:
    left = [k for k in range(len(shape)) if k not in axes]
    own = tuple(shape[k] for k in left)
    if batch is None or batch.axis not in left:
        return own, None
    return own, Batch(left.index(batch.axis), batch.outer)


def along_axis(call: Call, x: Value, axis: int, weights: Array) -> Value:
    """y[..., j, ...] = sum_i weights[j, i] * x[..., i, ...] along one axis."""
    call.keep_batch(x, (axis,))
    before, after = prod(x.shape[:axis]), prod(x.shape[axis + 1 :])
    inner = kron(csr_array(np.asarray(weights, dtype=np.float64)), eye_array(after))
    matrix = csr_array(kron(eye_array(before), inner))
    shape = (*x.shape[:axis], len(weights), *x.shape[axis + 1 :])
    return call.build.affine([(x, matrix)], None, shape, x.batch, call.origin)


def cumulative_sum(call: Call) -> Results:
    x, given = call.encrypted(0), call.array(1, "axis")
    if given is None:
        raise Unsupported("has no axis", "check the model with onnxruntime")
    axis = call.axis(int(np.asarray(given).reshape(-1)[0]), len(x.shape))
    length = x.shape[axis]
    weights = np.tril(np.ones((length, length)), -1 if call.attribute("exclusive", 0) else 0)
    return (along_axis(call, x, axis, weights.T if call.attribute("reverse", 0) else weights),)
