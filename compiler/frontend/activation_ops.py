"""Functions of one real variable: the activations, as exact numpy functions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import special

from .arithmetic_ops import broadcast
from .call import Call
from .problems import Unsupported
from .value import Operand

Results = tuple[Operand, ...]
Numbers = NDArray[np.float64]
Function = Callable[[Numbers], Numbers]


def relu(x: Numbers) -> Numbers:
    return np.maximum(x, 0)


def sigmoid(x: Numbers) -> Numbers:
    return np.asarray(special.expit(x))


def softplus(x: Numbers) -> Numbers:
    return np.logaddexp(0, x)


def softsign(x: Numbers) -> Numbers:
    return np.asarray(x / (1 + np.abs(x)))


def erf(x: Numbers) -> Numbers:
    return np.asarray(special.erf(x))


def gelu(x: Numbers) -> Numbers:
    return 0.5 * x * (1 + erf(x / np.sqrt(2)))


def gelu_tanh(x: Numbers) -> Numbers:
    return np.asarray(0.5 * x * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3))))


def silu(x: Numbers) -> Numbers:
    return x * sigmoid(x)


def mish(x: Numbers) -> Numbers:
    return x * np.tanh(softplus(x))


def hard_swish(x: Numbers) -> Numbers:
    return x * np.clip(x / 6 + 0.5, 0, 1)


def exponential_linear(alpha: float, gamma: float, rate: float) -> Function:
    """gamma * x where x > 0, gamma * alpha * (exp(rate * x) - 1) elsewhere."""

    def function(x: Numbers) -> Numbers:
        below = alpha * np.expm1(rate * np.minimum(x, 0))
        return gamma * np.where(x > 0, x, below)

    return function


def leaky(slope: float) -> Function:
    return lambda x: np.where(x < 0, slope * x, x)


# What needs no attribute: ONNX op type -> (usual name, function).
PLAIN: dict[str, tuple[str, Function]] = {
    "Relu": ("Relu", relu),
    "Sigmoid": ("Sigmoid", sigmoid),
    "Tanh": ("Tanh", np.tanh),
    "Softplus": ("Softplus", softplus),
    "Softsign": ("Softsign", softsign),
    "HardSwish": ("HardSwish", hard_swish),
    "Mish": ("Mish", mish),
    "Erf": ("Erf", erf),
    "Exp": ("Exp", np.exp),
    "Abs": ("Abs", np.abs),
    "Sin": ("Sin", np.sin),
    "Cos": ("Cos", np.cos),
    "Sinh": ("Sinh", np.sinh),
    "Cosh": ("Cosh", np.cosh),
    "Atan": ("Atan", np.arctan),
    "Asinh": ("Asinh", np.arcsinh),
}


def plain(call: Call) -> Results:
    name, function = PLAIN[call.node.op_type]
    return _applied(call, name, function)


def _applied(call: Call, name: str, function: Function) -> Results:
    return (call.build.elementwise(name, function, call.encrypted(0), call.origin),)


def leaky_relu(call: Call) -> Results:
    return _applied(call, "LeakyRelu", leaky(float(call.attribute("alpha", 0.01))))


def elu(call: Call) -> Results:
    return _applied(call, "Elu", exponential_linear(float(call.attribute("alpha", 1.0)), 1, 1))


def selu(call: Call) -> Results:
    alpha = float(call.attribute("alpha", 1.6732632423543772))
    gamma = float(call.attribute("gamma", 1.0507009873554805))
    return _applied(call, "Selu", exponential_linear(alpha, gamma, 1))


def celu(call: Call) -> Results:
    alpha = float(call.attribute("alpha", 1.0))
    return _applied(call, "Celu", exponential_linear(alpha, 1, 1 / alpha))


def hard_sigmoid(call: Call) -> Results:
    slope = float(call.attribute("alpha", 0.2))
    offset = float(call.attribute("beta", 0.5))
    return _applied(call, "HardSigmoid", lambda x: np.clip(slope * x + offset, 0, 1))


def thresholded_relu(call: Call) -> Results:
    threshold = float(call.attribute("alpha", 1.0))
    return _applied(call, "ThresholdedRelu", lambda x: np.where(x > threshold, x, 0.0))


def gelu_op(call: Call) -> Results:
    approximate = call.attribute("approximate", "none") == "tanh"
    return _applied(call, "GELU", gelu_tanh if approximate else gelu)


def swish(call: Call) -> Results:
    rate = float(call.attribute("alpha", 1.0))
    name = "SiLU" if rate == 1 else "Swish"
    return _applied(call, name, lambda x: x * sigmoid(rate * x))


def p_relu(call: Call) -> Results:
    """A slope for each channel: the function looks it up along its last axis."""
    if call.numbers(1, "slope") is None:
        raise Unsupported("has no slope", "check the model with onnxruntime")
    x = call.encrypted(0)
    wide = broadcast(call, (x, call.operand(1)))
    slope = wide.numbers[1]
    if slope is None or wide.shape != x.shape:
        raise Unsupported("its slope has more elements than its input", "use one for each channel")
    if (slope == slope[:1]).all():
        return _applied(call, "PRelu", leaky(float(slope[0])))
    return _applied(call, "PRelu", lambda v: np.where(v < 0, slope * v, v))


def clip(call: Call) -> Results:
    low, high = _bound(call, 1, "min", -np.inf), _bound(call, 2, "max", np.inf)
    if np.isnan(low) or np.isnan(high):
        raise Unsupported("has a bound that is not a number", "use numbers for min and max")
    if low == -np.inf and high == np.inf:
        return (call.encrypted(0),)
    name = {(0.0, np.inf): "Relu", (0.0, 6.0): "ReLU6", (-1.0, 1.0): "HardTanh"}
    usual = name.get((low, high), f"Clip({low:g}, {high:g})")
    return _applied(call, usual, lambda x: np.minimum(np.maximum(x, low), high))


def _bound(call: Call, index: int, name: str, default: float) -> float:
    given: Any = call.attribute(name)
    if given is None:
        array = call.numbers(index, f"{name} bound")
        given = default if array is None else array.reshape(-1)[0]
    return float(given)


def shrink(call: Call) -> Results:
    bias, threshold = float(call.attribute("bias", 0.0)), float(call.attribute("lambd", 0.5))

    def function(x: Numbers) -> Numbers:
        return np.where(x < -threshold, x + bias, np.where(x > threshold, x - bias, 0.0))

    return _applied(call, "Shrink", function)
