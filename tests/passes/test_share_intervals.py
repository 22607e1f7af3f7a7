"""Shared intervals: the same functions, written alike where they are alike."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from numpy.polynomial import chebyshev
from scipy.sparse import csr_array

from eer.compiler.ir.tensor import (
    Affine,
    Input,
    Node,
    Output,
    Polynomial,
    TensorGraph,
    Vector,
)
from eer.compiler.passes.share_intervals import share_intervals


def shared(polynomial: Polynomial) -> Polynomial:
    size = len(polynomial.center)
    nodes = (Node(Input("x"), (), (size,)), Node(polynomial, (0,), (size,)))
    graph = share_intervals(TensorGraph("net", nodes, (Output("y", 1, (size,)),)))
    op = graph.nodes[1].op
    assert isinstance(op, Polynomial)
    return op


def rewritten(coefficients: Vector, center: Vector, radius: Vector) -> Polynomial:
    """The polynomials `coefficients` [degree + 1, n], given on [-1, 1], on other intervals."""
    degree = len(coefficients) - 1
    t = chebyshev.chebpts1(degree + 1)
    columns = [
        chebyshev.chebfit(t, chebyshev.chebval(c + r * t, row), degree)
        for row, c, r in zip(coefficients.T, center, radius, strict=True)
    ]
    return Polynomial(np.array(columns).T, center, radius)


def values(polynomial: Polynomial, element: int, x: Vector) -> Vector:
    t = (x - polynomial.center[element]) / polynomial.radius[element]
    return np.asarray(chebyshev.chebval(t, polynomial.chebyshev[:, element]))


def assert_same_functions(before: Polynomial, after: Polynomial) -> None:
    """On each element's own interval, to a relative 1e-7."""
    assert np.all(after.radius > 0)
    for e in range(len(before.center)):
        x = before.center[e] + before.radius[e] * np.linspace(-1, 1, 33)
        wanted = values(before, e, x)
        bound = 1e-7 * max(1e-12, np.abs(wanted).max())
        np.testing.assert_allclose(values(after, e, x), wanted, rtol=0, atol=bound)


@settings(max_examples=80, deadline=None)
@given(
    degree=st.integers(0, 8),
    kinds=st.integers(1, 3),
    size=st.integers(1, 12),
    spread=st.floats(1.0, 2.0),
    seed=st.integers(0, 2**32 - 1),
)
@example(degree=8, kinds=1, size=4, spread=2.0, seed=1)
def test_equal_functions_are_written_alike(
    degree: int, kinds: int, size: int, spread: float, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    functions = rng.normal(size=(degree + 1, kinds)) * 0.5 ** np.arange(degree + 1)[:, None]
    which = rng.integers(0, kinds, size)
    center = rng.uniform(-0.3, 0.3, size)
    radius = spread ** rng.uniform(-1, 1, size)
    before = rewritten(functions[:, which], center, radius)
    after = shared(before)
    assert_same_functions(before, after)
    for kind in np.unique(which):
        members = np.flatnonzero(which == kind)
        for rows in (after.chebyshev, after.center[None, :], after.radius[None, :]):
            assert (rows[:, members] == rows[:, members[:1]]).all()
    if degree:
        assert len(np.unique(after.chebyshev, axis=1).T) == len(np.unique(which))


@settings(max_examples=60, deadline=None)
@given(
    degree=st.integers(1, 31),
    size=st.integers(2, 6),
    decades=st.floats(0.0, 4.0),
    seed=st.integers(0, 2**32 - 1),
)
def test_functions_stay_the_same_however_their_intervals_differ(
    degree: int, size: int, decades: float, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    coefficients = rng.normal(size=(degree + 1, size)) * 0.7 ** np.arange(degree + 1)[:, None]
    radius = 10 ** (decades * rng.uniform(-0.5, 0.5, size))
    before = Polynomial(coefficients, rng.normal(size=size) * radius, radius)
    assert_same_functions(before, shared(before))


@pytest.mark.parametrize("degree", [2, 7, 15])
def test_functions_that_differ_by_a_constant_stay_apart(degree: int) -> None:
    """On the common interval the wide element's, both narrow ones look alike to nine digits."""
    rng = np.random.default_rng(0)
    coefficients = np.tile(rng.normal(size=(degree + 1, 1)), (1, 3))
    coefficients[0, 1] += 0.5
    before = Polynomial(coefficients, np.zeros(3), np.array([1.0, 1.0, 1e4]))
    assert_same_functions(before, shared(before))


def test_small_and_large_copies_of_a_function_stay_apart() -> None:
    before = Polynomial(np.array([[0.0, 0.0], [1.0, 2.0]]), np.zeros(2), np.ones(2))
    after = shared(before)
    assert_same_functions(before, after)
    np.testing.assert_allclose(after.chebyshev, before.chebyshev, atol=1e-12)


def test_zero_is_a_function_too() -> None:
    before = Polynomial(np.zeros((3, 4)), np.zeros(4), np.arange(1.0, 5.0))
    after = shared(before)
    assert not after.chebyshev.any()
    assert (after.radius == 4).all()


def test_other_nodes_are_left_alone() -> None:
    affine = Affine((csr_array(np.eye(2)),), np.zeros(2))
    polynomial = Polynomial(np.ones((2, 2)), np.zeros(2), np.ones(2), "SiLU")
    nodes = (
        Node(Input("x"), (), (2,)),
        Node(affine, (0,), (2,)),
        Node(polynomial, (1,), (2,)),
    )
    graph = TensorGraph("net", nodes, (Output("y", 2, (2,)),))
    after = share_intervals(graph)
    assert after.nodes[:2] == graph.nodes[:2]
    assert after.outputs == graph.outputs
    op = after.nodes[2].op
    assert isinstance(op, Polynomial)
    assert op.name == "SiLU"
