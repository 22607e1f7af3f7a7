"""Choose how a polynomial is evaluated: fewest levels, then products, then plaintext products."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.polynomial import chebyshev

from eer.runtime.errors import InternalError

from ..ir.poly_plan import Difference, PolyPlan, Shift, Step, Weighted, levels_of_degree
from ..ir.tensor import Polynomial, Vector
from .octics import octic
from .poly_builder import Builder, Splits, split_table, trimmed
from .poly_noise import probe
from .square_chains import chain, moved

NEGLIGIBLE = 2.0**-44
"""Coefficients below this share of a polynomial's size are zero."""

SMALLEST_LEAD = 2.0**-32
"""A degree of 2^m in m levels divides by the leading coefficient; one below this share of the
polynomial's size is raised to it, an error of 2^-32 (relative) at worst."""

CONDITION_SLACK = 4.0
"""A scheme with fewer products may lose two bits against the best-conditioned one."""

HARMLESS_CONDITION = 16.0
"""Conditions below this need not be improved."""

LARGER = (1.1, 1.2, 1.3, 1.4, 1.5)
"""Scales of squares of squares. Up to 2, which turns -1 to 1 into the interval on which monic
polynomials may stay between -2 and 2, their registers lose less of one another the larger they are.
"""

GROWTH_LIMIT = 8.0
"""Registers beyond this cost headroom in the base prime; such a scheme is the last resort."""

_BEST_BASES = 6


@dataclass(frozen=True, slots=True, eq=False)
class _Draft:
    """A plan with respect to t in [-1, 1], for the distinct polynomials only."""

    steps: tuple[Step, ...]
    pre_scale: Vector
    pre_shift: Vector
    post_scale: Vector
    post_shift: Vector

    @property
    def counts(self) -> tuple[int, int, int]:
        plan = PolyPlan(
            0, self.pre_scale, self.pre_shift, self.post_scale, self.post_shift, self.steps, 0, 0
        )
        return plan.depth, plan.products, plan.plain_products


def plan_polynomial(polynomial: Polynomial) -> PolyPlan:
    """The cheapest well-conditioned plan; its depth is ceil(log2(degree)).

    Elements may have different coefficients: one program serves all, with vectors for constants.
    Trailing coefficients that are zero in every element do not count towards the degree.
    """
    size = polynomial.chebyshev.shape[1]
    columns, inverse = np.unique(polynomial.chebyshev, axis=1, return_inverse=True)
    inverse = np.asarray(inverse).reshape(size)
    magnitude = np.abs(columns[1:]).sum(axis=0)
    negligible = np.abs(columns) <= NEGLIGIBLE * magnitude
    negligible[0] = False
    coefficients = trimmed(np.where(negligible, 0.0, columns))
    degree = len(coefficients) - 1
    draft = _linear(coefficients) if degree <= 1 else _best(coefficients)
    growth, condition = probe(draft.steps, draft.pre_scale, draft.pre_shift, draft.post_scale)
    pre_scale = draft.pre_scale[inverse] / polynomial.radius
    # A shift that is rounding of zero would keep products from reading the core directly.
    rounding = np.abs(draft.post_shift) <= NEGLIGIBLE * np.abs(coefficients).sum(axis=0)
    post_shift = np.where(rounding, 0.0, draft.post_shift)
    plan = PolyPlan(
        degree,
        pre_scale,
        draft.pre_shift[inverse] - pre_scale * polynomial.center,
        draft.post_scale[inverse],
        post_shift[inverse],
        tuple(_spread(step, inverse) for step in draft.steps),
        float(growth.max()),
        float(condition.max()),
    )
    if plan.depth != levels_of_degree(degree):
        raise InternalError(f"degree {degree} was planned with {plan.depth} levels")
    return plan


def _spread(step: Step, inverse: np.ndarray[tuple[int, ...], np.dtype[np.int64]]) -> Step:
    """The step for every element, from the step for the distinct polynomials."""
    match step:
        case Weighted(regs, coefficients):
            return Weighted(regs, coefficients[:, inverse])
        case Shift(reg, constants):
            return Shift(reg, constants[inverse])
        case _:
            return step


def _linear(coefficients: Vector) -> _Draft:
    slope = coefficients[1] if len(coefficients) > 1 else np.zeros(coefficients.shape[1])
    one = np.ones_like(slope)
    return _Draft((), slope, coefficients[0], one, 0.0 * one)


def _best(coefficients: Vector) -> _Draft:
    """The cheapest draft of those that are not much worse conditioned than the best."""
    magnitude = np.abs(coefficients[1:]).sum(axis=0)
    flat = magnitude == 0.0
    work = coefficients.copy()
    work[-1, flat] = 1.0
    drafts = [_silenced(d, flat, coefficients[0]) for d in _drafts(work)]
    levels = levels_of_degree(len(coefficients) - 1)
    drafts = sorted((d for d in drafts if d.counts[0] <= levels), key=lambda d: d.counts)
    scores: list[tuple[float, _Draft]] = []
    for draft in drafts:
        scores.append((_score(draft), draft))
        if scores[-1][0] <= HARMLESS_CONDITION:
            return draft
    bound = CONDITION_SLACK * min(score for score, _ in scores)
    return next(draft for score, draft in scores if score <= bound)


def _score(draft: _Draft) -> float:
    """The condition of its worst element, and what registers take of the headroom."""
    growth, condition = probe(draft.steps, draft.pre_scale, draft.pre_shift, draft.post_scale)
    return float(condition.max()) * max(1.0, float(growth.max()) / GROWTH_LIMIT)


def _silenced(draft: _Draft, flat: Vector, constants: Vector) -> _Draft:
    """The same draft, with polynomials that are constant made exactly so."""
    return _Draft(
        draft.steps,
        draft.pre_scale,
        draft.pre_shift,
        np.where(flat, 0.0, draft.post_scale),
        np.where(flat, constants, draft.post_shift),
    )


def _drafts(coefficients: Vector) -> Iterator[_Draft]:
    degree = len(coefficients) - 1
    magnitude = np.abs(coefficients[1:]).sum(axis=0)
    raised = coefficients.copy()
    sign = np.where(raised[-1] < 0.0, -1.0, 1.0)
    raised[-1] = sign * np.maximum(np.abs(raised[-1]), SMALLEST_LEAD * magnitude)
    if degree <= 4:
        yield from _shifted(raised, magnitude)
    if degree == 8:
        yield from _chained(raised, magnitude)
    if degree in (8, 16):
        yield from _octic(raised, magnitude)
    for k, splits in _monic_tables(degree):
        yield _scaled(raised, magnitude, _monic_maker(raised, k, splits))
    for splits in _general_tables(degree):
        yield _general(coefficients, magnitude, splits)


def _general(coefficients: Vector, magnitude: Vector, splits: Splits) -> _Draft:
    """All coefficients inside, nothing divided: for any degree but powers of two."""
    builder = Builder(np.ones_like(magnitude))
    inner = coefficients / magnitude
    inner[0] = 0.0
    result = builder.expand(inner, levels_of_degree(len(coefficients) - 1), splits)
    if result is None:
        raise InternalError("a polynomial that is not constant came out as a constant")
    zero = np.zeros_like(magnitude)
    return _Draft(tuple(builder.steps), builder.scale, zero, magnitude, coefficients[0])


Maker = Callable[[Vector], _Draft]


def _monic_maker(coefficients: Vector, k: int, splits: Splits) -> Maker:
    """The leading coefficient in post_scale, for a given scale of the basis."""

    def make(scale: Vector) -> _Draft:
        builder = Builder(scale)
        levels = levels_of_degree(len(coefficients) - 1)
        _, post_scale, post_shift = builder.monic(coefficients, k, levels, splits)
        return _Draft(tuple(builder.steps), scale, np.zeros_like(scale), post_scale, post_shift)

    return make


def _scaled(
    coefficients: Vector, magnitude: Vector, make: Maker, larger: tuple[float, ...] = ()
) -> _Draft:
    """The draft with the best scale of the basis, element by element, of those up to 1 and of
    some `larger` ones.

    At the smallest scale tried the core is about as large as its argument; at 1 it is as large as
    the polynomial is in units of its leading coefficient.
    """
    degree = len(coefficients) - 1
    smallest = np.minimum(1.0, (2.0 * np.abs(coefficients[-1]) / magnitude) ** (1.0 / degree))
    scales = [smallest**power for power in (0.0, 0.5, 0.75, 1.0)]
    scales += [np.full_like(smallest, scale) for scale in larger]
    scores = []
    for scale in scales:
        draft = make(scale)
        growth, condition = probe(draft.steps, draft.pre_scale, draft.pre_shift, draft.post_scale)
        scores.append(condition * np.maximum(1.0, growth / GROWTH_LIMIT))
    best = np.argmin(scores, axis=0)
    return make(np.choose(best, scales))


def _shifted(coefficients: Vector, magnitude: Vector) -> Iterator[_Draft]:
    """Degrees 2 to 4 without the term below the leading one, by moving the argument.

    Degree 2: a square. Degree 3: u (u^2 + p). Degree 4: (u^2 + u + b) (u^2 - u + d).
    No plaintext product is needed. u = scale * (t + s).
    """
    degree = len(coefficients) - 1
    powers = _monomials(coefficients)
    s = powers[degree - 1] / (degree * powers[degree])
    shifted = moved(powers, -s)

    def make(scale: Vector) -> _Draft:
        lead = shifted[degree] / scale**degree
        inner = [shifted[j] / (lead * scale**j) for j in range(degree)]
        builder = Builder(scale)
        square = builder.dot((0, 0))
        if degree == 3:
            builder.dot((builder.shift(square, inner[1]), 0))
        if degree == 4:
            difference, total = inner[1], inner[2] + 1.0
            b, d = (total - difference) / 2.0, (total + difference) / 2.0
            inner[0] = inner[0] - b * d
            plus = builder.shift(builder.sum(square, 0), b)
            minus = builder.shift(builder.add(Difference(square, 0), square, 0), d)
            builder.dot((plus, minus))
        return _Draft(tuple(builder.steps), scale, scale * s, lead, lead * inner[0])

    yield _scaled(coefficients, magnitude, make)


def _chained(coefficients: Vector, magnitude: Vector) -> Iterator[_Draft]:
    """Degree 8, even but for a linear term: two squares, and the difference of two more."""
    found = chain(_monomials(coefficients))
    if found is None:
        return

    def make(scale: Vector) -> _Draft:
        lead = found.lead / scale**found.degree
        steps = found.steps(scale[None, :])
        return _Draft(steps, scale, scale * found.start, lead, found.lead * found.constant)

    yield _scaled(coefficients, magnitude, make, LARGER)


SHARES = (0.25, 0.5, 1.0, 2.0)
"""Of the factors of an octic (see Octic.steps), those that are tried."""


def _octic(coefficients: Vector, magnitude: Vector) -> Iterator[_Draft]:
    """Degree 8 in three products, degree 16 in four if even but for a linear term."""
    found = octic(_monomials(coefficients))
    if found is None:
        return

    def maker(share: float) -> Maker:
        def make(scale: Vector) -> _Draft:
            steps, constant = found.steps(scale, share)
            lead = found.lead / scale**found.degree
            return _Draft(steps, scale, 0.0 * scale, lead, found.lead * constant)

        return make

    drafts = [_scaled(coefficients, magnitude, maker(share), LARGER) for share in SHARES]
    yield min(drafts, key=_score)


def _monomials(coefficients: Vector) -> Vector:
    """Power-basis coefficients of polynomials of degree at most 16, column by column."""
    size = len(coefficients)
    change = np.zeros((size, size))
    for j in range(size):
        power = chebyshev.cheb2poly(np.eye(size)[j, : j + 1])
        change[: len(power), j] = power
    return change @ coefficients


def _bases(degree: int) -> Iterator[frozenset[int]]:
    """Sets of T_j worth keeping: babies 1..b or even ones, and giants g, 2g, 4g, ..."""
    seen: set[frozenset[int]] = set()
    top = max(1, degree)
    for babies in range(1, min(top, 8) + 1):
        for even in (False, True):
            small = {1, *range(2, babies + 1, 2)} if even else set(range(1, babies + 1))
            for giant in range(2, min(top, 9) + 1):
                giants = {giant << i for i in range(5) if giant << i <= top}
                for powers in (set(), {1 << i for i in range(1, 5) if 1 << i <= top}):
                    basis = frozenset(small | giants | powers)
                    if basis not in seen:
                        seen.add(basis)
                        yield basis


def _basis_products(basis: frozenset[int]) -> int:
    """Products to make every T_j of the basis, and what they are made from."""
    needed: set[int] = set()
    todo = list(basis)
    while todo:
        j = todo.pop()
        if j > 1 and j not in needed:
            needed.add(j)
            todo += [j // 2, j - j // 2]
    return len(needed)


@lru_cache(maxsize=64)
def _general_tables(degree: int) -> tuple[Splits, ...]:
    """The most promising split tables for this degree, all coefficients inside."""
    levels = levels_of_degree(degree)
    if degree + 1 > 2**levels:
        return ()
    ranked: list[tuple[int, int, int, Splits]] = []
    for basis in _bases(degree):
        found = split_table(degree, levels, basis)
        if found is not None:
            ranked.append((found[0] + _basis_products(basis), len(basis), len(ranked), found[1]))
    return tuple(splits for *_, splits in sorted(ranked)[:_BEST_BASES])


@lru_cache(maxsize=64)
def _monic_tables(degree: int) -> tuple[tuple[int, Splits], ...]:
    """The most promising (k, split table) for core = B_k (B_(degree - k) + s) + r."""
    levels = levels_of_degree(degree)
    ranked: list[tuple[int, int, int, int, Splits]] = []
    for basis in _bases(degree):
        for k in sorted(basis):
            j = degree - k
            if not 1 <= j <= k or j not in basis or levels_of_degree(k) > levels - 1:
                continue
            inner = split_table(max(1, j - 1), levels - 1, basis) if levels > 1 else (0, {})
            outer = split_table(k - 1, levels, basis) if k > 1 else (0, {})
            if inner is None or outer is None:
                continue
            total = (inner[0] if j > 1 else 0) + outer[0] + 1 + _basis_products(basis)
            splits = {**inner[1], **outer[1]}
            ranked.append((total, len(basis), len(ranked), k, splits))
    return tuple((k, splits) for *_, k, splits in sorted(ranked, key=lambda r: r[:3])[:_BEST_BASES])
