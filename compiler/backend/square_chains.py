"""Chains of squares: polynomials of degree 2, 4 and 8 as squares of shifted squares.

With t moved so that the term below the leading one goes away, a quartic is (t^2 + s)^2 and a
linear rest; an octic that is even but for a linear term, as smooth versions of ReLU are on an
interval around 0, is ((t^2 + s)^2 + r)^2 and a rest of t^2 and t. Scaling t scales the chain by a
power: that is what lets weights behind it move before it (see `roots`).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from eer.runtime.program import Slots

from ..ir.poly_plan import Dot, PolyPlan, Shift, Step, Sum, Weighted, run_steps
from ..ir.tensor import Vector

DEGREES = (2, 4, 8)

ODD = 1e-9
"""Share of a polynomial's size below which its odd terms count as zero."""


@dataclass(frozen=True, slots=True, eq=False)
class Chain:
    """core(u) = lead * (squares(t) + quadratic * t^2 + linear * t + constant), t = u + start.

    squares(t) is t^2, to which each of `shifts` is added before it is squared again. All are [n].
    """

    lead: Vector
    start: Vector
    shifts: tuple[Vector, ...]
    quadratic: Vector
    linear: Vector
    constant: Vector

    @property
    def degree(self) -> int:
        return int(2 << len(self.shifts))

    def scaled(self, roots: Slots, plan: PolyPlan) -> PolyPlan:
        """The steps from roots * t to roots^degree * (squares + quadratic * t^2 + linear * t), in
        place of those of `plan`; the elements are repeated for each row of roots [rows, n]."""
        steps: list[Step] = [Dot(((0, 0),))]
        for k, shift in enumerate(self.shifts):
            steps.append(Shift(len(steps), (roots ** (2 << k) * shift).reshape(-1)))
            steps.append(Dot(((len(steps), len(steps)),)))
        last = len(steps)
        rest = {1: self.quadratic, 0: self.linear}
        powers = {1: self.degree - 2, 0: self.degree - 1}
        read = tuple(r for r, c in rest.items() if np.any(c))
        if read:
            weights = [(roots ** powers[r] * rest[r]).reshape(-1) for r in read]
            steps += [Weighted(read, np.stack(weights)), Sum(last, last + 1)]
        one, zero = np.ones(roots.size), np.zeros(roots.size)
        return PolyPlan(
            plan.degree, one, zero, one, zero, tuple(steps), plan.growth, plan.condition
        )


def chain_of(plan: PolyPlan) -> Chain | None:
    """The core of a plan as a chain of squares, None where it is none."""
    degree = plan.degree
    if degree not in DEGREES or 1 << plan.depth != degree:
        return None
    powers = _powers(plan)
    lead = powers[degree]
    if not np.all(np.abs(lead) > 0):
        return None
    start = powers[degree - 1] / (degree * lead)
    q = _moved(powers / lead, -start)
    zero = np.zeros_like(lead)
    match degree:
        case 2:
            return Chain(lead, start, (), zero, zero, q[0])
        case 4:
            s = q[2] / 2
            return Chain(lead, start, (s,), zero, q[1], q[0] - s**2)
        case _:
            size = np.abs(q).sum(axis=0)
            if np.any(np.abs(q[[5, 3]]) > ODD * size):
                return None
            s = q[6] / 4
            r = (q[4] - 4 * s**2) / 2 - s**2
            quadratic = q[2] - 4 * s * (s**2 + r)
            return Chain(lead, start, (s, r), quadratic, q[1], q[0] - (s**2 + r) ** 2)


def _powers(plan: PolyPlan) -> Vector:
    """Coefficients [degree + 1, n] of the core in powers of its argument."""
    count = plan.degree + 1
    points = np.cos(np.pi * (np.arange(count) + 0.5) / count)
    size = len(plan.pre_scale)
    values = run_steps(plan.steps, np.tile(points[:, None], (1, size)))[-1]
    found: Vector = np.linalg.solve(np.vander(points, increasing=True), values)
    return found


def _moved(powers: Vector, by: Vector) -> Vector:
    """Coefficients of p(t + by) in powers of t."""
    moved = powers.copy()
    for i in range(len(moved)):
        for j in range(len(moved) - 2, i - 1, -1):
            moved[j] = moved[j] + by * moved[j + 1]
    return moved
