"""Fits of activations: accurate where inputs are, bounded where they may come to be."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import numpy as np
import pytest
from numpy.polynomial import chebyshev
from scipy.special import expit

from eer.compiler.backend.poly_schemes import plan_polynomial
from eer.compiler.ir.tensor import Vector
from eer.compiler.passes.affine_forms import value_of
from eer.compiler.passes.fit import Fitter, stretch
from eer.compiler.passes.grain import Samples, make_fitter

Function = Callable[[Vector], Vector]

FUNCTIONS: dict[str, Function] = {
    "relu": lambda x: np.maximum(x, 0.0),
    "silu": lambda x: x * expit(x),
    "tanh": lambda x: np.asarray(np.tanh(x)),
}


def normal(rows: int = 256, size: int = 16, seed: int = 0) -> Samples:
    rng = np.random.default_rng(seed)
    return Samples(rng.normal(size=(rows, size)), rng.normal(size=(rows, size)))


def fitter(name: str, samples: Samples, grain: str | None = None) -> Fitter:
    size = samples.fit.shape[1]
    return make_fitter(FUNCTIONS[name], samples, (size,), 0.1, grain)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_errors_fall_with_the_degree(name: str) -> None:
    samples = normal()
    f = fitter(name, samples)
    errors = []
    for degree in (2, 4, 8, 16, 31):
        p = f.polynomial(degree, name)
        x = samples.held_out
        errors.append(float(np.sqrt(np.mean((value_of(p, x) - FUNCTIONS[name](x)) ** 2))))
        assert f.rms(degree) == pytest.approx(errors[-1], rel=0.15, abs=1e-4)
    assert all(b < 0.75 * a for a, b in pairwise(errors))


@pytest.mark.parametrize("name", FUNCTIONS)
@pytest.mark.parametrize("degree", [2, 3, 4, 7, 8, 16, 31])
def test_polynomials_stay_bounded_on_the_whole_interval(name: str, degree: int) -> None:
    p = fitter(name, normal()).polynomial(degree, name)
    x = p.center + p.radius * np.linspace(-1, 1, 2001)[:, None]
    error = np.abs(value_of(p, x) - FUNCTIONS[name](x)).max()
    assert error <= (0.8 * p.radius[0] if degree <= 4 else 1.0)


def test_low_degrees_are_near_the_best_for_the_distribution() -> None:
    """Against numpy's least squares on the held-out values themselves."""
    samples = normal(4096, 4)
    for name, function in FUNCTIONS.items():
        p = fitter(name, samples).polynomial(4, name)
        x = samples.held_out[:, 0]
        t = x / 5.0
        best = chebyshev.chebval(t, chebyshev.chebfit(t, function(x), 4))
        least = np.sqrt(np.mean((best - function(x)) ** 2))
        ours = np.sqrt(np.mean((value_of(p, samples.held_out)[:, 0] - function(x)) ** 2))
        assert ours <= 1.6 * least


def test_high_degrees_are_near_chebyshev_interpolation() -> None:
    p = fitter("silu", normal()).polynomial(23, "SiLU")
    c, r = float(p.center[0]), float(p.radius[0])
    t = chebyshev.chebpts1(24)
    interpolated = chebyshev.chebfit(t, FUNCTIONS["silu"](c + r * t), 23)
    grid = np.linspace(-1, 1, 1001)
    exact = FUNCTIONS["silu"](c + r * grid)
    theirs = np.abs(chebyshev.chebval(grid, interpolated) - exact).max()
    ours = np.abs(chebyshev.chebval(grid, p.chebyshev[:, 0]) - exact).max()
    assert ours <= 10 * theirs


def test_interval_covers_fit_values_margin_and_tails() -> None:
    samples = normal(64)
    f = fitter("relu", samples, "element")
    low, high = f.center - f.radius, f.center + f.radius
    spread = np.ptp(samples.fit, axis=0)
    assert np.all(low <= samples.fit.min(axis=0) - 0.1 * spread + 1e-12)
    assert np.all(high >= samples.fit.max(axis=0) + 0.1 * spread - 1e-12)
    assert np.all(high - low > 6.0)


def test_intervals_of_high_degrees_are_wider() -> None:
    f = make_fitter(lambda x: np.where(x > 0, x, np.expm1(x)), normal(), (16,), 0.1)
    widths = [float(f.polynomial(d, "Elu").radius[0]) for d in (2, 8, 16, 31)]
    assert widths == sorted(widths)
    assert widths[-1] == pytest.approx(stretch(31) * widths[0])


def test_values_outside_are_counted() -> None:
    samples = normal(512, 4)
    far = samples.held_out.copy()
    far[:8, 0] = 50.0
    f = make_fitter(FUNCTIONS["relu"], Samples(samples.fit, far), (4,), 0.1)
    assert f.outside(4) == pytest.approx(8 / far.size)
    assert fitter("relu", samples).outside(4) == 0.0


def test_elements_of_different_ranges_get_their_own_polynomials() -> None:
    scales = np.array([0.01, 1.0, 100.0])
    samples = normal(512, 3)
    f = fitter("tanh", Samples(samples.fit * scales, samples.held_out * scales))
    assert f.grain == "element"
    p = f.polynomial(8, "Tanh")
    assert p.radius[2] > 100 * p.radius[1] / 5


def test_alike_elements_with_few_rows_share_one_polynomial() -> None:
    assert fitter("silu", normal(16, 64)).grain == "tensor"


def test_channels_share_a_polynomial() -> None:
    rng = np.random.default_rng(0)
    scales = np.repeat([0.1, 4.0], 32)
    x, y = rng.normal(size=(2, 24, 64)) * scales
    f = make_fitter(FUNCTIONS["relu"], Samples(x, y), (1, 2, 32), 0.1)
    assert f.grain == "axis 1"
    assert len(set(f.polynomial(2, "Relu").radius)) == 2


def test_functions_that_differ_by_element_are_not_pooled() -> None:
    slopes = np.linspace(0.0, 0.9, 8)
    samples = normal(64, 8)
    f = make_fitter(lambda x: np.where(x > 0, x, slopes * x), samples, (8,), 0.1)
    assert f.grain == "element"


def test_a_constant_input_is_no_trouble() -> None:
    constant = np.full((32, 3), 2.5)
    f = fitter("silu", Samples(constant, constant))
    p = f.polynomial(4, "SiLU")
    np.testing.assert_allclose(value_of(p, constant), FUNCTIONS["silu"](constant), atol=1e-6)


def test_exploded_held_out_rows_count_as_outside() -> None:
    samples = normal(64, 4)
    exploded = samples.held_out.copy()
    exploded[0] = np.nan
    exploded[1] = np.inf
    f = make_fitter(FUNCTIONS["silu"], Samples(samples.fit, exploded), (4,), 0.1)
    assert 2 / 64 <= f.outside(2) <= 2.5 / 64
    assert np.isfinite(f.rms(8))


@pytest.mark.parametrize("name", FUNCTIONS)
@pytest.mark.parametrize("degree", [2, 4, 8, 16])
def test_leading_coefficients_can_be_divided_by(name: str, degree: int) -> None:
    """Odd functions have no even coefficients; the plan of degree 2^m divides by one."""
    p = fitter(name, normal()).polynomial(degree, name)
    plan = plan_polynomial(p)
    assert plan.degree == p.degree >= degree - 1
    assert plan.condition <= 100.0


def test_odd_functions_leave_even_terms_out_above_degree_four() -> None:
    f = fitter("tanh", normal())
    assert np.all(f.polynomial(7, "Tanh").chebyshev[2::2] == 0.0)
    assert f.polynomial(8, "Tanh").degree == 7
    assert np.any(f.polynomial(4, "Tanh").chebyshev[2::2] != 0.0)


def test_parity_is_not_used_where_inputs_lie_on_one_side() -> None:
    samples = normal(512, 4)
    f = fitter("silu", Samples(samples.fit + 4.0, samples.held_out + 4.0))
    assert f.symmetric is None


def test_functions_without_parity_use_every_term() -> None:
    f = make_fitter(lambda x: np.where(x > 0, x, np.expm1(x)), normal(), (16,), 0.1)
    assert f.symmetric is None
    assert np.all(f.polynomial(7, "Elu").chebyshev[:, 0] != 0.0)
