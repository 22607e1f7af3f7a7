"""Convolutions and average pools as sparse matrices, by index arithmetic."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array, eye_array, kron

from .builder import check_entries
from .call import Call
from .problems import MIXES_WINDOWS, Unsupported
from .value import Array, Batch, Operand, Shape, Value

Results = tuple[Operand, ...]
Numbers = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Sliding:
    """How a kernel slides over the spatial axes; one entry for each of them."""

    kernel: Shape
    strides: Shape
    dilations: Shape
    before: Shape
    after: Shape
    out: Shape

    @property
    def reach(self) -> Shape:
        return tuple((k - 1) * d + 1 for k, d in zip(self.kernel, self.dilations, strict=True))


def sliding(call: Call, spatial: Shape, kernel: Shape) -> Sliding:
    """Strides, paddings and output lengths from the node's attributes (ONNX: Conv, AveragePool)."""
    rank = len(spatial)
    strides = tuple(call.attribute("strides") or (1,) * rank)
    dilations = tuple(call.attribute("dilations") or (1,) * rank)
    pads = tuple(call.attribute("pads") or (0,) * (2 * rank))
    if len(kernel) != rank or len(strides) != rank or len(pads) != 2 * rank:
        raise Unsupported(
            f"slides a kernel of {len(kernel)} axes over {rank}", "check the model with onnxruntime"
        )
    reach = tuple((k - 1) * d + 1 for k, d in zip(kernel, dilations, strict=True))
    mode = call.attribute("auto_pad", "NOTSET")
    if mode == "VALID":
        pads = (0,) * (2 * rank)
    elif mode in ("SAME_UPPER", "SAME_LOWER"):
        totals = [
            max((-(-n // s) - 1) * s + r - n, 0)
            for n, s, r in zip(spatial, strides, reach, strict=True)
        ]
        less = [t // 2 for t in totals]
        more = [t - t // 2 for t in totals]
        pads = tuple(less + more if mode == "SAME_UPPER" else more + less)
    before, after = pads[:rank], pads[rank:]
    out = tuple(
        _length(call, n, b, a, r, s)
        for n, b, a, r, s in zip(spatial, before, after, reach, strides, strict=True)
    )
    if any(n < 1 for n in out):
        raise Unsupported(
            f"its kernel reaches over {reach}, more than its input {spatial} with padding",
            "use a smaller kernel or dilation, or a longer window",
        )
    return Sliding(kernel, strides, dilations, before, after, out)


def _length(call: Call, size: int, before: int, after: int, reach: int, stride: int) -> int:
    room = size + before + after - reach
    if not call.attribute("ceil_mode", 0):
        return room // stride + 1
    length = -(-room // stride) + 1
    # The last window must begin inside the input or the padding before it, as in PyTorch.
    return length - 1 if (length - 1) * stride >= size + before else length


def taps(slide: Sliding, spatial: Shape) -> tuple[Array, Array]:
    """For every output position and kernel tap: the input position, and whether it is inside.

    Both are [prod(out), prod(kernel)], flat in C order.
    """
    position = np.zeros((1, 1), dtype=np.int64)
    inside = np.ones((1, 1), dtype=bool)
    for axis, length in enumerate(spatial):
        o = np.arange(slide.out[axis])[:, None] * slide.strides[axis]
        k = np.arange(slide.kernel[axis])[None, :] * slide.dilations[axis]
        here = o + k - slide.before[axis]
        valid = (here >= 0) & (here < length)
        position = position[:, None, :, None] * length + here[None, :, None, :]
        inside = inside[:, None, :, None] & valid[None, :, None, :]
        rows, columns = position.shape[0] * position.shape[1], -1
        position = position.reshape(rows, columns)
        inside = inside.reshape(rows, columns)
    return position, inside


def conv_matrix(weight: Numbers, groups: int, spatial: Shape, slide: Sliding) -> csr_array:
    """The matrix [C_out * prod(out), C_in * prod(spatial)] of a convolution.

    weight is [C_out, C_in / groups, *kernel].
    """
    channels_out, depth = weight.shape[:2]
    position, inside = taps(slide, spatial)
    outs, area = len(position), prod(spatial)
    check_entries(channels_out * depth * inside.size)
    group = np.arange(channels_out) // (channels_out // groups)
    channel = group[:, None] * depth + np.arange(depth)
    full = (channels_out, outs, depth, position.shape[1])
    kept = np.broadcast_to(inside[None, :, None, :], full).reshape(-1)
    columns = (channel[:, None, :, None] * area + position[None, :, None, :]).reshape(-1)[kept]
    flat = weight.reshape(channels_out, 1, depth, -1)
    data = np.broadcast_to(flat, full).reshape(-1)[kept]
    counts = np.tile(inside.sum(axis=1) * depth, channels_out)
    ends = np.concatenate(([0], np.cumsum(counts))).astype(np.int32)
    size = (channels_out * outs, depth * groups * area)
    return csr_array((data, columns.astype(np.int32), ends), shape=size)


def conv(call: Call) -> Results:
    x = _channelled(call)
    weight = call.numbers(1, "kernel")
    if weight is None or weight.ndim != len(x.shape):
        raise Unsupported("has no kernel of the input's rank", "check the model with onnxruntime")
    groups, spatial = int(call.attribute("group", 1)), x.shape[2:]
    if weight.shape[1] * groups != x.shape[1] or weight.shape[0] % groups:
        raise Unsupported(
            f"its kernel {weight.shape} in {groups} groups does not fit {x.shape[1]} channels",
            "check the model with onnxruntime",
        )
    slide = sliding(call, spatial, weight.shape[2:])
    matrix = conv_matrix(weight, groups, spatial, slide)
    bias = call.numbers(2, "bias")
    return (_applied(call, x, matrix, (weight.shape[0], *slide.out), bias),)


def conv_transpose(call: Call) -> Results:
    """The transpose of the convolution that maps its output to its input."""
    x = _channelled(call)
    weight = call.numbers(1, "kernel")
    if weight is None or weight.ndim != len(x.shape):
        raise Unsupported("has no kernel of the input's rank", "check the model with onnxruntime")
    if call.attribute("output_shape") or call.attribute("auto_pad", "NOTSET") != "NOTSET":
        raise Unsupported("chooses its own padding", "give padding and output_padding as numbers")
    groups, kernel, rank = int(call.attribute("group", 1)), weight.shape[2:], len(x.shape) - 2
    strides = tuple(call.attribute("strides") or (1,) * rank)
    dilations = tuple(call.attribute("dilations") or (1,) * rank)
    pads = tuple(call.attribute("pads") or (0,) * (2 * rank))
    extra = tuple(call.attribute("output_padding") or (0,) * rank)
    out = tuple(
        s * (n - 1) + e + (k - 1) * d + 1 - b - a
        for s, n, e, k, d, b, a in zip(
            strides, x.shape[2:], extra, kernel, dilations, pads[:rank], pads[rank:], strict=True
        )
    )
    slide = Sliding(kernel, strides, dilations, pads[:rank], pads[rank:], x.shape[2:])
    # ONNX keeps the kernel as [C_in, C_out / groups, ...]: just as the forward direction has it.
    matrix = csr_array(conv_matrix(weight, groups, out, slide).T)
    bias = call.numbers(2, "bias")
    return (_applied(call, x, matrix, (weight.shape[1] * groups, *out), bias),)


def average_pool(call: Call) -> Results:
    x = _channelled(call)
    kernel, spatial = tuple(call.attribute("kernel_shape") or ()), x.shape[2:]
    slide = sliding(call, spatial, kernel)
    position, inside = taps(slide, spatial)
    weight = inside / _pool_counts(call, slide, spatial, inside)[:, None]
    ends = np.concatenate(([0], np.cumsum(inside.sum(axis=1)))).astype(np.int32)
    columns = position[inside].astype(np.int32)
    single = csr_array((weight[inside], columns, ends), shape=(len(position), prod(spatial)))
    check_entries(x.shape[0] * x.shape[1] * single.nnz)
    matrix = csr_array(kron(eye_array(x.shape[1]), single, format="csr"))
    return (_applied(call, x, matrix, (x.shape[1], *slide.out), None),)


def _pool_counts(call: Call, slide: Sliding, spatial: Shape, inside: Array) -> Numbers:
    """How many elements each output averages over; padding counts if the node says so."""
    if not call.attribute("count_include_pad", 0):
        return np.asarray(np.maximum(inside.sum(axis=1), 1), dtype=np.float64)
    # With ceil_mode a window may overhang the padding as well; that part never counts.
    padded = tuple(n + b + a for n, b, a in zip(spatial, slide.before, slide.after, strict=True))
    zero = (0,) * len(spatial)
    whole = Sliding(slide.kernel, slide.strides, slide.dilations, zero, zero, slide.out)
    return np.asarray(taps(whole, padded)[1].sum(axis=1), dtype=np.float64)


def _channelled(call: Call) -> Value:
    """The input, [batch, channels, spatial...]."""
    x = call.encrypted(0)
    if len(x.shape) < 3:
        raise Unsupported(
            f"slides over a tensor of {len(x.shape)} axes", "give it [batch, channels, length]"
        )
    if x.batch is not None and x.batch.axis != 0 and call.windows > 1:
        raise Unsupported(*MIXES_WINDOWS)
    return x


def _applied(call: Call, x: Value, matrix: csr_array, out: Shape, bias: Numbers | None) -> Value:
    """The matrix on each row of axis 0, which holds the batch and what was merged into it."""
    rows = x.shape[0]
    whole = matrix if rows == 1 else csr_array(kron(eye_array(rows), matrix, format="csr"))
    offset = None
    if bias is not None:
        offset = np.tile(np.repeat(bias, prod(out[1:])), rows)
    batch = x.batch
    if batch is not None and batch.axis != 0:
        batch = Batch(0)
    return call.build.affine([(x, whole)], offset, (rows, *out), batch, call.origin)
