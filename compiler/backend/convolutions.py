"""Patterns for convolutions: maps of the same form at every position of their input."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from ..ir.layout import NOTHING, Index, Layout, period_of
from .cover import Packed, Term
from .pattern import Pattern, explicit, scattered

MAX_STEPS = 3
"""Distances between output channels to try for one input layout."""


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


def pack_taps(shape: tuple[int, ...], pattern: Pattern, matrix: csr_array) -> Packed | None:
    """Let the client arrange a convolution's input so that rotations serve all its taps.

    The slot of an output holds what one of its taps reads. What the others read stands at other
    positions, as many slots away for every output, if the taps lie a multiple of the stride apart:
    each remainder of it, and each input channel, takes a ciphertext. None for other maps, and for
    patterns with folds or several ciphertexts. `shape` is that of the output (channels, axes).
    """
    space = tuple(d for d in shape[1:] if d > 1)
    positions = int(np.prod(space))
    if pattern.strides or len(pattern.owner) > 1 or not space:
        return None
    anchor = _elements(space, matrix) if shape[0] * positions == matrix.shape[0] else None
    place = _next_to_each_other(pattern.owner[0], space)
    if anchor is None or place is None:
        return None
    pitches = [int(np.diff(anchor.reshape(space), axis=k).flat[0]) for k in range(len(space))]
    if 0 in pitches:
        return None
    inner = int(np.argmax(np.diff(matrix.indptr)[:positions]))
    row = matrix.indices[matrix.indptr[inner] : matrix.indptr[inner + 1]]
    index: list[Index] = []
    terms: list[Term] = []
    lowest = np.where(pattern.owner[0] >= 0, anchor[pattern.owner[0] % positions], NOTHING)
    for shifts in _classes(np.sort(row) - int(anchor[inner]), pitches, place):
        found = _pack_class(pattern.owner[0], lowest, matrix, shifts)
        if found is None:
            return None
        terms += [replace(t, source=len(index)) for t in found.terms]
        index += list(found.index)
    served = sum(int(np.count_nonzero(t.mask)) for t in terms)
    reads = np.diff(matrix.indptr)[pattern.owner[0][pattern.owner[0] >= 0]].sum()
    return Packed(np.array(index), tuple(terms)) if served == reads else None


def _pack_class(
    owner: Index, lowest: Index, matrix: csr_array, shifts: dict[int, int]
) -> Packed | None:
    """One ciphertext for taps that stand `shifts` slots from each other, of outputs that read from
    the elements `lowest` [slots] on: it holds what a tap in their middle reads, or another if some
    of what is read would stand nowhere."""
    held = np.flatnonzero(owner >= 0)
    masks = {}
    for tap in shifts:
        masks[tap] = np.zeros(len(owner))
        masks[tap][held] = _weights(matrix, owner[held], lowest[held] + tap)
    taps = sorted(shifts)
    middle = len(taps) // 2
    for own in sorted(taps, key=lambda t: abs(taps.index(t) - middle)):
        at = np.where(owner >= 0, lowest + own, NOTHING)
        index = np.where(at < matrix.shape[1], np.maximum(at, NOTHING), NOTHING)
        terms = [Term(0, (shifts[t] - shifts[own]) % len(owner), masks[t]) for t in taps]
        if all(
            np.array_equal(np.roll(index, -term.shift)[used], (lowest + tap)[used])
            for tap, term in zip(taps, terms, strict=True)
            for used in [term.mask != 0]
        ):
            return Packed(index[None, :], tuple(terms))
    return None


def _elements(space: tuple[int, ...], matrix: csr_array) -> Index | None:
    """Element from which on each position reads; below zero where that is padding."""
    ring = 4 * matrix.shape[1]
    places = np.full((1, ring), NOTHING, dtype=np.int64)
    places[0, : matrix.shape[1]] = np.arange(matrix.shape[1])
    anchor = _anchors(space, Layout(places), matrix)
    return None if anchor is None else np.where(anchor >= ring // 2, anchor - ring, anchor)


def _next_to_each_other(owner: Index, space: tuple[int, ...]) -> list[int] | None:
    """Slots from one position to the next along each axis, in the first output channel."""
    positions = int(np.prod(space))
    outputs, first = np.unique(owner, return_index=True)
    places = dict(zip(outputs.tolist(), first.tolist(), strict=True))
    if not all(p in places for p in range(positions)):
        return None
    grid = np.array([places[p] for p in range(positions)]).reshape(space)
    return [int(np.diff(grid, axis=k).flat[0]) for k in range(len(space))]


def _classes(taps: Index, pitches: list[int], steps: list[int]) -> Iterator[dict[int, int]]:
    """Taps that lead to each other by steps of `pitches` elements, and how many slots each stands
    from the first of them if such a step is one of `steps` slots."""
    left = {int(t) for t in taps}
    while left:
        reached = {min(left): 0}
        fresh = list(reached)
        while fresh:
            tap = fresh.pop()
            for pitch, step in zip(pitches, steps, strict=True):
                for sign in (1, -1):
                    other = tap + sign * pitch
                    if other in left and other not in reached:
                        reached[other] = reached[tap] + sign * step
                        fresh.append(other)
        yield reached
        left -= reached.keys()


def _weights(matrix: csr_array, rows: Index, columns: Index) -> NDArray[np.float64]:
    """matrix[rows, columns], zero outside of it."""
    inside = (columns >= 0) & (columns < matrix.shape[1])
    found = np.zeros(len(rows))
    found[inside] = matrix[rows[inside], columns[inside]]
    return found


def channel_folds(
    shape: tuple[int, ...], operand_shape: tuple[int, ...], layout: Layout, matrix: csr_array
) -> Iterator[Pattern]:
    """Folds over the input's channels, where those stand a fixed distance apart.

    The windows of one output channel lie where its inputs do, those of other channels around other
    replicas of the input, where they see the same, or in gaps between positions. What remains are
    about as many shifts as a kernel has taps. Both shapes are (channels, axes).
    """
    axes, read = ([d for d in s if d > 1] for s in (shape, operand_shape))
    if not 2 <= len(axes) <= 3 or len(read) != len(axes):
        return
    if matrix.shape != (int(np.prod(axes)), int(np.prod(read))):
        return
    anchor = _anchors(tuple(axes[1:]), layout, matrix)
    pitch = _channel_pitch(read, layout)
    if anchor is None or pitch is None:
        return
    for folds in range((read[0] - 1).bit_length(), 0, -1):
        window = pitch * np.arange(1 << folds)
        starts = _disjoint_windows(anchor, window, axes[0], layout)
        if starts is not None:
            pattern = scattered(starts, pitch, folds, layout.slots)
            yield replace(pattern, family="channels", label=f"channels, fold {1 << folds}")


def _channel_pitch(shape: list[int], layout: Layout) -> int | None:
    """Slots from one channel to the next, the same everywhere, or None."""
    _, place = layout.first(int(np.prod(shape)))
    steps = np.diff(place.reshape(shape[0], -1), axis=0)
    return int(steps[0, 0]) if (steps == steps[0, 0]).all() else None


def _disjoint_windows(anchor: Index, window: Index, channels: int, layout: Layout) -> Index | None:
    """Starts [channels * positions] whose windows share no slot, or None.

    Around the replicas of the input first, then a slot further on, and so on.
    """
    slots, period = layout.slots, period_of(layout.index[0])
    base = (anchor[:, None] + window).reshape(-1)
    taken = np.zeros(slots, dtype=bool)
    starts: list[Index] = []
    if len(np.unique(base % slots)) < base.size or base.size * channels > slots:
        return None
    for gap in range(period):
        for replica in range(0, slots, period):
            places = (base + replica + gap) % slots
            if not taken[places].any():
                taken[places] = True
                starts.append((anchor + replica + gap) % slots)
                if len(starts) == channels:
                    return np.concatenate(starts)
    return None
