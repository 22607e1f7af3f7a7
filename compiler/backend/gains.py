"""Gains: how much a plan amplifies what its operations err by, beside the values that it makes.

A fold adds up slots whose errors are independent of each other: 64 of them make for three bits.
What rescales leave before it has to be that much more precise for sums to be precise, and so have
weights, whose rounding every product with a slot adds up. Errors elsewhere are felt as they are.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import log2

import numpy as np

from ..ir.tensor import Affine, Contraction, TensorGraph, Vector
from .levels import assign_levels, levels_used
from .plan import Plan

MOST = 12.0
"""Bits beyond which a value is so small beside what it is made of that nobody can mean it."""

STEPS_PER_BIT = 2


@dataclass(frozen=True, slots=True)
class Gains:
    """Entry d: bits, at least 0, by which products from depth d to d - 1 ask for more precision:
    `landing` of the scale that a rescale leaves, `weights` of the plaintexts."""

    landing: tuple[float, ...]
    weights: tuple[float, ...]

    @classmethod
    def none(cls, count: int) -> Gains:
        return cls((0.0,) * count, (0.0,) * count)

    @classmethod
    def of(cls, graph: TensorGraph, values: Sequence[Vector], plan: Plan | None = None) -> Gains:
        """Those of a plan whose nodes have such `values` [windows, size], the largest at each
        depth; without a plan what any has at least."""
        levels = assign_levels(graph)
        count = max(levels, default=0) + 1
        landing, weights = [0.0] * count, [0.0] * count
        sizes = [_size(v) for v in values]
        for number, node in enumerate(graph.nodes):
            if not isinstance(node.op, Affine | Contraction):
                continue
            depth = levels[number] + levels_used(node)
            own = max(sizes[number], 1e-9)
            spread = 1.0 if plan is None else _spread(plan, number)
            landing[depth] = max(landing[depth], _bits(spread / own))
            if isinstance(node.op, Affine):
                largest = max(sizes[o] for o in node.operands)
                longest = max(int(np.diff(m.indptr).max(initial=1)) for m in node.op.matrices)
                weights[depth] = max(weights[depth], _bits(longest**0.5 * largest / own))
        return cls(tuple(landing), tuple(weights))


def _spread(plan: Plan, number: int) -> float:
    """How much larger independent errors get that are there before rotations are added up."""
    affine = plan.affine.get(number)
    if affine is not None:
        giants = 1 + affine.giants / len(affine.ciphers)
        return float((giants * 2 ** len(affine.strides)) ** 0.5)
    return float(2 ** (len(plan.contractions[number].strides) / 2))


def _size(values: Vector) -> float:
    """Root mean square."""
    return float(np.sqrt(np.mean(np.abs(values) ** 2)))


def _bits(factor: float) -> float:
    bits = min(MOST, max(0.0, log2(max(factor, 1e-9))))
    return round(bits * STEPS_PER_BIT) / STEPS_PER_BIT
