"""Sliding patterns: windows that overlap, and which of them see every input exactly once."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property, partial

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from eer.runtime.program import Slots

from ..ir.layout import NOTHING, Index, Layout
from .cover import Source
from .pattern import Pattern
from .terms import Terms

MAX_BLOCKS = 128

Tags = NDArray[np.uint64]


@dataclass(frozen=True, slots=True, eq=False)
class Slide:
    """Terms that carry a map out in a sliding pattern, and where their sums are right."""

    terms: Terms
    target: Index


class Slider:
    """Slides of one map.

    Every slot uses all that it sees at shifts 0, w, 2w, ... (w: the extent of a window), which is
    exact only in windows that see every input exactly once. Whether they do is checked for every
    window by running the masks and folds on random 64-bit numbers instead of inputs: a sum is the
    sum of the inputs wanted, modulo 2^64, only where each was taken once.
    """

    def __init__(self, matrix: csr_array) -> None:
        self._matrix = matrix
        tags = np.random.default_rng(0).integers(1, 1 << 63, matrix.shape[1], dtype=np.uint64)
        # The last entry stands for slots that hold nothing.
        self._tags = np.append(tags, np.uint64(0))

    def slide(self, pattern: Pattern, source: Source) -> Slide | None:
        """The slide in a sliding pattern, or None where it does not work out."""
        size = 1 << len(pattern.strides)
        held = source.index[source.index >= 0]
        blocks = -(-int(np.count_nonzero(np.bincount(held))) // size)
        if blocks > MAX_BLOCKS or not self._slides_somewhere(pattern, source, blocks):
            return None
        owner = pattern.owner[0]
        at = np.flatnonzero(owner >= 0)
        rows = owner[at] * self._used.shape[1]
        starts = np.flatnonzero(pattern.target[0] >= 0)
        sums = np.zeros(len(at), dtype=np.uint64)
        shifts: list[int] = []
        step = pattern.period * size
        seen = _seen(source.index, at, np.arange(blocks + 1) * step, self._matrix.shape[1])
        for block, (shift, columns) in enumerate(seen):
            used = self._used.take(rows + columns)
            if used.any():
                shifts.append(shift)
            sums += np.where(used, self._tags.take(columns), np.uint64(0))
            if block < blocks - 1:
                continue
            everywhere = np.zeros(len(owner), dtype=np.uint64)
            everywhere[at] = sums
            total = _folded(everywhere, pattern.strides)
            good = starts[total[starts] == self._wanted[owner[starts]]]
            target = np.full_like(pattern.target, NOTHING)
            target[0, good] = owner[good]
            if Layout(target).holds(self._matrix.shape[0]):
                masks = partial(_masks, self._matrix, owner, source.index, np.array(shifts))
                return Slide(Terms(tuple((0, s) for s in shifts), masks), target)
        return None

    def _slides_somewhere(self, pattern: Pattern, source: Source, blocks: int) -> bool:
        """Whether a window of the output that reads the most inputs sees each of them once, in as
        many blocks as `slide` tries: a quick look before all windows are checked."""
        row, taken = self._longest
        at = np.flatnonzero(pattern.target[0] == row)
        windows = _folded(taken[source.index], pattern.strides)
        shifts = (pattern.period << len(pattern.strides)) * np.arange(blocks + 1)
        parts = np.tile(windows, 2).take(at[:, None] + shifts % len(windows))
        sums = parts[:, :blocks].sum(axis=1, dtype=np.uint64)
        wanted = self._wanted[row]
        return bool((sums == wanted).any() or (sums + parts[:, blocks] == wanted).any())

    @cached_property
    def _used(self) -> NDArray[np.bool_]:
        """[m, n + 1]: which inputs each output uses; a slot that holds nothing sees the last."""
        used = np.zeros((self._matrix.shape[0], self._matrix.shape[1] + 1), dtype=bool)
        used[:, :-1] = self._matrix.toarray() != 0
        return used

    @cached_property
    def _wanted(self) -> Tags:
        """[m]: sums of the tags of the inputs that each output uses."""
        used = np.where(self._matrix.data != 0, self._tags[self._matrix.indices], np.uint64(0))
        sums = np.insert(np.cumsum(used, dtype=np.uint64), 0, np.uint64(0))
        wanted: Tags = np.diff(sums[self._matrix.indptr])
        return wanted

    @cached_property
    def _longest(self) -> tuple[int, Tags]:
        """The output that uses the most inputs, and their tags [n + 1], the others' 0."""
        used = self._matrix.copy()
        used.eliminate_zeros()
        row = int(np.argmax(np.diff(used.indptr)))
        inputs = used.indices[used.indptr[row] : used.indptr[row + 1]]
        taken = np.zeros_like(self._tags)
        taken[inputs] = self._tags[inputs]
        return row, taken


def _seen(index: Index, at: Index, shifts: Index, inputs: int) -> Iterator[tuple[int, Index]]:
    """At each shift, modulo the ring, the input that each slot of `at` sees; `inputs` for none."""
    ring = np.tile(np.where(index == NOTHING, inputs, index), 2)
    for shift in shifts % len(index):
        yield int(shift), ring.take(at + shift)


def _masks(matrix: csr_array, owner: Index, index: Index, shifts: Index) -> list[Slots]:
    """At each shift, the weight of what each slot sees."""
    weights = np.pad(matrix.toarray(), ((0, 0), (0, 1)))
    at = np.flatnonzero(owner >= 0)
    masks: list[Slots] = []
    for _, columns in _seen(index, at, shifts, matrix.shape[1]):
        mask = np.zeros(len(owner), weights.dtype)
        mask[at] = weights[owner[at], columns]
        masks.append(mask)
    return masks


def _folded(values: Tags, strides: tuple[int, ...]) -> Tags:
    """Every slot plus the slots at all subset sums of the strides from it."""
    for stride in strides:
        values = values + np.concatenate((values[stride:], values[:stride]))
    return values
