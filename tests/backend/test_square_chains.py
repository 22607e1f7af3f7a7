"""Chains of squares: the same polynomials, and their scaled forms."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eer.compiler.backend.poly_schemes import plan_polynomial
from eer.compiler.backend.square_chains import chain_of
from eer.compiler.ir.poly_plan import PolyPlan, run_steps
from eer.compiler.ir.tensor import Polynomial

SIZE = 5


def planned(degree: int, seed: int, even: bool = False) -> PolyPlan:
    """Random polynomials that fall off towards high degrees, as fits do."""
    rng = np.random.default_rng(seed)
    coefficients = rng.normal(size=(degree + 1, SIZE)) * 0.5 ** np.arange(degree + 1)[:, None]
    coefficients[-1] = np.sign(coefficients[-1]) * np.maximum(0.01, np.abs(coefficients[-1]))
    if even:
        coefficients[3::2] = 0.0
    return plan_polynomial(Polynomial(coefficients, np.zeros(SIZE), np.ones(SIZE)))


KINDS = [(2, False), (4, False), (4, True), (8, True)]


@pytest.mark.parametrize(("degree", "even"), KINDS)
@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 10_000))
def test_scaled_chains_are_the_core_times_a_power(degree: int, even: bool, seed: int) -> None:
    plan = planned(degree, seed, even)
    chain = chain_of(plan)
    assert chain is not None
    assert chain.degree == degree
    rng = np.random.default_rng(seed)
    roots = rng.normal(size=(2, SIZE)) + 1j * rng.normal(size=(2, SIZE))
    made = chain.scaled(roots, plan)
    assert (made.depth, made.products) == (plan.depth, plan.depth)
    u = rng.uniform(-1, 1, (7, SIZE))
    core = run_steps(plan.steps, u)[-1]
    t = (roots[:, None, :] * (u + chain.start)).transpose(1, 0, 2).reshape(7, -1)
    found = run_steps(made.steps, t)[-1].reshape(7, 2, SIZE)
    wanted = roots**degree * (core / chain.lead - chain.constant)[:, None, :]
    np.testing.assert_allclose(found, wanted, atol=1e-7 * np.abs(wanted).max())


@pytest.mark.parametrize(("degree", "even"), [(3, False), (5, False), (6, True), (8, False)])
def test_others_are_none(degree: int, even: bool) -> None:
    assert chain_of(planned(degree, 1, even)) is None
