"""Verdicts: what counts as agreement with the exact graph."""

from __future__ import annotations

import numpy as np
import pytest

from eer.compiler.ir.tensor import Output, Vector
from eer.compiler.passes.verdict import Verdict, judge


def classes(post: str = "none", count: int = 3) -> tuple[Output, ...]:
    return (Output("y", 0, (count,), post),)


def scores(rows: int = 2000, count: int = 3) -> Vector:
    return np.random.default_rng(0).normal(size=(rows, count))


def verdict(outputs: tuple[Output, ...], y: Vector, z: Vector, tolerance: float = 0.01) -> Verdict:
    return judge(outputs, {"y": y}, {"y": z}, tolerance)


@pytest.mark.parametrize("post", ["none", "softmax", "log_softmax", "argmax"])
def test_the_same_outputs_are_accepted(post: str) -> None:
    v = verdict(classes(post), scores(), scores())
    assert v == Verdict(1.0, 0.0, 0.0, 0.0, True)
    assert v.accepted


def test_flips_are_counted() -> None:
    y = scores(100)
    z = y.copy()
    z[:3] = -z[:3]
    assert verdict(classes("argmax"), y, z).agreement == pytest.approx(0.97)
    assert not verdict(classes("argmax"), y, z).within_flips
    assert verdict(classes("argmax"), y, z, 0.05).within_flips


def test_expected_flips_are_as_many_as_counted_ones() -> None:
    y = scores(20000)
    z = y + 0.05 * np.random.default_rng(1).normal(size=y.shape)
    v = verdict(classes("softmax"), y, z)
    assert v.expected_flips == pytest.approx(1.0 - v.agreement, rel=0.15)


@pytest.mark.parametrize("tolerance", [0.002, 0.01, 0.05])
def test_strain_is_one_where_expected_flips_meet_the_tolerance(tolerance: float) -> None:
    y = scores(20000)
    rng = np.random.default_rng(1)
    for size in (1e-3, 1e-2, 1e-1):
        z = y + size * rng.normal(size=y.shape)
        v = verdict(classes("softmax"), y, z, tolerance)
        assert (v.expected_flips <= tolerance) == (v.strain <= 1.0)


def test_strain_grows_in_proportion_to_the_errors() -> None:
    y = scores()
    e = np.random.default_rng(1).normal(size=y.shape)
    one = verdict(classes("softmax"), y, y + 1e-4 * e)
    ten = verdict(classes("softmax"), y, y + 1e-3 * e)
    assert ten.strain == pytest.approx(10 * one.strain, rel=0.05)


def test_an_error_common_to_all_classes_flips_nothing_but_shows_in_raw_scores() -> None:
    y = scores()
    z = y + 5.0
    assert verdict(classes("softmax"), y, z).accepted
    assert not verdict(classes("none"), y, z).accepted


def test_a_sigmoid_decides_by_its_sign() -> None:
    y = np.linspace(-1, 1, 1001)[:, None]
    v = verdict((Output("y", 0, (1,), "sigmoid"),), y, y + 0.1)
    assert v.agreement == pytest.approx(0.95, abs=0.002)


def test_a_single_value_may_err_by_the_tolerance_of_its_range() -> None:
    y = np.linspace(0, 10, 200)[:, None]
    single = (Output("y", 0, (1,)),)
    assert verdict(single, y, y + 0.09).accepted
    assert not verdict(single, y, y + 0.11).accepted
    assert verdict(single, y, y + 0.11).strain == pytest.approx(1.1)


def test_a_signal_is_not_a_choice_of_class() -> None:
    y = np.random.default_rng(0).normal(size=(100, 12))
    z = y.copy()
    z[0, 0] += 0.5 * np.ptp(y)
    v = verdict((Output("y", 0, (3, 4)),), y, z)
    assert v.agreement == 1.0
    assert v.strain == pytest.approx(50.0)


def test_classes_lie_along_the_axis_of_the_output() -> None:
    y = np.random.default_rng(0).normal(size=(50, 2, 3, 4))
    flipped = np.flip(y, axis=2)
    for axis in (1, -2):
        out = (Output("y", 0, (2, 3, 4), "argmax", axis),)
        v = verdict(out, y.reshape(50, -1), flipped.reshape(50, -1))
        expected = np.mean(np.argmax(y, axis=2) == np.argmax(flipped, axis=2))
        assert v.agreement == pytest.approx(float(expected))


def test_every_output_must_agree() -> None:
    outs = (Output("a", 0, (3,), "softmax"), Output("b", 0, (3,), "softmax"))
    y = scores()
    v = judge(outs, {"a": y, "b": y}, {"a": y, "b": -y}, 0.01)
    assert v.agreement < 0.2
    assert not v.accepted


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_outputs_that_are_not_finite_are_never_accepted(value: float) -> None:
    y = scores()
    z = y.copy()
    z[0, 0] = value
    v = verdict(classes(), y, z, 0.9)
    assert v.strain == np.inf
    assert not v.accepted


def test_constant_outputs_with_one_row_of_broadcast_are_fine() -> None:
    y = np.broadcast_to(np.array([1.0, 2.0]), (20, 2))
    assert verdict(classes("softmax", 2), y, np.array([[1.0, 2.0]])).accepted
