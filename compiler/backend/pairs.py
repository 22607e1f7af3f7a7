"""The (window, input) pairs that a cover has to use once each, and which shifts see how many."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from ..ir.layout import Index

Vector = NDArray[np.float64]

UNSEEN = -(1 << 30)
"""Far below zero: added to the number of any pair it is clipped to 0, which is no pair."""

BLOCK = 1 << 15
"""Slots times shifts to look at in one go: what this takes stays in a processor's cache."""


@dataclass(frozen=True, slots=True, eq=False)
class Wanted:
    """A pair that is not covered: an input element of an operand, for the slots of a window."""

    operand: int
    element: int
    members: Index


@dataclass(frozen=True, slots=True, eq=False)
class Seen:
    """What a source rotated by `shift` shows of an operand: `gain` new pairs.

    `pairs[k]` is what the slot numbered `first` + k sees, 0 where that is of no use or known.
    """

    operand: int
    shift: int
    gain: int
    first: int
    pairs: Index


class Pairs:
    """The pairs with a nonzero weight, numbered from 1: operand by operand, window by window.

    `owner` and `window` [slots] are those of a pattern's ciphertext, matrices[k] the map of operand
    k; operands in `skip` have no pairs. Windows are completed in order, one operand after another:
    only slots from the first incomplete one on are looked at.
    """

    def __init__(
        self, owner: Index, window: Index, matrices: tuple[csr_array, ...], skip: frozenset[int]
    ) -> None:
        self._slots = len(owner)
        held = np.flatnonzero(owner >= 0)
        # Slots window by window, in order within each.
        self.at = held[np.argsort(window[held], kind="stable")]
        starts = np.flatnonzero(np.diff(window[self.at], prepend=-2))
        self._starts = np.append(starts, len(self.at))
        self._window = np.repeat(np.arange(len(starts)), np.diff(self._starts))
        self._owner = owner[self.at[starts]]
        self._matrices = matrices
        # Rows of the windows' outputs only: a sampled pattern has few of them.
        rows, self._row = np.unique(self._owner, return_inverse=True)
        self._tables: list[Index | None] = []
        self._base: list[Index] = []
        total = 1
        for k, matrix in enumerate(matrices):
            counts = np.diff(matrix.indptr)[self._owner] * (k not in skip)
            self._base.append(total + np.cumsum(counts) - counts)
            self._tables.append(None if k in skip else _positions(matrix, rows))
            total += int(counts.sum())
        # Number 0 is never wanted: where a slot sees nothing of use.
        self._uncovered = np.ones(total, dtype=bool)
        self._uncovered[0] = False
        self._order = np.zeros(total, dtype=np.int64)
        self.missing = total - 1
        self._next = 1
        self._active = (0, 0)

    def __len__(self) -> int:
        return len(self._uncovered) - 1

    def view(self, index: Index, operand: int) -> View:
        """What a ciphertext [slots] of this operand shows; the operand must not be skipped."""
        table = self._tables[operand]
        assert table is not None
        columns = table.shape[1]
        ring = np.concatenate([index, index])
        return View(
            self,
            operand,
            np.where(ring < 0, columns - 1, ring),
            table.reshape(-1),
            self._row[self._window] * columns,
            self._base[operand][self._window],
        )

    def first_active(self, operand: int) -> int:
        """Where in `at` the slots of windows begin that lack a pair of this operand."""
        lacking, first = self._active
        return first if operand == lacking else 0 if operand > lacking else len(self.at)

    def fresh(self, pairs: Index) -> NDArray[np.bool_]:
        """Which of these are pairs that are not covered."""
        return np.take(self._uncovered, pairs, mode="clip")

    def first_of_each(self, pairs: Index) -> NDArray[np.bool_]:
        """Which entries of pairs [n] are the first of their number."""
        order = np.arange(len(pairs))
        # Of equal numbers the last assignment stays.
        self._order[pairs[::-1]] = order[::-1]
        first: NDArray[np.bool_] = self._order[pairs] == order
        return first

    def take(self, seen: Seen) -> Vector:
        """Cover what `seen` has of new pairs; the mask [slots] that does it."""
        at = np.flatnonzero(seen.pairs)
        at = at[self.first_of_each(seen.pairs[at])]
        pairs, at = seen.pairs[at], at + seen.first
        window, matrix = self._window[at], self._matrices[seen.operand]
        nth = pairs - self._base[seen.operand][window]
        mask = np.zeros(self._slots)
        mask[self.at[at]] = matrix.data[matrix.indptr[self._owner[window]] + nth]
        self._uncovered[pairs] = False
        self.missing -= len(pairs)
        return mask

    def next_uncovered(self) -> Wanted | None:
        """The first pair that is not covered."""
        if not self.missing:
            return None
        self._next += int(np.argmax(self._uncovered[self._next :]))
        operand = max(k for k, b in enumerate(self._base) if len(b) and b[0] <= self._next)
        base, matrix = self._base[operand], self._matrices[operand]
        window = int(np.searchsorted(base, self._next, side="right")) - 1
        nth = self._next - int(base[window])
        element = int(matrix.indices[matrix.indptr[self._owner[window]] + nth])
        start, stop = int(self._starts[window]), int(self._starts[window + 1])
        self._active = operand, start
        return Wanted(operand, element, self.at[start:stop])


@dataclass(frozen=True, slots=True, eq=False)
class View:
    """One ciphertext, as the pairs' slots see it.

    `cells` is twice around the ring the column of the flat `table` that each slot holds; a slot of
    the pairs adds its `row` to that, and its `base` to what it finds.
    """

    pairs: Pairs
    operand: int
    cells: Index
    table: Index
    row: Index
    base: Index

    def best(self, shifts: Index) -> Seen:
        """The shift with the most new pairs, of equal ones that which most slots see as new, the
        first of those."""
        first = self.pairs.first_active(self.operand)
        best = Seen(self.operand, int(shifts[0]), 0, first, np.zeros(0, dtype=np.int64))
        seen, counts = self._all(shifts, first)
        for k in np.argsort(-counts, kind="stable"):
            if counts[k] <= best.gain:
                break
            new = seen[k][seen[k] > 0]
            gain = int(np.count_nonzero(self.pairs.first_of_each(new)))
            if gain > best.gain:
                best = Seen(self.operand, int(shifts[k]), gain, first, seen[k])
        return best

    def _all(self, shifts: Index, first: int) -> tuple[Index, Index]:
        """New pairs, or 0 [shifts, slots from the first active on]; how many they are [shifts]."""
        at, row, base = self.pairs.at[first:], self.row[first:], self.base[first:]
        seen = np.empty((len(shifts), len(at)), dtype=np.int64)
        for part in _blocks(len(shifts), len(at)):
            found = np.take(self.cells, at + shifts[part, None])
            found += row
            found = np.take(self.table, found)
            found += base
            np.multiply(found, self.pairs.fresh(found), out=seen[part])
        return seen, np.count_nonzero(seen, axis=1)


def _blocks(rows: int, columns: int) -> Iterator[slice]:
    size = max(1, BLOCK // max(1, columns))
    for start in range(0, rows, size):
        yield slice(start, start + size)


def _positions(matrix: csr_array, rows: Index) -> Index:
    """[rows, n + 1]: where in its row the weight at a column is stored, or UNSEEN; the last column
    is UNSEEN."""
    table = np.full((len(rows), matrix.shape[1] + 1), UNSEEN, dtype=np.int64)
    counts = np.diff(matrix.indptr)[rows]
    nth = np.arange(int(counts.sum())) - np.repeat(np.cumsum(counts) - counts, counts)
    columns = matrix.indices[np.repeat(matrix.indptr[rows], counts) + nth]
    table[np.repeat(np.arange(len(rows)), counts), columns] = nth
    return table
