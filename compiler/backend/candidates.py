"""Patterns worth trying for the outputs of an affine map."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import permutations

import numpy as np

from ..ir.layout import NOTHING, Index, Layout
from .pattern import Pattern, coset_fold, explicit, scattered, sliding_fold

SKEWS = (0, 1, 2, 3, 4, 8, 16, 32)
"""Slots by which a sliding period exceeds the tensor: replicas then see shifted neighbours."""


def orders(shape: tuple[int, ...]) -> list[Index]:
    """Ways to flatten a tensor: each order of its (at most three) axes longer than one."""
    axes = [d for d in shape if d > 1]
    flat = np.arange(int(np.prod(shape, dtype=np.int64)))
    if not 2 <= len(axes) <= 3:
        return [flat]
    cube = flat.reshape(axes)
    turns = [tuple(range(len(axes))), *_rotations(len(axes))]
    return [cube.transpose(turn).reshape(-1) for turn in turns]


def _rotations(rank: int) -> list[tuple[int, ...]]:
    return [p for p in permutations(range(rank)) if p in {(1, 0), (1, 2, 0), (2, 0, 1)}]


def replicated(order: Index, slots: int) -> Iterator[Pattern]:
    """Patterns that leave many replicas: coset folds and sliding folds of every length."""
    size = len(order)
    folds = 0
    while slots >> folds >= size:
        period = slots >> folds
        copies = period // _power_of_two(size)
        padded = np.full(_power_of_two(size), NOTHING, dtype=np.int64)
        padded[:size] = order
        yield coset_fold(np.tile(padded, copies), slots, folds)
        for skew in SKEWS:
            width = size + skew
            if width << folds > slots + width or (width & (width - 1)) == 0:
                continue
            padded = np.full(width, NOTHING, dtype=np.int64)
            padded[:size] = order
            pattern = sliding_fold(padded, slots, folds)
            if Layout(pattern.target).holds(size):
                yield pattern
        folds += 1


def single_copies(size: int, layouts: list[Index], slots: int) -> Iterator[Pattern]:
    """Patterns for outputs that only the client reads: one copy each, in windows that fit.

    The starts are placed so that each window sees every element of the (only) operand, where it
    has one ciphertext and such starts exist; else evenly.
    """
    if size > slots:
        return
    present = layouts[0][layouts[0] >= 0] if layouts else np.arange(1)
    elements = len(np.unique(present))
    longest = (slots // size).bit_length() - 1
    for folds in range(longest + 1):
        length = 1 << folds
        even = np.arange(size) * (slots // size)
        yield scattered(even, 1, folds, slots)
        if len(layouts) != 1 or length < elements or length > 2 * elements:
            continue
        starts = _complete_starts(layouts[0], length, elements)
        chosen = _disjoint(starts, length, size, slots)
        if chosen is not None:
            yield scattered(chosen, 1, folds, slots)


def _complete_starts(layout: Index, length: int, elements: int) -> Index:
    """Starts s for which slots s..s+length-1 hold every element."""
    slots = len(layout)
    seen = np.sort(layout[(np.arange(slots)[:, None] + np.arange(length)) % slots], axis=1)
    distinct = (seen[:, 1:] != seen[:, :-1]).sum(axis=1) + 1 - (seen[:, 0] < 0)
    return np.flatnonzero(distinct == elements)


def _disjoint(starts: Index, length: int, count: int, slots: int) -> Index | None:
    """The first `count` starts at least `length` apart and inside the ring, or None."""
    chosen: list[int] = []
    for start in starts[starts + length <= slots]:
        if not chosen or start >= chosen[-1] + length:
            chosen.append(int(start))
        if len(chosen) == count:
            return np.array(chosen)
    return None


def split_over_ciphers(order: Index, slots: int) -> Pattern:
    """Consecutive elements over as many ciphertexts as they need, no fold."""
    ciphers = -(-len(order) // slots)
    target = np.full(ciphers * slots, NOTHING, dtype=np.int64)
    target[: len(order)] = order
    return explicit(target.reshape(ciphers, slots), f"{ciphers} ciphertexts")


def _power_of_two(n: int) -> int:
    return 1 << (n - 1).bit_length()
