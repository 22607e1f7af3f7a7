"""Covers: the rotations and masks that carry a matrix from one layout to a pattern.

A term (source, shift, mask) means mask * rotate(source, shift). Terms are chosen so that in every
window of the pattern each (output, input) pair with a nonzero weight is used exactly once.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import numpy as np
from scipy.sparse import csr_array

from eer.runtime.program import Slots

from ..ir.layout import NOTHING, Index, period_of
from .pairs import Pairs, Seen
from .terms import Terms

MAX_TERMS = 1024
MAX_CANDIDATES = 24


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


def cover(
    owner: Index,
    window: Index,
    sources: list[Source],
    matrices: tuple[csr_array, ...],
    max_terms: int = MAX_TERMS,
    skip: frozenset[int] = frozenset(),
) -> Terms | None:
    """Terms for one ciphertext of a disjoint pattern (greedy: the shift that covers most, first).

    `matrices[k]` applies to operand k; weights must be stored without explicit zeros. There are
    none when it is clear that more than `max_terms` would be needed, or when an input stands in no
    source. Operands in `skip` are served otherwise.
    """
    if not skip and _alone(owner, window, sources):
        return _direct(owner, sources, matrices, max_terms)
    search = _Search.of(owner, window, sources, matrices, skip)
    total = missing = sum(len(p) for p in search.pairs.values())
    for number in range(len(sources)):
        missing -= search.take(number, search.look(number, np.zeros(1, dtype=np.int64)))
    places = [_Places(source) for source in sources] if missing else []
    for operand, lacking in search.pairs.items():
        own = [n for n, source in enumerate(sources) if source.operand == operand]
        while (wanted := lacking.next_uncovered()) is not None:
            offered: list[tuple[int, int, Seen]] = []
            for number in own:
                shifts = places[number].shifts(wanted.element, wanted.members)
                if len(shifts):
                    found = search.look(number, shifts)
                    offered.append((found.gain, -number, found))
            if not offered:
                return None
            _, negative, found = max(offered, key=lambda f: f[:2])
            missing -= search.take(-negative, found)
            # Gains fall: what remains takes about as many for each pair as so far, or more.
            if len(search.taken) * total > max_terms * (total - missing):
                return None
    order = [(number, found.shift) for number, found in search.taken]

    def masks() -> list[Slots]:
        """Searches take much memory: what this one took is taken again."""
        again = _Search.of(owner, window, sources, matrices, skip)
        for number, shift in order:
            again.take(number, again.look(number, np.array([shift])))
        return again.masks()

    return Terms(tuple(sorted(order)), masks)


@dataclass(frozen=True, slots=True, eq=False)
class _Search:
    """Pairs to be covered, by operand, and what has been taken so far: (source, what it has)."""

    sources: list[Source]
    pairs: dict[int, Pairs]
    rings: list[Index]
    taken: list[tuple[int, Seen]]

    @classmethod
    def of(
        cls,
        owner: Index,
        window: Index,
        sources: list[Source],
        matrices: tuple[csr_array, ...],
        skip: frozenset[int],
    ) -> _Search:
        pairs = {k: Pairs(owner, window, m) for k, m in enumerate(matrices) if k not in skip}
        return cls(sources, pairs, [pairs[s.operand].ring(s.index) for s in sources], [])

    def look(self, number: int, shifts: Index) -> Seen:
        """What the best of these shifts of a source has."""
        return self.pairs[self.sources[number].operand].best(self.rings[number], shifts)

    def take(self, number: int, found: Seen) -> int:
        """Take that, if it is anything: how many pairs it is."""
        if found.gain:
            self.pairs[self.sources[number].operand].take(found)
            self.taken.append((number, found))
        return found.gain

    def masks(self) -> list[Slots]:
        """Of all that was taken, by source and shift."""
        made: dict[tuple[int, int], Slots] = {}
        for operand, own in self.pairs.items():
            of_this = [(n, s) for n, s in self.taken if self.sources[n].operand == operand]
            masks = own.masks([seen for _, seen in of_this])
            made |= {(n, s.shift): m for (n, s), m in zip(of_this, masks, strict=True)}
        return [made[place] for place in sorted(made)]


def _alone(owner: Index, window: Index, sources: list[Source]) -> bool:
    """Whether every output is computed in its slot alone, and every element stands in one source
    only."""
    held = window[owner >= 0]
    if len(np.unique(held)) < len(held):
        return False
    operands = {s.operand for s in sources}
    if len(operands) == len(sources):
        return True
    each = ([np.unique(s.index[s.index >= 0]) for s in sources if s.operand == k] for k in operands)
    return all(len(np.unique(np.concatenate(own))) == sum(map(len, own)) for own in each)


def _direct(
    owner: Index, sources: list[Source], matrices: tuple[csr_array, ...], max_terms: int
) -> Terms | None:
    """Each weight at the shift from its output's slot to the next one that holds its input."""
    places: list[tuple[int, int]] = []
    wanted = np.array([np.diff(m.indptr)[owner[owner >= 0]].sum() for m in matrices])
    for number, source in enumerate(sources):
        read = _read_directly(owner, source, matrices[source.operand])
        wanted[source.operand] -= len(read.slot)
        shifts = np.flatnonzero(np.bincount(read.shift, minlength=1))
        places += [(number, int(s)) for s in shifts]
        if len(places) > max_terms:
            return None
    if any(wanted[s.operand] for s in sources):
        return None
    masks = partial(_direct_masks, owner, sources, matrices)
    return Terms(tuple(places), masks)


def _direct_masks(
    owner: Index, sources: list[Source], matrices: tuple[csr_array, ...]
) -> list[Slots]:
    """The masks of `_direct`, by source and shift."""
    masks: list[Slots] = []
    for source in sources:
        matrix = matrices[source.operand]
        read = _read_directly(owner, source, matrix)
        shifts, group = np.unique(read.shift, return_inverse=True)
        own = np.zeros((len(shifts), len(owner)), matrix.data.dtype)
        own[group, read.slot] = matrix.data[read.weight]
        masks += list(own)
    return masks


@dataclass(frozen=True, slots=True, eq=False)
class _Read:
    """For each weight that is used, by its place in the matrix's data: the slot that it is for, and
    the shift at which its input is read."""

    slot: Index
    weight: Index
    shift: Index


def _read_directly(owner: Index, source: Source, matrix: csr_array) -> _Read:
    """Of the inputs that stand in the source."""
    at = np.flatnonzero(owner >= 0)
    counts = np.diff(matrix.indptr)[owner[at]]
    slot = np.repeat(at, counts)
    first = np.repeat(matrix.indptr[owner[at]] - np.cumsum(counts) + counts, counts)
    weight = first + np.arange(len(slot))
    held = np.zeros(matrix.shape[1], dtype=bool)
    held[source.index[source.index >= 0]] = True
    here = held[matrix.indices[weight]]
    slot, weight = slot[here], weight[here]
    return _Read(
        slot, weight, _next_place(source.index[: source.period], matrix.indices[weight], slot)
    )


def _next_place(layout: Index, elements: Index, slots: Index) -> Index:
    """Slots from each of `slots` to the next that holds the element, in a layout repeated."""
    held = np.flatnonzero(layout >= 0)
    place = np.full(int(max(layout.max(), elements.max(initial=0))) + 1, NOTHING, dtype=np.int64)
    place[layout[held]] = held
    if np.count_nonzero(place >= 0) == len(held):
        shift: Index = (place[elements] - slots) % len(layout)
        return shift
    slots = slots % len(layout)
    span = 2 * len(layout)
    ring = np.concatenate([layout, layout])
    held = np.flatnonzero(ring >= 0)
    keys = np.sort(ring[held] * span + held)
    wanted = elements * span + slots
    nearest = keys[np.searchsorted(keys, wanted)]
    distance: Index = nearest - wanted
    return distance


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
        seen = np.zeros(self._period, dtype=bool)
        # A power of two.
        seen[(places[:, None] - members) & (self._period - 1)] = True
        shifts = np.flatnonzero(seen)
        shifts = shifts[np.argsort(np.minimum(shifts, self._period - shifts), kind="stable")]
        if len(shifts) > MAX_CANDIDATES:
            far = shifts[MAX_CANDIDATES // 2 :]
            step = -(-len(far) * 2 // MAX_CANDIDATES)
            shifts = np.concatenate([shifts[: MAX_CANDIDATES // 2], far[::step]])
        return shifts
