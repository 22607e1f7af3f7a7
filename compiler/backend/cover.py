"""Covers: the rotations and masks that carry a matrix from one layout to a pattern.

A term (source, shift, mask) means mask * rotate(source, shift). Terms are chosen so that in every
window of the pattern each (output, input) pair with a nonzero weight is used exactly once.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from ..ir.layout import NOTHING, Index, Layout
from .pattern import Pattern

Vector = NDArray[np.float64]

MAX_TERMS = 1024
MAX_CANDIDATES = 64
MAX_WINDOW_CELLS = 1 << 23


@dataclass(frozen=True, slots=True, eq=False)
class Term:
    """mask * rotate(operand ciphertext `source`, shift); shift in 0..slots-1."""

    source: int
    shift: int
    mask: Vector


@dataclass(frozen=True, slots=True, eq=False)
class Packed:
    """An input packed by the client for one map: `index[c]` are its ciphertexts."""

    index: Index
    terms: tuple[Term, ...]


def pack_for(pattern: Pattern, matrix: csr_array) -> Packed | None:
    """Let the client arrange the input so that no rotation is needed before the fold.

    The j-th slot of a window in ciphertext c holds the (c * fold + j)-th input that its output
    reads. None when the pattern has several output ciphertexts.
    """
    if len(pattern.owner) != 1:
        return None
    owner = pattern.owner[0]
    slots = len(owner)
    folds = len(pattern.strides)
    rank = _ranks(pattern)
    counts = np.diff(matrix.indptr)
    reads = np.where(owner >= 0, counts[np.maximum(owner, 0)], 0)
    ciphers = max(1, -(-int(reads.max()) // (1 << folds)))
    index = np.full((ciphers, slots), NOTHING, dtype=np.int64)
    terms = []
    starts = matrix.indptr[np.maximum(owner, 0)]
    for c in range(ciphers):
        nth = (c << folds) + rank
        used = (owner >= 0) & (nth < reads)
        at = np.where(used, starts + nth, 0)
        index[c] = np.where(used, matrix.indices[at], NOTHING)
        mask = np.where(used, matrix.data[at], 0.0)
        terms.append(Term(c, 0, mask))
    return Packed(index, tuple(terms))


def _ranks(pattern: Pattern) -> Index:
    """Position of each slot in its window (sliding: the same for every window it is in)."""
    slots = pattern.owner.shape[1]
    size = 1 << len(pattern.strides)
    if pattern.kind == "sliding":
        return (np.arange(slots) // pattern.period) % size
    window = pattern.window[0]
    order = np.argsort(window, kind="stable")
    held = order[window[order] >= 0]
    _, first, counts = np.unique(window[held], return_index=True, return_counts=True)
    rank = np.zeros(slots, dtype=np.int64)
    rank[held] = np.arange(len(held)) - np.repeat(first, counts)
    return rank


@dataclass(frozen=True, slots=True, eq=False)
class Source:
    """One ciphertext that a map reads: its layout [slots], and which operand it belongs to."""

    index: Index
    operand: int


def slide(
    pattern: Pattern, source: Source, matrix: csr_array
) -> tuple[tuple[Term, ...], Index] | None:
    """Terms and the valid target of a sliding pattern, or None where it does not work out.

    Every slot uses all that it sees at shifts 0, w, 2w, ... (w: the extent of a window), which is
    exact only in windows that see every input exactly once. That is checked, window by window.
    """
    slots = len(source.index)
    size = 1 << len(pattern.strides)
    owner = pattern.owner[0]
    dense = matrix.toarray()
    starts = np.flatnonzero(pattern.target[0] >= 0)
    present = len(np.unique(source.index[source.index >= 0]))
    steps = np.arange(size) * pattern.period
    blocks = -(-present // size)
    for count in range(blocks, blocks + 2):
        shifts = np.arange(count) * (pattern.period * size)
        reach = (steps[None, :] + shifts[:, None]).reshape(-1)
        good = starts[_sees_once(source.index, dense, owner, starts, reach)]
        target = np.full_like(pattern.target, NOTHING)
        target[0, good] = owner[good]
        if not Layout(target).holds(matrix.shape[0]):
            continue
        terms = []
        for shift in shifts:
            seen = np.roll(source.index, -shift)
            used = (owner >= 0) & (seen >= 0)
            mask = np.where(used, dense[np.maximum(owner, 0), np.maximum(seen, 0)], 0.0)
            if mask.any():
                terms.append(Term(0, int(shift % slots), mask))
        return tuple(terms), target
    return None


def _sees_once(
    layout: Index, dense: Vector, owner: Index, starts: Index, reach: Index
) -> NDArray[np.bool_]:
    """For each window start: whether it sees every input that its output reads exactly once."""
    if len(starts) * len(reach) > MAX_WINDOW_CELLS:
        return np.zeros(len(starts), dtype=bool)
    seen = np.sort(layout[(starts[:, None] + reach[None, :]) % len(layout)], axis=1)
    rows = owner[starts]
    relevant = (seen >= 0) & (dense[rows[:, None], np.maximum(seen, 0)] != 0)
    repeated = (seen[:, 1:] == seen[:, :-1]) & relevant[:, 1:]
    needs = (dense != 0).sum(axis=1)[rows]
    return (relevant.sum(axis=1) == needs) & ~repeated.any(axis=1)


class _Pairs:
    """The (window, input) pairs with a nonzero weight, and which of them are covered."""

    def __init__(
        self, owner: Index, window: Index, matrices: tuple[csr_array, ...], skip: frozenset[int]
    ) -> None:
        self.slots = len(owner)
        self.at = np.flatnonzero(owner >= 0)
        self.owner = owner[self.at]
        windows, first, self.window = np.unique(
            window[self.at], return_index=True, return_inverse=True
        )
        self.window_owner = self.owner[first]
        self.members = np.split(
            self.at[np.argsort(self.window, kind="stable")],
            np.cumsum(np.bincount(self.window, minlength=len(windows)))[:-1],
        )
        self.matrices = matrices
        self.lookup = [None if k in skip else _positions(m) for k, m in enumerate(matrices)]
        self.base: list[Index] = []
        total = 0
        for k, m in enumerate(matrices):
            counts = np.diff(m.indptr)[self.window_owner] * (k not in skip)
            self.base.append(total + np.cumsum(counts) - counts)
            total += int(counts.sum())
        self.covered = np.zeros(total, dtype=bool)
        self._next = 0

    def at_shift(self, source: Source, shift: int) -> tuple[Index, Index, Index]:
        """(slots, weight numbers, pairs) that `source` rotated by `shift` newly covers."""
        k = source.operand
        seen = source.index[(self.at + shift) % self.slots]
        table = self.lookup[k]
        assert table is not None
        weight = np.where(seen >= 0, table[self.owner, np.maximum(seen, 0)], -1)
        held = np.flatnonzero(weight >= 0)
        weight = weight[held]
        start = self.matrices[k].indptr[self.owner[held]]
        pair = self.base[k][self.window[held]] + weight - start
        new = np.flatnonzero(~self.covered[pair])
        _, unique = np.unique(pair[new], return_index=True)
        chosen = new[unique]
        return self.at[held[chosen]], weight[chosen], pair[chosen]

    def next_uncovered(self) -> tuple[int, int, int] | None:
        """(operand, window, input) of the first pair that is not covered."""
        rest = np.flatnonzero(~self.covered[self._next :])
        if not len(rest):
            return None
        self._next += int(rest[0])
        operand = max(k for k, b in enumerate(self.base) if len(b) and b[0] <= self._next)
        window = int(np.searchsorted(self.base[operand], self._next, side="right")) - 1
        matrix = self.matrices[operand]
        row = self.window_owner[window]
        nth = self._next - self.base[operand][window]
        return operand, window, int(matrix.indices[matrix.indptr[row] + nth])


def _positions(matrix: csr_array) -> NDArray[np.int32]:
    """[m, n]: number of the stored weight at (row, column), or -1."""
    table = np.full(matrix.shape, -1, dtype=np.int32)
    rows = np.repeat(np.arange(matrix.shape[0]), np.diff(matrix.indptr))
    table[rows, matrix.indices] = np.arange(matrix.nnz)
    return table


def cover(
    owner: Index,
    window: Index,
    sources: list[Source],
    matrices: tuple[csr_array, ...],
    max_terms: int = MAX_TERMS,
    skip: frozenset[int] = frozenset(),
) -> list[Term] | None:
    """Terms for one ciphertext of a disjoint pattern (greedy: the shift that covers most, first).

    `matrices[k]` applies to operand k; weights must be stored without explicit zeros. None when
    more than `max_terms` terms would be needed, or an input stands in no source. Operands in `skip`
    are served otherwise.
    """
    pairs = _Pairs(owner, window, matrices, skip)
    terms: dict[tuple[int, int], Vector] = {}

    def take(number: int, shift: int) -> None:
        at, weight, pair = pairs.at_shift(sources[number], shift)
        if not len(at):
            return
        mask = terms.setdefault((number, shift), np.zeros(pairs.slots))
        mask[at] = matrices[sources[number].operand].data[weight]
        pairs.covered[pair] = True

    for number in range(len(sources)):
        take(number, 0)
    while (missing := pairs.next_uncovered()) is not None:
        if len(terms) >= max_terms:
            return None
        operand, window_number, element = missing
        best: tuple[int, int, int] | None = None
        for number, source in enumerate(sources):
            if source.operand != operand:
                continue
            for shift in _shifts(source.index, element, pairs.members[window_number]):
                gain = len(pairs.at_shift(source, shift)[0])
                if best is None or gain > best[0]:
                    best = (gain, number, shift)
        if best is None:
            return None
        take(best[1], best[2])
    return [
        Term(number, shift, mask)
        for (number, shift), mask in sorted(terms.items(), key=lambda x: x[0])
    ]


def _shifts(layout: Index, element: int, members: Index) -> list[int]:
    """Shifts that bring `element` to one of the slots `members`, the shortest first, sampled."""
    slots = len(layout)
    shifts = np.unique((np.flatnonzero(layout == element)[:, None] - members[None, :]) % slots)
    shifts = shifts[np.argsort(np.minimum(shifts, slots - shifts), kind="stable")]
    if len(shifts) > MAX_CANDIDATES:
        far = shifts[MAX_CANDIDATES // 2 :]
        step = -(-len(far) * 2 // MAX_CANDIDATES)
        shifts = np.concatenate([shifts[: MAX_CANDIDATES // 2], far[::step]])
    return [int(s) for s in shifts]
