"""Exact scale tracking: every value's scale from the true primes, every plaintext's to match.

The best peer takes each rescaled square for scale Delta where it is Delta^2 / q, and is off by up
to 3.6 % per square. Here the logarithm of every scale is an affine expression in a few free
variables (the scale that a plaintext product may choose, since its plaintext can be encoded at any
scale); each addition is an equation between two of them, solved by substitution. What remains free
takes the scale that its instruction wants, or the nominal one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from math import log2

from .errors import InternalError
from .program import (
    Add,
    AddPlain,
    Conjugate,
    DotCipher,
    DotPlain,
    LevelDown,
    Negate,
    Program,
    Rotate,
    Sub,
    TimesI,
    infer_levels,
)

TOLERANCE = 1e-9
"""Largest relative difference of two scales that count as equal."""


@dataclass(frozen=True, slots=True)
class Scales:
    """`values[v]` is the scale of value v, `plains[v]` those of the plaintexts that v's instruction
    reads (in its order)."""

    values: tuple[float, ...]
    plains: dict[int, tuple[float, ...]]


@dataclass(slots=True)
class _Expression:
    """const + sum of coefficient * variable, in log2."""

    const: float
    terms: dict[int, float] = field(default_factory=dict)

    def plus(self, other: _Expression, sign: int = 1) -> _Expression:
        terms = dict(self.terms)
        for variable, c in other.terms.items():
            terms[variable] = terms.get(variable, 0) + sign * c
        kept = {v: c for v, c in terms.items() if abs(c) > TOLERANCE}
        return _Expression(self.const + sign * other.const, kept)


@dataclass(slots=True)
class _Solver:
    bound: dict[int, _Expression] = field(default_factory=dict)
    wanted: list[float] = field(default_factory=list)

    def variable(self, wanted: float) -> _Expression:
        """A new free variable, and the value it takes where nothing else decides."""
        self.wanted.append(wanted)
        return _Expression(0.0, {len(self.wanted) - 1: 1})

    def resolve(self, e: _Expression) -> _Expression:
        while any(v in self.bound for v in e.terms):
            out = _Expression(e.const)
            for v, c in e.terms.items():
                step = self.bound.get(v, _Expression(0.0, {v: 1}))
                scaled = _Expression(c * step.const, {w: c * d for w, d in step.terms.items()})
                out = out.plus(scaled)
            e = out
        return e

    def equate(self, a: _Expression, b: _Expression, what: str) -> None:
        """Bind the youngest of the variables that occur least often in a - b = 0."""
        d = self.resolve(a.plus(b, -1))
        if not d.terms and abs(d.const) < TOLERANCE:
            return
        if not d.terms:
            raise InternalError(f"{what} adds two values whose scales cannot be made equal")
        v = min(d.terms, key=lambda w: (abs(d.terms[w]), -w))
        factor = -1.0 / d.terms.pop(v)
        self.bound[v] = _Expression(factor * d.const, {w: factor * c for w, c in d.terms.items()})


def assign_scales(program: Program, moduli: Sequence[float], input_scale: float) -> Scales:
    """Scales of all values and plaintexts.

    `moduli[l]` is the prime that a rescale from level l drops; `input_scale` is both the scale of
    the inputs and the nominal one. Raises InternalError when an addition has operands whose scales
    no choice can make equal.
    """
    levels = infer_levels(program)
    nominal = log2(input_scale)
    solver = _Solver()
    logs = [_Expression(nominal) for _ in program.input_levels]
    for number, ins in program:
        match ins:
            case Conjugate(src) | TimesI(src) | Negate(src):
                logs.append(logs[src])
            case Rotate(src, _) | AddPlain(src, _) | LevelDown(src, _):
                logs.append(logs[src])
            case Add(a, b) | Sub(a, b):
                solver.equate(logs[a], logs[b], f"%{number}")
                logs.append(logs[a])
            case DotPlain(log_scale=wanted):
                logs.append(solver.variable(nominal if wanted is None else wanted))
            case DotCipher(pairs, rescale, _):
                first, *others = (logs[a].plus(logs[b]) for a, b in pairs)
                for other in others:
                    solver.equate(first, other, f"%{number}")
                prime = log2(moduli[levels[pairs[0][0]]]) if rescale else 0.0
                logs.append(first.plus(_Expression(prime), -1))

    def value(e: _Expression) -> float:
        e = solver.resolve(e)
        return e.const + sum(c * solver.wanted[v] for v, c in e.terms.items())

    exact = [value(e) for e in logs]
    plains: dict[int, tuple[float, ...]] = {}
    for number, ins in program:
        if isinstance(ins, AddPlain):
            plains[number] = (2.0 ** exact[ins.src],)
        elif isinstance(ins, DotPlain):
            prime = log2(moduli[levels[ins.srcs[0]]]) if ins.rescale else 0.0
            product = exact[number] + prime
            plains[number] = tuple(2.0 ** (product - exact[s]) for s in ins.srcs)
    return Scales(tuple(2.0**e for e in exact), plains)
