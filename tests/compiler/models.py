"""Small PyTorch models of every kind of layer, with calibration windows."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

Windows = NDArray[np.float32]


class Residual(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.inner, self.head = nn.Linear(6, 6), nn.Linear(6, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(x + torch.square(self.inner(x)))  # type: ignore[no-any-return]


class Gate(nn.Module):
    """An elementwise product of two encrypted values, and a concatenation."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.head = nn.Linear(6, 4), nn.Linear(6, 4), nn.Linear(8, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        a, b = self.a(x), self.b(x)
        return self.head(torch.cat([a * b, a], dim=1))  # type: ignore[no-any-return]


class Square(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.square(x)


def _mlp(activation: Callable[[], nn.Module]) -> nn.Module:
    return nn.Sequential(nn.Linear(8, 6), activation(), nn.Linear(6, 3))


def _cnn1() -> nn.Module:
    pool = nn.Sequential(nn.AdaptiveAvgPool1d(1), nn.Flatten())
    conv = nn.Conv1d(2, 3, 3, stride=2, padding=1)
    return nn.Sequential(conv, nn.BatchNorm1d(3), Square(), pool, nn.Linear(3, 2))


def _deep_cnn1() -> nn.Module:
    first, second = nn.Conv1d(2, 4, 5, stride=2, padding=2), nn.Conv1d(4, 6, 3, padding=1)
    pool = nn.Sequential(nn.AdaptiveAvgPool1d(1), nn.Flatten())
    return nn.Sequential(first, Square(), second, Square(), pool, nn.Linear(6, 3))


def _cnn2() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(1, 2, 3), Square(), nn.AvgPool2d(2), nn.Flatten(), nn.Linear(18, 3)
    )


def _pooled_cnn2() -> nn.Module:
    """Its first pool folds phases."""
    first, second = nn.Conv2d(1, 4, 5, padding=2), nn.Conv2d(4, 8, 3)
    pool = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())
    middle = nn.Sequential(first, Square(), nn.AvgPool2d(2), second, Square())
    return nn.Sequential(middle, pool, nn.Linear(8, 3))


MODELS: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    "linear": (lambda: nn.Linear(8, 3), (8,)),
    "square": (lambda: _mlp(Square), (8,)),
    "silu": (lambda: _mlp(nn.SiLU), (8,)),
    "relu": (lambda: _mlp(nn.ReLU), (8,)),
    "prelu": (lambda: _mlp(lambda: nn.PReLU(6)), (8,)),
    "softmax": (lambda: nn.Sequential(_mlp(Square), nn.Softmax(dim=1)), (8,)),
    "sigmoid": (lambda: nn.Sequential(nn.Linear(8, 1), nn.Sigmoid()), (8,)),
    "conv1d": (_cnn1, (2, 12)),
    "deep conv1d": (_deep_cnn1, (2, 32)),
    "conv2d": (_cnn2, (1, 8, 8)),
    "pooled conv2d": (_pooled_cnn2, (1, 20, 20)),
    "residual": (Residual, (6,)),
    "gate": (Gate, (6,)),
}


def make(name: str) -> tuple[nn.Module, Windows]:
    """A model in evaluation mode with fixed weights, and 96 windows."""
    build, shape = MODELS[name]
    torch.manual_seed(1)
    model = build().eval()
    rng = np.random.default_rng(0)
    return model, rng.normal(size=(96, *shape)).astype(np.float32)


def original(model: nn.Module, windows: Windows) -> NDArray[np.float64]:
    with torch.no_grad():
        return np.asarray(model(torch.from_numpy(windows)).numpy(), dtype=np.float64)
