"""The tasks in the layer types that both versions of Orion share by name."""

from __future__ import annotations

from typing import Any

import torch

from ..contestant import Json
from ..data import Array, TaskData
from . import networks

MARGIN = 1
"""Activations are fitted to the observed range. Orion's default, twice of it, answers worse."""


def build(on: Any, data: TaskData, given: Json) -> Any:
    """An `on.Module` of the task with its weights. `given["degree"]` is that of activations."""

    class Network(on.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.count = 0
            for layer in networks.layers(data):
                setattr(self, f"layer{self.count}", _layer(on, layer, given))
                self.count += 1

        def forward(self, x: Any) -> Any:
            for number in range(self.count):
                x = getattr(self, f"layer{number}")(x)
            return x

    return Network()


def dense_hamming_weight(log_n: int) -> int:
    """As many as a uniform ternary secret has on average: the default of 192 is less secure."""
    return 2 * (1 << log_n) // 3


def _layer(on: Any, layer: networks.Layer, given: Json) -> Any:
    match layer:
        case networks.Linear(weight, bias):
            return _filled(on.Linear(weight.shape[1], weight.shape[0]), weight, bias)
        case networks.Conv(weight, bias, stride, padding):
            out, channels, k, _ = weight.shape
            conv = on.Conv2d(channels, out, k, stride=stride, padding=padding)
            return _filled(conv, weight, bias)
        case networks.Activation("square"):
            return on.Quad()
        case networks.Activation("silu"):
            return on.SiLU(degree=given["degree"])
        case networks.Pool(size):
            return on.AvgPool2d(size)
        case networks.Flatten():
            return on.Flatten()
        case _:
            raise ValueError(f"Orion is not asked for {layer}")


def _filled(module: Any, weight: Array, bias: Array) -> Any:
    with torch.no_grad():
        module.weight.copy_(torch.from_numpy(weight))
        module.bias.copy_(torch.from_numpy(bias))
    return module
