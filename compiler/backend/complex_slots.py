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

import numpy as np

from eer.runtime.program import Slots

from .cover import Term

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


@dataclass(frozen=True, slots=True, eq=False)
class Joined:
    """A term of a join: the masks of its two sources' terms, made one only when it is read."""

    source: int
    shift: int
    real: Slots | None
    imaginary: Slots | None

    @property
    def mask(self) -> Slots:
        if self.imaginary is None:
            assert self.real is not None
            return self.real
        if self.real is None:
            alone: Slots = -1j * self.imaginary
            return alone
        return self.real - 1j * self.imaginary


AnyTerm = Term | Joined

Ciphers = Sequence[Sequence[AnyTerm]]
"""The terms of every output ciphertext."""


def joined(terms: Sequence[AnyTerm], join: Join, slots: int) -> list[AnyTerm]:
    """`terms` with those of the join's sources read from the join."""
    kept = [t for t in terms if t.source not in (join.first, join.second)]
    real = {t.shift: t.mask for t in terms if t.source == join.first}
    imaginary: dict[int, Slots] = {}
    if join.first != join.second:
        of_second = [t for t in terms if t.source == join.second]
        imaginary = {(t.shift - join.turn) % slots: t.mask for t in of_second}
    else:
        for shift in sorted(real):
            partner = (shift + join.turn) % slots
            if shift in real and partner in real and partner not in imaginary:
                imaginary[shift] = real.pop(partner)
    for shift in sorted(real.keys() | imaginary.keys()):
        kept.append(Joined(join.first, shift, real.get(shift), imaginary.get(shift)))
    return kept


def best_join(
    ciphers: Ciphers, pair: tuple[int, int], slots: int, price: Callable[[Ciphers, Join], float]
) -> tuple[Join, list[list[AnyTerm]]] | None:
    """The join of two sources (or of one) at the least price, with the terms that it leaves.

    None where there are too few terms for a join to be of use.
    """
    shifts = [sorted({t.shift for c in ciphers for t in c if t.source == s}) for s in pair]
    if not all(shifts) or (pair[0] == pair[1] and len(shifts[0]) < FEWEST):
        return None
    best: tuple[float, Join, list[list[AnyTerm]]] | None = None
    for turn in _turns(shifts[0], shifts[1], slots, alone=pair[0] == pair[1]):
        join = Join(*pair, turn)
        left = [joined(terms, join, slots) for terms in ciphers]
        total = price(left, join)
        if best is None or total < best[0]:
            best = (total, join, left)
    return None if best is None else best[1:]


def _turns(first: list[int], second: list[int], slots: int, *, alone: bool) -> list[int]:
    """Differences of shifts that pair many terms: the most first, and the smaller of equals."""
    a, b = (np.array(s[:: max(1, len(s) // SAMPLED_SHIFTS)]) for s in (first, second))
    differences, counts = np.unique((b[None, :] - a[:, None]) % slots, return_counts=True)
    order = np.lexsort((differences, -counts))
    turns = [int(d) for d in differences[order] if d or not alone]
    return turns[:TURNS]
