"""Grids: inputs laid out for a convolution by the remainders of its stride."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

import numpy as np

from ..ir.layout import NOTHING, Index, power_of_two
from .taps import Taps


def in_grids(taps: Taps, slots: int) -> Index | None:
    """A packing [ciphertexts, slots] of a convolution's input, or None where there is no room.

    What one class of taps reads is a grid: an input channel's elements with one remainder of the
    stride. Positions and the elements that they read are then as many slots apart in every grid,
    and a tap is a rotation. Grids lie powers of two apart, so that rotations lead from each to any
    other in the same ciphertext, and are repeated where there is room.
    """
    read = np.any(taps.weights.reshape(-1, prod(taps.space), len(taps.taps)), axis=0)
    at = np.indices(taps.space).reshape(len(taps.space), -1).T
    found: list[tuple[Index, Index]] = []
    for members in taps.classes():
        columns = np.searchsorted(taps.taps, list(members))
        position, column = np.nonzero(read[:, columns])
        if len(position):
            places = at[position] + np.array(list(members.values()))[column]
            found.append((places, taps.lowest[position] + taps.taps[columns[column]]))
    # The fewer rotations, the room that these take: first taps of all grids are at the same.
    lowest = np.min([places.min(axis=0) for places, _ in found], axis=0)
    together = [(places - lowest, elements) for places, elements in found]
    apart = [(places - places.min(axis=0), elements) for places, elements in found]
    found = min(together, apart, key=lambda grids: power_of_two(prod(_extents(grids))))
    extents = _extents(found)
    pitch = power_of_two(prod(extents))
    each = min(slots // pitch, power_of_two(len(found)))
    if not each:
        return None
    index = np.full((-(-len(found) // each), pitch * each), NOTHING, dtype=np.int64)
    for number, (places, elements) in enumerate(found):
        cipher, place = divmod(number, each)
        index[cipher, pitch * place + np.ravel_multi_index(tuple(places.T), extents)] = elements
    return np.tile(index, (1, slots // index.shape[1]))


def _extents(grids: Sequence[tuple[Index, Index]]) -> tuple[int, ...]:
    """Along each axis, of the places of all of them."""
    return tuple((np.max([places.max(axis=0) for places, _ in grids], axis=0) + 1).tolist())
