"""The models that are pinned, with random weights from fixed seeds and no PyTorch."""

from __future__ import annotations

from dataclasses import dataclass

from eer.compiler import Options
from tests.compiler.networks import Build, Net


@dataclass(frozen=True, slots=True)
class Pin:
    """A model and the options that it is compiled with."""

    build: Build
    options: Options


def t1(net: Net) -> str:
    """The benchmark's MLP 64-64-32-3 with squares."""
    hidden = square(net, net.linear(net.input(64), 64, 64, "first"))
    return net.linear(square(net, net.linear(hidden, 64, 32, "second")), 32, 3, "last")


def t2(net: Net) -> str:
    """The benchmark's 1-D CNN on [4, 128] with squares."""
    hidden = net.conv(net.input(4, 128), 4, 8, 7, strides=[2], pads=[3, 3])
    hidden = net.conv(square(net, hidden), 8, 16, 5, strides=[2], pads=[2, 2])
    pooled = net("Flatten", net("GlobalAveragePool", square(net, hidden)))
    return net.linear(pooled, 16, 3, "last")


def pooled_cnn(net: Net) -> str:
    """A 2-D CNN on [1, 28, 28] with squares, whose first pool folds phases."""
    hidden = square(net, net.conv(net.input(1, 28, 28), 1, 4, 5, 5, pads=[2, 2, 2, 2]))
    hidden = net("AveragePool", hidden, kernel_shape=[2, 2], strides=[2, 2])
    hidden = square(net, net.conv(hidden, 4, 8, 5, 5))
    pooled = net("Flatten", net("GlobalAveragePool", hidden))
    return net.linear(pooled, 8, 3, "last")


def silu_mlp(net: Net) -> str:
    """A smaller MLP with SiLU of degree 3."""
    hidden = net.silu(net.linear(net.input(24), 24, 32, "first"))
    return net.linear(hidden, 32, 3, "last")


def wesad_mlp(net: Net) -> str:
    """The shape of the WESAD model on features: a hidden layer, normalised before its square."""
    hidden = net.norm(net.linear(net.input(61), 61, 32, "first"), 32)
    return net.linear(square(net, hidden), 32, 2, "last")


def wesad_cnn(net: Net) -> str:
    """The shape of the WESAD model on raw windows: a strided convolution, its energy over time."""
    hidden = net.norm(net.conv(net.input(5, 240), 5, 16, 8, strides=[4], pads=[2, 2]), 16)
    pooled = net("Flatten", net("GlobalAveragePool", square(net, hidden)))
    return net.linear(pooled, 16, 2, "last")


def square(net: Net, x: str) -> str:
    return net("Mul", x, x)


def _options(**given: object) -> Options:
    # As shipped: what was measured on this machine may lead to other plans.
    usual: dict[str, object] = {"costs": "shipped", "effort": "low", "tolerance": 0.05}
    return Options(**usual | given)  # type: ignore[arg-type]


PINS: dict[str, Pin] = {
    "t1": Pin(t1, _options()),
    "t1-desilo": Pin(t1, _options(engine="desilo")),
    "t1-batch-16": Pin(t1, _options(batch=16)),
    "t2": Pin(t2, _options()),
    "t2-batch-16": Pin(t2, _options(batch=16)),
    "pooled-cnn": Pin(pooled_cnn, _options(tolerance=0.2)),
    "silu-mlp": Pin(silu_mlp, _options(max_degree=3)),
    "wesad-mlp": Pin(wesad_mlp, _options()),
    "wesad-cnn": Pin(wesad_cnn, _options()),
}

SLOW = {"t2", "t2-batch-16", "pooled-cnn", "wesad-cnn"}
"""Those that take more than some seconds."""
