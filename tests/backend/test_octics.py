"""Octics: polynomials of degree 8 in three products, even ones of degree 16 in four."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.polynomial import polynomial as power_basis

from eer.compiler.backend.octics import octic
from eer.compiler.ir.poly_plan import PolyPlan, run_steps
from eer.compiler.ir.tensor import Vector

SIZE = 5


def powers(degree: int, seed: int) -> Vector:
    """Coefficients of random polynomials; those of degree 16 are even but for a linear term."""
    rng = np.random.default_rng(seed)
    found = rng.normal(size=(degree + 1, SIZE))
    found[-1] = np.sign(found[-1]) * np.maximum(0.3, np.abs(found[-1]))
    if degree == 16:
        found[3::2] = 0.0
    return found


@pytest.mark.parametrize("degree", [8, 16])
@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10_000), share=st.sampled_from((0.25, 1.0, 3.0)))
def test_steps_compute_the_polynomial(degree: int, seed: int, share: float) -> None:
    coefficients = powers(degree, seed)
    found = octic(coefficients)
    assert found is not None
    assert found.degree == degree
    scale = np.random.default_rng(seed).uniform(0.5, 1.0, SIZE)
    t = np.linspace(-1, 1, 21)[:, None] * np.ones(SIZE)
    wanted = np.array([power_basis.polyval(t[:, k], coefficients[:, k]) for k in range(SIZE)]).T
    steps, constant = found.steps(scale, share)
    values = found.lead * (run_steps(steps, scale * t)[-1] / scale**degree + constant)
    np.testing.assert_allclose(values, wanted, atol=1e-8 * np.abs(wanted).max())


@pytest.mark.parametrize(("degree", "products", "sums"), [(8, 3, 3), (16, 4, 3)])
def test_they_take_a_product_a_level(degree: int, products: int, sums: int) -> None:
    found = octic(powers(degree, 1))
    assert found is not None
    one, zero = np.ones(SIZE), np.zeros(SIZE)
    steps, _ = found.steps(one, 1.0)
    plan = PolyPlan(degree, one, zero, one, zero, steps, 1.0, 1.0)
    assert (plan.depth, plan.products) == (products, products)
    # Products with plaintexts: of x in Q, of x^2 and x in N, of both, and t, in R.
    assert plan.plain_products == sums + 2 + (degree == 16)


def test_what_vanishes_is_not_computed() -> None:
    """x^8 + x^4 is a square and a rest; x^8 a square of squares."""
    one = np.ones(1)
    for used, plain in (((4,), 2), ((), 0)):
        coefficients = np.zeros((9, 1))
        coefficients[[8, *used]] = 1.0
        found = octic(coefficients)
        assert found is not None
        steps, _ = found.steps(one, 1.0)
        plan = PolyPlan(8, one, 0 * one, one, 0 * one, steps, 1.0, 1.0)
        assert plan.plain_products <= plain


def test_others_are_none() -> None:
    assert octic(powers(7, 1)) is None
    assert octic(powers(12, 1)) is None
    odd = powers(16, 1)
    odd[3] = 1.0
    assert octic(odd) is None
    flat = powers(8, 1)
    flat[-1, 0] = 0.0
    assert octic(flat) is None
