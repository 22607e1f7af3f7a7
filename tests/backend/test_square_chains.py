"""Chains of squares: the same polynomials, and their scaled forms."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.polynomial import chebyshev

from eer.compiler.backend.poly_schemes import plan_polynomial
from eer.compiler.backend.square_chains import MOST_OFFSET, chain, chain_of
from eer.compiler.ir.poly_plan import PolyPlan, run_steps
from eer.compiler.ir.tensor import Polynomial

SIZE = 5


def planned(degree: int, seed: int, even: bool = False) -> PolyPlan:
    """Random polynomials that fall off towards high degrees, as fits do; those that are even but
    for a linear term are fits, of softened absolute values and a slope."""
    rng = np.random.default_rng(seed)
    if even:
        t = np.cos(np.pi * (np.arange(64) + 0.5) / 64)[:, None]
        softness, slope = rng.uniform(0.05, 0.4, SIZE), rng.normal(size=SIZE)
        fitted = chebyshev.chebfit(t[:, 0], np.sqrt(t**2 + softness**2), degree)
        coefficients = np.asarray(fitted, dtype=np.float64)
        coefficients[1::2] = 0.0
        coefficients[1] = slope
    else:
        coefficients = rng.normal(size=(degree + 1, SIZE)) * 0.5 ** np.arange(degree + 1)[:, None]
        coefficients[-1] = np.sign(coefficients[-1]) * np.maximum(0.01, np.abs(coefficients[-1]))
    return plan_polynomial(Polynomial(coefficients, np.zeros(SIZE), np.ones(SIZE)))


KINDS = [(2, False), (4, False), (4, True), (8, True)]


@pytest.mark.parametrize(("degree", "even"), KINDS)
@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 10_000))
def test_scaled_chains_are_the_core_times_a_power(degree: int, even: bool, seed: int) -> None:
    plan = planned(degree, seed, even)
    found = chain_of(plan)
    assert found is not None
    assert found.degree == degree
    rng = np.random.default_rng(seed)
    roots = rng.normal(size=(2, SIZE)) + 1j * rng.normal(size=(2, SIZE))
    u = rng.uniform(-1, 1, (7, SIZE))
    core = run_steps(plan.steps, u)[-1]
    t = (roots[:, None, :] * (u + found.start)).transpose(1, 0, 2).reshape(7, -1)
    values = run_steps(found.steps(roots), t)[-1].reshape(7, 2, SIZE)
    wanted = roots**degree * (core / found.lead - found.constant)[:, None, :]
    np.testing.assert_allclose(values, wanted, atol=1e-7 * np.abs(wanted).max())


@pytest.mark.parametrize("degree", [2, 4, 8])
def test_they_take_a_product_a_level_and_one_with_a_plaintext(degree: int) -> None:
    found = chain_of(planned(degree, 3, even=True))
    assert found is not None
    one, zero = np.ones(SIZE), np.zeros(SIZE)
    plan = PolyPlan(degree, one, zero, one, zero, found.steps(one[None, :]), 1.0, 1.0)
    assert (plan.depth, plan.products) == (found.degree.bit_length() - 1,) * 2
    assert plan.plain_products == (degree > 2)
    # It is wanted where W stands, a level above the core.
    assert plan.latest[-1] - max(plan.latest[:-1]) == 1


def test_smooth_rectifiers_are_planned_as_chains() -> None:
    plan = planned(8, 1, even=True)
    assert (plan.depth, plan.products, plan.plain_products) == (3, 3, 1)


def test_a_rest_that_is_no_square_makes_no_chain() -> None:
    octic = np.zeros((9, 1))
    octic[[8, 6, 4, 2, 1], 0] = 1.0, -2.0, 1.0, 0.5, 1.0
    assert chain(octic) is None
    # Next to no slope: the linear term would be what is left of a large offset.
    quartic = np.array([0.0, 1.0, 0.0, 0.0, 1.0])[:, None]
    assert chain(quartic) is not None
    octic[[8, 6, 4, 2, 1], 0] = 1.0, 0.0, 0.0, -((1 / (4 * MOST_OFFSET)) ** 2), 1.0
    assert chain(octic) is None


@pytest.mark.parametrize(("degree", "even"), [(3, False), (5, False), (6, True), (8, False)])
def test_others_are_none(degree: int, even: bool) -> None:
    assert chain_of(planned(degree, 1, even)) is None
