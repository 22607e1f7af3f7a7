"""How a polynomial is evaluated over ciphertexts: a straight-line program over registers.

p(x) = post_scale * core(pre_scale * x + pre_shift) + post_shift, elementwise. The pre and post
vectors are meant to be absorbed into the linear maps before and after; `core` is the steps.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from eer.runtime.program import Slots

from .tensor import Vector


@dataclass(frozen=True, slots=True)
class Dot:
    """Sum of products of two registers each: one level down."""

    pairs: tuple[tuple[int, int], ...]


@dataclass(frozen=True, slots=True, eq=False)
class Weighted:
    """sum_k coefficients[k] * regs[k], with coefficients [k, n]: one level down."""

    regs: tuple[int, ...]
    coefficients: Slots


@dataclass(frozen=True, slots=True, eq=False)
class Shift:
    """Add a vector [n]: no level."""

    reg: int
    constants: Slots


@dataclass(frozen=True, slots=True)
class Sum:
    a: int
    b: int


@dataclass(frozen=True, slots=True)
class Difference:
    a: int
    b: int


Step = Dot | Weighted | Shift | Sum | Difference


def registers_read(step: Step) -> tuple[int, ...]:
    """The registers that a step reads, with repetitions."""
    match step:
        case Dot(pairs):
            return tuple(r for pair in pairs for r in pair)
        case Weighted(regs, _):
            return regs
        case Shift(reg, _):
            return (reg,)
        case Sum(a, b) | Difference(a, b):
            return (a, b)


@dataclass(frozen=True, slots=True, eq=False)
class PolyPlan:
    """Register 0 is the normalised input, register i + 1 what step i makes; the last is the core.

    `growth` is the largest absolute value of a register while the polynomial's argument stays in
    center +- radius. `condition` is how much noise grows: the standard deviation of the result's
    error, relative to half the result's range, over that of an independent absolute error in the
    input and in every product; the worst element and argument. log2 of it is bits of precision.
    """

    degree: int
    pre_scale: Vector
    pre_shift: Vector
    post_scale: Vector
    post_shift: Vector
    steps: tuple[Step, ...]
    growth: float
    condition: float

    @property
    def depths(self) -> tuple[int, ...]:
        """Levels below the input, for each register, evaluated as early as possible."""
        depths = [0]
        for step in self.steps:
            cost = 1 if isinstance(step, Dot | Weighted) else 0
            depths.append(max(depths[r] for r in registers_read(step)) + cost)
        return tuple(depths)

    @property
    def latest(self) -> tuple[int, ...]:
        """The same, evaluated as late as the core's depth allows."""
        found = [self.depth] * (len(self.steps) + 1)
        for number in range(len(self.steps), 0, -1):
            step = self.steps[number - 1]
            cost = 1 if isinstance(step, Dot | Weighted) else 0
            for register in registers_read(step):
                found[register] = min(found[register], found[number] - cost)
        return tuple(found)

    @property
    def depth(self) -> int:
        """Levels from input to core: what the polynomial costs when pre and post are absorbed."""
        return self.depths[-1]

    @property
    def products(self) -> int:
        """Ciphertext products."""
        return sum(len(s.pairs) for s in self.steps if isinstance(s, Dot))

    @property
    def plain_products(self) -> int:
        """Products with plaintext vectors, pre and post scaling not counted."""
        return sum(len(s.regs) for s in self.steps if isinstance(s, Weighted))


def run_steps(steps: tuple[Step, ...], x: Vector) -> list[Vector]:
    """Every register's value, for register 0 = x [..., n]."""
    values = [x]
    for step in steps:
        match step:
            case Dot(pairs):
                values.append(sum((values[a] * values[b] for a, b in pairs), np.zeros_like(x)))
            case Weighted(regs, coefficients):
                terms = zip(coefficients, regs, strict=True)
                values.append(sum((c * values[r] for c, r in terms), np.zeros_like(x)))
            case Shift(reg, constants):
                values.append(values[reg] + constants)
            case Sum(a, b):
                values.append(values[a] + values[b])
            case Difference(a, b):
                values.append(values[a] - values[b])
    return values


def evaluate_plan(plan: PolyPlan, x: Vector) -> Vector:
    """The plan's value at x [..., n]: p(x) up to rounding."""
    core = run_steps(plan.steps, plan.pre_scale * x + plan.pre_shift)[-1]
    return plan.post_scale * core + plan.post_shift


def levels_of_degree(degree: int) -> int:
    """Levels that a polynomial of this degree costs: ceil(log2(degree)), none up to degree 1."""
    return max(0, degree - 1).bit_length()
