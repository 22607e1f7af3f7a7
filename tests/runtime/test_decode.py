"""Decoding of scores against plain formulas."""

from __future__ import annotations

import math

import numpy as np
import pytest

from eer.runtime.decode import decode
from eer.runtime.model import OutputSpec


def spec(
    post: str, shape: tuple[int, ...] = (3,), axis: int = 0, labels: tuple[str, ...] = ()
) -> OutputSpec:
    places = np.arange(int(np.prod(shape)))
    return OutputSpec("y", shape, places, places * 0, places, post, axis, labels)


SCORES = np.array([[1.0, 2.0, 0.5], [-3.0, -4.0, -2.0]])


def reference_softmax(row: list[float]) -> list[float]:
    total = math.fsum(math.exp(v) for v in row)
    return [math.exp(v) / total for v in row]


EXPECTED = np.array([reference_softmax(row) for row in SCORES.tolist()])


def test_softmax() -> None:
    p = decode({"y": SCORES}, (spec("softmax"),), 2)
    np.testing.assert_allclose(p.outputs["y"], EXPECTED, rtol=1e-14)
    np.testing.assert_allclose(p.probabilities["y"], EXPECTED, rtol=1e-14)
    assert p.labels["y"].tolist() == ["1", "2"]


def test_log_softmax_with_labels() -> None:
    p = decode({"y": SCORES}, (spec("log_softmax", labels=("a", "b", "c")),), 2)
    np.testing.assert_allclose(p.outputs["y"], np.log(EXPECTED), rtol=1e-14)
    np.testing.assert_allclose(p.probabilities["y"], EXPECTED, rtol=1e-14)
    assert p.labels["y"].tolist() == ["b", "c"]
    assert p.classes["y"].tolist() == [1, 2]


def test_large_scores_do_not_overflow() -> None:
    scores = np.array([[1e6, 0.0, -1e6]])
    with np.errstate(all="raise", under="ignore"):
        for post in ("softmax", "log_softmax", "sigmoid"):
            p = decode({"y": scores}, (spec(post),), 1)
            assert np.isfinite(p.outputs["y"]).all()
    assert decode({"y": scores}, (spec("log_softmax"),), 1).outputs["y"].tolist() == [
        [0.0, -1e6, -2e6]
    ]


def test_argmax() -> None:
    p = decode({"y": SCORES}, (spec("argmax"),), 2)
    assert p.outputs["y"].tolist() == [1, 2]
    assert p.outputs["y"].dtype == np.int64


@pytest.mark.parametrize("axis", [0, 1, -1, -2])
def test_axis_is_counted_without_the_batch(axis: int) -> None:
    scores = np.random.default_rng(0).normal(size=(4, 2, 3))
    p = decode({"y": scores}, (spec("softmax", (2, 3), axis),), 4)
    sums = p.outputs["y"].sum(axis=axis if axis < 0 else axis + 1)
    np.testing.assert_allclose(sums, 1.0, rtol=1e-14)
    assert p.labels["y"].shape == sums.shape
    argmax = decode({"y": scores}, (spec("argmax", (2, 3), axis),), 4).outputs["y"]
    for w in range(4):
        np.testing.assert_array_equal(argmax[w], scores[w].argmax(axis=axis))


def test_sigmoid() -> None:
    scores = np.array([[0.3], [-2.0]])
    p = decode({"y": scores}, (spec("sigmoid", (1,), labels=("calm", "stress")),), 2)
    expected = [[1 / (1 + math.exp(-0.3))], [1 / (1 + math.exp(2.0))]]
    np.testing.assert_allclose(p.outputs["y"], expected, rtol=1e-14)
    assert p.labels["y"].tolist() == [["stress"], ["calm"]]


def test_sigmoid_with_a_label_for_each_element_takes_the_largest() -> None:
    p = decode({"y": SCORES}, (spec("sigmoid", labels=("a", "b", "c")),), 2)
    assert p.labels["y"].tolist() == ["b", "c"]


def test_one_score_for_two_classes() -> None:
    p = decode({"y": np.array([[2.0], [-1.0]])}, (spec("none", (1,), labels=("no", "yes")),), 2)
    assert p.labels["y"].tolist() == [["yes"], ["no"]]
    np.testing.assert_allclose(p.probabilities["y"][0], 1 / (1 + math.exp(-2)), rtol=1e-14)
    assert p.outputs["y"].tolist() == [[2.0], [-1.0]]


def test_values_without_labels_stay_values() -> None:
    p = decode({"y": SCORES}, (spec("none"),), 2)
    np.testing.assert_array_equal(p.outputs["y"], SCORES)
    assert not p.labels
    assert not p.probabilities


def test_more_classes_than_labels() -> None:
    p = decode({"y": SCORES}, (spec("softmax", labels=("a", "b")),), 2)
    assert p.labels["y"].tolist() == ["b", "2"]
