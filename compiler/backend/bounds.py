"""What the nodes of a graph take at least, whatever the layouts."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate
from math import inf, sqrt

import numpy as np
from scipy.sparse import csr_array

from ..cost import CostModel
from ..ir.poly_plan import PolyPlan
from ..ir.tensor import Affine, Core, Input, Node, Product, TensorGraph
from .levels import assign_levels
from .schedule import Rescaling


def core_cost(plan: PolyPlan, ciphers: int, level: int, cost: CostModel) -> float:
    """Milliseconds of a polynomial of so many ciphertexts, read at `level`."""
    if not plan.depth:
        return 0.0
    return ciphers * (
        plan.products * (cost.multiply(level) + cost.relinearise(level))
        + plan.depth * cost.rescale(level)
        + plan.plain_products * cost.multiply_plain(level)
    )


def product_cost(ciphers: int, level: int, cost: CostModel) -> float:
    """Milliseconds of an elementwise product of so many ciphertexts, read at `level`."""
    return ciphers * (cost.multiply(level) + cost.relinearise(level) + cost.rescale(level))


def fewest_rotations(terms: float, ciphers: int) -> float:
    """Rotations that this many terms of this many source ciphertexts take by giant steps.

    With g giants, which all sources share, a source of t terms takes t / g babies; one giant and
    one baby of each source are no rotation. The sum is the least at g = sqrt(terms).
    """
    return max(0.0, 2 * sqrt(terms) - ciphers - 1)


def left_over(
    graph: TensorGraph, slots: int, rescaling: Rescaling, cost: CostModel
) -> tuple[float, ...]:
    """Milliseconds that what comes after each node takes at least."""
    depths = assign_levels(graph)
    each = [
        _least(graph, n, slots, (rescaling.level(d + 1), rescaling.level(d)), cost)
        if d < rescaling.depth
        else 0.0
        for n, d in enumerate(depths)
    ]
    return tuple(accumulate(reversed([*each[1:], 0.0])))[::-1]


def _least(
    graph: TensorGraph, number: int, slots: int, levels: tuple[int, int], cost: CostModel
) -> float:
    node = graph.nodes[number]
    ciphers = -(-node.size // slots)
    match node.op:
        case Core(plan):
            return core_cost(plan, ciphers, levels[0], cost)
        case Product():
            return product_cost(ciphers, levels[0], cost)
        case Affine(matrices=matrices) if not _reads_inputs(graph, node):
            free = not graph.users(number)
            return _least_of_map(matrices, slots, levels, free, cost)
        case _:
            return 0.0


def _reads_inputs(graph: TensorGraph, node: Node) -> bool:
    return any(isinstance(graph.nodes[o].op, Input) for o in node.operands)


def _least_of_map(
    matrices: Sequence[csr_array],
    slots: int,
    levels: tuple[int, int],
    free_folds: bool,
    cost: CostModel,
) -> float:
    """Of an affine map: as in `affine_planner.lower_bound`, with windows of the best size. The
    client may sum the last."""
    level, low = levels
    each, turn = cost.multiply_plain(level), cost.rotate(low)
    longest = [int(np.diff(m.indptr).max(initial=0)) for m in matrices]
    least = inf
    for folds in range(slots.bit_length()):
        terms = sum(-(-k >> folds) for k in longest)
        total = 0.0 if free_folds else folds * (turn + cost.add(low))
        # Slots with two values each do for half of the terms.
        total += terms / 2 * each + fewest_rotations(terms / 2, len(longest)) * turn
        least = min(least, total)
    return least + (cost.rescale(level) if low < level else 0.0)
