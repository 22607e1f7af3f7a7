"""The (window, input) pairs that a cover has to use once each, and which shifts see how many."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from eer.runtime.program import Slots

from ..ir.layout import Index

Vector = NDArray[np.float64]

BLOCK = 1 << 15
"""Slots times shifts to look at in one go: what this takes stays in a processor's cache."""

MANY = 2
"""Share of all slots, as its inverse, from which on it is quicker to look at all."""

SCANNED = 1 << 12


@dataclass(frozen=True, slots=True, eq=False)
class Wanted:
    """An input element that a window lacks, and the slots of that window."""

    element: int
    members: Index


@dataclass(frozen=True, slots=True, eq=False)
class Seen:
    """What a ciphertext rotated by `shift` shows of new pairs: `gain` different ones.

    `pairs` are their numbers, one for each of the slots `at`.
    """

    shift: int
    gain: int
    at: Index
    pairs: Index


class Pairs:
    """The pairs of one operand with a nonzero weight, numbered row by row: a row for each window.

    `owner` and `window` [slots] are those of a pattern's ciphertext, `matrix` [m, n] the map.
    Windows are completed one after another: only slots from the first on that lacks something are
    looked at.
    """

    def __init__(self, owner: Index, window: Index, matrix: csr_array) -> None:
        self._slots = len(owner)
        self._matrix = matrix
        held = np.flatnonzero(owner >= 0)
        # Slots window by window, in order within each.
        self._at = held[np.argsort(window[held], kind="stable")]
        starts = np.flatnonzero(np.diff(window[self._at], prepend=-2))
        self._starts = np.append(starts, len(self._at))
        self._owner = owner[self._at[starts]]
        counts = np.diff(matrix.indptr)[self._owner]
        nth = np.arange(int(counts.sum())) - np.repeat(np.cumsum(counts) - counts, counts)
        inputs = matrix.indices[np.repeat(matrix.indptr[self._owner], counts) + nth]
        self._inputs, columns = np.unique(inputs, return_inverse=True)
        # The last column is for what no window reads, and for slots that hold nothing.
        self._columns = len(self._inputs) + 1
        rows = np.arange(len(starts)) * self._columns
        self._row = np.repeat(rows, np.diff(self._starts))
        self._order = np.repeat(rows, counts) + columns
        # The last row is for slots of no window.
        self._uncovered = np.zeros((len(starts) + 1) * self._columns, dtype=bool)
        self._uncovered[self._order] = True
        self._row_of = np.full(self._slots, len(starts) * self._columns)
        self._row_of[self._at] = self._row
        self._place = np.zeros(len(self._uncovered), dtype=np.int32)
        self._next = self._first = 0
        self._all = np.arange(self._slots)
        self.missing = len(self._order)

    def __len__(self) -> int:
        return len(self._order)

    def ring(self, index: Index) -> Index:
        """Twice around a ciphertext [slots]: the column of what each slot holds."""
        lookup = np.full(self._matrix.shape[1] + 1, self._columns - 1, dtype=np.int64)
        lookup[self._inputs] = np.arange(len(self._inputs))
        # Slots that hold nothing (-1) look up the last entry.
        return np.tile(lookup[index], 2)

    def best(self, ring: Index, shifts: Index) -> Seen:
        """The shift with the most new pairs, of equal ones that which most slots see as new, the
        first of those."""
        at, row = self._at[self._first :], self._row[self._first :]
        if MANY * len(at) > self._slots:
            # Of most slots, all are read one after the other.
            at, row = self._all, self._row_of
        best = Seen(int(shifts[0]), 0, at[:0], at[:0])
        numbers = np.empty((len(shifts), len(at)), dtype=np.int64)
        new = np.empty(numbers.shape, dtype=bool)
        for part in _blocks(len(shifts), len(at)):
            own = numbers[part]
            if at is self._all:
                for shift, numbered in zip(shifts[part].tolist(), own, strict=True):
                    np.add(ring[shift : shift + self._slots], row, out=numbered)
            else:
                ring.take(at + shifts[part, None], out=own, mode="clip")
                own += row
            self._uncovered.take(own, out=new[part], mode="clip")
        counts = [np.count_nonzero(seen) for seen in new]
        for k in sorted(range(len(counts)), key=counts.__getitem__, reverse=True):
            if counts[k] <= best.gain:
                break
            held = np.flatnonzero(new[k])
            pairs = numbers[k, held]
            once = self._first_of_each(pairs)
            gain = int(np.count_nonzero(once))
            if gain > best.gain:
                best = Seen(int(shifts[k]), gain, at[held[once]], pairs[once])
        return best

    def _first_of_each(self, pairs: Index) -> NDArray[np.bool_]:
        """Which entries of pairs [k] are the first of their number."""
        order = np.arange(len(pairs), dtype=np.int32)
        # Of equal numbers the last assignment stays.
        self._place[pairs[::-1]] = order[::-1]
        first: NDArray[np.bool_] = self._place[pairs] == order
        return first

    def take(self, seen: Seen) -> None:
        """Cover what `seen` has."""
        self._uncovered[seen.pairs] = False
        self.missing -= seen.gain

    def next_uncovered(self) -> Wanted | None:
        """The first pair that is not covered, in the order in which the matrix is stored."""
        if not self.missing:
            return None
        while True:
            some = self._uncovered[self._order[self._next : self._next + SCANNED]]
            nearest = int(np.argmax(some))
            self._next += nearest if some[nearest] else len(some)
            if some[nearest]:
                break
        window, column = divmod(int(self._order[self._next]), self._columns)
        start, stop = int(self._starts[window]), int(self._starts[window + 1])
        self._first = start
        return Wanted(int(self._inputs[column]), self._at[start:stop])

    def masks(self, taken: Sequence[Seen]) -> list[Slots]:
        """[slots] for each: the weights of what it has, where it has it."""
        if not taken:
            return []
        window, column = np.divmod(np.concatenate([seen.pairs for seen in taken]), self._columns)
        weights = self._matrix[self._owner[window], self._inputs[column]]
        masks: list[Slots] = []
        start = 0
        for seen in taken:
            mask = np.zeros(self._slots, weights.dtype)
            mask[seen.at] = weights[start : start + seen.gain]
            masks.append(mask)
            start += seen.gain
        return masks


def _blocks(rows: int, columns: int) -> Iterator[slice]:
    size = max(1, BLOCK // max(1, columns))
    for start in range(0, rows, size):
        yield slice(start, start + size)
