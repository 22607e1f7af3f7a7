"""Plans for one affine map: every pattern worth trying, each with its cover and its cost."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from math import sqrt

import numpy as np
from scipy.sparse import csr_array

from ..cost import CostModel
from ..ir.layout import NOTHING, Index, Layout
from .bsgs import choose_split
from .cover import MAX_TERMS, Source, Term, cover, pack_for, read
from .decision import AffinePlan, CipherPlan, RunnerUp
from .pattern import Pattern
from .prefold import find_prefold
from .sliding import Slider

SLACK = 1.5

SAMPLED_WINDOWS = 40

MAX_PACKED = 64
"""Input ciphertexts that one map may ask the client for."""


@dataclass(frozen=True, slots=True, eq=False)
class AffineTask:
    """One affine map to plan: y = sum_k matrices[k] x_k, read at `level`, made at level `low`.

    `layouts[k]` is None where operand k is an input, which the client packs as we like.
    `prefolds` are folds that have been applied to operands already: matrices and layouts are those
    of the sums. `natural` has the packing of inputs that do have a layout, their own order.
    """

    matrices: tuple[csr_array, ...]
    layouts: tuple[Layout | None, ...]
    level: int
    low: int
    slots: int
    prefolds: dict[int, tuple[int, ...]] = field(default_factory=dict)
    natural: dict[int, Index] = field(default_factory=dict)

    @property
    def outputs(self) -> int:
        return int(self.matrices[0].shape[0])

    def prefolded(self) -> AffineTask | None:
        """The same map after every prefold that there is, or None where there is none."""
        matrices, layouts = list(self.matrices), list(self.layouts)
        prefolds: dict[int, tuple[int, ...]] = {}
        for k, layout in enumerate(self.layouts):
            found = None if layout is None else find_prefold(layout, self.matrices[k])
            if found is not None:
                matrices[k], layouts[k], prefolds[k] = found.matrix, found.layout, found.strides
        if not prefolds:
            return None
        return replace(self, matrices=tuple(matrices), layouts=tuple(layouts), prefolds=prefolds)

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
        return replace(self, layouts=tuple(layouts), natural=natural)

    def prefold_cost(self, cost: CostModel) -> float:
        rotations = sum(len(strides) for strides in self.prefolds.values())
        return rotations * (cost.rotate(self.level) + cost.add(self.level))


def plan_affine(
    task: AffineTask, pattern: Pattern, cost: CostModel, limit: float
) -> AffinePlan | None:
    """The map carried out in `pattern`, or None where that is impossible or dearer than `limit`."""
    if lower_bound(task, pattern, cost) > limit:
        return None
    packed: dict[int, Index] = dict(task.natural)
    skip: set[int] = set()
    sources: list[Source] = []
    ready: list[list[Term]] = [[] for _ in pattern.owner]
    covered: list[int] = []
    for k, layout in enumerate(task.layouts):
        if layout is None:
            skip.add(k)
            rows: list[Index] = []
            for cipher in range(len(pattern.owner)):
                found = pack_for(pattern, cipher, task.matrices[k])
                first = len(sources) + len(rows)
                ready[cipher] += [replace(t, source=first + t.source) for t in found.terms]
                rows += list(found.index)
            if len(rows) > MAX_PACKED:
                return None
            packed[k] = np.array(rows, dtype=np.int64).reshape(-1, task.slots)
            sources += [read(index, k) for index in rows]
        else:
            covered += range(len(sources), len(sources) + layout.ciphers)
            sources += [read(index, k) for index in layout.index]
    target = pattern.target
    idle = False
    plans = []
    parts: list[Index] = []
    for cipher in range(len(pattern.owner)):
        terms = list(ready[cipher])
        if covered:
            reads = [sources[c] for c in covered]
            if pattern.kind == "sliding":
                if len(reads) != 1:
                    return None
                slid = Slider(task.matrices[reads[0].operand]).slide(pattern, reads[0])
                if slid is None:
                    return None
                found_terms, target = slid
            else:
                budget = _term_budget(task, cost, limit)
                masked = cover(
                    pattern.owner[cipher],
                    pattern.window[cipher],
                    reads,
                    task.matrices,
                    budget,
                    skip=frozenset(skip),
                )
                if masked is None:
                    return None
                found_terms = tuple(masked)
            terms += [replace(t, source=covered[t.source]) for t in found_terms]
        terms = [t for t in terms if t.mask.any()]
        idle = idle or not terms
        if pattern.kind == "summed":
            held = np.any([t.mask for t in terms], axis=0) | (target[cipher] >= 0)
            parts.append(np.where(held, pattern.owner[cipher], NOTHING))
        terms = terms or _idle_terms(pattern, cipher, sources)
        if not terms:
            return None
        plans.append((tuple(terms), *choose_split(terms, task.slots, task.level, task.low, cost)))
    # Without a fold, or where a fold fills whole cosets, the other slots are multiplied by zero.
    whole = pattern.kind == "disjoint" and np.array_equal(pattern.target, pattern.owner)
    clean = not idle and (whole or not pattern.strides)
    layout_out = Layout(target, clean)
    if not layout_out.holds(task.outputs):
        return None
    low = task.low
    folds = len(pattern.strides) * len(plans)
    milliseconds = (
        task.prefold_cost(cost)
        + sum(split.milliseconds for _, _, split in plans)
        + folds * (cost.rotate(low) + cost.add(low))
        + sum(len(index) for index in packed.values()) * cost.encrypt(task.level)
    )
    if milliseconds > limit:
        return None
    return AffinePlan(
        layout_out,
        packed,
        task.prefolds,
        tuple(CipherPlan(terms, split) for terms, split, _ in plans),
        pattern.strides,
        pattern.label,
        pattern.family,
        sum(c.babies for _, _, c in plans),
        sum(c.giants for _, _, c in plans),
        milliseconds,
        parts=np.array(parts) if parts else None,
    )


def _idle_terms(pattern: Pattern, cipher: int, sources: list[Source]) -> list[Term]:
    """A term for a ciphertext that holds nothing but biases, into a slot that no one reads.

    A ciphertext times zeros would be no ciphertext: libraries refuse it. None where there is no
    such slot, or where folds would spread what it holds.
    """
    spare = np.flatnonzero(pattern.target[cipher] < 0)
    if pattern.strides or not len(spare) or not sources:
        return []
    mask = np.zeros(pattern.target.shape[1])
    mask[spare[0]] = 1.0
    return [Term(0, 0, mask)]


def lower_bound(task: AffineTask, pattern: Pattern, cost: CostModel) -> float:
    """Milliseconds that no cover of this pattern can go below.

    A shift covers at most one pair in each slot of a window, so a row of k weights takes at least
    k / window shifts.
    """
    low = task.low
    size = pattern.size
    total = len(pattern.strides) * (cost.rotate(low) + cost.add(low)) * len(pattern.owner)
    terms = ciphers = 0
    for matrix, layout in zip(task.matrices, task.layouts, strict=True):
        longest = int(np.diff(matrix.indptr).max(initial=0))
        shifts = -(-longest // size)
        total += shifts * cost.multiply_plain(task.level)
        if layout is None:
            total += shifts * cost.encrypt(task.level)
        else:
            terms += shifts
            ciphers += layout.ciphers
    total += _fewest_rotations(terms, ciphers) * cost.rotate(low)
    rescale = cost.rescale(task.level) if task.low < task.level else 0.0
    return total + rescale + task.prefold_cost(cost)


def _fewest_rotations(terms: int, ciphers: int) -> float:
    """Rotations that this many terms of this many source ciphertexts take by giant steps.

    With g giants, which all sources share, a source of t terms takes t / g babies; one giant and
    one baby of each source are no rotation. The sum is the least at g = sqrt(terms).
    """
    return max(0.0, 2 * sqrt(terms) - ciphers - 1)


def _term_budget(task: AffineTask, cost: CostModel, limit: float) -> int:
    """The largest number of terms that could still cost less than `limit`."""
    each = cost.multiply_plain(task.level) + cost.add(task.level)
    turn = cost.rotate(task.low)
    ciphers = sum(layout.ciphers for layout in task.layouts if layout is not None)
    terms = 1
    while terms < MAX_TERMS and terms * each + _fewest_rotations(terms, ciphers) * turn <= limit:
        terms += 1 + terms // 16
    return terms


def best_plans(
    choices: Iterable[tuple[AffineTask, Pattern]], cost: CostModel, keep: int, effort: int
) -> list[AffinePlan]:
    """The `keep` cheapest plans of each family of patterns, with different layouts.

    Sliding patterns come first, since checking one is quick, then the others, both in the order of
    their lower bounds and no more than `effort` of them, unless none has a plan. One that cannot
    come within SLACK of the best so far is not tried at all: a dearer plan is kept only for a
    layout that may save more further on.
    """
    found: dict[bytes, AffinePlan] = {}
    best = float("inf")

    def keep_plan(plan: AffinePlan | None) -> None:
        nonlocal best
        if plan is None:
            return
        best = min(best, plan.milliseconds)
        key = plan.layout.signature()
        if key not in found or plan.milliseconds < found[key].milliseconds:
            found[key] = plan

    promising: list[tuple[float, int, AffineTask, Pattern]] = []
    for number, (task, pattern) in enumerate(choices):
        bound = lower_bound(task, pattern, cost)
        if pattern.kind != "sliding":
            promising.append((bound, number, task, pattern))
        elif bound <= SLACK * best:
            keep_plan(plan_affine(task, pattern, cost, SLACK * best))
    promising.sort(key=lambda x: x[:2])

    def cheapest(count: int) -> list[tuple[float, int, AffineTask, Pattern]]:
        """Estimates from some windows, the `count` lowest: what is dearer is given up early."""
        estimated: list[tuple[float, int, AffineTask, Pattern]] = []
        for bound, number, task, pattern in promising:
            limit = SLACK * best
            if len(estimated) >= count:
                limit = min(limit, estimated[count - 1][0])
            if bound > limit:
                break
            sample = plan_affine(task, pattern.sampled(SAMPLED_WINDOWS), cost, limit)
            if sample is not None:
                estimated.append((sample.milliseconds, number, task, pattern))
                estimated.sort(key=lambda x: x[:2])
        return estimated[:count]

    tried: set[int] = set()
    for count in (effort, len(promising)):
        for estimate, number, task, pattern in cheapest(count):
            if len(tried) >= effort and found:
                break
            if number not in tried and estimate <= SLACK * best:
                keep_plan(plan_affine(task, pattern, cost, SLACK * best))
            tried.add(number)
        if found:
            break
    ranked = sorted(found.values(), key=lambda p: p.milliseconds)
    chosen: list[AffinePlan] = []
    for plan in ranked:
        if sum(p.family == plan.family for p in chosen) < keep:
            chosen.append(plan)
    return [_with_runner_up(plan, ranked) for plan in chosen]


def _with_runner_up(plan: AffinePlan, ranked: Sequence[AffinePlan]) -> AffinePlan:
    def counts(p: AffinePlan) -> tuple[int, int, int]:
        return p.inputs, p.rotations, p.products

    other = next((p for p in ranked if counts(p) != counts(plan)), None)
    if other is None:
        return plan
    found = RunnerUp(
        other.method, other.inputs, other.rotations, other.products, other.milliseconds
    )
    return replace(plan, runner_up=found)
