"""Sliding patterns: windows that overlap, and which of them see every input exactly once."""

from __future__ import annotations

from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from ..ir.layout import NOTHING, Index, Layout
from .cover import Source, Term
from .pattern import Pattern

MAX_BLOCKS = 128

Tags = NDArray[np.uint64]
Vector = NDArray[np.float64]


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

    def slide(self, pattern: Pattern, source: Source) -> tuple[tuple[Term, ...], Index] | None:
        """Terms and the valid target of a sliding pattern, or None where it does not work out."""
        size = 1 << len(pattern.strides)
        held = source.index[source.index >= 0]
        blocks = -(-int(np.count_nonzero(np.bincount(held))) // size)
        if blocks > MAX_BLOCKS or not self._slides_somewhere(pattern, source, blocks):
            return None
        slots, columns = len(source.index), self._matrix.shape[1] + 1
        # The last column is what a slot that holds nothing sees.
        weights = np.pad(self._matrix.toarray(), ((0, 0), (0, 1)))
        owner = pattern.owner[0]
        at = np.flatnonzero(owner >= 0)
        rows = owner[at] * columns
        starts = np.flatnonzero(pattern.target[0] >= 0)
        sums = np.zeros(slots, dtype=np.uint64)
        masks: list[tuple[int, Vector]] = []
        for block in range(blocks + 1):
            shift = block * pattern.period * size % slots
            seen = source.index[(at + shift) % slots] % columns
            mask = np.zeros(slots)
            mask[at] = weights.take(rows + seen)
            masks.append((shift, mask))
            sums[at] += np.where(mask[at] != 0, self._tags[seen], np.uint64(0))
            if block < blocks - 1:
                continue
            total = _folded(sums, pattern.strides)
            good = starts[total[starts] == self._wanted[owner[starts]]]
            target = np.full_like(pattern.target, NOTHING)
            target[0, good] = owner[good]
            if Layout(target).holds(self._matrix.shape[0]):
                return tuple(Term(0, s, m) for s, m in masks if m.any()), target
        return None

    def _slides_somewhere(self, pattern: Pattern, source: Source, blocks: int) -> bool:
        """Whether a window of the output that reads the most inputs sees each of them once, in as
        many blocks as `slide` tries: a quick look before all windows are checked."""
        row, taken = self._longest
        at = np.flatnonzero(pattern.target[0] == row)
        windows = _folded(taken[source.index], pattern.strides)
        shifts = (pattern.period << len(pattern.strides)) * np.arange(blocks + 1)
        parts = windows[(at[:, None] + shifts) % len(windows)]
        sums = parts[:, :blocks].sum(axis=1, dtype=np.uint64)
        wanted = self._wanted[row]
        return bool((sums == wanted).any() or (sums + parts[:, blocks] == wanted).any())

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


def _folded(values: Tags, strides: tuple[int, ...]) -> Tags:
    """Every slot plus the slots at all subset sums of the strides from it."""
    for stride in strides:
        values = values + np.roll(values, -stride)
    return values
