"""Patterns: where an affine map's outputs shall stand, and which folds gather them there."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from ..ir.layout import NOTHING, Index


@dataclass(frozen=True, slots=True, eq=False)
class Pattern:
    """Outputs of an affine map before and after its folds.

    A fold with strides f_1, f_2, ... adds to every slot s the slots s + (subset sums of the
    strides): its window. `owner[k, t]` is the output whose partial products slot t of ciphertext
    k collects before the fold, `target[k, s]` the output that slot s holds after it.

    kind "disjoint": `window[k, t]` numbers the windows, no two of which overlap (or which are the
    same set, on a full coset of the ring); in each, every input has to be used exactly once.
    kind "sliding": windows overlap, one starting at every slot of a period; then each window has
    to see every input exactly once by itself.
    kind "summed": windows do not overlap and are not folded; the client sums each of them after
    decryption. `target` has one slot of each window, where the bias is added.
    """

    kind: Literal["disjoint", "sliding", "summed"]
    owner: Index
    window: Index
    target: Index
    strides: tuple[int, ...]
    period: int
    label: str
    family: str = ""
    """Patterns of one family are alike for what comes after them; the search keeps several."""

    @property
    def size(self) -> int:
        """Slots of a window, of the smallest where they differ."""
        if self.kind != "summed":
            return 1 << len(self.strides)
        return int(np.unique(self.window[self.window >= 0], return_counts=True)[1].min())

    def sampled(self, windows: int) -> Pattern:
        """The same pattern for some of its (disjoint) windows only, spread over the ring."""
        present = np.flatnonzero(np.bincount(self.window[self.window >= 0]))
        chosen = present[np.linspace(0, len(present) - 1, min(windows, len(present))).astype(int)]
        # The last entry is for slots outside of all windows, -1.
        kept = np.zeros(present[-1] + 2, dtype=bool)
        kept[chosen] = True
        keep = kept[self.window]
        owner, window = (np.where(keep, x, NOTHING) for x in (self.owner, self.window))
        return replace(self, owner=owner, window=window)


def coset_fold(order: Index, slots: int, folds: int) -> Pattern:
    """Fold the whole ring to period slots / 2^folds.

    `order` [period] gives the output of each slot of one period (or NOTHING). Every slot of the
    ring ends with a valid replica.
    """
    period = slots >> folds
    owner = np.tile(order, 1 << folds)[None, :]
    window = np.where(owner >= 0, np.arange(slots)[None, :] % period, NOTHING)
    strides = tuple(period << k for k in range(folds))
    label = f"period {period}, fold {1 << folds}"
    return Pattern("disjoint", owner, window, owner, strides, period, label)


def sliding_fold(order: Index, slots: int, folds: int) -> Pattern:
    """Windows of 2^folds slots, `len(order)` apart, starting at every slot.

    The period need not divide the ring: replicas are valid as far as their windows lie inside it.
    """
    period = len(order)
    at = np.arange(slots)
    owner = np.tile(order, -(-slots // period))[None, :slots]
    strides = tuple(period << k for k in range(folds))
    inside = at + sum(strides) < slots
    target = np.where(inside[None, :], owner, NOTHING)
    label = f"sliding period {period}, fold {1 << folds}"
    return Pattern("sliding", owner, owner, target, strides, period, label)


def explicit(target: Index, label: str = "aligned") -> Pattern:
    """Every slot computes its own output: no fold."""
    slots = target.shape[1]
    window = np.where(target >= 0, np.arange(slots)[None, :], NOTHING)
    return Pattern("disjoint", target, window, target, (), slots, label)


def scattered(starts: Index, stride: int, folds: int, slots: int) -> Pattern:
    """One copy of each output: output o gathers 2^folds slots from starts[o] on, `stride` apart."""
    offsets = np.arange(1 << folds) * stride
    owner = np.full((1, slots), NOTHING, dtype=np.int64)
    owner[0, (starts[:, None] + offsets) % slots] = np.arange(len(starts))[:, None]
    target = np.full((1, slots), NOTHING, dtype=np.int64)
    target[0, starts] = np.arange(len(starts))
    strides = tuple(stride << k for k in range(folds))
    return Pattern(
        "disjoint",
        owner,
        owner,
        target,
        strides,
        slots,
        f"one copy, stride {stride}, fold {1 << folds}",
    )


def summed(owner: Index) -> Pattern:
    """`owner` [slots] says which output each slot holds a part of; the client sums them."""
    outputs, first = np.unique(owner, return_index=True)
    target = np.full((1, len(owner)), NOTHING, dtype=np.int64)
    target[0, first[outputs >= 0]] = outputs[outputs >= 0]
    rows = owner[None, :]
    return Pattern("summed", rows, rows, target, (), len(owner), "summed by the client")


def windows_from(starts: Index, slots: int) -> Index:
    """Owners [slots]: o from slot starts[o] up to the next start, or the end of the ring."""
    owner = np.full(slots, NOTHING, dtype=np.int64)
    lengths = np.append(starts[1:], slots) - starts
    owner[starts[0] :] = np.repeat(np.arange(len(starts)), lengths)
    return owner
