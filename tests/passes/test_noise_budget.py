"""How much noise outputs may have: little, or as much as polynomials make of them anyway."""

from __future__ import annotations

import numpy as np
import pytest

from eer.compiler.ir.tensor import Output, Vector
from eer.compiler.passes.noise_budget import NoiseBudget

RNG = np.random.default_rng(0)


def values(*outputs: tuple[str, int]) -> tuple[Output, ...]:
    """Outputs that are not classes: no label limits their noise."""
    return tuple(Output(name, n, (count, 1), "none") for n, (name, count) in enumerate(outputs))


def quiet(clear: dict[str, Vector], noisy: dict[str, Vector], tolerance: float) -> bool:
    """Judged for outputs of exact polynomials, labels aside."""
    outputs = values(*((name, y.shape[1]) for name, y in clear.items()))
    wide = NoiseBudget(outputs, clear, clear, tolerance)
    return wide.accepts(clear, noisy)


def scores(*, rows: int = 2000, size: int = 3) -> Vector:
    return RNG.normal(size=(rows, size))


def classes(y: Vector, polynomial: Vector, tolerance: float = 0.01) -> NoiseBudget:
    outputs = (Output("y", 0, (y.shape[1],), "softmax"),)
    return NoiseBudget(outputs, {"y": y}, {"y": polynomial}, tolerance)


def test_noise_is_measured_by_the_spread_of_each_output() -> None:
    y = {"a": scores(rows=500), "b": 100 * scores(rows=500, size=1)}
    noise = 0.2 * RNG.uniform(-1, 1, size=(500, 1))
    loud_for_a = {"a": y["a"] + 0.05 * noise, "b": y["b"]}
    assert not quiet(y, loud_for_a, 0.01)
    assert quiet(y, loud_for_a, 0.03)
    assert quiet(y, {"a": y["a"], "b": y["b"] + noise}, 0.01)


def test_some_noise_is_quiet_at_any_tolerance() -> None:
    y = scores(rows=500)
    budget = classes(y, y, 0.0)
    noise = RNG.normal(size=y.shape)
    assert budget.accepts({"y": y}, {"y": y + 1e-6 * noise})
    assert not budget.accepts({"y": y}, {"y": y + 0.005 * noise})
    assert not budget.accepts({"y": y}, {"y": np.full_like(y, np.nan)})


def test_noise_on_one_constant_value_is_measured_by_the_value() -> None:
    y = {"a": np.full((1, 1), 50.0)}
    outputs = (Output("a", 0, (1, 1), "none", span=1000.0),)
    assert NoiseBudget(outputs, y, y, 0.01).accepts(y, {"a": np.full((1, 1), 50.05)})


def test_an_output_of_zeros_may_have_no_noise() -> None:
    y = {"a": np.zeros((10, 1))}
    outputs = (Output("a", 0, (1, 1), "none", span=1.0),)
    budget = NoiseBudget(outputs, y, y, 0.01)
    assert budget.accepts(y, y)
    assert not budget.accepts(y, {"a": y["a"] + 1e-3})


@pytest.mark.parametrize("error", [0.0, 0.003, 0.008])
def test_noise_may_be_what_polynomials_err_by(error: float) -> None:
    y = scores()
    polynomial = y + error * RNG.normal(size=y.shape)
    budget = classes(y, polynomial)
    for size in (0.002, 0.006, 0.02):
        noisy = {"y": polynomial + size * RNG.normal(size=y.shape)}
        assert budget.accepts({"y": polynomial}, noisy) == (size <= max(0.0025, error))


def test_noise_and_polynomials_together_stay_within_the_tolerance() -> None:
    """Where polynomials leave little of it, noise that is as large as their errors is too much."""
    y = scores()
    errors = RNG.normal(size=y.shape)
    tight = next(
        budget
        for size in np.arange(0.01, 0.1, 0.001)
        if (budget := classes(y, y + size * errors)).strain > 0.9
    )
    assert tight.strain < 1.0
    polynomial = dict(tight.polynomial)
    for share, within in ((0.3, True), (0.9, False)):
        noise = share * tight.errors["y"] * RNG.normal(size=y.shape)
        assert tight.accepts(polynomial, {"y": polynomial["y"] + noise}) is within
    faint = {"y": polynomial["y"] + 0.002 * RNG.normal(size=y.shape)}
    assert tight.accepts(polynomial, faint), "there is always room for a little"
