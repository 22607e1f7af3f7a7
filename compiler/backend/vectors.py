"""Plaintext vectors: a plan's are met in each of the programs that are made of it."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from eer.runtime.program import Slots


@dataclass(slots=True, eq=False)
class Vectors:
    """Different vectors by number, with what there is to know of them. A vector that is held is
    known again by what it is, any other by what it has."""

    held: list[Slots] = field(default_factory=list)
    _any: list[bool] = field(default_factory=list)
    _by_id: dict[int, int] = field(default_factory=dict)
    _by_hash: dict[int, list[int]] = field(default_factory=dict)

    def number(self, values: Slots) -> int:
        """Equal for equal vectors of a type."""
        known = self._by_id.get(id(values))
        if known is not None:
            return known
        alike = self._by_hash.setdefault(hash(values.tobytes()), [])
        for number in alike:
            if np.array_equal(self.held[number], values):
                return number
        number = len(self.held)
        alike.append(number)
        self._by_id[id(values)] = number
        self.held.append(values)
        self._any.append(bool(values.any()))
        return number

    def any(self, values: Slots) -> bool:
        """Whether a vector has anything but zeros."""
        return self._any[self.number(values)]
