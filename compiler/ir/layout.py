"""Layouts: which element of a tensor each slot of each ciphertext holds."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from eer.runtime.program import Slots

Index = NDArray[np.int64]

NOTHING = -1
"""Marks a slot that holds no element: it may hold anything, and no one may read it."""


@dataclass(frozen=True, slots=True, eq=False)
class Layout:
    """`index[k, s]` is the flat element that slot s of ciphertext k holds, or NOTHING.

    Elements may stand in several slots; that freedom is what makes products cheap. In a `clean`
    layout the slots that hold no element hold zero.
    """

    index: Index
    clean: bool = False

    @property
    def ciphers(self) -> int:
        return int(self.index.shape[0])

    @property
    def slots(self) -> int:
        return int(self.index.shape[1])

    def holds(self, size: int) -> bool:
        """Whether every element 0..size-1 stands somewhere."""
        held = self.index[self.index >= 0]
        return bool(np.bincount(held, minlength=size)[:size].all())

    def place(self, vector: Slots, cipher: int, fill: float = 0.0) -> Slots:
        """A vector [slots] with `vector[e]` wherever element e stands, `fill` elsewhere."""
        index = self.index[cipher]
        placed: Slots = np.where(index >= 0, vector[np.maximum(index, 0)], fill)
        return placed

    def first(self, size: int) -> tuple[Index, Index]:
        """(cipher, slot) of one copy of each element."""
        flat = self.index.reshape(-1)
        where = np.full(size, -1, dtype=np.int64)
        held = np.flatnonzero(flat >= 0)[::-1]
        where[flat[held]] = held
        return where // self.slots, where % self.slots

    def signature(self) -> bytes:
        """Equal for equal layouts."""
        return self.index.tobytes() + bytes([self.clean])


def period_of(index: Index) -> int:
    """The smallest power of two of slots after which a layout [slots] repeats."""
    period = len(index)
    while period % 2 == 0 and (index[: period // 2] == index[period // 2 : period]).all():
        period //= 2
    return period


def power_of_two(n: int) -> int:
    """The smallest one that is not below n."""
    return 1 << (n - 1).bit_length()
