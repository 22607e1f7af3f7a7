"""Convolutions as matrices, element by element."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from hypothesis import strategies as st
from scipy.sparse import csr_array


@dataclass(frozen=True)
class Convolution:
    """Over one or two axes of `size`, padded by zeros."""

    channels: int
    size: tuple[int, ...]
    out: int
    kernel: int
    stride: int = 1
    padding: int = 0
    dilation: int = 1
    groups: int = 1
    seed: int = 0

    @property
    def space(self) -> tuple[int, ...]:
        extent = self.dilation * (self.kernel - 1) + 1
        return tuple((n + 2 * self.padding - extent) // self.stride + 1 for n in self.size)

    @property
    def shape(self) -> tuple[int, ...]:
        """Of the outputs: channels and axes."""
        return (self.out, *self.space)

    def matrix(self) -> csr_array:
        """[outputs, inputs], with random whole weights."""
        kernel = (self.kernel,) * len(self.size)
        rng = np.random.default_rng(self.seed)
        weights = rng.integers(1, 9, (self.out, self.channels // self.groups, *kernel))
        dense = np.zeros((self.out, *self.space, self.channels, *self.size))
        width, height = self.channels // self.groups, self.out // self.groups
        for group in range(self.groups):
            o = slice(group * height, (group + 1) * height)
            c = slice(group * width, (group + 1) * width)
            for position in np.ndindex(*self.space):
                for tap in np.ndindex(*kernel):
                    at = tuple(
                        p * self.stride + t * self.dilation - self.padding
                        for p, t in zip(position, tap, strict=True)
                    )
                    if all(0 <= a < n for a, n in zip(at, self.size, strict=True)):
                        dense[o, *position, c, *at] = weights[o, :, *tap]
        return csr_array(dense.reshape(self.out * int(np.prod(self.space)), -1))


@st.composite
def convolutions(draw: st.DrawFn, channels: int | None = None) -> Convolution:
    """Random ones, with an output at least; of so many input channels, if that is given."""
    groups = draw(st.sampled_from([1, 1, 2]))
    if channels is None:
        channels = groups * draw(st.integers(1, 3))
    elif channels % groups:
        groups = 1
    kernel, dilation = draw(st.integers(1, 4)), draw(st.sampled_from([1, 1, 2]))
    padding = draw(st.integers(0, 2))
    least = max(4, dilation * (kernel - 1) + 1 - 2 * padding)
    axes = draw(st.integers(1, 2))
    size = tuple(draw(st.integers(least, least + (12 if axes == 1 else 4))) for _ in range(axes))
    out = groups * draw(st.integers(1, 4))
    stride, seed = draw(st.integers(1, 3)), draw(st.integers(0, 2**32 - 1))
    return Convolution(channels, size, out, kernel, stride, padding, dilation, groups, seed)
