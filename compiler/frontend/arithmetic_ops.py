"""Sums, products and quotients with broadcasting, and normalisation by known statistics."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.polynomial import chebyshev
from numpy.typing import NDArray

from .builder import selection
from .call import Call, arithmetic
from .layout_ops import move
from .problems import Unsupported
from .value import Array, Batch, Constant, Deferred, Operand, Shape, Value, labels, one_window

Results = tuple[Operand, ...]
Numbers = NDArray[np.float64]

MAX_POWER = 16


@dataclass(frozen=True, slots=True, eq=False)
class Broadcast:
    """Operands brought to one shape: for values which element stands where, else the numbers."""

    shape: Shape
    batch: Batch | None
    values: tuple[tuple[Value, Array] | None, ...]
    numbers: tuple[Numbers | None, ...]


def broadcast(call: Call, operands: Sequence[Operand | None]) -> Broadcast:
    """NumPy's broadcasting, for one window."""
    full: list[Array] = []
    for position, operand in enumerate(operands):
        if isinstance(operand, Constant):
            full.append(arithmetic(operand))
        elif isinstance(operand, Value):
            full.append(labels(operand, call.windows))
        else:
            call.encrypted(position)
    try:
        shape = np.broadcast_shapes(*(a.shape for a in full))
    except ValueError as error:
        raise Unsupported(
            f"its operands of shapes {[a.shape for a in full]} do not fit together",
            "check the model with onnxruntime; export with a symbolic batch axis",
        ) from error
    steps = [o.size if isinstance(o, Value) and o.batch else 0 for o in operands]
    prefer = next(
        (
            o.batch.axis + len(shape) - len(o.shape)
            for o in operands
            if isinstance(o, Value) and o.batch is not None
        ),
        None,
    )
    window = one_window([np.broadcast_to(a, shape) for a in full], steps, call.windows, prefer)
    values: list[tuple[Value, Array] | None] = []
    numbers: list[Numbers | None] = []
    for operand, part in zip(operands, window.parts, strict=True):
        value = isinstance(operand, Value)
        values.append((operand, part.astype(np.int64) - 1) if isinstance(operand, Value) else None)
        numbers.append(None if value else np.asarray(part, dtype=np.float64))
    return Broadcast(window.shape, window.batch, tuple(values), tuple(numbers))


def linear(call: Call, operands: Sequence[Operand | None], signs: Sequence[float]) -> Value:
    """sum of signs[k] * operands[k]."""
    wide = broadcast(call, operands)
    terms, bias = [], np.zeros(int(np.prod(wide.shape)))
    for value, numbers, sign in zip(wide.values, wide.numbers, signs, strict=True):
        if value is not None:
            terms.append((value[0], selection(value[1], value[0].size, sign)))
        elif numbers is not None:
            bias = bias + sign * numbers
    return call.build.affine(terms, bias, wide.shape, wide.batch, call.origin)


def add(call: Call) -> Results:
    return (linear(call, call.operands, [1.0] * len(call.operands)),)


def subtract(call: Call) -> Results:
    return (linear(call, call.operands, (1.0, -1.0)),)


def negate(call: Call) -> Results:
    return (linear(call, call.operands, (-1.0,)),)


def mean(call: Call) -> Results:
    count = len(call.operands)
    return (linear(call, call.operands, [1 / count] * count),)


def multiply(call: Call) -> Results:
    return (times(call, call.operand(0), call.operand(1)),)


def times(call: Call, x: Operand | None, y: Operand | None) -> Value:
    """x * y, of which one at least is encrypted."""
    if isinstance(y, Constant):
        x, y = y, x
    wide = broadcast(call, (x, y))
    first, second, scale = wide.values[0], wide.values[1], wide.numbers[0]
    if second is None:
        raise TypeError("a product of constants is folded")
    if scale is not None:
        value, index = second
        matrix = selection(index, value.size, scale)
        return call.build.affine([(value, matrix)], None, wide.shape, wide.batch, call.origin)
    if first is None:
        raise TypeError("an operand is a value or a constant")
    left, right = (
        call.build.affine(
            [(v, selection(index, v.size))], None, wide.shape, wide.batch, call.origin
        )
        for v, index in (first, second)
    )
    return call.build.product(left, right, call.origin)


def divide(call: Call) -> Results:
    x, y = call.operand(0), call.operand(1)
    if isinstance(y, Constant):
        with np.errstate(divide="ignore"):
            inverse = 1.0 / arithmetic(y)
        return (times(call, x, Constant(inverse)),)
    return (times(call, x, reciprocal_of(call, call.encrypted(1))),)


def reciprocal_of(call: Call, x: Value) -> Value:
    """1 / x; calibration sees to it that x keeps away from zero."""
    return call.build.elementwise("Reciprocal", _reciprocal, x, call.origin)


def _reciprocal(x: Numbers) -> Numbers:
    with np.errstate(divide="ignore"):
        return 1.0 / x


def reciprocal(call: Call) -> Results:
    return (reciprocal_of(call, call.encrypted(0)),)


def power(call: Call) -> Results:
    if isinstance(call.operand(0), Constant):
        return _exponential(call)
    if not isinstance(call.operand(1), Constant):
        raise Unsupported(
            "has an encrypted exponent", "use a constant exponent, or exp(x * constant)"
        )
    x, exponents = call.encrypted(0), arithmetic(call.operand(1))
    exponent = float(exponents.reshape(-1)[0]) if exponents.size else 1.0
    if exponents.size < 1 or (exponents != exponent).any():
        raise Unsupported("has an exponent for each element", "use one exponent for all of them")
    if exponents.ndim > len(x.shape):
        raise Unsupported("gains axes from its exponent", "use a scalar exponent")
    if exponent == 1:
        return (x,)
    if exponent == int(exponent) and 2 <= exponent <= MAX_POWER:
        return (raised(call, x, int(exponent)),)
    if exponent == 0 or exponent != exponent:
        raise Unsupported(f"raises to the power of {exponent}", "remove this node")
    call.require("positive" if exponent != int(exponent) else "nonzero", x)

    def function(v: Numbers) -> Numbers:
        with np.errstate(all="ignore"):
            return np.asarray(np.power(v, exponent))

    return (call.build.elementwise(f"Pow({exponent:g})", function, x, call.origin),)


def raised(call: Call, x: Value, exponent: int) -> Value:
    """x ** exponent, exactly, as a Chebyshev series on [-1, 1]."""
    monomial = np.zeros(exponent + 1)
    monomial[exponent] = 1.0
    series = np.asarray(chebyshev.poly2cheb(monomial), dtype=np.float64)
    return call.build.polynomial(series, x, f"x^{exponent}", call.origin)


def _exponential(call: Call) -> Results:
    """base ** x for a known base."""
    base, x = arithmetic(call.operand(0)), call.encrypted(1)
    if base.size != 1 or not base.reshape(-1)[0] > 0 or base.ndim > len(x.shape):
        raise Unsupported("has a base that is not one positive number", "use exp(x * constant)")
    rate = float(np.log(base.reshape(-1)[0]))
    return (call.build.elementwise("Exp", lambda v: np.exp(rate * v), x, call.origin),)


def square_root(call: Call) -> Results:
    x = call.encrypted(0)
    call.require("positive", x)
    return (call.build.elementwise("Sqrt", _sqrt, x, call.origin),)


def logarithm(call: Call) -> Results:
    x = call.encrypted(0)
    call.require("positive", x)
    return (call.build.elementwise("Log", _log, x, call.origin),)


def _sqrt(x: Numbers) -> Numbers:
    with np.errstate(invalid="ignore"):
        return np.sqrt(x)


def _log(x: Numbers) -> Numbers:
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.log(x)


def where(call: Call) -> Results:
    """A known mask selects; an encrypted one must come from comparing with a constant."""
    condition = call.operand(0)
    if isinstance(condition, Constant):
        return move(call)
    mask = call.encrypted(0)
    difference: Operand
    yes, no = call.operand(1), call.operand(2)
    if isinstance(yes, Constant) and isinstance(no, Constant):
        difference = Constant(arithmetic(yes) - arithmetic(no))
    else:
        difference = linear(call, (yes, no), (1.0, -1.0))
    return (linear(call, (no, times(call, mask, difference)), (1.0, 1.0)),)


def extreme(call: Call) -> Results:
    """Max or Min with constants, a function of one value; of two encrypted values there is none."""
    larger = call.node.op_type == "Max"
    values = [o for o in call.operands if isinstance(o, Value | Deferred)]
    if len(values) > 1:
        raise Unsupported(
            "compares encrypted values with each other", "use their sum or their mean instead"
        )
    wide = broadcast(call, call.operands)
    known = [n for n in wide.numbers if n is not None]
    bound = np.maximum.reduce(known) if larger else np.minimum.reduce(known)
    value, index = next(v for v in wide.values if v is not None)
    matrix = selection(index, value.size)
    x = call.build.affine([(value, matrix)], None, wide.shape, wide.batch, call.origin)
    limit = float(bound[0]) if bound.size and (bound == bound[0]).all() else bound
    pick = np.maximum if larger else np.minimum
    name = "Relu" if larger and isinstance(limit, float) and limit == 0 else call.node.op_type
    return (call.build.elementwise(name, lambda v: np.asarray(pick(v, limit)), x, call.origin),)


def compare(call: Call) -> Results:
    """A step function; only as part of a piecewise function, such as where(x > 0, x, 0.1 * x)."""
    if not any(isinstance(o, Constant) for o in call.operands):
        raise Unsupported(
            "compares encrypted values with each other", "return both, and compare after decryption"
        )
    gap = linear(call, call.operands, (1.0, -1.0))
    test = {
        "Greater": np.greater,
        "GreaterOrEqual": np.greater_equal,
        "Less": np.less,
        "LessOrEqual": np.less_equal,
    }[call.node.op_type]
    step = call.build.elementwise(
        "Step", lambda v: np.asarray(test(v, 0), dtype=np.float64), gap, call.origin
    )
    call.require("fused", step)
    return (step,)


def batch_normalization(call: Call) -> Results:
    """(x - mean) / sqrt(var + eps) * scale + bias over axis 1, with the trained statistics."""
    if call.attribute("training_mode", 0):
        raise Unsupported(
            "was exported in training mode: it would normalise by the batch",
            "call module.eval() before the export",
        )
    x = call.encrypted(0)
    if len(x.shape) < 2:
        raise Unsupported("needs a channel axis", "give it a tensor of [batch, channels, ...]")
    call.keep_batch(x, (1,))
    scale, bias, center, variance = (
        n if n is not None else np.zeros(1)
        for n in (call.numbers(k, "statistics") for k in range(1, 5))
    )
    with np.errstate(invalid="ignore", divide="ignore"):
        factor = scale / np.sqrt(variance + float(call.attribute("epsilon", 1e-5)))
    per_channel = (-1,) + (1,) * (len(x.shape) - 2)
    index = np.arange(x.size)
    spread = np.broadcast_to(factor.reshape(per_channel), x.shape).reshape(-1)
    offset = np.broadcast_to((bias - center * factor).reshape(per_channel), x.shape).reshape(-1)
    matrix = selection(index, x.size, spread)
    return (call.build.affine([(x, matrix)], offset, x.shape, x.batch, call.origin),)
