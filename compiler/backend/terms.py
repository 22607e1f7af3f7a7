"""Terms: products of rotated ciphertexts with masks, which are made once a plan is chosen."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial

import numpy as np
from numpy.typing import NDArray

from eer.runtime.program import Slots


@dataclass(frozen=True, slots=True, eq=False)
class Term:
    """mask * rotate(operand ciphertext `source`, shift); shift in 0..slots-1. The mask is complex
    where the source's slots hold two values (see `complex_slots`), or weights are (see `roots`).

    `made` makes it: of all terms that a search looks at, few are in the plan that it chooses.
    """

    source: int
    shift: int
    made: Callable[[], Slots]

    @classmethod
    def of(cls, source: int, shift: int, mask: Slots) -> Term:
        """One whose mask is known."""
        return cls(source, shift, lambda: mask)

    @property
    def mask(self) -> Slots:
        return self.made()


Shifts = NDArray[np.int32]


def distinct(shifts: Shifts) -> Shifts:
    """Each once, in ascending order: of few, several times as fast as np.unique."""
    ordered = np.sort(shifts, axis=None)
    new = np.ones(ordered.shape, dtype=bool)
    np.not_equal(ordered[1:], ordered[:-1], out=new[1:])
    return ordered[new]


@dataclass(frozen=True, slots=True, eq=False)
class Reads:
    """The source and the shift of each of some terms."""

    sources: NDArray[np.int32]
    shifts: Shifts

    @classmethod
    def of(cls, terms: Sequence[Term]) -> Reads:
        sources = np.fromiter((t.source for t in terms), np.int32, len(terms))
        return cls(sources, np.fromiter((t.shift for t in terms), np.int32, len(terms)))

    @classmethod
    def of_all(cls, ciphers: Sequence[Sequence[Term]]) -> list[Reads]:
        """Of the terms of each ciphertext: the same object where they read the same."""
        same: dict[bytes, Reads] = {}
        each = (cls.of(terms) for terms in ciphers)
        return [same.setdefault(r.sources.tobytes() + r.shifts.tobytes(), r) for r in each]


@dataclass(frozen=True, slots=True, eq=False)
class Terms:
    """Terms at some `places`, (source, shift) of each, whose masks are made together.

    Terms of one iteration share what is made.
    """

    places: tuple[tuple[int, int], ...]
    make: Callable[[], Sequence[Slots]]

    def __len__(self) -> int:
        return len(self.places)

    def __iter__(self) -> Iterator[Term]:
        masks = _Masks(self.make)
        for number, (source, shift) in enumerate(self.places):
            yield Term(source, shift, partial(masks.of, number))


@dataclass(slots=True, eq=False)
class _Masks:
    """Masks that are made when the first of them is asked for."""

    make: Callable[[], Sequence[Slots]]
    made: list[Slots] = field(default_factory=list)

    def of(self, number: int) -> Slots:
        if not self.made:
            self.made.extend(self.make())
        return self.made[number]
