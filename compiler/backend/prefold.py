"""Prefolds: sums of elements that a map weights alike, taken before its products, at no level.

An average pool under a convolution gives the four elements of a pooling window the same columns.
Adding them by rotations first leaves a quarter of the products and far fewer shifts.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.sparse import csr_array

from ..ir.layout import NOTHING, Index, Layout


@dataclass(frozen=True, slots=True, eq=False)
class Prefold:
    """Rotations by `strides`, each added to what is there, take `layout` to that of the sums.

    `matrix` [m, sums] maps the sums.
    """

    strides: tuple[int, ...]
    layout: Layout
    matrix: csr_array


def find_prefold(layout: Layout, matrix: csr_array) -> Prefold | None:
    """The prefold that sums all equally weighted elements, or None where there is none.

    Found where the elements of a group stand in the slots s + (subset sums of some strides) of a
    ciphertext, the same strides for every group; checked by folding random 64-bit numbers.
    """
    groups, reduced = equal_columns(matrix)
    if reduced is None:
        return None
    index = layout.index
    held = index[(index == np.flatnonzero(groups == 0)[0]).any(axis=1)]
    strides = _strides(held[0], groups) if len(held) else None
    if strides is None:
        return None
    count = reduced.shape[1]
    tags = np.random.default_rng(0).integers(1, 1 << 63, len(groups), dtype=np.uint64)
    wanted = np.zeros(count, dtype=np.uint64)
    members = groups >= 0
    np.add.at(wanted, groups[members], tags[members])
    sums = np.where(index >= 0, tags[np.maximum(index, 0)], np.uint64(0))
    for stride in strides:
        sums = sums + np.roll(sums, -stride, axis=1)
    order = np.argsort(wanted)
    nearest = order[np.minimum(np.searchsorted(wanted[order], sums), count - 1)]
    folded = Layout(np.where(wanted[nearest] == sums, nearest, NOTHING))
    if not folded.holds(count):
        return None
    return Prefold(strides, folded, reduced)


def equal_columns(matrix: csr_array) -> tuple[Index, csr_array | None]:
    """(group of each column, or NOTHING for a column of zeros; matrix with a column per group).

    The matrix is None unless every group has the same size, a power of two above one.
    """
    columns = matrix.tocsc()
    columns.sort_indices()
    # Exports fold constants in float32: equal weights may differ in their last bits.
    rounded = np.complex64 if np.iscomplexobj(matrix.data) else np.float32
    keys: dict[bytes, int] = {}
    first: list[int] = []
    groups = np.full(matrix.shape[1], NOTHING, dtype=np.int64)
    for j in range(matrix.shape[1]):
        part = slice(columns.indptr[j], columns.indptr[j + 1])
        if part.start == part.stop:
            continue
        weights = columns.data[part].astype(rounded).tobytes()
        key = columns.indices[part].tobytes() + weights
        if key not in keys:
            keys[key] = len(first)
            first.append(j)
        groups[j] = keys[key]
    sizes = np.bincount(groups[groups >= 0], minlength=1)
    size = int(sizes[0])
    if size < 2 or size & (size - 1) or (sizes != size).any():
        return groups, None
    return groups, csr_array(columns[:, first])


def _strides(index: Index, groups: Index) -> tuple[int, ...] | None:
    """Strides whose subset sums are the offsets of the first group's elements in the ring."""
    members = np.flatnonzero(groups == 0)
    nearest = np.flatnonzero(index == members[0])
    if not len(nearest):
        return None
    slots = len(index)
    start = int(nearest[0])
    offsets = []
    for element in members:
        places = np.flatnonzero(index == element)
        if not len(places):
            return None
        away = (places - start) % slots
        offsets.append(int(away.min()))
    rest = sorted(offsets)
    strides: list[int] = []
    while len(rest) > 1:
        stride = rest[1] - rest[0]
        lower: list[int] = []
        pool = set(rest)
        for offset in rest:
            if offset in pool:
                if offset + stride not in pool:
                    return None
                pool -= {offset, offset + stride}
                lower.append(offset)
        strides.append(stride)
        rest = lower
    return tuple(strides) if rest == [0] else None
