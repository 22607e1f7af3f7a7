"""The tasks as lists of layers, for tools that want their own layer types. Needs numpy only."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ..data import Array, TaskData


@dataclass(frozen=True, slots=True, eq=False)
class Linear:
    """y = W x + b with W [outputs, inputs]."""

    weight: Array
    bias: Array


@dataclass(frozen=True, slots=True, eq=False)
class Conv:
    """A convolution over [channels, height, width] with a square kernel [out, in, k, k]."""

    weight: Array
    bias: Array
    stride: int
    padding: int


@dataclass(frozen=True, slots=True)
class Activation:
    name: str


@dataclass(frozen=True, slots=True)
class Pool:
    """Average over windows of size x size."""

    size: int


@dataclass(frozen=True, slots=True)
class Flatten:
    pass


Layer = Linear | Conv | Activation | Pool | Flatten


def layers(data: TaskData) -> Sequence[Layer]:
    """The task's network. A 1-D convolution becomes the middle row of a square kernel.

    T2's global average is multiplied into its head, as one would write it for such a tool: one
    level less.
    """
    w = data.weights
    act = Activation(data.variant)
    match data.task:
        case "T1":
            first, second, third = (
                Linear(w[f"layers.{k}.weight"], w[f"layers.{k}.bias"]) for k in (0, 2, 4)
            )
            return first, act, second, act, third
        case "T2":
            head, samples = w["head.weight"], data.inputs.shape[-1] // 4
            spread = np.repeat(head / samples, samples, axis=1)
            return (
                Conv(_square(w["conv1.weight"]), w["conv1.bias"], 2, 3),
                act,
                Conv(_square(w["conv2.weight"]), w["conv2.bias"], 2, 2),
                act,
                Flatten(),
                Linear(spread, w["head.bias"]),
            )
        case "T3":
            return (
                Conv(w["conv1.weight"], w["conv1.bias"], 1, 2),
                act,
                Pool(2),
                Conv(w["conv2.weight"], w["conv2.bias"], 1, 0),
                act,
                Pool(2),
                Flatten(),
                Linear(w["fc1.weight"], w["fc1.bias"]),
                act,
                Linear(w["fc2.weight"], w["fc2.bias"]),
                act,
                Linear(w["fc3.weight"], w["fc3.bias"]),
            )
        case "wesad" if data.variant in ("mlp", "personal"):
            first = _with_norm(w, Linear(w["layers.1.weight"], w["layers.1.bias"]), "layers.2")
            return first, Activation("square"), Linear(w["layers.5.weight"], w["layers.5.bias"])
        case _:
            raise ValueError(f"no peer knows {data.task}/{data.variant}")


def images(data: TaskData, windows: Array) -> Array:
    """Inputs as the layers take them: a signal [channels, n] is an image of height 1."""
    return windows[:, :, None, :] if data.task == "T2" else windows


def _with_norm(w: Mapping[str, Array], layer: Linear, name: str) -> Linear:
    """The layer with the BatchNorm1d behind it multiplied in."""
    scale = w[f"{name}.weight"] / np.sqrt(w[f"{name}.running_var"] + np.float32(1e-5))
    shift = w[f"{name}.bias"] - scale * w[f"{name}.running_mean"]
    return Linear(scale[:, None] * layer.weight, scale * layer.bias + shift)


def _square(kernel: Array) -> Array:
    """[out, in, k] -> [out, in, k, k], zero but for the middle row."""
    out, channels, k = kernel.shape
    square = np.zeros((out, channels, k, k), kernel.dtype)
    square[:, :, k // 2] = kernel
    return square
