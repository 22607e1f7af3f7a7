"""Putting rescales off: the cheapest way, by trying all; and prices, by whole programs."""

from __future__ import annotations

from dataclasses import replace
from itertools import product
from math import ceil, floor, log2

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eer.compiler.backend.cheapest import cheapest
from eer.compiler.backend.emit import emit
from eer.compiler.backend.gains import Gains
from eer.compiler.backend.levels import steps_of
from eer.compiler.backend.predict import predict
from eer.compiler.backend.prices import Prices
from eer.compiler.backend.schedule import Rescaling, Step
from eer.compiler.backend.walks import MARGINS, Road
from eer.compiler.cost import CostModel
from eer.runtime.params import MAX_LOG_QP_128
from tests.backend.networks import Net, planned, seal_schedules

SMALLEST, LARGEST, HIDING = 18, 60, 8


def keeps(road: Road, rescales: tuple[bool, ...], precision: float, margin: int) -> bool:
    """Whether there are scales and primes for it, by the rules in docs/adr/0010."""
    lowest = road.log_n - 2 + precision
    largest = LARGEST - margin
    scales, primes = [lowest], []
    for depth in range(road.depth, 0, -1):
        step, rescaled = road.steps[depth], rescales[depth]
        plain = step is Step.PLAIN
        held, landing = scales[-1], lowest + road.gains.landing[depth]
        weights = log2((1 << road.log_n) / 24) / 2 + precision + road.gains.weights[depth]
        after = held + weights if plain else 2 * held
        if rescaled and plain and floor(after - landing) < SMALLEST:
            after = landing + SMALLEST
        if rescaled:
            primes.append(min(floor(after - landing), largest))
            after -= primes[-1]
            if primes[-1] < SMALLEST:
                return False
        elif step is Step.KEPT:
            return False
        if plain and after < lowest + HIDING - margin:
            return False
        scales.append(after)
    base = max(ceil(scales[-1] + road.headroom), SMALLEST)
    chain = [base, *reversed(primes)]
    if max(chain) > largest or sum(chain) + max(chain) + margin > road.budget:
        return False
    levels = np.cumsum(rescales)
    moduli = np.cumsum(chain)
    held_at = reversed(scales)
    return all(s + road.headroom <= moduli[n] for s, n in zip(held_at, levels, strict=True))


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_no_way_of_rescaling_is_cheaper(data: st.DataObject) -> None:
    depth = data.draw(st.integers(1, 7))
    steps = (Step.PLAIN, *(data.draw(st.sampled_from(Step)) for _ in range(depth)))
    bits = st.tuples(*(st.sampled_from((0.0, 0.0, 2.5)) for _ in steps))
    gains = Gains(data.draw(bits), data.draw(bits))
    log_n = data.draw(st.sampled_from((12, 13, 14)))
    road = Road(steps, data.draw(st.integers(3, 12)), log_n, gains)
    precision = data.draw(st.sampled_from((9.0, 11.25, 14.0, 17.5, 22.0)))
    margin = data.draw(st.sampled_from(MARGINS))
    rng = np.random.default_rng(data.draw(st.integers(0, 99)))
    levels = np.arange(1, depth + 2)
    prices = Prices(
        rng.uniform(0, 5, (depth + 1, 1)) * levels**2, rng.uniform(0, 2, (depth + 1, 1)) * levels
    )

    def total(rescales: tuple[bool, ...]) -> float:
        return prices.total(Rescaling(rescales, (None,) * (depth + 1), (0.0,) * (depth + 1)))

    ways = [(False, *rest) for rest in product((False, True), repeat=depth)]
    possible = [total(way) for way in ways if keeps(road, way, precision, margin)]
    found = cheapest(road, precision, prices, margin)
    if found is None:
        assert not possible
    else:
        assert keeps(road, found, precision, margin)
        assert total(found) == pytest.approx(min(possible))


def test_prices_of_a_program_are_what_is_predicted() -> None:
    """Exactly where every product rescales; about so elsewhere, where scales are matched too."""
    net = Net(0)
    h = net.polynomial(net.affine(net.input(12), size=9), 4)
    graph = net.graph(net.affine(net.polynomial(net.affine(h, size=7), 2), size=3))
    scheduled, plan, eager = planned(graph, 1 << 12)
    cost = CostModel(13)
    prices = Prices.of(eager.program, cost)
    assert prices.total(plan.rescaling) == pytest.approx(predict(eager.program, cost).total)
    for schedule in seal_schedules(steps_of(scheduled), 5, (13,)):
        program = emit(scheduled, replace(plan, rescaling=schedule.rescaling)).program
        wanted = predict(program, cost).total
        assert prices.total(schedule.rescaling) == pytest.approx(wanted, rel=0.05)


def test_budgets_are_those_of_the_security_table() -> None:
    assert Road((Step.PLAIN,), 3, 14, Gains.none(1)).budget == MAX_LOG_QP_128[14]
