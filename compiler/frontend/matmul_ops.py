"""Contractions: MatMul, Gemm and Einsum, of an encrypted tensor with a known or encrypted one."""

from __future__ import annotations

from collections.abc import Mapping
from math import prod

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from ..ir.tensor import Affine
from .arithmetic_ops import broadcast
from .builder import check_entries, selection, summing
from .call import Call, arithmetic
from .problems import MIXES_WINDOWS, Unsupported
from .value import Array, Batch, Constant, Operand, Shape, Value

Results = tuple[Operand, ...]
Numbers = NDArray[np.float64]


def matmul(call: Call) -> Results:
    """NumPy's matmul: the last two axes are matrices, the others are broadcast."""
    x, y = call.operand(0), call.operand(1)
    m, n = _rank(call, 0), _rank(call, 1)
    if m < 1 or n < 1:
        raise Unsupported("multiplies a scalar", "use * instead of @")
    lead = [f"b{k}" for k in range(max(m, n) - 2)]
    left = [*lead[len(lead) - (m - 2) :], "i", "k"] if m > 1 else ["k"]
    right = [*lead[len(lead) - (n - 2) :], "k", "j"] if n > 1 else ["k"]
    out = lead + (["i"] if m > 1 else []) + (["j"] if n > 1 else [])
    return (contract(call, x, left, y, right, out),)


def gemm(call: Call) -> Results:
    """alpha * A' @ B' + beta * C."""
    left = ["k", "i"] if call.attribute("transA", 0) else ["i", "k"]
    right = ["j", "k"] if call.attribute("transB", 0) else ["k", "j"]
    alpha, beta = float(call.attribute("alpha", 1.0)), float(call.attribute("beta", 1.0))
    product = contract(call, call.operand(0), left, call.operand(1), right, ["i", "j"], alpha)
    bias = call.operand(2)
    if bias is None or beta == 0:
        return (product,)
    wide = broadcast(call, (product, bias))
    terms = [
        (v[0], selection(v[1], v[0].size, scale))
        for v, scale in zip(wide.values, (1.0, beta), strict=True)
        if v is not None
    ]
    offset = None if wide.numbers[1] is None else beta * wide.numbers[1]
    return (_absorb(call, product, terms, offset, wide.shape, wide.batch),)


def _absorb(
    call: Call,
    product: Value,
    terms: list[tuple[Value, csr_array]],
    offset: Numbers | None,
    shape: Shape,
    batch: Batch | None,
) -> Value:
    """Add a known bias to the affine node just made, instead of appending another."""
    last = call.build.nodes[-1]
    own = product.node == len(call.build.nodes) - 1 and last.origin is call.origin
    if own and offset is not None and isinstance(last.op, Affine) and product.shape == shape:
        call.build.nodes.pop()
        pairs = zip(last.operands, last.op.matrices, strict=True)
        terms = [(Value(node, (m.shape[1],), None), m) for node, m in pairs]
        offset = offset + last.op.bias
    return call.build.affine(terms, offset, shape, batch, call.origin)


def einsum(call: Call) -> Results:
    equation = str(call.attribute("equation", "")).replace(" ", "")
    inputs, arrow, out = equation.partition("->")
    operands = inputs.split(",")
    letters = "".join(operands)
    if not arrow:
        out = "".join(sorted(c for c in set(letters) if letters.count(c) == 1))
    if "." in equation or len(operands) != 2 or any(len(set(o)) != len(o) for o in operands):
        raise Unsupported(
            f"is an einsum of the form {equation!r}",
            "write it with two operands and without ellipses, or as matmul and transpose",
        )
    left, right = (list(o) for o in operands)
    return (contract(call, call.operand(0), left, call.operand(1), right, list(out)),)


def contract(
    call: Call,
    x: Operand | None,
    x_axes: list[str],
    y: Operand | None,
    y_axes: list[str],
    out: list[str],
    factor: float = 1.0,
) -> Value:
    """The sum over all axes that are not in `out` of x * y, axes being matched by name.

    An axis of length 1 broadcasts. One operand may be a constant.
    """
    if isinstance(x, Constant):
        x, x_axes, y, y_axes = y, y_axes, x, x_axes
    left = x if isinstance(x, Value) else call.encrypted(0)
    named = None if left.batch is None else x_axes[left.batch.axis]
    known = (
        _window_of(call, arithmetic(y), y_axes, left, named) if isinstance(y, Constant) else None
    )
    right = None if known is not None else _encrypted(call, y)
    other = known.shape if known is not None else right.shape if right is not None else ()
    lengths = _lengths(x_axes, left.shape, y_axes, other)
    _check_batch(call, left, x_axes, out)
    batch, owner, names = left.batch, left, x_axes
    if right is not None and right.batch is not None:
        _check_batch(call, right, y_axes, out)
        if batch is not None and y_axes[right.batch.axis] != named and call.windows > 1:
            raise Unsupported(*MIXES_WINDOWS)
        if batch is None:
            batch, owner, names = right.batch, right, y_axes
    shape = tuple(lengths[a] for a in out)
    place = _place(owner, batch, names, out, lengths)
    order = out + [a for a in lengths if a not in out]
    depth = prod(lengths[a] for a in order[len(out) :])
    check_entries(prod(shape) * depth)
    columns = _spread(np.arange(left.size).reshape(left.shape), x_axes, order, lengths)
    if known is not None:
        weights = factor * _spread(known, y_axes, order, lengths)
        ends = np.arange(prod(shape) + 1, dtype=np.int32) * depth
        matrix = csr_array(
            (weights, columns.astype(np.int32), ends), shape=(prod(shape), left.size)
        )
        return call.build.affine([(left, matrix)], None, shape, place, call.origin)
    if right is None:
        raise TypeError("an operand is a value or a constant")
    others = _spread(np.arange(right.size).reshape(right.shape), y_axes, order, lengths)
    pairs = (prod(shape) * depth,)
    first, second = (
        call.build.affine([(v, selection(index, v.size))], None, pairs, None, call.origin)
        for v, index in ((left, columns), (right, others))
    )
    product = call.build.product(first, second, call.origin)
    target = np.repeat(np.arange(prod(shape)), depth)
    matrix = summing(target, prod(shape), factor)
    return call.build.affine([(product, matrix)], None, shape, place, call.origin)


def _rank(call: Call, index: int) -> int:
    operand = call.operand(index)
    if isinstance(operand, Constant):
        return operand.array.ndim
    return len(call.encrypted(index).shape)


def _encrypted(call: Call, operand: Operand | None) -> Value:
    return operand if isinstance(operand, Value) else call.encrypted(1)


def _lengths(x_axes: list[str], x: Shape, y_axes: list[str], y: Shape) -> dict[str, int]:
    lengths: dict[str, int] = {}
    if len(x_axes) != len(x) or len(y_axes) != len(y):
        raise Unsupported(
            f"its operands have the shapes {x} and {y}", "check the model with onnxruntime"
        )
    for axis, length in (*zip(x_axes, x, strict=True), *zip(y_axes, y, strict=True)):
        known = lengths.get(axis, 1)
        if 1 not in (known, length) and known != length:
            raise Unsupported(
                f"its operands of shapes {x} and {y} (without the batch) do not fit together",
                "check the model with onnxruntime; keep the windows apart, on axis 0",
            )
        lengths[axis] = max(known, length)
    return lengths


def _check_batch(call: Call, value: Value, axes: list[str], out: list[str]) -> None:
    if value.batch is not None and axes[value.batch.axis] not in out:
        call.keep_batch(value, (value.batch.axis,))


def _place(
    owner: Value, batch: Batch | None, names: list[str], out: list[str], lengths: Mapping[str, int]
) -> Batch | None:
    """The batch axis of the result."""
    if batch is None or names[batch.axis] not in out:
        return None
    name = names[batch.axis]
    if lengths[name] != owner.shape[batch.axis]:
        raise Unsupported(*MIXES_WINDOWS)
    return Batch(out.index(name), batch.outer)


def _window_of(
    call: Call, array: Numbers, axes: list[str], value: Value, name: str | None
) -> Numbers:
    """A constant cut to one window along the value's batch axis; it must not differ by window."""
    if name is None or value.batch is None or name not in axes or len(axes) != array.ndim:
        return array
    axis = axes.index(name)
    length, own = array.shape[axis], value.shape[value.batch.axis]
    if length != own * call.windows or call.windows == 1:
        return array
    outer = value.batch.outer
    cut = (*array.shape[:axis], outer, call.windows, own // outer, *array.shape[axis + 1 :])
    cube = array.reshape(cut)
    first = cube.take([0], axis + 1)
    if not np.array_equal(np.broadcast_to(first, cut), cube):
        raise Unsupported(*MIXES_WINDOWS)
    return first.reshape(*array.shape[:axis], own, *array.shape[axis + 1 :])


def _spread(array: Array, axes: list[str], order: list[str], lengths: Mapping[str, int]) -> Array:
    """The array over all axes in the given order, flat."""
    present = [a for a in order if a in axes]
    turned = array.transpose([axes.index(a) for a in present])
    shape = [array.shape[axes.index(a)] if a in axes else 1 for a in order]
    wide = np.broadcast_to(turned.reshape(shape), [lengths[a] for a in order])
    return wide.reshape(-1)
