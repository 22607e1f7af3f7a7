"""Schedules: secure, made of primes that exist, and precise enough for what they promise."""

from __future__ import annotations

from dataclasses import replace
from itertools import islice

import numpy as np
import pytest
import tenseal.sealapi as sealapi
from hypothesis import given, settings
from hypothesis import strategies as st

from eer.compiler.backend.gains import Gains
from eer.compiler.backend.parameters import (
    DESILO_RINGS,
    SEAL_RINGS,
    deepest,
    rescaling_as,
    rings,
    schedules,
)
from eer.compiler.backend.prices import Prices
from eer.compiler.backend.primes import PLENTY, enough_primes, primes
from eer.compiler.backend.schedule import Rescaling, Schedule, Step
from eer.compiler.backend.walks import LEAST_PRECISION, Road
from eer.compiler.cost import CostModel, shipped
from eer.runtime.errors import ParameterError, UsageError
from eer.runtime.params import MAX_LOG_QP_128
from tests.backend.networks import seal_schedules

REPEATED = st.sampled_from(
    (
        [Step.CIPHER],
        [Step.PLAIN],
        [Step.PLAIN, Step.CIPHER],
        [Step.PLAIN, Step.PLAIN, Step.CIPHER],
        [Step.PLAIN, Step.CIPHER, Step.CIPHER, Step.CIPHER],
        [Step.PLAIN, Step.CIPHER, Step.KEPT],
    )
)


def steps_of_depth(depth: int, repeated: list[Step]) -> tuple[Step, ...]:
    return (Step.PLAIN, *(repeated[i % len(repeated)] for i in range(depth)))


def is_prime(n: int) -> bool:
    """By definition, with numpy."""
    if n < 4:
        return n > 1
    return bool((n % np.arange(2, int(n**0.5) + 1)).all())


@pytest.mark.parametrize("log_n", [12, 13, 14, 15])
def test_primes_are_those_of_the_ring(log_n: int) -> None:
    for bits in (16, 18, 19, 22):
        rows = range(1 << (bits - 1), 1 << bits)
        wanted = [n for n in rows if n % (2 << log_n) == 1 and is_prime(n)]
        assert list(primes(bits, log_n)) == wanted
    assert len(list(islice(primes(PLENTY, log_n), 65))) == 65


def test_the_count_agrees_with_seal() -> None:
    """One prime more than there are is refused by the library."""
    for log_n, bits in ((12, 19), (13, 21), (15, 22)):
        count = len(list(primes(bits, log_n)))
        assert enough_primes([bits] * count, log_n)
        assert not enough_primes([bits] * (count + 1), log_n)
        assert len(sealapi.CoeffModulus.Create(1 << log_n, [bits] * count)) == count
        with pytest.raises(RuntimeError, match="primes"):
            sealapi.CoeffModulus.Create(1 << log_n, [bits] * (count + 1))


def check_schedule(schedule: Schedule, steps: tuple[Step, ...], headroom: int) -> None:
    params, rescaling = schedule.params, schedule.rescaling
    assert params.log_qp <= MAX_LOG_QP_128[params.log_n]
    sizes = [int(b) for b in (*params.log_q, *params.log_p)]
    primes = sealapi.CoeffModulus.Create(params.ring_dimension, sizes)
    assert len({p.value() for p in primes}) == len(sizes)
    assert max(sizes[:-1]) <= sizes[-1], "the special prime is at least as large as the others"
    assert rescaling.depth == len(steps) - 1
    assert rescaling.level(rescaling.depth) == params.max_level
    dropped = [b for r, b in zip(rescaling.rescales, rescaling.drops, strict=True) if r]
    assert tuple(dropped) == params.log_q[1:]
    assert rescaling.log_scales[-1] == params.log_scale
    for depth, scale in enumerate(rescaling.log_scales):
        assert scale is not None
        room = sum(params.log_q[: rescaling.level(depth) + 1])
        # Scales are rounded to the units in which programs store them.
        assert scale + headroom <= room + 1e-3
        # Rounding noise is about 2^(log N - 2): the schedule's precision stays above it.
        assert scale >= params.log_n - 2 + schedule.precision - 1e-3
    for depth, step in enumerate(steps[1:], start=1):
        below, here = rescaling.log_scales[depth - 1], rescaling.log_scales[depth]
        assert below is not None
        assert here is not None
        if step is Step.KEPT:
            assert rescaling.rescales[depth]
        if step is not Step.PLAIN:
            assert below == pytest.approx(2 * here - rescaling.drops[depth], abs=1e-2)


@settings(max_examples=25, deadline=None)
@given(depth=st.integers(1, 20), repeated=REPEATED, headroom=st.integers(3, 14))
def test_seal_takes_every_schedule(depth: int, repeated: list[Step], headroom: int) -> None:
    steps = steps_of_depth(depth, repeated)
    for schedule in seal_schedules(steps, headroom):
        check_schedule(schedule, steps, headroom)
        assert schedule.precision >= LEAST_PRECISION


@pytest.mark.parametrize("depth", range(1, 21))
def test_twenty_levels_have_a_schedule(depth: int) -> None:
    """An MLP of squares that deep, with room for values up to 16."""
    assert seal_schedules(steps_of_depth(depth, [Step.PLAIN, Step.CIPHER]), 5)


def test_nothing_is_as_deep_as_twice_the_deepest() -> None:
    steps = steps_of_depth(2 * deepest("seal"), [Step.CIPHER])
    assert seal_schedules(steps, 5) == []
    assert desilo_schedules(2 * deepest("desilo")) == []


def test_the_first_products_of_a_small_network_share_a_prime() -> None:
    """64-64-32-3 with squares: five products, fewer rescales, on the ring 2^13."""
    steps = steps_of_depth(5, [Step.PLAIN, Step.CIPHER])
    first = seal_schedules(steps, 5)[0]
    assert first.params.log_n <= 13
    assert first.params.max_level < 5


@pytest.mark.parametrize("log_n", SEAL_RINGS)
def test_every_way_of_rescaling_is_offered_once(log_n: int) -> None:
    steps = steps_of_depth(4, [Step.PLAIN, Step.CIPHER])
    found = seal_schedules(steps, 5, (log_n,))
    assert len({(s.rescaling, s.params) for s in found}) == len(found)


def test_a_fine_end_leaves_more_at_the_last_rescale_alone() -> None:
    """Where the base has room, the same primes and levels otherwise, and no less security."""
    down = "plain cipher cipher cipher plain cipher cipher cipher"
    steps = (Step.PLAIN, *(Step[word.upper()] for word in reversed(down.split())))
    rescales = (False, False, True, True, False, True, False, True, False)
    road = Road(steps, 4, 14, Gains.none(len(steps)))
    usual, fine = (
        max(rescaling_as(r, rescales), key=lambda s: s.precision)
        for r in (road, replace(road, fine_end=True))
    )
    assert fine.precision == usual.precision
    scales, finer = usual.rescaling.log_scales, fine.rescaling.log_scales
    more = np.array([b - a for a, b in zip(scales, finer, strict=True) if a and b])
    assert more[1] >= 2, "after the last rescale"
    assert more[0] == pytest.approx(2 * more[1]), "its square"
    assert (more[2:] == 0).all()
    assert len(fine.params.log_q) == len(usual.params.log_q)
    assert fine.params.log_qp <= MAX_LOG_QP_128[14]


def desilo_schedules(depth: int) -> list[Schedule]:
    steps = steps_of_depth(depth, [Step.CIPHER])
    costs = shipped("desilo")
    return [
        schedule
        for n in DESILO_RINGS
        for schedule in schedules(
            "desilo",
            Road(steps, 5, n, Gains.none(len(steps))),
            Prices.guessed(steps, CostModel(n, costs)),
        )
    ]


@pytest.mark.parametrize("depth", [1, 2, 3, 7, 8, 17, 18, 35, 36])
def test_desilo_schedules(depth: int) -> None:
    found = desilo_schedules(depth)
    assert found
    order = [(s.params.log_n, s.rotates_at_top) for s in found]
    assert order == sorted(order)
    for schedule in found:
        assert schedule.rescaling == Rescaling.eager(depth)
        assert schedule.params.max_level >= depth
        assert schedule.params.log_qp <= MAX_LOG_QP_128[schedule.params.log_n]


def test_the_deepest_desilo_parameters_cannot_rotate_at_the_top() -> None:
    assert [s.rotates_at_top for s in desilo_schedules(36)] == [False]


def test_eager_rescaling() -> None:
    eager = Rescaling.eager(3)
    assert [eager.level(d) for d in range(4)] == [0, 1, 2, 3]


def test_the_lowest_of_several_rescalings() -> None:
    eager = Rescaling.eager(4)
    early = replace(eager, rescales=(False, True, False, False, True))
    late = replace(eager, rescales=(False, False, True, True, True))
    lowest = Rescaling.lowest([eager, early, late])
    assert [lowest.level(d) for d in range(5)] == [0, 0, 1, 1, 2]


def test_less_security_is_refused() -> None:
    with pytest.raises(ParameterError, match="80-bit security was asked for"):
        rings("seal", security=80)


@pytest.mark.parametrize("engine", ["clear", "dry", "openfhe"])
def test_nothing_is_compiled_for_other_engines(engine: str) -> None:
    with pytest.raises(UsageError, match=f"nothing is compiled for engine '{engine}'"):
        rings(engine)
