"""Plans for one affine map: every pattern worth trying, each with its cover and its cost."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from math import inf

import numpy as np

from ..cost import CostModel
from ..ir.layout import Index, Layout
from .affine_task import AffineTask, Operands, read_operands
from .arrangement import Arrangement, Draft, arrange
from .bounds import fewest_rotations
from .cover import MAX_TERMS, Source, cover
from .decision import AffinePlan, RunnerUp
from .pattern import Pattern
from .terms import Term

SLACK = 1.5

SAMPLED_WINDOWS = 40

TAILORED = ("pitched", "spread", "strands", "channels")
"""Families of patterns that are made for a map, and what it reads."""


def plan_affine(
    task: AffineTask, pattern: Pattern, cost: CostModel, limit: float
) -> AffinePlan | None:
    """The map carried out in `pattern`, or None where that is impossible or dearer than `limit`."""
    made = _arranged(task, pattern, cost, limit)
    if made is None:
        return None
    chosen = made.arrangement
    return AffinePlan(
        made.layout,
        chosen.draft.packed,
        task.prefolds,
        chosen.ciphers(),
        pattern.strides,
        _method(task, pattern, chosen),
        pattern.family,
        sum(p.rotations for p in task.prefolds.values()) + chosen.babies,
        chosen.giants,
        made.milliseconds,
        owner=made.owner,
        imaginary=chosen.draft.imaginary,
        conjugates=chosen.conjugates,
    )


@dataclass(frozen=True, slots=True, eq=False)
class _Arranged:
    """All of a plan but its masks; fields as in AffinePlan."""

    layout: Layout
    arrangement: Arrangement
    owner: Index | None
    milliseconds: float


def _arranged(
    task: AffineTask, pattern: Pattern, cost: CostModel, limit: float
) -> _Arranged | None:
    held = None if lower_bound(task, pattern, cost) > limit else read_operands(task, pattern)
    if held is None:
        return None
    budget = _term_budget(task, cost, limit)
    target = pattern.target
    idle = False
    drafted: list[list[Term]] = []
    for cipher, ready in enumerate(held.packed_terms):
        covered = _covers(task, pattern, cipher, held, budget)
        if covered is None:
            return None
        found, target = covered
        terms = [*ready, *found]
        idle = idle or not terms
        terms = terms or _idle_terms(pattern, cipher, held.sources)
        if not terms:
            return None
        drafted.append(terms)
    layout_out = Layout(target, not idle and _clean(pattern))
    if not layout_out.holds(task.outputs):
        return None
    of_client = {s for own in held.natural for s in own}
    draft = Draft(
        drafted,
        len(held.sources),
        [s for s in held.covered if s not in of_client],
        held.natural,
        held.groups,
        held.packed,
        held.first,
    )
    low = task.low
    made = arrange(draft, (task.level, low), task.slots, task.shown, cost, task.real)
    folds = len(pattern.strides) * len(drafted)
    milliseconds = (
        task.prefold_cost(cost) + made.milliseconds + folds * (cost.rotate(low) + cost.add(low))
    )
    if milliseconds > limit:
        return None
    owner = None
    if pattern.kind == "summed":
        # What stands where a term is idle is no part of anything.
        owner = pattern.target if idle else pattern.owner
    return _Arranged(layout_out, made, owner, milliseconds)


def _clean(pattern: Pattern) -> bool:
    """Whether other slots are multiplied by zero: without a fold, or with one of whole cosets."""
    whole = pattern.kind == "disjoint" and np.array_equal(pattern.target, pattern.owner)
    return whole or not pattern.strides


def _method(task: AffineTask, pattern: Pattern, made: Arrangement) -> str:
    return (
        pattern.label
        + ", by taps" * (task.taps is not None)
        + ", complex" * made.complex_slots
        + ", of roots" * (not task.real)
    )


def _covers(
    task: AffineTask, pattern: Pattern, cipher: int, held: Operands, budget: int
) -> tuple[list[Term], Index] | None:
    """Terms of one output ciphertext for the covered sources, and the target that they reach."""

    def numbered(terms: Iterable[Term]) -> list[Term]:
        return [Term(held.covered[t.source], t.shift, t.made) for t in terms]

    reads = [held.sources[c] for c in held.covered]
    if not reads:
        return [], pattern.target
    if pattern.kind == "sliding":
        if len(reads) != 1:
            return None
        slide = task.slider(reads[0].operand).slide(pattern, reads[0])
        return None if slide is None else (numbered(slide.terms), slide.target)
    packed = frozenset(k for k, layout in enumerate(task.layouts) if layout is None)
    owner, window = pattern.owner[cipher], pattern.window[cipher]
    found = cover(owner, window, reads, task.matrices, budget, packed)
    return None if found is None else (numbered(found), pattern.target)


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
    return [Term.of(0, 0, mask)]


def lower_bound(task: AffineTask, pattern: Pattern, cost: CostModel) -> float:
    """Milliseconds that no cover of this pattern can go below.

    A shift covers at most one pair in each slot of a window, so a row of k weights takes at least
    k / window shifts.
    """
    low = task.low
    size = pattern.size
    total = len(pattern.strides) * (cost.rotate(low) + cost.add(low)) * len(pattern.owner)
    terms = ciphers = 0
    each = cost.multiply_plain(task.level)
    real = halved = 0.0
    for matrix, layout in zip(task.matrices, task.layouts, strict=True):
        longest = int(np.diff(matrix.indptr).max(initial=0))
        shifts = -(-longest // size)
        if layout is None and task.taps is None:
            real += shifts * (each + cost.encrypt(task.level))
            halved += -(-shifts // 2) * (each + cost.encrypt(task.level))
        else:
            real += shifts * each
            halved += -(-shifts // 2) * each
            terms += shifts
            ciphers += 1 if layout is None else layout.ciphers
            total += cost.encrypt(task.level) if layout is None else 0.0
    # Another packed ciphertext may do for a rotation.
    turn = (
        cost.rotate(low) if task.taps is None else min(cost.rotate(low), cost.encrypt(task.level))
    )
    real += fewest_rotations(terms, ciphers) * turn
    halved += fewest_rotations(terms / 2, ciphers) * turn
    total += min(real, halved + (0.0 if task.shown else cost.conjugate(low)))
    rescale = cost.rescale(task.level) if task.low < task.level else 0.0
    return total + rescale + task.prefold_cost(cost)


def _term_budget(task: AffineTask, cost: CostModel, limit: float) -> int:
    """The largest number of terms that could still cost less than `limit`."""
    each = cost.multiply_plain(task.level) + cost.add(task.level)
    turn = cost.rotate(task.low)
    ciphers = sum(layout.ciphers for layout in task.layouts if layout is not None)
    terms = 1
    while terms < MAX_TERMS and terms * each + fewest_rotations(terms, ciphers) * turn <= limit:
        terms += 1 + terms // 16
    return terms


def best_plans(
    choices: Iterable[tuple[AffineTask, Pattern]],
    cost: CostModel,
    keep: int,
    effort: int,
    limit: float = inf,
) -> list[AffinePlan]:
    """The `keep` cheapest plans of each family of patterns, with different layouts, none dearer
    than `limit`.

    Sliding patterns and packed taps come first, since checking them is quick, then the others, both
    in the order of their lower bounds and no more than `effort` of them, unless none has a plan.
    One that cannot come within SLACK of the best so far is not tried at all: a dearer plan is kept
    only for a layout that may save more further on.
    """
    found: dict[bytes, AffinePlan] = {}
    # No plan dearer than this is of use.
    most = limit

    def keep_plan(plan: AffinePlan | None) -> None:
        nonlocal most
        if plan is None:
            return
        most = min(most, SLACK * plan.milliseconds)
        key = plan.layout.signature()
        if key not in found or plan.milliseconds < found[key].milliseconds:
            found[key] = plan

    bounded = [(lower_bound(t, p, cost), n, t, p) for n, (t, p) in enumerate(choices)]
    bounded.sort(key=lambda x: x[:2])
    promising: list[tuple[float, int, AffineTask, Pattern]] = []
    for bound, number, task, pattern in bounded:
        if pattern.kind != "sliding" and task.taps is None:
            promising.append((bound, number, task, pattern))
        elif bound <= most:
            keep_plan(plan_affine(task, pattern, cost, most))
    # Where these work out, they are cheap: what they take ends the looks at others early.
    promising.sort(key=lambda x: x[3].kind != "summed" and x[3].family not in TAILORED)

    def cheapest(count: int) -> list[tuple[float, int, AffineTask, Pattern]]:
        """Estimates from some windows, the `count` lowest: what is dearer is given up early."""
        estimated: list[tuple[float, int, AffineTask, Pattern]] = []
        for bound, number, task, pattern in promising:
            within = most
            if len(estimated) >= count:
                within = min(within, estimated[count - 1][0])
            if bound > within:
                continue
            sample = _arranged(task, pattern.sampled(SAMPLED_WINDOWS), cost, within)
            if sample is not None:
                estimated.append((sample.milliseconds, number, task, pattern))
                estimated.sort(key=lambda x: x[:2])
        return estimated[:count]

    tried: set[int] = set()
    for count in (effort, len(promising)):
        estimates = cheapest(count)
        for estimate, number, task, pattern in estimates:
            if len(tried) >= effort and found:
                break
            # A layout that is known is of use only where it gets cheaper.
            known = found.get(Layout(pattern.target, _clean(pattern)).signature())
            limit = most if known is None else min(most, known.milliseconds)
            if number not in tried and estimate <= limit:
                keep_plan(plan_affine(task, pattern, cost, limit))
            tried.add(number)
        if found or len(estimates) < count:
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
