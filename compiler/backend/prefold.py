"""Prefolds: sums of elements that a map weights alike, taken before its products, at no level.

An average pool under a convolution gives the four elements of a pooling window the same columns.
Adding them by rotations first leaves a quarter of the products and far fewer shifts.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.sparse import csr_array

from ..cost import CostModel
from ..ir.layout import NOTHING, Index, Layout


@dataclass(frozen=True, slots=True, eq=False)
class Prefold:
    """Sums of ciphertexts, those of each of `sums`, and then rotations by `strides`, each added to
    what is there, take `layout` to that of the sums.

    `matrix` [m, sums] maps the sums.
    """

    sums: tuple[tuple[int, ...], ...]
    strides: tuple[int, ...]
    layout: Layout
    matrix: csr_array

    def cost(self, level: int, cost: CostModel) -> float:
        """Milliseconds."""
        added = sum(len(ciphers) - 1 for ciphers in self.sums)
        return added * cost.add(level) + self.rotations * (cost.rotate(level) + cost.add(level))

    @property
    def rotations(self) -> int:
        return len(self.strides) * len(self.sums)


Columns = tuple[Index, csr_array | None]
"""The group of each column of a matrix, or NOTHING for a column of zeros, and the matrix with a
column per group: None unless every group has the same size, a power of two above one."""


def find_prefold(layout: Layout, groups: Index, reduced: csr_array | None) -> Prefold | None:
    """The prefold that sums all equally weighted elements, the `equal_columns` of a map, or None
    where there is none.

    Found where the elements of a group stand in the slots s + (subset sums of some strides) of as
    many ciphertexts, the same strides for every group; checked by adding random 64-bit numbers.
    """
    if reduced is None:
        return None
    sums = _sums(layout, groups)
    if sums is None:
        return None
    members = np.flatnonzero(groups == 0)
    first = next(row for row in layout.index if np.isin(members, row).any())
    strides = _strides(first, members[np.isin(members, first)])
    if strides is None or len(sums[0]) << len(strides) != len(members):
        return None
    count = reduced.shape[1]
    tags = np.random.default_rng(0).integers(1, 1 << 63, len(groups), dtype=np.uint64)
    wanted = np.zeros(count, dtype=np.uint64)
    read = groups >= 0
    np.add.at(wanted, groups[read], tags[read])
    each = np.where(layout.index >= 0, tags[np.maximum(layout.index, 0)], np.uint64(0))
    found = np.array([each[list(ciphers)].sum(axis=0, dtype=np.uint64) for ciphers in sums])
    for step in strides:
        found = found + np.roll(found, -step, axis=1)
    order = np.argsort(wanted)
    nearest = order[np.minimum(np.searchsorted(wanted[order], found), count - 1)]
    folded = Layout(np.where(wanted[nearest] == found, nearest, NOTHING))
    if not folded.holds(count):
        return None
    return Prefold(sums, strides, folded, reduced)


def _sums(layout: Layout, groups: Index) -> tuple[tuple[int, ...], ...] | None:
    """Ciphertexts that hold elements of the same groups, as many in each sum; None where others
    do."""
    held = np.zeros((layout.ciphers, int(groups.max()) + 1), dtype=bool)
    for cipher, index in enumerate(layout.index):
        own = groups[index[index >= 0]]
        held[cipher, own[own >= 0]] = True
    together: dict[bytes, list[int]] = {}
    for number, row in enumerate(held):
        if row.any():
            together.setdefault(row.tobytes(), []).append(number)
    sums = tuple(tuple(ciphers) for ciphers in together.values())
    return sums if len({len(ciphers) for ciphers in sums}) == 1 else None


def equal_columns(matrix: csr_array) -> Columns:
    """Which columns are the same."""
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


def _strides(index: Index, members: Index) -> tuple[int, ...] | None:
    """Strides whose subset sums are the offsets of elements that stand in the ring."""
    slots = len(index)
    start = int(np.flatnonzero(index == members[0])[0])
    offsets = []
    for element in members:
        places = np.flatnonzero(index == element)
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
