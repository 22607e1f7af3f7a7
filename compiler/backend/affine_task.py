"""One affine map to plan, and what it reads in a pattern."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace

import numpy as np
from scipy.sparse import csr_array

from ..cost import CostModel
from ..ir.layout import NOTHING, Index, Layout
from .cover import Source, read
from .grids import in_grids
from .packing import pack_for
from .pattern import Pattern
from .prefold import Columns, Prefold, equal_columns, find_prefold
from .sliding import Slider
from .strands import strandings
from .taps import Taps, pack_taps
from .terms import Term

MAX_PACKED = 64
"""Input ciphertexts that one map may ask the client for."""


@dataclass(frozen=True, slots=True, eq=False)
class AffineTask:
    """One affine map to plan: y = sum_k matrices[k] x_k, read at `level`, made at level `low`.

    `layouts[k]` is None where operand k is an input, which the client packs as we like.
    `prefolds` have been applied to operands already: matrices and layouts are those of the sums.
    `shown` says that only the client reads the result, `taps` that the input is to be packed for
    them (`pack_taps`). `natural` has the packing of inputs that do have a layout: their own order,
    or grids. `sliders` are those of its matrices, `columns` the equal ones among their columns,
    both found when they are needed.
    """

    matrices: tuple[csr_array, ...]
    layouts: tuple[Layout | None, ...]
    level: int
    low: int
    slots: int
    shown: bool = False
    taps: Taps | None = None
    prefolds: dict[int, Prefold] = field(default_factory=dict)
    natural: dict[int, Index] = field(default_factory=dict)
    sliders: dict[int, Slider] = field(default_factory=dict)
    columns: dict[int, Columns] = field(default_factory=dict)

    @property
    def outputs(self) -> int:
        return int(self.matrices[0].shape[0])

    def slider(self, operand: int) -> Slider:
        """The slider of an operand's matrix."""
        if operand not in self.sliders:
            self.sliders[operand] = Slider(self.matrices[operand])
        return self.sliders[operand]

    @property
    def real(self) -> bool:
        """Whether weights, and with them the outputs, are real."""
        return not any(np.iscomplexobj(m.data) for m in self.matrices)

    def prefolded(self) -> AffineTask | None:
        """The same map after every prefold that there is, or None where there is none."""
        matrices, layouts = list(self.matrices), list(self.layouts)
        prefolds: dict[int, Prefold] = {}
        for k, layout in enumerate(self.layouts):
            if layout is None:
                continue
            if k not in self.columns:
                self.columns[k] = equal_columns(self.matrices[k])
            found = find_prefold(layout, *self.columns[k])
            if found is not None:
                matrices[k], layouts[k], prefolds[k] = found.matrix, found.layout, found
        if not prefolds:
            return None
        return replace(
            self,
            matrices=tuple(matrices),
            layouts=tuple(layouts),
            prefolds=prefolds,
            sliders={},
            columns={},
        )

    def in_natural_order(self) -> AffineTask:
        """The same map with inputs packed as they come, replicated where there is room."""
        layouts = list(self.layouts)
        natural: dict[int, Index] = {}
        for k, layout in enumerate(self.layouts):
            if layout is None:
                size = self.matrices[k].shape[1]
                period = min(self.slots, 1 << (size - 1).bit_length())
                ciphers = -(-size // self.slots)
                index = np.full(ciphers * period, NOTHING, dtype=np.int64)
                index[:size] = np.arange(size)
                natural[k] = np.tile(index.reshape(ciphers, period), (1, self.slots // period))
                layouts[k] = Layout(natural[k])
        return replace(self, layouts=tuple(layouts), natural=natural, sliders={})

    def in_grids(self, shape: tuple[int, ...]) -> Iterator[AffineTask]:
        """The same map with its input packed by the remainders of a convolution's stride, if it is
        one of one input to outputs of `shape` (channels, axes): for them in one strand, and in two
        or as many as they take."""
        if self.layouts != (None,):
            return
        for strands in strandings(shape, self.matrices[0]):
            rows = np.arange(len(strands.outputs))
            taps = Taps.of(strands.shape, strands.matrix, rows)
            index = None if taps is None else in_grids(taps, self.slots)
            if index is not None:
                yield replace(self, layouts=(Layout(index),), natural={0: index}, sliders={})
                if strands.each > 1:
                    return

    def by_taps(self, shape: tuple[int, ...], order: Index | None = None) -> AffineTask | None:
        """The same map with its input packed for rotations by taps, if it is a convolution of one
        input to outputs of `shape` (channels, axes), in such an `order`, by default their own."""
        alone = self.layouts == (None,)
        taps = Taps.of(shape, self.matrices[0], order) if alone else None
        return None if taps is None else replace(self, taps=taps, sliders={})

    def prefold_cost(self, cost: CostModel) -> float:
        return sum(prefold.cost(self.level, cost) for prefold in self.prefolds.values())


@dataclass(frozen=True, slots=True, eq=False)
class Operands:
    """What a map reads in a pattern: its sources, and terms that need no search.

    `packed`, `first`, `groups` and `natural` are as in `Draft`; `covered` are the sources whose
    terms are to be searched for, and `packed_terms` has those of the others for each output
    ciphertext.
    """

    sources: list[Source] = field(default_factory=list)
    packed: dict[int, Index] = field(default_factory=dict)
    first: dict[int, int] = field(default_factory=dict)
    groups: list[range] = field(default_factory=list)
    natural: list[range] = field(default_factory=list)
    covered: list[int] = field(default_factory=list)
    packed_terms: list[list[Term]] = field(default_factory=list)


def read_operands(task: AffineTask, pattern: Pattern) -> Operands | None:
    """The sources of all operands; None where too many, or an operand cannot be packed so."""
    made = Operands(packed=dict(task.natural), packed_terms=[[] for _ in pattern.owner])
    for k, (layout, matrix) in enumerate(zip(task.layouts, task.matrices, strict=True)):
        first = made.first[k] = len(made.sources)
        if layout is not None:
            made.sources.extend(read(index, k) for index in layout.index)
            own = range(first, len(made.sources))
            made.covered.extend(own)
            if k in task.natural:
                made.natural.append(own)
            continue
        rows: list[Index] = []
        for cipher, terms in enumerate(made.packed_terms):
            found = (
                pack_for(pattern, cipher, matrix)
                if task.taps is None
                else pack_taps(task.taps, pattern, matrix)
            )
            if found is None:
                return None
            own = range(first + len(rows), first + len(rows) + len(found.index))
            terms += [Term(own[t.source], t.shift, t.made) for t in found.terms]
            rows += list(found.index)
            (made.groups if task.taps is None else made.natural).append(own)
        if len(rows) > MAX_PACKED:
            return None
        made.packed[k] = np.array(rows, dtype=np.int64).reshape(-1, task.slots)
        made.sources.extend(read(index, k) for index in rows)
    return made
