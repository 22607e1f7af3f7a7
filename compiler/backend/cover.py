"""Covers: the rotations and masks that carry a matrix from one layout to a pattern.

A term (source, shift, mask) means mask * rotate(source, shift). Terms are chosen so that in every
window of the pattern each (output, input) pair with a nonzero weight is used exactly once.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import inf

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from eer.runtime.program import Slots

from ..ir.layout import NOTHING, Index, period_of
from .pairs import Pairs, Seen
from .pattern import Pattern

Vector = NDArray[np.float64]

MAX_TERMS = 1024
MAX_CANDIDATES = 24


@dataclass(frozen=True, slots=True, eq=False)
class Term:
    """mask * rotate(operand ciphertext `source`, shift); shift in 0..slots-1. The mask is complex
    where the source's slots hold two values (see `complex_slots`)."""

    source: int
    shift: int
    mask: Slots


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
    rank = ranks(pattern, cipher)
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


@dataclass(frozen=True, slots=True, eq=False)
class Cover:
    """Terms, or None where fewer than `needed` were allowed: infinite where no number is enough.

    `taken` has the (source, shift) of each in the order in which they were found.
    """

    terms: list[Term] | None
    needed: float
    taken: tuple[tuple[int, int], ...] = ()


def cover(
    owner: Index,
    window: Index,
    sources: list[Source],
    matrices: tuple[csr_array, ...],
    max_terms: int = MAX_TERMS,
    skip: frozenset[int] = frozenset(),
    taken: Sequence[tuple[int, int]] = (),
) -> Cover:
    """Terms for one ciphertext of a disjoint pattern (greedy: the shift that covers most, first).

    `matrices[k]` applies to operand k; weights must be stored without explicit zeros. There are
    none when it is clear that more than `max_terms` would be needed, or when an input stands in no
    source. Operands in `skip` are served otherwise. `taken` is what another search found.
    """
    if not skip and _alone(owner, window, sources):
        return _direct(owner, sources, matrices, max_terms)
    pairs = {k: Pairs(owner, window, m) for k, m in enumerate(matrices) if k not in skip}
    rings = [pairs[source.operand].ring(source.index) for source in sources]
    total = missing = sum(len(p) for p in pairs.values())
    seen: list[tuple[int, Seen]] = []
    needed = 0

    def look(number: int, shifts: Index) -> Seen:
        return pairs[sources[number].operand].best(rings[number], shifts)

    def take(number: int, found: Seen) -> None:
        nonlocal missing
        pairs[sources[number].operand].take(found)
        seen.append((number, found))
        missing -= found.gain

    for number, shift in taken or [(number, 0) for number in range(len(sources))]:
        found = look(number, np.array([shift]))
        if found.gain:
            take(number, found)
    places = [_Places(source) for source in sources] if missing else []
    for operand, lacking in pairs.items():
        own = [n for n, source in enumerate(sources) if source.operand == operand]
        while (wanted := lacking.next_uncovered()) is not None:
            offered: list[tuple[int, int, Seen]] = []
            for number in own:
                shifts = places[number].shifts(wanted.element, wanted.members)
                if len(shifts):
                    found = look(number, shifts)
                    offered.append((found.gain, -number, found))
            if not offered:
                return Cover(None, inf)
            _, negative, found = max(offered, key=lambda f: f[:2])
            take(-negative, found)
            # Gains fall: what remains takes about as many for each pair as so far, or more.
            needed = max(needed, -(-len(seen) * total // (total - missing)))
            if needed > max_terms:
                return Cover(None, max_terms + 1)
    order = tuple((number, found.shift) for number, found in seen)
    return Cover(_terms(seen, sources, pairs), needed, order)


def _terms(
    taken: Sequence[tuple[int, Seen]], sources: Sequence[Source], pairs: Mapping[int, Pairs]
) -> list[Term]:
    """The terms of what was taken, by source and shift."""
    terms: list[Term] = []
    for operand, own in pairs.items():
        of_this = [(n, seen) for n, seen in taken if sources[n].operand == operand]
        masks = own.masks([seen for _, seen in of_this])
        terms += [Term(n, s.shift, m) for (n, s), m in zip(of_this, masks, strict=True)]
    return sorted(terms, key=lambda t: (t.source, t.shift))


def _alone(owner: Index, window: Index, sources: list[Source]) -> bool:
    """Whether every output is computed in its slot alone, from one source for each operand."""
    held = window[owner >= 0]
    return len(np.unique(held)) == len(held) and len({s.operand for s in sources}) == len(sources)


def _direct(
    owner: Index, sources: list[Source], matrices: tuple[csr_array, ...], max_terms: int
) -> Cover:
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
            return Cover(None, inf)
        shifts, group = np.unique(shift % source.period, return_inverse=True)
        if len(terms) + len(shifts) > max_terms:
            return Cover(None, max_terms + 1)
        masks = np.zeros((len(shifts), len(owner)))
        masks[group, slot] = matrix.data[weight]
        terms += [Term(number, int(s), mask) for s, mask in zip(shifts, masks, strict=True)]
    return Cover(terms, len(terms), tuple((t.source, t.shift) for t in terms))


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


class _Places:
    """Where the elements of a source stand within its period."""

    def __init__(self, source: Source) -> None:
        self._period = source.period
        elements = source.index[: source.period]
        self._places = np.argsort(elements, kind="stable")
        most = max(0, int(elements.max()) + 1)
        self._first = np.searchsorted(elements[self._places], np.arange(most + 1))

    def shifts(self, element: int, members: Index) -> Index:
        """Shifts that bring `element` to one of the slots `members`: the nearest, and some others.

        Of equally near ones the smaller comes first.
        """
        if element + 1 >= len(self._first):
            return self._places[:0]
        places = self._places[self._first[element] : self._first[element + 1]]
        shifts = np.sort((places[:, None] - members).reshape(-1) % self._period)
        shifts = shifts[np.diff(shifts, prepend=-1) > 0]
        shifts = shifts[np.argsort(np.minimum(shifts, self._period - shifts), kind="stable")]
        if len(shifts) > MAX_CANDIDATES:
            far = shifts[MAX_CANDIDATES // 2 :]
            step = -(-len(far) * 2 // MAX_CANDIDATES)
            shifts = np.concatenate([shifts[: MAX_CANDIDATES // 2], far[::step]])
        return shifts
