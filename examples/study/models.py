"""The networks: small, shallow, and made of what homomorphic encryption does well.

Depth is what costs under encryption: each Linear or Conv1d takes a level, each square one more,
and BatchNorm1d, pooling and dropout nothing, for the compiler folds or drops them. The square is
exact under encryption, so these networks lose nothing to approximation. BatchNorm before it keeps
its argument near the unit interval; its bias starts at 1, where (1 + z)^2 / 4 is close to a smooth
ReLU, which is what makes such networks train as easily as ordinary ones.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn


class Square(nn.Module):
    """x -> x^2, elementwise: one multiplication, one level."""

    def forward(self, x: Tensor) -> Tensor:
        return x * x


class FeatureMlp(nn.Module):
    """Features [w, features] -> scores [w, classes]; levels: one a layer, one a square.

    `hidden` widths (32,) make 3 levels, (64, 32) make 5, () a linear model of 1.
    """

    def __init__(
        self, features: int, classes: int, hidden: Sequence[int], dropout: tuple[float, float]
    ) -> None:
        super().__init__()
        at_input, inside = dropout
        layers: list[nn.Module] = [nn.Dropout(at_input)]
        width = features
        for size in hidden:
            layers += [nn.Linear(width, size), _norm(size), Square(), nn.Dropout(inside)]
            width = size
        self.layers = nn.Sequential(*layers, _head(width, classes, after_square=bool(hidden)))

    def forward(self, x: Tensor) -> Tensor:
        scores: Tensor = self.layers(x)
        return scores


class WindowCnn(nn.Module):
    """Raw windows [w, channels, samples] -> scores [w, classes].

    Strided convolutions with squares, then the mean over time: a square averaged over time is a
    power, so what the network learns are the energies of its filters. `hidden` (64,) is one
    convolution and makes 3 levels, (16, 32) two and 5.
    """

    def __init__(
        self, channels: int, classes: int, hidden: Sequence[int], dropout: tuple[float, float]
    ) -> None:
        super().__init__()
        at_input, inside = dropout
        # Whole channels are dropped: no answer should hang on one sensor.
        layers: list[nn.Module] = [nn.Dropout1d(at_input)]
        if len(hidden) == 1:
            layers += _convolution(channels, hidden[0], kernel=16, stride=8)
        else:
            first, second = hidden
            layers += _convolution(channels, first, kernel=8, stride=4)
            layers += [nn.AvgPool1d(2), *_convolution(first, second, kernel=3, stride=1)]
        layers += [nn.AdaptiveAvgPool1d(1), nn.Flatten(), nn.Dropout(inside)]
        self.layers = nn.Sequential(*layers, _head(hidden[-1], classes, after_square=True))

    def forward(self, x: Tensor) -> Tensor:
        scores: Tensor = self.layers(x)
        return scores


def _convolution(channels: int, filters: int, *, kernel: int, stride: int) -> list[nn.Module]:
    padding = (kernel - stride) // 2
    return [nn.Conv1d(channels, filters, kernel, stride, padding), _norm(filters), Square()]


def _norm(size: int) -> nn.BatchNorm1d:
    norm = nn.BatchNorm1d(size)
    nn.init.ones_(norm.bias)
    return norm


def _head(width: int, classes: int, *, after_square: bool) -> nn.Linear:
    head = nn.Linear(width, classes)
    if after_square:
        # A square of (1 + z) is four times a smooth ReLU: start the scores at their usual size.
        with torch.no_grad():
            head.weight /= 4
    return head
