"""Evaluation plans of polynomials: exact values, few levels, bounded noise."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.polynomial import chebyshev
from scipy.special import expit

from eer.compiler.backend.poly_schemes import plan_polynomial
from eer.compiler.ir.poly_plan import (
    Difference,
    Dot,
    PolyPlan,
    Shift,
    Sum,
    Weighted,
    evaluate_plan,
    levels_of_degree,
    registers_read,
)
from eer.compiler.ir.tensor import Polynomial, Vector

FUNCTIONS: dict[str, Callable[[Vector], Vector]] = {
    "silu": lambda x: x * expit(x),
    "relu": lambda x: np.maximum(x, 0.0),
    "tanh": lambda x: np.asarray(np.tanh(x)),
    "sigmoid, off centre": lambda x: np.asarray(expit(x + 1.3)),
}


def polynomial(coefficients: Vector, center: float = 0.0, radius: float = 1.0) -> Polynomial:
    n = coefficients.shape[1]
    return Polynomial(coefficients, np.full(n, center), np.full(n, radius))


def fitted(name: str, degree: int, radius: float = 4.0) -> Polynomial:
    t = chebyshev.chebpts1(degree + 1)
    least_squares = chebyshev.chebfit(t, FUNCTIONS[name](radius * t), degree)
    coefficients = np.asarray(least_squares, dtype=np.float64)
    coefficients[np.abs(coefficients) < 1e-13] = 0.0
    return polynomial(coefficients[:, None], 0.0, radius)


def reference(p: Polynomial, x: Vector) -> Vector:
    """numpy's own evaluation, one element at a time."""
    columns = [
        chebyshev.chebval((x[:, e] - p.center[e]) / p.radius[e], p.chebyshev[:, e])
        for e in range(p.chebyshev.shape[1])
    ]
    return np.stack(columns, axis=1)


def arguments(p: Polynomial, count: int = 101) -> Vector:
    return p.center + p.radius * np.linspace(-1.0, 1.0, count)[:, None]


def assert_exact(p: Polynomial, plan: PolyPlan) -> None:
    x = arguments(p)
    expected = reference(p, x)
    size = np.abs(p.chebyshev).sum(axis=0) + 1e-300
    assert np.abs((evaluate_plan(plan, x) - expected) / size).max() <= 1e-9


@pytest.mark.parametrize("degree", range(1, 33))
@pytest.mark.parametrize("elements", [1, 5])
def test_random_polynomials_of_every_degree(degree: int, elements: int) -> None:
    rng = np.random.default_rng(degree)
    p = polynomial(rng.normal(size=(degree + 1, elements)), center=1.5, radius=2.5)
    plan = plan_polynomial(p)
    assert_exact(p, plan)
    assert plan.degree == degree
    assert plan.depth == math.ceil(math.log2(degree))


@settings(max_examples=60, deadline=None)
@given(
    degree=st.integers(1, 32),
    elements=st.integers(1, 4),
    decay=st.floats(0.05, 1.0),
    zeros=st.sampled_from(("none", "odd", "even", "lead", "all of one", "random")),
    seed=st.integers(0, 2**32 - 1),
)
def test_polynomials_of_every_kind(
    degree: int, elements: int, decay: float, zeros: str, seed: int
) -> None:
    """Coefficients that fall off as those of smooth functions do, with zeros in awkward places."""
    rng = np.random.default_rng(seed)
    c = rng.normal(size=(degree + 1, elements)) * decay ** np.arange(degree + 1)[:, None]
    match zeros:
        case "odd":
            c[1::2] = 0.0
        case "even":
            c[0::2] = 0.0
        case "lead":
            c[-1, 0] = 0.0
        case "all of one":
            c[1:, 0] = 0.0
        case "random":
            c[rng.random(c.shape) < 0.5] = 0.0
    p = polynomial(c, center=-0.5, radius=3.0)
    plan = plan_polynomial(p)
    assert_exact(p, plan)
    assert plan.depth == levels_of_degree(plan.degree)
    assert plan.degree <= degree


@pytest.mark.parametrize(
    ("degree", "products"),
    [(2, 1), (3, 2), (4, 2), (5, 3), (6, 3), (7, 4), (8, 3), (15, 8), (16, 8), (31, 13)],
)
def test_products_do_not_grow(degree: int, products: int) -> None:
    p = polynomial(np.random.default_rng(1).normal(size=(degree + 1, 3)))
    assert plan_polynomial(p).products <= products


def test_low_degrees_need_no_plaintext_product() -> None:
    for name, degree in (("silu", 2), ("tanh", 3), ("silu", 4), ("relu", 4)):
        plan = plan_polynomial(fitted(name, degree))
        assert plan.plain_products == 0
        assert plan.depth == levels_of_degree(degree)


def test_even_structure_saves_products() -> None:
    full = plan_polynomial(fitted("sigmoid, off centre", 16))
    even = plan_polynomial(fitted("silu", 16))
    assert even.products < full.products


def noisy(plan: PolyPlan, x: Vector, noise: Callable[[Vector], Vector]) -> Vector:
    """The plan's value with `noise` added to the input and to every product: our own evaluator."""
    values = [plan.pre_scale * x + plan.pre_shift]
    values[0] = values[0] + noise(values[0])
    for step in plan.steps:
        match step:
            case Dot(pairs):
                new = np.sum([values[a] * values[b] for a, b in pairs], axis=0)
                new = new + noise(new)
            case Weighted(regs, c):
                new = np.sum([c[i] * values[r] for i, r in enumerate(regs)], axis=0)
                new = new + noise(new)
            case Shift(reg, constants):
                new = values[reg] + constants
            case Sum(a, b):
                new = values[a] + values[b]
            case Difference(a, b):
                new = values[a] - values[b]
        values.append(new)
    return np.asarray(plan.post_scale * values[-1] + plan.post_shift)


@pytest.mark.parametrize("name", FUNCTIONS)
@pytest.mark.parametrize("degree", range(2, 33))
def test_relative_noise_in_every_product_stays_small(name: str, degree: int) -> None:
    """2^-18 of each value, as rescaling leaves it, costs less than 5 bits of the result's range."""
    rng = np.random.default_rng(degree)
    p = fitted(name, degree)
    plan = plan_polynomial(p)
    x = arguments(p, 401)
    exact = evaluate_plan(plan, x)
    error = noisy(plan, x, lambda v: 2.0**-18 * v * rng.uniform(-1.0, 1.0, v.shape)) - exact
    assert np.abs(error).max() <= 2.0**-18 * 32 * np.ptp(exact) / 2


@pytest.mark.parametrize("degree", [2, 3, 4, 7, 8, 13, 16, 31])
def test_condition_predicts_the_error_of_absolute_noise(degree: int) -> None:
    rng = np.random.default_rng(degree)
    p = fitted("sigmoid, off centre", degree)
    plan = plan_polynomial(p)
    x = np.repeat(arguments(p, 33), 2000, axis=1)
    p_many = Polynomial(
        np.repeat(p.chebyshev, 2000, axis=1), np.zeros(2000), np.full(2000, p.radius[0])
    )
    wide = plan_polynomial(p_many)
    exact = evaluate_plan(wide, x)
    error = noisy(wide, x, lambda v: 1e-7 * rng.normal(size=v.shape)) - exact
    measured = error.std(axis=1).max() / 1e-7 / (np.ptp(exact) / 2)
    assert wide.condition == pytest.approx(plan.condition)
    assert 0.7 * plan.condition <= measured <= 1.1 * plan.condition


@pytest.mark.parametrize("name", FUNCTIONS)
def test_growth_bounds_every_register(name: str) -> None:
    for degree in (2, 4, 8, 15, 27):
        plan = plan_polynomial(fitted(name, degree))
        assert plan.growth <= 32
        x = arguments(fitted(name, degree), 1001)
        largest = 0.0

        def record(v: Vector) -> Vector:
            nonlocal largest
            largest = max(largest, float(np.abs(v).max()))
            return np.zeros_like(v)

        noisy(plan, x, record)
        assert largest <= plan.growth * 1.05


def test_elements_that_are_linear_beside_quadratic_ones() -> None:
    c = np.array([[0.0, 1.0, 2.0], [1.0, 1.0, 0.0], [0.5, 0.0, 0.0]])
    p = polynomial(c)
    plan = plan_polynomial(p)
    assert plan.depth == 1
    assert_exact(p, plan)


def test_constant_and_linear_polynomials_cost_nothing() -> None:
    for coefficients in (np.ones((1, 2)), np.array([[1.0, 2.0], [3.0, 4.0]])):
        p = polynomial(coefficients, center=0.5, radius=2.0)
        plan = plan_polynomial(p)
        assert (plan.depth, plan.products, plan.plain_products) == (0, 0, 0)
        assert_exact(p, plan)


def test_steps_read_only_earlier_registers() -> None:
    for degree in range(2, 33):
        plan = plan_polynomial(fitted("sigmoid, off centre", degree))
        for number, step in enumerate(plan.steps):
            assert max(registers_read(step)) <= number


def test_thousands_of_elements_are_planned_quickly() -> None:
    rng = np.random.default_rng(0)
    p = polynomial(rng.normal(size=(5, 3000)))
    plan = plan_polynomial(p)
    assert_exact(p, plan)
    assert plan.depth == 2
