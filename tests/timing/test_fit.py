"""The fit: it finds the terms that made the times, and every call names the operations it takes."""

from __future__ import annotations

from dataclasses import replace
from itertools import product

import numpy as np
import pytest

from eer.compiler.cost import LINEAR, OPERATIONS, SQUARE, CostModel, Costs, Terms, shipped
from eer.compiler.options import ENGINES
from eer.compiler.timing.calls import Call, calls_of
from eer.compiler.timing.fit import fit, residuals
from eer.compiler.timing.measure import Measured, Measurement, measure, parameters
from eer.runtime.engines import open_engine

RING = 13


def truth() -> Costs:
    """Terms of a made-up engine, all of them different."""
    rng = np.random.default_rng(5)

    def terms(operation: str) -> Terms:
        a, b, c = rng.uniform(0.1, 1.0, 3)
        return a, b, c if operation in SQUARE else 0.0

    return Costs("seal", "1", "a CPU", {RING: {o: terms(o) for o in OPERATIONS}})


@pytest.fixture(scope="module")
def calls() -> list[Call]:
    """What is timed, on an engine that takes no time to speak of."""
    engine = open_engine(parameters("seal", RING), "clear")
    return list(calls_of(engine, (0, 1, 2, 4)))


def measured(calls: list[Call], costs: Costs, noise: float) -> Measured:
    rng = np.random.default_rng(7)
    model = CostModel(RING, costs)
    found = tuple(
        Measurement(
            c.operation,
            RING,
            c.level,
            c.expression(model) * (1 + noise * rng.standard_normal()),
            c.expression,
        )
        for c in calls
    )
    return Measured(costs.engine, costs.version, found)


def test_exact_times_give_back_every_operation(calls: list[Call]) -> None:
    costs = truth()
    found = fit(measured(calls, costs, 0.0), costs.device)
    assert (found.engine, found.version, found.device) == ("seal", "1", "a CPU")
    was, now = CostModel(RING, costs), CostModel(RING, found)
    for operation, level in product(set(OPERATIONS) - {"next_rotation"}, (1, 2, 4)):
        wanted = getattr(was, operation)(level)
        assert getattr(now, operation)(level) == pytest.approx(wanted, rel=1e-3), operation
    # This engine does not hoist.
    assert now.rotate_many(3, 5) == pytest.approx(5 * was.rotate(3), rel=1e-3)


def test_noise_in_the_times_is_averaged(calls: list[Call]) -> None:
    costs = truth()
    noisy = measured(calls, costs, 0.05)
    off = [p / m.milliseconds - 1 for m, p in residuals(noisy.measurements, fit(noisy, "a CPU"))]
    assert np.sqrt(np.mean(np.square(off))) < 0.06
    for _, terms in fit(noisy, "a CPU").rings[RING].items():
        assert min(terms) >= 0


def test_a_ring_that_was_not_measured_is_scaled_from_the_nearest() -> None:
    costs = truth()
    below, above = CostModel(12, costs), CostModel(15, costs)
    at = CostModel(RING, costs)
    assert below.rotate(2) == pytest.approx(at.rotate(2) * 12 / (2 * 13))
    assert above.add(2) == pytest.approx(at.add(2) * 4 * 15 / 13)


def test_real_times_are_measured_and_explained() -> None:
    """On SEAL's smallest ring, quickly: every call is timed, and the model is near most of them."""
    seen: list[float] = []
    found = measure("seal", (12,), 0.1, seen.append)
    assert seen == sorted(seen)
    assert seen[-1] == 1.0
    assert all(m.milliseconds > 0 for m in found.measurements)
    costs = fit(found, "this")
    off = [abs(p / m.milliseconds - 1) for m, p in residuals(found.measurements, costs)]
    assert np.median(off) < 0.25
    model = CostModel(12, costs)
    assert model.rotate(2) > model.rotate(0) > model.add(0)


@pytest.mark.parametrize("engine", ENGINES)
def test_shipped_costs_are_sane(engine: str) -> None:
    costs = shipped(engine)
    assert costs.source == "shipped"
    for log_n, ring in costs.rings.items():
        model = CostModel(log_n, costs)
        assert set(ring) == {*SQUARE, *LINEAR}
        for level in range(1, 3 if log_n < 13 else 6):
            assert model.rotate(level) > model.rotate(level - 1) > 0
            assert model.rotate(level) > 5 * model.add(level)
            assert model.rotate_many(level, 4) <= 4.0001 * model.rotate(level)
            assert model.send(level) > model.load(level)
    assert replace(costs, source="calibrated").describe()["digest"] == costs.describe()["digest"]
