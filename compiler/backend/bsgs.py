"""Baby-step giant-step: rotations shared between the terms of a map (Halevi and Shoup)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..cost import CostModel
from .terms import Reads, Shifts, distinct


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


def choose_split(
    reads: Sequence[Reads], slots: int, level: int, low: int, cost: CostModel
) -> tuple[Split, SplitCost]:
    """The cheapest stride for what terms read at `level`, with sums of products at level `low`, in
    each of some output ciphertexts: they share babies.

    All babies, all giants, and differences of two shifts are tried.
    """
    different = _different(reads)
    ordered = [(r.sources, r.shifts, np.argsort(r.shifts)) for r, _ in different]
    sources = np.concatenate([sources[order] for sources, _, order in ordered])
    shifts = np.concatenate([shifts[order] for _, shifts, order in ordered])
    strides = _candidates(distinct(shifts), slots)[:, None]
    giants = shifts // strides
    outer = turns = np.zeros(len(strides), dtype=np.int64)
    start = 0
    for own, times in different:
        # In ascending order, as the shifts are.
        of_own = giants[:, start : start + len(own.shifts)]
        sums = 1 + np.count_nonzero(of_own[:, 1:] != of_own[:, :-1], axis=1)
        outer = outer + times * sums
        turns = turns + times * (sums - (of_own[:, 0] == 0))
        start += len(own.shifts)
    babies = shifts - giants * strides
    turned = _distinct(np.where(babies > 0, sources * slots + babies, -1))
    turned -= (babies == 0).any(axis=1)
    milliseconds = (
        turned * cost.rotate(level)
        + sum(len(r.shifts) for r in reads) * (cost.multiply_plain(level) + cost.add(level))
        + outer * (cost.rescale(level) if low < level else 0.0)
        + turns * (cost.rotate(low) + cost.add(low))
    )
    best = int(np.argmin(milliseconds))
    return (
        Split(int(strides[best, 0])),
        SplitCost(int(turned[best]), int(turns[best]), float(milliseconds[best])),
    )


def choose_splits(
    reads: Sequence[Reads], slots: int, level: int, low: int, cost: CostModel
) -> tuple[list[Split], SplitCost]:
    """Cheap strides for what the terms of each output ciphertext read: the same stride for all, or
    each the cheapest for itself."""
    common, shared = choose_split(reads, slots, level, low, cost)
    if len(reads) == 1:
        return [common], shared
    different = _different(reads)
    apart = {id(own): choose_split([own], slots, level, low, cost) for own, _ in different}
    strides = [apart[id(own)][0].stride for own, _ in different]
    babies = np.concatenate(
        [
            np.where(own.shifts % stride, own.sources * slots + own.shifts % stride, -1)
            for (own, _), stride in zip(different, strides, strict=True)
        ]
    )
    each = [apart[id(own)] for own in reads]
    turned = int(np.count_nonzero(distinct(babies) >= 0))
    saved = sum(found.babies for _, found in each) - turned
    milliseconds = sum(found.milliseconds for _, found in each) - saved * cost.rotate(level)
    if milliseconds >= shared.milliseconds:
        return [common] * len(reads), shared
    giants = sum(found.giants for _, found in each)
    return [split for split, _ in each], SplitCost(turned, giants, milliseconds)


def _different(reads: Sequence[Reads]) -> list[tuple[Reads, int]]:
    """Each object of `reads` once, and how often it is there."""
    counts = Counter(map(id, reads))
    return [(own, counts[number]) for number, own in {id(own): own for own in reads}.items()]


def _candidates(shifts: Shifts, slots: int) -> Shifts:
    """Strides worth trying; `slots` means no giant at all, 1 no baby."""
    strides = {1, slots}
    if len(shifts) > 2:
        sample = shifts[:: max(1, len(shifts) // 24)]
        differences = distinct(np.abs(sample[:, None] - shifts[None, :]))
        strides |= {int(d) for d in differences[:: max(1, len(differences) // 96)] if d}
        strides |= {1 << k for k in range(1, slots.bit_length() - 1)}
    return np.array(sorted(strides), dtype=np.int32)


def _distinct(rows: NDArray[np.int32]) -> NDArray[np.int64]:
    """How many different values each row has."""
    ordered = np.sort(rows, axis=1)
    distinct: NDArray[np.int64] = 1 + (ordered[:, 1:] != ordered[:, :-1]).sum(axis=1)
    return distinct
