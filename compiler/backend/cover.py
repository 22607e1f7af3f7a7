"""Covers: the rotations and masks that carry a matrix from one layout to a pattern.

A term (source, shift, mask) means mask * rotate(source, shift). Terms are chosen so that in every
window of the pattern each (output, input) pair with a nonzero weight is used exactly once.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from ..ir.layout import NOTHING, Index, Layout, period_of
from .pattern import Pattern

Vector = NDArray[np.float64]

MAX_TERMS = 1024
MAX_CANDIDATES = 24
MAX_BLOCKS = 128


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


def pack_for(pattern: Pattern, cipher: int, matrix: csr_array) -> Packed:
    """Let the client arrange the input so that no rotation is needed before the fold.

    The j-th slot of a window in packed ciphertext c holds the (c * size + j)-th input that its
    output in ciphertext `cipher` reads; there is no packed ciphertext where none is read.
    """
    owner = pattern.owner[cipher]
    slots = len(owner)
    size = pattern.size
    rank = _ranks(pattern, cipher)
    counts = np.diff(matrix.indptr)
    reads = np.where(owner >= 0, counts[np.maximum(owner, 0)], 0)
    ciphers = -(-int(reads.max()) // size)
    index = np.full((ciphers, slots), NOTHING, dtype=np.int64)
    terms = []
    starts = matrix.indptr[np.maximum(owner, 0)]
    for c in range(ciphers):
        nth = c * size + rank
        used = (owner >= 0) & (nth < reads) & (rank < size)
        at = np.where(used, starts + nth, 0)
        index[c] = np.where(used, matrix.indices[at], NOTHING)
        mask = np.where(used, matrix.data[at], 0.0)
        terms.append(Term(c, 0, mask))
    return Packed(index, tuple(terms))


def _ranks(pattern: Pattern, cipher: int) -> Index:
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


@dataclass(frozen=True, slots=True, eq=False)
class Source:
    """One ciphertext that a map reads: its layout [slots], and which operand it belongs to.

    `period` is that of the layout: shifts that differ by it see the same.
    """

    index: Index
    operand: int
    period: int


def read(index: Index, operand: int) -> Source:
    """A source with its period, the smallest power of two."""
    return Source(index, operand, period_of(index))


def slide(
    pattern: Pattern, source: Source, matrix: csr_array
) -> tuple[tuple[Term, ...], Index] | None:
    """Terms and the valid target of a sliding pattern, or None where it does not work out.

    Every slot uses all that it sees at shifts 0, w, 2w, ... (w: the extent of a window), which is
    exact only in windows that see every input exactly once. Whether they do is checked for every
    window by running the masks and folds on random 64-bit numbers instead of inputs: a sum is the
    sum of the inputs wanted, modulo 2^64, only where each was taken once.
    """
    slots = len(source.index)
    size = 1 << len(pattern.strides)
    owner = pattern.owner[0]
    weights = matrix.toarray()
    used = weights != 0
    tags = np.random.default_rng(0).integers(1, 1 << 63, matrix.shape[1], dtype=np.uint64)
    wanted = (used * tags).sum(axis=1, dtype=np.uint64)
    at = np.flatnonzero(owner >= 0)
    rows = owner[at]
    starts = np.flatnonzero(pattern.target[0] >= 0)
    present = len(np.unique(source.index[source.index >= 0]))
    blocks = -(-present // size)
    if blocks > MAX_BLOCKS or not _slides_somewhere(pattern, source, used, tags, blocks):
        return None
    sums = np.zeros(slots, dtype=np.uint64)
    masks: list[tuple[int, Vector]] = []
    for block in range(blocks + 1):
        shift = block * pattern.period * size % slots
        seen = source.index[(at + shift) % slots]
        held = seen >= 0
        seen = np.maximum(seen, 0)
        mask = np.zeros(slots)
        mask[at] = np.where(held, weights[rows, seen], 0.0)
        masks.append((shift, mask))
        sums[at] += np.where(held & used[rows, seen], tags[seen], np.uint64(0))
        if block < blocks - 1:
            continue
        total = sums
        for stride in pattern.strides:
            total = total + np.roll(total, -stride)
        good = starts[total[starts] == wanted[owner[starts]]]
        target = np.full_like(pattern.target, NOTHING)
        target[0, good] = owner[good]
        if Layout(target).holds(matrix.shape[0]):
            return tuple(Term(0, s, m) for s, m in masks if m.any()), target
    return None


def _slides_somewhere(
    pattern: Pattern,
    source: Source,
    used: NDArray[np.bool_],
    tags: NDArray[np.uint64],
    blocks: int,
) -> bool:
    """Whether a window of the output that reads the most inputs sees each of them once, in as many
    blocks as `slide` tries: a quick look before all windows are checked."""
    row = int(np.argmax(used.sum(axis=1)))
    offsets = np.zeros(1, dtype=np.int64)
    for stride in pattern.strides:
        offsets = np.concatenate([offsets, offsets + stride])
    at = np.flatnonzero(pattern.target[0] == row)[:, None] + offsets
    taken = np.where(used[row], tags, np.uint64(0))
    # The last entry stands for slots that hold nothing.
    taken = np.append(taken, np.uint64(0))
    sums = np.zeros(len(at), dtype=np.uint64)
    for block in range(blocks + 1):
        shift = block * pattern.period * len(offsets)
        sums += taken[source.index[(at + shift) % len(source.index)]].sum(axis=1, dtype=np.uint64)
        if block >= blocks - 1 and (sums == taken.sum(dtype=np.uint64)).any():
            return True
    return False


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
        self.row_start = [self.owner * (m.shape[1] + 1) for m in matrices]
        self.cells: dict[int, Index] = {}
        self.base: list[Index] = []
        self.row_base: list[Index] = []
        total = 0
        for k, m in enumerate(matrices):
            counts = np.diff(m.indptr)[self.window_owner] * (k not in skip)
            self.base.append(total + np.cumsum(counts) - counts)
            self.row_base.append(self.base[k][self.window] - m.indptr[self.owner])
            total += int(counts.sum())
        # One more, always covered: where a slot sees nothing of use.
        self.covered = np.zeros(total + 1, dtype=bool)
        self.covered[total] = True
        self.missing = total
        self._next = 0

    def _seen(self, source: Source, shifts: Index) -> tuple[NDArray[np.int32], Index]:
        """(weight number, pair) [shifts, at], the weight -1 where a slot sees nothing of use."""
        cells = self._cells(source)
        table = self.lookup[source.operand]
        assert table is not None
        weight = np.empty((len(shifts), len(self.at)), dtype=np.int32)
        for k, shift in enumerate(shifts):
            seen = self.row_start[source.operand] + cells[self.at + shift]
            np.take(table.reshape(-1), seen, out=weight[k], mode="clip")
        pair = np.where(weight >= 0, weight + self.row_base[source.operand][None, :], -1)
        return weight, pair

    def _cells(self, source: Source) -> Index:
        """Twice around the ring: the lookup table's column of what each slot holds."""
        key = id(source.index)
        if key not in self.cells:
            ring = np.concatenate([source.index, source.index])
            table = self.lookup[source.operand]
            assert table is not None
            self.cells[key] = np.where(ring < 0, table.shape[1] - 1, ring)
        return self.cells[key]

    def best_shift(self, source: Source, shifts: Index) -> tuple[int, int]:
        """(pairs newly covered, shift) of the best of `shifts`, the first where several are."""
        _, pair = self._seen(source, shifts)
        bounds = (~self.covered[pair]).sum(axis=1)
        best = (0, int(shifts[0]))
        for k in np.argsort(-bounds, kind="stable"):
            if bounds[k] <= best[0]:
                break
            gain = len(np.unique(pair[k][~self.covered[pair[k]]]))
            if gain > best[0]:
                best = (gain, int(shifts[k]))
        return best

    def take(self, source: Source, shift: int, mask: Vector) -> int:
        """Put into `mask` what `source` rotated by `shift` newly covers; how many pairs that is."""
        weight, pair = (x[0] for x in self._seen(source, np.array([shift])))
        new = np.flatnonzero(~self.covered[pair])
        _, first = np.unique(pair[new], return_index=True)
        chosen = new[first]
        mask[self.at[chosen]] = self.matrices[source.operand].data[weight[chosen]]
        self.covered[pair[chosen]] = True
        self.missing -= len(chosen)
        return len(chosen)

    def next_uncovered(self) -> tuple[int, int, int] | None:
        """(operand, window, input) of the first pair that is not covered."""
        if not self.missing:
            return None
        self._next += int(np.argmin(self.covered[self._next :]))
        operand = max(k for k, b in enumerate(self.base) if len(b) and b[0] <= self._next)
        window = int(np.searchsorted(self.base[operand], self._next, side="right")) - 1
        matrix = self.matrices[operand]
        row = self.window_owner[window]
        nth = self._next - self.base[operand][window]
        return operand, window, int(matrix.indices[matrix.indptr[row] + nth])


def _positions(matrix: csr_array) -> NDArray[np.int32]:
    """[m, n + 1]: number of the stored weight at (row, column), or -1; the last column is -1."""
    table = np.full((matrix.shape[0], matrix.shape[1] + 1), -1, dtype=np.int32)
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
    it is clear that more than `max_terms` terms would be needed, or when an input stands in no
    source. Operands in `skip` are served otherwise.
    """
    if not skip and _alone(owner, window, sources):
        return _direct(owner, sources, matrices, max_terms)
    pairs = _Pairs(owner, window, matrices, skip)
    terms: dict[tuple[int, int], Vector] = {}
    total = pairs.missing

    def take(number: int, shift: int) -> None:
        mask = terms.get((number, shift), np.zeros(pairs.slots))
        if pairs.take(sources[number], shift, mask):
            terms[number, shift] = mask

    for number in range(len(sources)):
        take(number, 0)
    while (missing := pairs.next_uncovered()) is not None:
        operand, window_number, element = missing
        found: list[tuple[int, int, int]] = []
        for number, source in enumerate(sources):
            shifts = _shifts(source, element, pairs.members[window_number])
            if source.operand == operand and len(shifts):
                gain, shift = pairs.best_shift(source, shifts)
                found.append((gain, -number, shift))
        if not found:
            return None
        _, negative, shift = max(found)
        take(-negative, shift)
        # Gains fall: what remains takes about as many for each pair as so far, or more than that.
        if len(terms) * total > max_terms * (total - pairs.missing):
            return None
    return [Term(n, s, mask) for (n, s), mask in sorted(terms.items(), key=lambda x: x[0])]


def _alone(owner: Index, window: Index, sources: list[Source]) -> bool:
    """Whether every output is computed in its slot alone, from one source for each operand."""
    held = window[owner >= 0]
    return len(np.unique(held)) == len(held) and len({s.operand for s in sources}) == len(sources)


def _direct(
    owner: Index, sources: list[Source], matrices: tuple[csr_array, ...], max_terms: int
) -> list[Term] | None:
    """Each weight at the shift from its output's slot to the next one that holds its input."""
    at = np.flatnonzero(owner >= 0)
    terms: list[Term] = []
    for number, source in enumerate(sources):
        matrix = matrices[source.operand]
        counts = np.diff(matrix.indptr)[owner[at]]
        slot = np.repeat(at, counts)
        first = np.repeat(matrix.indptr[owner[at]] - np.cumsum(counts) + counts, counts)
        weight = first + np.arange(len(slot))
        shift = _next_place(source.index, matrix.indices[weight], slot)
        if shift is None:
            return None
        shifts, group = np.unique(shift % source.period, return_inverse=True)
        if len(terms) + len(shifts) > max_terms:
            return None
        masks = np.zeros((len(shifts), len(owner)))
        masks[group, slot] = matrix.data[weight]
        terms += [Term(number, int(s), mask) for s, mask in zip(shifts, masks, strict=True)]
    return terms


def _next_place(layout: Index, elements: Index, slots: Index) -> Index | None:
    """Slots from each of `slots` to the next that holds the element; None if one is nowhere."""
    span = 2 * len(layout)
    ring = np.concatenate([layout, layout])
    held = np.flatnonzero(ring >= 0)
    keys = np.sort(ring[held] * span + held)
    wanted = elements * span + slots
    nearest = keys[np.minimum(np.searchsorted(keys, wanted), len(keys) - 1)]
    distance: Index = nearest - wanted
    return distance if ((distance >= 0) & (distance < len(layout))).all() else None


def _shifts(source: Source, element: int, members: Index) -> Index:
    """Shifts that bring `element` to one of the slots `members`: the nearest, and some others."""
    slots = source.period
    places = np.flatnonzero(source.index[:slots] == element)
    shifts = np.unique((places[:, None] - members[None, :]) % slots)
    shifts = shifts[np.argsort(np.minimum(shifts, slots - shifts), kind="stable")]
    if len(shifts) > MAX_CANDIDATES:
        far = shifts[MAX_CANDIDATES // 2 :]
        step = -(-len(far) * 2 // MAX_CANDIDATES)
        shifts = np.concatenate([shifts[: MAX_CANDIDATES // 2], far[::step]])
    return shifts
