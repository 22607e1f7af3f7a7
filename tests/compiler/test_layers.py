"""Each kind of layer from ONNX to decrypted values, on both CKKS libraries."""

from __future__ import annotations

import numpy as np
import pytest
from onnx import numpy_helper

from eer.compiler import Options, compile_model, verify
from tests.compiler.networks import Build, Net, make


def linear(net: Net) -> str:
    return net.linear(net.input(10), 10, 7)


def conv1d(net: Net) -> str:
    x = net.conv(net.input(2, 12), 2, 3, 3, strides=[2], pads=[1, 1])
    return net("Flatten", x)


def conv2d(net: Net) -> str:
    x = net.conv(net.input(2, 6, 5), 2, 3, 3, 2, pads=[1, 0, 1, 0], dilations=[1, 2])
    return net("Flatten", x)


def depthwise(net: Net) -> str:
    return net.conv(net.input(4, 9), 1, 4, 3, group=4)


def batch_norm(net: Net) -> str:
    return net.norm(net.input(3, 5), 3)


def average_pool(net: Net) -> str:
    x = net("AveragePool", net.input(2, 8), kernel_shape=[2], strides=[2])
    return net("Flatten", x)


def global_pool(net: Net) -> str:
    return net("Flatten", net("GlobalAveragePool", net.input(3, 4, 4)))


def residual(net: Net) -> str:
    x = net.linear(net.input(6), 6, 6)
    return net.linear(net("Add", x, net.linear(net("Mul", x, x), 6, 6)), 6, 3)


def concat(net: Net) -> str:
    x = net.input(6)
    parts = net("Concat", net.linear(x, 6, 4), net("Mul", x, x), axis=1)
    return net.linear(parts, 10, 3)


def product(net: Net) -> str:
    x = net.input(6)
    return net.linear(net("Mul", net.linear(x, 6, 5), net.linear(x, 6, 5)), 5, 3)


def silu(net: Net) -> str:
    return net.linear(net.silu(net.linear(net.input(6), 6, 5)), 5, 3)


def relu(net: Net) -> str:
    return net.linear(net("Relu", net.linear(net.input(6), 6, 5)), 5, 3)


def square(net: Net) -> str:
    x = net.linear(net.input(6), 6, 5)
    return net.linear(net("Mul", x, x), 5, 3)


def leaky_relu(net: Net) -> str:
    return net.linear(net("LeakyRelu", net.linear(net.input(6), 6, 5), alpha=0.2), 5, 3)


def prelu(net: Net) -> str:
    slopes = np.array([0.1, 0.2, 0.3, 0.4, 0.5])
    return net.linear(net("PRelu", net.linear(net.input(6), 6, 5), slopes), 5, 3)


def softmax(net: Net) -> str:
    return net("Softmax", net.linear(net.input(6), 6, 3), axis=1)


def log_softmax(net: Net) -> str:
    return net("LogSoftmax", net.linear(net.input(6), 6, 3), axis=1)


def sigmoid(net: Net) -> str:
    return net("Sigmoid", net.linear(net.input(6), 6, 1))


def argmax(net: Net) -> str:
    return net("ArgMax", net.linear(net.input(6), 6, 4), axis=1, keepdims=0)


def two_inputs(net: Net) -> str:
    a, b = net.input(4, name="heart"), net.input(2, 3, name="skin")
    return net.linear(net("Concat", a, net("Flatten", b), axis=1), 10, 3)


def two_outputs(net: Net) -> tuple[str, str]:
    x = net.linear(net.input(6), 6, 5)
    return net.linear(net("Mul", x, x), 5, 3), net.linear(x, 5, 2)


EXACT: tuple[Build, ...] = (
    linear,
    conv1d,
    conv2d,
    depthwise,
    batch_norm,
    average_pool,
    global_pool,
    residual,
    concat,
    product,
    square,
    softmax,
    log_softmax,
    sigmoid,
    argmax,
    two_inputs,
    two_outputs,
)
"""Nothing here is replaced by a polynomial, so every step must agree up to its rounding."""

FITTED: tuple[Build, ...] = (silu, relu, leaky_relu, prelu)
"""Activations between two linear layers."""

FLOAT32 = 2e-5
NOISE = {"seal": 2e-3, "desilo": 1e-5}
"""Root mean square errors of a few products, at scales of about 2^27 for SEAL at N = 2^13 and 2^40
for DESILO: in standard deviations of an output, where that is more than one."""


@pytest.mark.parametrize("engine", sorted(NOISE))
@pytest.mark.parametrize("build", EXACT, ids=lambda b: b.__name__)
def test_linear_and_polynomial_layers_are_exact_but_for_noise(build: Build, engine: str) -> None:
    model, data = make(build)
    compiled = compile_model(model, data, Options(engine=engine, effort="low"))
    # Noise falls anew on every run: enough windows for a mean that hardly moves.
    found = verify(compiled, data, windows=8)
    assert found.engine == engine
    assert found.approximation.max_error < FLOAT32
    assert found.packing is not None
    assert found.packing.max_error < 1e-9
    spread = max(float(y.std(axis=0).mean()) for y in compiled.plaintext(data).values())
    noise = NOISE[engine] * max(1.0, spread)
    assert found.noise.rms_error < noise
    assert found.noise.max_error < 3 * compiled.report["accuracy"]["noise"]["max_error"] + 1e-7
    assert found.total.rms_error < FLOAT32 + noise
    assert found.total.agreement == 1.0


@pytest.mark.parametrize("engine", sorted(NOISE))
@pytest.mark.parametrize("build", FITTED, ids=lambda b: b.__name__)
def test_activations_become_polynomials(build: Build, engine: str) -> None:
    model, data = make(build)
    options = Options(engine=engine, effort="low", max_degree=4, tolerance=0.1)
    compiled = compile_model(model, data, options)
    (fit,) = compiled.report["activations"]["fits"]
    assert 2 <= fit["degree"] <= 4
    found = verify(compiled, data, windows=2)
    last = numpy_helper.to_array(model.graph.initializer[-2]).astype(np.float64)
    assert last.shape == (5, 3)
    # The fit's own error, as the last layer's weights can sum it up at worst.
    assert 0 < found.approximation.max_error < np.abs(last).sum(axis=0).max() * fit["max_error"]
    assert found.packing is not None
    assert found.packing.max_error < 1e-9
    # Nobody asks for more precision than the polynomial has: what was simulated must be found.
    simulated = 3 * compiled.report["accuracy"]["noise"]["max_error"] + 1e-7
    assert found.noise.max_error < simulated
    assert found.total.max_error <= found.approximation.max_error + simulated
