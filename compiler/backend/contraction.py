"""A contraction to plan, and how it is carried out."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..cost import CostModel
from ..ir.layout import NOTHING, Index, Layout
from ..ir.tensor import Contraction, Vector

MAX_CIPHERS = 32
"""Ciphertexts that a contraction may ask of the client, or make."""


@dataclass(frozen=True, slots=True, eq=False)
class ContractionTask:
    """A contraction to plan, read at `level`, made at level `low`.

    `layouts[k]` is None where operand k (of two) is an input, which the client packs as we like.
    `shown` says that only the client reads the result.
    """

    op: Contraction
    layouts: tuple[Layout | None, Layout | None]
    level: int
    low: int
    slots: int
    shown: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class ContractionPlan:
    """How a contraction is carried out.

    `packed[k]` is the client's packing [ciphertexts, slots] of operand k, where that is an input;
    `masks[k]` [ciphertexts, slots] what an addend's are multiplied by. `pairs[c]` has the
    (ciphertext of a, ciphertext of b) whose products are summed in output ciphertext c; all of
    them are folded by `strides`. `layout` is what comes out. `turns[c]` has by how much the
    computed operand of each pair is rotated first, where it is at all. `parts[c, s]`, where the
    client sums parts, is the output that slot s of output ciphertext c holds a part of.
    """

    layout: Layout
    packed: dict[int, Index]
    masks: dict[int, Vector]
    pairs: tuple[tuple[tuple[int, int], ...], ...]
    strides: tuple[int, ...]
    method: str
    family: str
    milliseconds: float
    turns: tuple[tuple[int, ...], ...] = ()
    parts: Index | None = None

    @property
    def inputs(self) -> int:
        """Ciphertexts that the client packs for it."""
        return sum(len(rows) for rows in self.packed.values())

    @property
    def products(self) -> int:
        return sum(len(p) for p in self.pairs)

    @property
    def plain_products(self) -> int:
        return sum(len(m) for m in self.masks.values())

    @property
    def rotations(self) -> int:
        turned = {
            (pair[self.computed], turn)
            for pairs, turns in zip(self.pairs, self.turns, strict=False)
            for pair, turn in zip(pairs, turns, strict=True)
            if turn
        }
        return len(self.strides) * len(self.pairs) + len(turned)

    @property
    def computed(self) -> int:
        """The operand that is turned: the one that is not packed."""
        return 1 if 0 in self.packed else 0


def plan_of(
    task: ContractionTask,
    layout: Layout,
    packed: dict[int, Index],
    pairs: tuple[tuple[tuple[int, int], ...], ...],
    strides: tuple[int, ...],
    label: str,
    family: str,
    cost: CostModel,
) -> ContractionPlan | None:
    if not layout.holds(len(task.op.bias)):
        return None
    masks: dict[int, Vector] = {}
    for k, matrix in enumerate(task.op.addends, start=2):
        element = np.full(matrix.shape[0], NOTHING, dtype=np.int64)
        weight = np.zeros(matrix.shape[0])
        rows = np.flatnonzero(np.diff(matrix.indptr))
        element[rows], weight[rows] = matrix.indices, matrix.data
        packed[k] = np.array([read_at(element, row) for row in layout.index])
        masks[k] = np.array([layout.place(weight, c) for c in range(layout.ciphers)])
    level, low = task.level, task.low
    rescale = cost.rescale(level) if low < level else 0.0
    each = cost.relinearise(level) + rescale
    each += len(strides) * (cost.rotate(low) + cost.add(low))
    milliseconds = (
        len(pairs) * each
        + sum(len(p) for p in pairs) * cost.multiply(level)
        + sum(len(rows) for rows in packed.values()) * cost.encrypt(level)
        + sum(len(m) for m in masks.values()) * (cost.multiply_plain(level) + rescale)
    )
    return ContractionPlan(layout, packed, masks, pairs, strides, label, family, milliseconds)


def pair_at(owners: Index, elements: Index, owner: Index, seen: Index) -> Index:
    """The pair of the output `owner[s]` that reads the element `seen[s]`, NOTHING where none."""
    span = int(max(elements.max(), seen.max())) + 1
    keys = owners * span + elements
    order = np.argsort(keys)
    wanted = np.maximum(owner, 0) * span + np.maximum(seen, 0)
    place = np.minimum(np.searchsorted(keys[order], wanted), len(keys) - 1)
    hit = (keys[order][place] == wanted) & (owner >= 0) & (seen >= 0)
    return np.where(hit, order[place], NOTHING)


def read_at(elements: Index, row: Index) -> Index:
    """Element of each pair in `row`, NOTHING where there is no pair."""
    return np.where(row >= 0, elements[np.maximum(row, 0)], NOTHING)
