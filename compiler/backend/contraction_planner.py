"""Plans for one contraction: inputs are packed to meet the other operand, the cheapest way."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import numpy as np
from scipy.sparse import csr_array

from ..cost import CostModel
from ..ir.layout import NOTHING, Index, Layout
from .contraction import (
    MAX_CIPHERS,
    ContractionPlan,
    ContractionTask,
    pair_at,
    plan_of,
    read_at,
)
from .cover import cover, read
from .meeting import left_to_the_client, met
from .packing import pack_for
from .pattern import Pattern


def contraction_plans(
    task: ContractionTask, patterns: Iterable[Pattern], cost: CostModel, keep: int
) -> list[ContractionPlan]:
    """The `keep` cheapest plans of each family, with different layouts.

    `patterns` are tried where both operands are inputs; else the layouts say what can be done, or,
    where they allow nothing, the computed operand is rotated into a pattern.
    """
    found: list[ContractionPlan | None]
    if task.layouts == (None, None):
        found = [_packed(task, p, cost) for p in patterns]
    else:
        found = list(met(task, cost)) or [_turned(task, p, cost) for p in patterns]
        if task.shown:
            found.append(left_to_the_client(task, cost))
    best: dict[bytes, ContractionPlan] = {}
    for plan in found:
        if plan is None:
            continue
        key = plan.layout.signature()
        if key not in best or plan.milliseconds < best[key].milliseconds:
            best[key] = plan
    chosen: list[ContractionPlan] = []
    for plan in sorted(best.values(), key=lambda p: p.milliseconds):
        if sum(p.family == plan.family for p in chosen) < keep:
            chosen.append(plan)
    return chosen


def _packed(task: ContractionTask, pattern: Pattern, cost: CostModel) -> ContractionPlan | None:
    """Both operands packed: the pairs of an output are spread over its window."""
    op = task.op
    rows_a: list[Index] = []
    rows_b: list[Index] = []
    pairs: list[tuple[tuple[int, int], ...]] = []
    for cipher in range(len(pattern.owner)):
        index = pack_for(pattern, cipher, op.sums).index
        first = len(rows_a)
        pairs.append(tuple((first + c, first + c) for c in range(len(index))))
        rows_a += [read_at(op.left, row) for row in index]
        rows_b += [read_at(op.right, row) for row in index]
        if len(rows_a) > MAX_CIPHERS:
            return None
    layout = Layout(pattern.target, clean=pattern.kind == "disjoint" and _whole(pattern))
    packed = {0: np.array(rows_a), 1: np.array(rows_b)}
    return plan_of(
        task, layout, packed, tuple(pairs), pattern.strides, pattern.label, pattern.family, cost
    )


def _turned(task: ContractionTask, pattern: Pattern, cost: CostModel) -> ContractionPlan | None:
    """The computed operand rotated into the pattern, the other packed to meet it there."""
    op = task.op
    computed = 0 if task.layouts[1] is None else 1
    layout = task.layouts[computed]
    if layout is None or None not in task.layouts or pattern.kind != "disjoint":
        return None
    element, other = (op.left, op.right) if computed == 0 else (op.right, op.left)
    size = int(layout.index.max()) + 1
    ones = csr_array((np.ones(len(element)), (op.owner, element)), shape=(len(op.bias), size))
    ones.sum_duplicates()
    if ones.nnz < len(element):
        return None
    sources = [read(row, 0) for row in layout.index]
    rows: list[Index] = []
    pairs: list[tuple[tuple[int, int], ...]] = []
    turns: list[tuple[int, ...]] = []
    for owner, window in zip(pattern.owner, pattern.window, strict=True):
        terms = cover(owner, window, sources, (ones,), MAX_CIPHERS - len(rows))
        if not terms:
            return None
        numbers = range(len(rows), len(rows) + len(terms))
        pairs.append(
            tuple((t.source, n) if computed == 0 else (n, t.source)
                  for t, n in zip(terms, numbers, strict=True))
        )  # fmt: skip
        turns.append(tuple(t.shift for t in terms))
        for term in terms:
            seen = np.roll(layout.index[term.source], -term.shift)
            pair = pair_at(op.owner, element, owner, np.where(term.mask != 0.0, seen, NOTHING))
            rows.append(read_at(other, pair))
    made = Layout(pattern.target, clean=_whole(pattern))
    packed = {1 - computed: np.array(rows)}
    plan = plan_of(
        task, made, packed, tuple(pairs), pattern.strides, pattern.label, pattern.family, cost
    )
    if plan is None:
        return None
    plan = replace(plan, turns=tuple(turns))
    turned = plan.rotations - len(plan.strides) * len(plan.pairs)
    return replace(plan, milliseconds=plan.milliseconds + turned * cost.rotate(task.level))


def _whole(pattern: Pattern) -> bool:
    """Whether all slots of a window end with its output, so that the others end with zero."""
    return bool(np.array_equal(pattern.target, pattern.owner))
