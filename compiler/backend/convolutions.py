"""Patterns for convolutions: maps of the same form at every position of their input."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from ..ir.layout import NOTHING, Index, Layout, period_of
from .pattern import Pattern, explicit, scattered
from .strands import Strands, strandings

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
    anchor = anchors(space, layout, matrix)
    if anchor is None:
        return
    slots = layout.slots
    found = 0
    for step in _channel_steps(layout, matrix, slots):
        places = (anchor + step * np.arange(channels)[:, None]) % slots
        if found == MAX_STEPS or len(np.unique(places)) < places.size:
            continue
        found += 1
        target = np.full((1, slots), NOTHING, dtype=np.int64)
        target[0, places.reshape(-1)] = np.arange(places.size)
        pattern = explicit(target, f"pitched, channels {step} apart")
        yield replace(pattern, family="pitched")


def spread(shape: tuple[int, ...], layout: Layout, matrix: csr_array) -> Iterator[Pattern]:
    """Outputs placed where their inputs are, in as many ciphertexts as it takes.

    The channels of a ciphertext lie so far apart that rotations which bring the inputs of one bring
    those of many: those of another ciphertext in the same places, for the same rotations.

    Then in strands, which lie in different ciphertexts, for maps further on that read every other
    position or sums of neighbours: in two, or as many as positions need to have room. `shape` is
    (channels, axes).
    """
    for strands in strandings(shape, matrix):
        target = _spread(strands, layout)
        if target is not None:
            split = f", {strands.each} strands" * (strands.each > 1)
            label = f"{len(target)} ciphertexts{split}"
            yield replace(explicit(target, label), family="strands" if split else "spread")
            if split:
                return


def _spread(strands: Strands, layout: Layout) -> Index | None:
    """A target [ciphertexts, slots], or None where positions do not lie so or have no room."""
    axes = strands.shape
    anchor = anchors(axes[1:], layout, strands.matrix) if len(axes) <= 3 else None
    if anchor is None:
        return None
    # Positions at the ring's end would be no affine function for the maps that follow.
    anchor -= min(0, int(anchor.min()))
    starts = _alike(anchor % layout.slots, strands.channels, layout, strands.matrix)
    if not starts:
        return None
    outputs = strands.outputs.reshape(-1, strands.channels, len(anchor))
    rows: list[Index] = []
    for strand in outputs:
        for first in range(0, len(strand), len(starts)):
            row = np.full(layout.slots, NOTHING, dtype=np.int64)
            for start, own in zip(starts, strand[first : first + len(starts)], strict=False):
                row[start] = own
            rows.append(row)
    return np.array(rows)


def _alike(anchor: Index, channels: int, layout: Layout, matrix: csr_array) -> list[Index]:
    """Starts [positions] for as many of the channels as find room, each where the most rotations
    that it takes are known already."""
    slots, period = layout.slots, max(period_of(row) for row in layout.index)
    longest = int(np.argmax(np.diff(matrix.indptr)[: len(anchor)]))
    inputs = matrix.indices[matrix.indptr[longest] : matrix.indptr[longest + 1]]
    cipher, place = layout.first(matrix.shape[1])
    shifts = np.zeros((layout.ciphers, period))
    shifts[cipher[inputs], (place[inputs] - anchor[longest]) % period] = 1.0
    meets = _meets(anchor, slots)
    free = ~np.zeros(slots, dtype=bool)
    known, spectrum = shifts, np.fft.rfft(shifts)
    starts: list[Index] = []
    while len(starts) < channels and meets is not None and free.any():
        common = np.fft.irfft(spectrum * np.fft.rfft(known).conj(), period).sum(axis=0)
        worth = np.where(free, np.tile(np.rint(common), slots // period), -1.0)
        offset = int(np.argmax(worth))
        starts.append((anchor + offset) % slots)
        known = np.maximum(known, np.roll(shifts, -offset, axis=1))
        free &= ~np.roll(meets, offset)
    return starts


def _channel_steps(layout: Layout, matrix: csr_array, slots: int) -> list[int]:
    """Distances to try between output channels: those between inputs of one output, then any."""
    _, place = layout.first(matrix.shape[1])
    longest = int(np.argmax(np.diff(matrix.indptr)))
    row = np.sort(place[matrix.indices[matrix.indptr[longest] : matrix.indptr[longest + 1]]])
    steps, counts = np.unique((row[None, :] - row[:, None]) % slots, return_counts=True)
    often = [int(s) for s in steps[np.argsort(-counts, kind="stable")] if s][:64]
    return list(dict.fromkeys([1, *often, *range(2, 64)]))


def anchors(space: tuple[int, ...], layout: Layout, matrix: csr_array) -> Index | None:
    """Slot of each position: an affine function of its coordinates, from interior positions. At
    edges it may be none of the ring's: of padding."""
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
    found: Index = origin + np.array(pitches) @ grid
    return found


def channel_folds(
    shape: tuple[int, ...], channels: int, layout: Layout, matrix: csr_array
) -> Iterator[Pattern]:
    """Folds over the input's channels, where those stand a fixed distance apart.

    The windows of one output channel lie where its inputs do, those of other channels around other
    replicas of the input, where they see the same, or in gaps between positions. What remains are
    about as many shifts as a kernel has taps. `shape` is (channels, axes); what is read has so
    many `channels`, each of as many elements, one after another.
    """
    axes = [d for d in shape if d > 1]
    if not 2 <= len(axes) <= 3 or matrix.shape[0] != int(np.prod(axes)):
        return
    if channels < 2 or matrix.shape[1] % channels:
        return
    anchor = anchors(tuple(axes[1:]), layout, matrix)
    pitch = _channel_pitch(channels, layout, matrix.shape[1])
    if anchor is None or pitch is None:
        return
    for folds in range((channels - 1).bit_length(), 0, -1):
        window = pitch * np.arange(1 << folds)
        if len(window) * matrix.shape[0] > layout.slots:
            continue
        tried: list[bytes] = []
        for step in (1, pitch << folds):
            found = _disjoint_windows(anchor, window, axes[0], layout, step)
            starts = np.concatenate(found) if found else anchor[:0]
            if len(found) == axes[0] and starts.tobytes() not in tried:
                tried.append(starts.tobytes())
                pattern = scattered(starts, pitch, folds, layout.slots)
                yield replace(pattern, family="channels", label=f"channels, fold {1 << folds}")


def _channel_pitch(channels: int, layout: Layout, size: int) -> int | None:
    """Slots from one channel to the next, the same everywhere, or None."""
    _, place = layout.first(size)
    steps = np.diff(place.reshape(channels, -1), axis=0)
    return int(steps[0, 0]) if (steps == steps[0, 0]).all() else None


def _disjoint_windows(
    anchor: Index, window: Index, channels: int, layout: Layout, step: int
) -> list[Index]:
    """Starts [positions] for each of the channels whose windows share no slot, or for those that
    find room.

    Around the replicas of the input first, then `step` slots further on, and so on.
    """
    slots, period = layout.slots, period_of(layout.index[0])
    base = (anchor[:, None] + window).reshape(-1) % slots
    meets = _meets(base, slots)
    if meets is None:
        return []
    gaps, replicas = np.arange(0, period, step % period or period), np.arange(0, slots, period)
    offsets = (gaps[:, None] + replicas).reshape(-1)
    starts: list[Index] = []
    free = np.ones(slots, dtype=bool)
    while len(starts) < channels:
        left = free[offsets]
        nearest = int(np.argmax(left))
        if not left[nearest]:
            break
        starts.append((anchor + offsets[nearest]) % slots)
        free &= ~np.roll(meets, offsets[nearest])
    return starts


def _meets(places: Index, slots: int) -> NDArray[np.bool_] | None:
    """At which offsets [slots] some places meet themselves: where their autocorrelation is not
    zero. None where two are the same."""
    held = np.zeros(slots)
    held[places] = 1.0
    if np.count_nonzero(held) < places.size:
        return None
    spectrum = np.abs(np.fft.rfft(held)) ** 2
    meets: NDArray[np.bool_] = np.fft.irfft(spectrum, slots) > 0.5
    return meets
