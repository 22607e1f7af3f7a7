"""Patterns worth trying for the outputs of an affine map."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
from scipy.sparse import csr_array

from ..ir.layout import NOTHING, Index, Layout
from .pattern import Pattern, coset_fold, explicit, scattered, sliding_fold, summed

SKEWS = (0, 1, 2, 3, 4, 8, 16, 32)
"""Slots by which a sliding period exceeds the tensor: replicas then see shifted neighbours."""


MAX_STEPS = 3
"""Distances between output channels to try for one input layout."""


def orders(shape: tuple[int, ...]) -> list[Index]:
    """Ways to flatten a tensor: each turn of its (at most three) axes longer than one.

    Where the first axis (channels) comes last it is also padded to a power of two, so that
    positions stand a power of two apart. Padding is NOTHING.
    """
    axes = [d for d in shape if d > 1]
    flat = np.arange(int(np.prod(shape, dtype=np.int64)))
    if not 2 <= len(axes) <= 3:
        return [flat]
    cube = flat.reshape(axes)
    last = np.moveaxis(cube, 0, -1)
    found = [flat, last.reshape(-1)]
    spare = _power_of_two(axes[0]) - axes[0]
    if spare:
        widths = [(0, 0)] * (last.ndim - 1) + [(0, spare)]
        found.append(np.pad(last, widths, constant_values=NOTHING).reshape(-1))
    return found


def replicated(order: Index, slots: int, family: str) -> Iterator[Pattern]:
    """Patterns that leave many replicas: coset folds and sliding folds of every length."""
    size = len(order)
    elements = int(order.max()) + 1
    folds = 0
    while slots >> folds >= size:
        period = slots >> folds
        copies = period // _power_of_two(size)
        padded = np.full(_power_of_two(size), NOTHING, dtype=np.int64)
        padded[:size] = order
        coset = coset_fold(np.tile(padded, copies), slots, folds)
        yield replace(coset, family=f"coset {family}")
        for skew in SKEWS:
            width = size + skew
            # Without a second replica a skew changes nothing.
            if width << folds > slots - width or (width & (width - 1)) == 0:
                continue
            padded = np.full(width, NOTHING, dtype=np.int64)
            padded[:size] = order
            pattern = sliding_fold(padded, slots, folds)
            if Layout(pattern.target).holds(elements):
                yield replace(pattern, family=f"sliding {family}")
        folds += 1


def pitched(shape: tuple[int, ...], layout: Layout, matrix: csr_array) -> Iterator[Pattern]:
    """Outputs placed where their inputs are: the channels of one position from its first input on.

    For maps of the same form at every position (convolutions), such a place keeps the shifts the
    same at every position, whatever pitch and gaps the inputs lie in. `shape` is (channels, axes).
    """
    axes = [d for d in shape if d > 1]
    if not 2 <= len(axes) <= 3 or int(np.prod(axes)) != matrix.shape[0]:
        return
    channels, space = axes[0], tuple(axes[1:])
    anchor = _anchors(space, layout, matrix)
    if anchor is None:
        return
    slots = layout.slots
    found = 0
    for step in _channel_steps(layout, matrix, slots):
        places = (anchor[None, :] + step * np.arange(channels)[:, None]) % slots
        if found == MAX_STEPS or len(np.unique(places)) < places.size:
            continue
        found += 1
        target = np.full((1, slots), NOTHING, dtype=np.int64)
        target[0, places.reshape(-1)] = np.arange(places.size)
        pattern = explicit(target, f"pitched, channels {step} apart")
        yield replace(pattern, family="pitched")


def _channel_steps(layout: Layout, matrix: csr_array, slots: int) -> list[int]:
    """Distances to try between output channels: those between inputs of one output, then any."""
    _, place = layout.first(matrix.shape[1])
    longest = int(np.argmax(np.diff(matrix.indptr)))
    row = np.sort(place[matrix.indices[matrix.indptr[longest] : matrix.indptr[longest + 1]]])
    steps, counts = np.unique((row[None, :] - row[:, None]) % slots, return_counts=True)
    often = [int(s) for s in steps[np.argsort(-counts, kind="stable")] if s][:64]
    return list(dict.fromkeys([1, *often, *range(2, 64)]))


def _anchors(space: tuple[int, ...], layout: Layout, matrix: csr_array) -> Index | None:
    """Slot of each position: an affine function of its coordinates, from interior positions."""
    slots = layout.slots
    _, place = layout.first(matrix.shape[1])
    positions = int(np.prod(space))
    counts = np.diff(matrix.indptr)[:positions]
    lows = np.array(
        [
            place[matrix.indices[matrix.indptr[p] : matrix.indptr[p + 1]]].min(initial=slots)
            for p in range(positions)
        ]
    ).reshape(space)
    full = (counts == counts.max()).reshape(space)
    pitches = []
    for axis in range(len(space)):
        both = np.logical_and(np.delete(full, -1, axis), np.delete(full, 0, axis))
        steps = np.diff(lows, axis=axis)[both]
        if not len(steps) or (steps != steps[0]).any():
            return None
        pitches.append(int(steps[0]))
    inner = tuple(int(c[0]) for c in np.nonzero(full))
    origin = int(lows[inner]) - sum(p * c for p, c in zip(pitches, inner, strict=True))
    grid = np.indices(space).reshape(len(space), -1)
    return (origin + np.array(pitches) @ grid) % slots


def in_place(layout: Layout, matrix: csr_array) -> Iterator[Pattern]:
    """Outputs of a map that reads one element each, all different, where these stand."""
    if not (np.diff(matrix.indptr) == 1).all() or len(np.unique(matrix.indices)) < matrix.shape[0]:
        return
    output = np.full(matrix.shape[1], NOTHING, dtype=np.int64)
    output[matrix.indices] = np.arange(matrix.shape[0])
    target = np.where(layout.index >= 0, output[np.maximum(layout.index, 0)], NOTHING)
    if Layout(target).holds(matrix.shape[0]):
        yield replace(explicit(target, "in place"), family="in place")


def single_copies(size: int, layouts: list[Index], slots: int) -> Iterator[Pattern]:
    """Patterns for outputs that only the client reads: one copy each, in windows that fit.

    The starts are placed so that each window sees every element of the (only) operand, where it
    has one ciphertext and such starts exist; else evenly. Windows that the client sums need no
    fold.
    """
    if size > slots:
        return
    longest = (slots // size).bit_length() - 1
    extents = _extents(layouts[0]) if len(layouts) == 1 else None
    yield summed(np.arange(size) * (slots // size), slots)
    filled = None if extents is None else _filled(extents, size)
    if filled is not None:
        yield summed(filled, slots)
    for folds in range(longest + 1):
        length = 1 << folds
        yield scattered(np.arange(size) * (slots // size), 1, folds, slots)
        if extents is None:
            continue
        chosen = _disjoint(np.flatnonzero(extents <= length), length, size, slots)
        if chosen is not None:
            yield scattered(chosen, 1, folds, slots)
            return


def _extents(layout: Index) -> Index:
    """For each slot s, how many slots from s on it takes to see every element that there is."""
    slots = len(layout)
    at = np.arange(slots)
    extents = np.ones(slots, dtype=np.int64)
    order = np.argsort(layout, kind="stable")
    elements, first = np.unique(layout[order], return_index=True)
    for element, places in zip(elements, np.split(order, first[1:]), strict=True):
        if element == NOTHING:
            continue
        nearest = np.searchsorted(places, at)
        following = np.concatenate([places, places[:1] + slots])[nearest]
        extents = np.maximum(extents, following - at + 1)
    return extents


def _filled(extents: Index, count: int) -> Index | None:
    """Starts, each as soon as the window before it has seen every element, or None."""
    starts: list[int] = []
    at = 0
    for _ in range(count):
        starts.append(at)
        if at >= len(extents) or (at := at + int(extents[at])) > len(extents):
            return None
    return np.array(starts)


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
