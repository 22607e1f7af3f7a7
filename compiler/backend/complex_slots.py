"""Complex slots: two real values to a slot, so that one product with a plaintext does for two.

Where z = x + iy, the real part of z * (v - iw) is x * v + y * w. The client packs such slots for
nothing; on the server a *join*, x + i * rotate(y, turn), takes a rotation and no level, and every
rotation of it is one of both. What products leave in the imaginary part goes away when a sum and
its conjugate are added, which takes one more key switch and doubles the real part; the client
never looks at it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from eer.runtime.program import Slots

from .terms import Reads, Shifts, Term, distinct

TURNS = 10
"""Turns of a join that are compared, those that pair the most terms first."""

SAMPLED_SHIFTS = 48
"""Shifts of each source whose differences are looked at for turns, about."""

FEWEST = 3
"""Terms of a ciphertext below which joining it with itself saves nothing."""


@dataclass(frozen=True, slots=True)
class Join:
    """first + i * rotate(second, turn), of two sources or of one with itself; it takes the place
    of the first."""

    first: int
    second: int
    turn: int


def two_by_two(sources: Sequence[int]) -> list[tuple[int, int]]:
    """Sources to join: one after the other, a last one with itself."""
    return [(s, (*sources, s)[k + 1]) for k, s in enumerate(sources) if k % 2 == 0]


Ciphers = Sequence[Sequence[Term]]
"""The terms of every output ciphertext."""


def joined(terms: Sequence[Term], join: Join, slots: int) -> list[Term]:
    """`terms` with those of the join's sources read from the join."""
    kept = [t for t in terms if t.source not in (join.first, join.second)]
    real = {t.shift: t for t in terms if t.source == join.first}
    imaginary: dict[int, Term] = {}
    if join.first != join.second:
        of_second = [t for t in terms if t.source == join.second]
        imaginary = {(t.shift - join.turn) % slots: t for t in of_second}
    else:
        partners = _partners(sorted(real), join.turn, slots)
        imaginary = {shift: real.pop(partner) for shift, partner in partners.items()}
    for shift in sorted(real.keys() | imaginary.keys()):
        made = partial(_mask, real.get(shift), imaginary.get(shift))
        kept.append(Term(join.first, shift, made))
    return kept


def _partners(shifts: Sequence[int], turn: int, slots: int) -> dict[int, int]:
    """Which of a source's shifts, in ascending order, take which others `turn` further on into
    their imaginary parts."""
    left = set(shifts)
    partners: dict[int, int] = {}
    for shift in shifts:
        partner = (shift + turn) % slots
        if shift in left and partner in left and partner not in partners:
            partners[shift] = partner
            left.remove(partner)
    return partners


def _reads(reads: Reads, join: Join, slots: int) -> Reads:
    """Those of the terms that `joined` leaves."""
    first, second = (reads.shifts[reads.sources == s] for s in (join.first, join.second))
    if join.first != join.second:
        shifts = distinct(np.concatenate((first, (second - join.turn) % slots)))
    else:
        own = sorted(first.tolist())
        partners = _partners(own, join.turn, slots)
        gone = set(partners.values()) - partners.keys()
        shifts = np.array([s for s in own if s not in gone], dtype=np.int32)
    kept = (reads.sources != join.first) & (reads.sources != join.second)
    sources = np.full(len(shifts), join.first, dtype=np.int32)
    return Reads(
        np.concatenate((reads.sources[kept], sources)), np.concatenate((reads.shifts[kept], shifts))
    )


def _mask(real: Term | None, imaginary: Term | None) -> Slots:
    """The mask of a join's term, by the terms of its two sources."""
    if imaginary is None:
        assert real is not None
        return real.mask
    if real is None:
        alone: Slots = -1j * imaginary.mask
        return alone
    return real.mask - 1j * imaginary.mask


def best_join(
    ciphers: Ciphers,
    pair: tuple[int, int],
    slots: int,
    price: Callable[[Sequence[Reads], Join], float],
) -> tuple[Join, list[list[Term]]] | None:
    """The join of two sources (or of one) at the least price, with the terms that it leaves.

    `price` is that of what the terms read with a join.
    None where there are too few terms for a join to be of use.
    """
    reads = Reads.of_all(ciphers)
    different = {id(r): r for r in reads}
    shifts = [
        distinct(np.concatenate([r.shifts[r.sources == s] for r in different.values()]))
        for s in pair
    ]
    if not all(map(len, shifts)) or (pair[0] == pair[1] and len(shifts[0]) < FEWEST):
        return None
    turns = _turns(shifts[0], shifts[1], slots, alone=pair[0] == pair[1])
    joins = [Join(*pair, turn) for turn in turns]
    if not joins:
        return None

    def priced(join: Join) -> float:
        left = {number: _reads(r, join, slots) for number, r in different.items()}
        return price([left[id(r)] for r in reads], join)

    best = min(joins, key=priced)
    return best, [joined(terms, best, slots) for terms in ciphers]


def _turns(first: Shifts, second: Shifts, slots: int, *, alone: bool) -> list[int]:
    """Differences of shifts that pair many terms: the most first, and the smaller of equals."""
    a, b = (s[:: max(1, len(s) // SAMPLED_SHIFTS)] for s in (first, second))
    differences, counts = np.unique((b[None, :] - a[:, None]) % slots, return_counts=True)
    order = np.lexsort((differences, -counts))
    turns = [int(d) for d in differences[order] if d or not alone]
    return turns[:TURNS]
