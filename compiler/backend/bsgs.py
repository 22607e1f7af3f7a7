"""Baby-step giant-step: rotations shared between the terms of a map (Halevi and Shoup)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..cost import CostModel
from .cover import Term


@dataclass(frozen=True, slots=True)
class Split:
    """shift = giant + baby for every term, with giant a multiple of `stride` (0: no giants).

    Babies rotate the source, before the product; giants rotate sums of products, one level lower.
    """

    stride: int

    def giant(self, shift: int) -> int:
        return shift // self.stride * self.stride if self.stride else 0

    def baby(self, shift: int) -> int:
        return shift - self.giant(shift)


@dataclass(frozen=True, slots=True)
class SplitCost:
    """Distinct rotations of a split, and its cost in milliseconds."""

    babies: int
    giants: int
    milliseconds: float


def split_cost(
    split: Split, shifts: Sequence[tuple[int, int]], level: int, cost: CostModel
) -> SplitCost:
    """Cost of the terms (source, shift), read at `level`."""
    babies = {(source, split.baby(shift)) for source, shift in shifts}
    giants = {split.giant(shift) for _, shift in shifts}
    turned = sum(1 for _, b in babies if b)
    outer = sum(1 for g in giants if g)
    milliseconds = (
        turned * cost.rotate(level)
        + len(shifts) * (cost.multiply_plain(level) + cost.add(level))
        + len(giants) * cost.rescale(level)
        + outer * (cost.rotate(level - 1) + cost.add(level - 1))
    )
    return SplitCost(turned, outer, milliseconds)


def choose_split(
    terms: Sequence[Term], slots: int, level: int, cost: CostModel
) -> tuple[Split, SplitCost]:
    """The cheapest stride: all babies, all giants, and every difference of two shifts tried."""
    shifts = [(t.source, t.shift) for t in terms]
    values = np.unique([s for _, s in shifts])
    candidates = {0, 1}
    if len(values) > 2:
        sample = values[:: max(1, len(values) // 24)]
        differences = np.unique(np.abs(sample[:, None] - values[None, :]))
        candidates |= {int(d) for d in differences[:: max(1, len(differences) // 96)]}
        candidates |= {1 << k for k in range(1, slots.bit_length() - 1)}
    best: tuple[Split, SplitCost] | None = None
    for stride in sorted(candidates):
        split = Split(stride)
        found = split_cost(split, shifts, level, cost)
        if best is None or found.milliseconds < best[1].milliseconds:
            best = (split, found)
    assert best is not None
    return best
