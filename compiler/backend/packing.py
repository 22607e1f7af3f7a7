"""Inputs that the client packs for one map, so that its products need no rotation."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from eer.runtime.program import Slots

from ..ir.layout import NOTHING, Index
from .pattern import Pattern
from .terms import Terms


@dataclass(frozen=True, slots=True, eq=False)
class Packed:
    """An input packed by the client for one map: `index[c]` are its ciphertexts."""

    index: Index
    terms: Terms


def pack_for(pattern: Pattern, cipher: int, matrix: csr_array) -> Packed:
    """Let the client arrange the input so that no rotation is needed before the fold.

    The j-th slot of a window in packed ciphertext c holds the (c * size + j)-th input that its
    output in ciphertext `cipher` reads; there is no packed ciphertext where none is read.
    """
    rows = [
        np.where(used, matrix.indices[at], NOTHING) for used, at in _dealt(pattern, cipher, matrix)
    ]

    def masks() -> list[Slots]:
        return [
            np.where(used, matrix.data[at], 0.0) for used, at in _dealt(pattern, cipher, matrix)
        ]

    index = np.array(rows, dtype=np.int64).reshape(-1, pattern.owner.shape[1])
    return Packed(index, Terms(tuple((c, 0) for c in range(len(rows))), masks))


def _dealt(
    pattern: Pattern, cipher: int, matrix: csr_array
) -> Iterator[tuple[NDArray[np.bool_], Index]]:
    """For each packed ciphertext, which slots hold an input, and that input's place [slots] in the
    matrix's data (0 for the others)."""
    owner = pattern.owner[cipher]
    size = pattern.size
    rank = ranks(pattern, cipher)
    counts = np.diff(matrix.indptr)
    reads = np.where(owner >= 0, counts[np.maximum(owner, 0)], 0)
    starts = matrix.indptr[np.maximum(owner, 0)]
    for c in range(-(-int(reads.max()) // size)):
        nth = c * size + rank
        used = (owner >= 0) & (nth < reads) & (rank < size)
        yield used, np.where(used, starts + nth, 0)


def ranks(pattern: Pattern, cipher: int) -> Index:
    """Position of each slot in its window (sliding: the same for every window it is in)."""
    slots = pattern.owner.shape[1]
    size = 1 << len(pattern.strides)
    if pattern.kind == "sliding":
        return (np.arange(slots) // pattern.period) % size
    window = pattern.window[cipher]
    order = np.argsort(window, kind="stable")
    held = order[window[order] >= 0]
    _, first, counts = np.unique(window[held], return_index=True, return_counts=True)
    rank = np.zeros(slots, dtype=np.int64)
    rank[held] = np.arange(len(held)) - np.repeat(first, counts)
    return rank
