"""Strands: every other position of a convolution, or fewer, as channels of their own."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from scipy.sparse import csr_array, vstack

from ..ir.layout import NOTHING, Index


@dataclass(frozen=True, slots=True, eq=False)
class Strands:
    """A map to outputs of another `shape` (channels, axes): those of one strand after those of
    another. `matrix` has zeros where there is no such output, and `outputs` [rows] NOTHING,
    elsewhere the number that the output had.

    `channels` are those of one strand, of which there are `each` along every axis.
    """

    each: int
    shape: tuple[int, ...]
    matrix: csr_array
    outputs: Index
    channels: int


def strandings(shape: tuple[int, ...], matrix: csr_array) -> Iterator[Strands]:
    """The map in one strand, in two, four, and so on."""
    each = 1
    while (strands := in_strands(shape, matrix, each)) is not None:
        yield strands
        each *= 2


def in_strands(shape: tuple[int, ...], matrix: csr_array, each: int) -> Strands | None:
    """The map to outputs of `shape` (channels, axes) with `each` strands along every axis, or None
    where its positions are too few."""
    channels, space = shape[0], [d for d in shape[1:] if d > 1]
    grid = [-(-d // each) for d in space]
    if not space or channels * np.prod(space) != matrix.shape[0] or min(grid) < 2:
        return None
    padded = np.full((channels, *(d * each for d in grid)), NOTHING, dtype=np.int64)
    inside = (slice(None), *(slice(d) for d in space))
    padded[inside] = np.arange(matrix.shape[0]).reshape(channels, *space)
    split = padded.reshape(channels, *(n for d in grid for n in (d, each)))
    axes = range(len(grid))
    turned = split.transpose(*(2 + 2 * a for a in axes), 0, *(1 + 2 * a for a in axes))
    outputs = turned.reshape(-1)
    rows = matrix
    if (outputs < 0).any():
        rows = csr_array(vstack([matrix, csr_array((1, matrix.shape[1]))]))
    count = each ** len(grid) * channels
    return Strands(each, (count, *grid), csr_array(rows[outputs]), outputs, channels)
