"""The planner: layouts for the whole network, chosen together by a beam search over their cost."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from math import inf

import numpy as np

from eer.runtime.errors import InternalError, ParameterError

from ..cost import CostModel
from ..ir.layout import Layout
from ..ir.tensor import Affine, Contraction, Core, Input, Node, Product, Readout, TensorGraph
from .affine_planner import SLACK, best_plans
from .affine_task import AffineTask
from .alignment import alignment_groups, partner
from .bounds import core_cost, left_over, product_cost
from .candidates import (
    client_sums,
    in_place,
    orders,
    replicated,
    single_copies,
    split_over_ciphers,
    steep,
)
from .contraction import ContractionPlan, ContractionTask
from .contraction_planner import contraction_plans
from .convolutions import channel_folds, pitched, spread
from .decision import AffinePlan
from .levels import assign_levels
from .pattern import Pattern, explicit
from .phases import Phases
from .plan import Plan
from .prefold import Columns
from .schedule import Rescaling

FULL = 0.4
"""Share of slots in use above which a value that may stay where it lies does so."""

ROUNDING = 1 + 1e-9
"""What sums of the same costs may differ by."""


@dataclass(frozen=True, slots=True)
class Search:
    """How hard to look: states kept, plans kept per family of patterns, covers computed per map.

    A `tidy` search leaves out what has parts of sums beside values that steep polynomials read.
    With `larger`, rings are looked at that are larger than they need to be.
    """

    beam: int = 6
    keep: int = 2
    effort: int = 4
    tidy: bool = False
    larger: bool = True


def plan_graph(
    graph: TensorGraph,
    slots: int,
    cost: CostModel,
    search: Search,
    rescaling: Rescaling | None = None,
) -> Plan:
    """The cheapest plan found on `slots` slots, by default with a rescale after every product.

    Raises ParameterError where some map has no plan.
    """
    depth = max(assign_levels(graph), default=0)
    looking, start = _begun(graph, slots, cost, search, rescaling or Rescaling.eager(depth))
    # What cannot cost less in the end than a whole plan, quickly found, cannot win.
    quick = _best(looking, start, 1, inf)
    limit = inf if isinstance(quick, int) else quick.milliseconds * ROUNDING
    best = _best(looking, start, search.beam, limit)
    if isinstance(best, int):
        best = quick
    if isinstance(best, int):
        node = graph.nodes[best]
        raise ParameterError(
            f"no layout was found for {node.origin} with {slots} slots to a ciphertext",
            where=str(node.origin),
            hint="make the layer smaller, or compile with a smaller batch",
        )
    return replace(best, affine={number: made.settled() for number, made in best.affine.items()})


def takes_longer(
    graph: TensorGraph,
    slots: int,
    cost: CostModel,
    search: Search,
    rescaling: Rescaling,
    limit: float,
) -> bool:
    """Whether no plan is found that may take no more than `limit` milliseconds: by the estimates of
    the search, which leave out what it takes to match scales."""
    looking, start = _begun(graph, slots, cost, search, rescaling)
    beams = (1, search.beam)
    return all(isinstance(_best(looking, start, beam, limit), int) for beam in beams)


def _begun(
    graph: TensorGraph, slots: int, cost: CostModel, search: Search, rescaling: Rescaling
) -> tuple[_Looking, Plan]:
    after = left_over(graph, slots, rescaling, cost)
    start = Plan(slots, assign_levels(graph), rescaling, {}, {}, 0.0)
    return _Looking(graph, alignment_groups(graph), cost, search, after), start


@dataclass(frozen=True, slots=True, eq=False)
class _Looking:
    """What is looked at, how hard, and plans that are known: by node and by what they depend on,
    the layouts of the operands and of what the node is multiplied with. `after` is what all that
    comes after each node takes at least.

    Of affine maps those are known that take no more than so many milliseconds. `replicas` are
    patterns by the shape of what they replicate, `columns` equal ones of the matrices of each node.
    """

    graph: TensorGraph
    groups: dict[int, int]
    cost: CostModel
    search: Search
    after: Sequence[float]
    affine: dict[tuple[int, bytes], tuple[float, list[AffinePlan]]] = field(default_factory=dict)
    contractions: dict[tuple[int, bytes], list[ContractionPlan]] = field(default_factory=dict)
    replicas: dict[tuple[int, ...], list[Pattern]] = field(default_factory=dict)
    columns: dict[int, dict[int, Columns]] = field(default_factory=dict)


def _best(looking: _Looking, start: Plan, beam: int, limit: float) -> Plan | int:
    """The cheapest plan of a beam search, or the node for which none was found that may come to no
    more than `limit`."""
    graph = looking.graph
    states = [start]
    for number in range(len(graph.nodes)):
        live = sorted(_live(graph, number))
        successors: dict[bytes, Plan] = {}
        for state in states:
            for new in _extend(looking, number, state, limit - looking.after[number]):
                key = b"".join(new.layouts[n].signature() for n in live if n in new.layouts)
                if key not in successors or new.milliseconds < successors[key].milliseconds:
                    successors[key] = new
        if not successors:
            return number
        states = sorted(successors.values(), key=lambda s: s.milliseconds)[:beam]
    return states[0]


def _live(graph: TensorGraph, number: int) -> set[int]:
    """Nodes up to `number` that something after it reads."""
    return {o for n in graph.nodes[number + 1 :] for o in n.operands if o <= number} | {number}


def _extend(looking: _Looking, number: int, state: Plan, limit: float) -> Iterator[Plan]:
    """The state with a node more, in every way that takes no more than `limit` altogether."""
    for new in _extended(looking, number, state, limit):
        if new.milliseconds <= limit:
            yield new


def _extended(looking: _Looking, number: int, state: Plan, limit: float) -> Iterator[Plan]:
    graph, groups, cost = looking.graph, looking.groups, looking.cost
    node = graph.nodes[number]
    depth = state.levels[number]
    before, after = state.rescaling.level(depth + 1), state.rescaling.level(depth)
    match node.op:
        case Input(_):
            if _needs_own_layout(graph, number):
                for pattern in _input_patterns(node, state, groups, number):
                    yield _with(state, number, Layout(pattern.target), 0.0)
            else:
                yield state
        case Core(plan):
            layout = state.layouts[node.operands[0]]
            yield _with(state, number, layout, core_cost(plan, layout.ciphers, before, cost))
        case Product():
            a, b = (state.layouts[o] for o in node.operands)
            common = np.where(a.index == b.index, a.index, -1)
            if not Layout(common).holds(node.size):
                raise InternalError(f"the operands of {node.origin} lie in different layouts")
            yield _with(state, number, Layout(common), product_cost(a.ciphers, before, cost))
        case Affine():
            key, left = (number, _read(looking, number, state)), limit - state.milliseconds
            if key not in looking.affine or looking.affine[key][0] < left:
                plans = _affine_plans(looking, number, state, (before, after), left)
                looking.affine[key] = left, plans
            for found in looking.affine[key][1]:
                new = _with(state, number, found.layout, found.milliseconds)
                new.affine[number] = found
                yield new
        case Readout():
            yield _with(state, number, state.layouts[node.operands[0]], 0.0)
        case Contraction():
            key = number, _read(looking, number, state)
            if key not in looking.contractions:
                looking.contractions[key] = _contractions(looking, number, state, (before, after))
            for made in looking.contractions[key]:
                new = _with(state, number, made.layout, made.milliseconds)
                new.contractions[number] = made
                yield new
        case _:
            raise InternalError(f"{type(node.op).__name__} reached the planner")


def _read(looking: _Looking, number: int, state: Plan) -> bytes:
    """Equal where a node reads the same layouts, and is to have the same itself."""
    layouts = [state.layouts.get(o) for o in looking.graph.nodes[number].operands]
    layouts.append(partner(number, state.layouts, looking.groups))
    return b",".join(b"" if layout is None else layout.signature() for layout in layouts)


def _affine_plans(
    looking: _Looking, number: int, state: Plan, levels: tuple[int, int], limit: float
) -> list[AffinePlan]:
    graph = looking.graph
    node = graph.nodes[number]
    assert isinstance(node.op, Affine)
    operands = [graph.nodes[o] for o in node.operands]
    task = AffineTask(
        node.op.matrices,
        tuple(
            None if isinstance(x.op, Input) else state.layouts[o]
            for o, x in zip(node.operands, operands, strict=True)
        ),
        *levels,
        state.slots,
        shown=not graph.users(number),
        columns=looking.columns.setdefault(number, {}),
    )

    # Only the client lays a value out for phases that another map then reads at small shifts.
    phases = Phases.read(graph, number) if None in task.layouts else None

    def plans(chosen: AffineTask, most: float) -> list[AffinePlan]:
        prefolded = chosen.prefolded()
        choices = [
            (t, pattern)
            for t in (chosen, prefolded, chosen.by_taps(node.shape))
            if t is not None
            for pattern in _patterns(looking, number, node, state, t)
        ]
        if phases is not None and partner(number, state.layouts, looking.groups) is None:
            by_taps = chosen.by_taps(phases.shape, phases.elements.reshape(-1))
            choices += [
                (t, pattern)
                for t in (chosen, prefolded, by_taps)
                if t is not None
                for pattern in phases.patterns(state.slots)
            ]
        search = looking.search
        return best_plans(choices, looking.cost, search.keep, search.effort, most)

    found, packed = plans(task, limit), task.layouts.count(None)
    if not packed or any(made.inputs <= packed for made in found):
        return found
    # An input that is replicated for its products may take more ciphertexts than rotations of one
    # are worth, or more than are allowed.
    most = min([limit, *(SLACK * made.milliseconds for made in found)])
    found = [*found, *plans(task.in_natural_order(), most)]
    for in_grids in task.in_grids(node.shape):
        found += plans(in_grids, most)
    return found


def _contractions(
    looking: _Looking, number: int, state: Plan, levels: tuple[int, int]
) -> list[ContractionPlan]:
    graph = looking.graph
    node = graph.nodes[number]
    assert isinstance(node.op, Contraction)
    a, b = (
        None if isinstance(graph.nodes[o].op, Input) else state.layouts[o]
        for o in node.operands[:2]
    )
    patterns: list[Pattern] = []
    if node.size <= state.slots and not graph.users(number):
        patterns += single_copies(node.size, [], state.slots)
    for n, order in enumerate(orders(node.shape)):
        if node.size <= state.slots:
            patterns += replicated(order, state.slots, f"order {n}")
        else:
            patterns.append(split_over_ciphers(order, state.slots))
    task = ContractionTask(node.op, (a, b), *levels, state.slots, _shown(graph, number))
    return contraction_plans(task, patterns, looking.cost, looking.search.keep)


def _with(state: Plan, number: int, layout: Layout, milliseconds: float) -> Plan:
    return Plan(
        state.slots,
        state.levels,
        state.rescaling,
        {**state.layouts, number: layout},
        dict(state.affine),
        state.milliseconds + milliseconds,
        dict(state.contractions),
    )


def _patterns(
    looking: _Looking, number: int, node: Node, state: Plan, task: AffineTask
) -> Iterator[Pattern]:
    graph = looking.graph
    aligned = partner(number, state.layouts, looking.groups)
    if aligned is not None:
        yield explicit(aligned.index)
        return
    for k, layout in enumerate(task.layouts):
        if layout is not None:
            stays = list(in_place(layout, task.matrices[k]))
            yield from stays
            if stays and (layout.index >= 0).mean() > FULL:
                return
    if node.size > state.slots:
        for order in orders(node.shape):
            yield split_over_ciphers(order, state.slots)
        for layout, matrix in zip(task.layouts, task.matrices, strict=True):
            if layout is not None:
                yield from spread(node.shape, layout, matrix)
        return
    users = graph.users(number)
    if not users:
        reads = [i for layout in task.layouts if layout is not None for i in layout.index]
        yield from single_copies(node.size, reads, state.slots)
        if _shown(graph, number):
            yield from client_sums(node.size, reads, state.slots)
    if node.shape not in looking.replicas:
        looking.replicas[node.shape] = [
            pattern
            for n, order in enumerate(orders(node.shape))
            for pattern in replicated(order, state.slots, f"order {n}")
        ]
    yield from looking.replicas[node.shape]
    for k, layout in enumerate(task.layouts):
        if layout is None:
            continue
        yield from pitched(node.shape, layout, task.matrices[k])
        yield from spread(node.shape, layout, task.matrices[k])
        if layout.ciphers == 1:
            if looking.search.tidy and steep(graph, number):
                continue
            read = graph.nodes[node.operands[k]].shape
            channels = next((d for d in read if d > 1), 1)
            yield from channel_folds(node.shape, channels, layout, task.matrices[k])


def _shown(graph: TensorGraph, number: int) -> bool:
    """Whether the client alone reads a node's value. A state goes back to the server as it is."""
    return not graph.users(number) and not any(o.state for o in graph.outputs if o.node == number)


def _needs_own_layout(graph: TensorGraph, number: int) -> bool:
    """Whether others than affine maps and contractions, which have it packed for themselves,
    read an input."""
    users = (graph.nodes[u].op for u in graph.users(number))
    is_output = any(o.node == number for o in graph.outputs)
    return is_output or any(not isinstance(op, Affine | Contraction) for op in users)


def _input_patterns(
    node: Node, state: Plan, groups: dict[int, int], number: int
) -> Iterator[Pattern]:
    aligned = partner(number, state.layouts, groups)
    if aligned is not None:
        yield explicit(aligned.index)
        return
    for n, order in enumerate(orders(node.shape)):
        if node.size > state.slots:
            yield split_over_ciphers(order, state.slots)
        else:
            found = replicated(order, state.slots, f"order {n}")
            yield from (p for p in found if not p.strides)
