"""Chains of squares: polynomials of degree 2, 4 and 8 as a difference of two squares.

With t moved so that the term below the leading one goes away, a quartic is (t^2 + s)^2 and a
linear rest; an octic that is even but for a linear term, as smooth versions of ReLU are on an
interval around 0, is ((t^2 + s)^2 + r)^2 and a rest of t^2 and t. The rest is minus the square of
a linear function L, but for a constant, so that W^2 + rest = (W + L) (W - L): L is the only product
with plaintexts, and it is added where W stands, not to a result of twice the scale. Scaling t
scales the chain by a power: that is what lets weights behind it move before it (see `roots`).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from eer.runtime.program import Slots

from ..ir.poly_plan import Difference, Dot, PolyPlan, Shift, Step, Sum, Weighted, run_steps
from ..ir.tensor import Vector

DEGREES = (2, 4, 8)

ODD = 1e-9
"""Share of a polynomial's size below which its odd terms count as zero."""

MOST_OFFSET = 64.0
"""Offset of L from which on what is left of the two squares' difference is mostly their noise."""


@dataclass(frozen=True, slots=True, eq=False)
class Chain:
    """core(u) = lead * (W(t)^2 - L(t)^2 + constant), t = u + start, L(t) = slope * t + offset.

    W is t, which is squared before each of `shifts` is added to it. All are [n].
    """

    lead: Vector
    start: Vector
    shifts: tuple[Vector, ...]
    slope: Vector
    offset: Vector
    constant: Vector

    @property
    def degree(self) -> int:
        return int(2 << len(self.shifts))

    def steps(self, roots: Slots) -> tuple[Step, ...]:
        """From roots * t to roots^degree * (W^2 - L^2), for roots [rows, n]: the elements are
        repeated for each row."""
        steps: list[Step] = []
        for k, shift in enumerate(self.shifts[:-1]):
            steps.append(Dot(((len(steps), len(steps)),)))
            steps.append(Shift(len(steps), (roots ** (2 << k) * shift).reshape(-1)))
        steps.append(Dot(((len(steps), len(steps)),)))
        if not self.shifts:
            return tuple(steps)
        chained, half = len(steps), self.degree // 2
        shift = self.shifts[-1]
        if not np.any(self.slope):
            steps.append(Shift(chained, (roots**half * shift).reshape(-1)))
            return (*steps, Dot(((chained + 1, chained + 1),)))
        weights = (roots ** (half - 1) * self.slope).reshape(-1)
        plus, minus = ((roots**half * (shift + s * self.offset)).reshape(-1) for s in (1, -1))
        return (
            *steps,
            Weighted((0,), weights[None, :]),
            Sum(chained, chained + 1),
            Shift(chained + 2, plus),
            Difference(chained, chained + 1),
            Shift(chained + 4, minus),
            Dot(((chained + 3, chained + 5),)),
        )


def chain_of(plan: PolyPlan) -> Chain | None:
    """The core of a plan as a chain, None where it is none."""
    if plan.degree not in DEGREES or 1 << plan.depth != plan.degree:
        return None
    return chain(_powers(plan))


def chain(powers: Vector) -> Chain | None:
    """Polynomials with coefficients [degree + 1, n] of powers as chains, None where one is none."""
    degree = len(powers) - 1
    lead = powers[degree]
    if degree not in DEGREES or not np.all(np.abs(lead) > 0):
        return None
    start = powers[degree - 1] / (degree * lead)
    q = moved(powers / lead, -start)
    zero = np.zeros_like(lead)
    match degree:
        case 2:
            return Chain(lead, start, (), zero, zero, q[0])
        case 4:
            slope = np.sqrt(np.abs(q[1]))
            s = (q[2] + slope**2) / 2
            shifts: tuple[Vector, ...] = (s,)
            constant = q[0] - s**2
        case _:
            size = np.abs(q).sum(axis=0)
            if np.any(np.abs(q[[5, 3]]) > ODD * size):
                return None
            s = q[6] / 4
            r = (q[4] - 4 * s**2) / 2 - s**2
            quadratic = q[2] - 4 * s * (s**2 + r)
            if np.any(quadratic > 0):
                return None
            slope = np.sqrt(-quadratic)
            shifts = (s, r)
            constant = q[0] - (s**2 + r) ** 2
    offset = np.divide(-q[1], 2 * slope, out=zero, where=slope > 0)
    flat = (slope == 0) & (np.abs(q[1]) > 0)
    if np.any(flat) or np.any(np.abs(offset) > MOST_OFFSET):
        return None
    return Chain(lead, start, shifts, slope, offset, constant + offset**2)


def _powers(plan: PolyPlan) -> Vector:
    """Coefficients [degree + 1, n] of the core in powers of its argument."""
    count = plan.degree + 1
    points = np.cos(np.pi * (np.arange(count) + 0.5) / count)
    size = len(plan.pre_scale)
    values = run_steps(plan.steps, np.tile(points[:, None], (1, size)))[-1]
    found: Vector = np.linalg.solve(np.vander(points, increasing=True), values)
    return found


def moved(powers: Vector, by: Vector) -> Vector:
    """Coefficients of p(t + by) in powers of t, by repeated synthetic division."""
    found = powers.copy()
    for i in range(len(found)):
        for j in range(len(found) - 2, i - 1, -1):
            found[j] = found[j] + by * found[j + 1]
    return found
