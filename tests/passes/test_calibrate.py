"""Calibration data: checked, and turned into ranges."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.sparse import csr_array

from eer.compiler.ir.tensor import Affine, Elementwise, Input, Node, Output, TensorGraph, Vector
from eer.compiler.options import Options
from eer.compiler.passes.calibrate import calibrate
from eer.runtime.errors import DataError


def relu_graph(shape: tuple[int, ...] = (4,)) -> TensorGraph:
    size = int(np.prod(shape))
    nodes = (
        Node(Input("x"), (), shape),
        Node(Affine((csr_array(2.0 * np.eye(size)),), np.ones(size)), (0,), shape),
        Node(Elementwise("Relu", lambda x: np.maximum(x, 0.0)), (1,), shape),
    )
    return TensorGraph("relu", nodes, (Output("y", 2, shape),))


def rows(count: int = 60, size: int = 4) -> Vector:
    return np.random.default_rng(0).normal(size=(count, size))


def test_intervals_are_those_of_the_activations_inputs() -> None:
    x = rows()
    ranges = calibrate(relu_graph(), {"x": x}, Options())
    low, high = ranges.intervals[2]
    np.testing.assert_allclose(low, (2 * x + 1).min(axis=0))
    np.testing.assert_allclose(high, (2 * x + 1).max(axis=0))
    assert ranges.calibrated
    assert ranges.count == 60
    assert ranges.warnings == ()


def test_expected_inputs_are_wider_than_those_seen() -> None:
    x = rows()
    ranges = calibrate(relu_graph(), {"x": x}, Options(margin=0.5))
    spread = np.ptp(x, axis=0)
    np.testing.assert_allclose(ranges.input_low["x"], x.min(axis=0) - 0.5 * spread)
    np.testing.assert_allclose(ranges.input_high["x"], x.max(axis=0) + 0.5 * spread)


def test_elements_of_a_signal_share_their_expected_range() -> None:
    x = rows(60, 6) * np.array([1, 1, 1, 100, 100, 100])
    ranges = calibrate(relu_graph((2, 3)), {"x": x.reshape(60, 2, 3)}, Options())
    low = ranges.input_low["x"]
    assert len(set(low[:3])) == 1
    assert len(set(low[3:])) == 1
    assert low[3] < 10 * low[0]


def test_without_data_the_input_range_is_assumed_and_said() -> None:
    ranges = calibrate(relu_graph(), None, Options(input_range=(0.0, 10.0)))
    assert not ranges.calibrated
    assert ranges.rows["x"].min() >= 0.0
    assert ranges.rows["x"].max() <= 10.0
    low, high = ranges.intervals[2]
    assert np.all(high - low > 0.8 * 20.0)
    (warning,) = ranges.warnings
    assert "[0, 10]" in warning
    assert "calibration data" in warning


def test_few_rows_are_warned_about() -> None:
    (warning,) = calibrate(relu_graph(), {"x": rows(20)}, Options()).warnings
    assert "only 20 calibration windows" in warning


def _with(row: int, element: int, value: float) -> Vector:
    x = rows()
    x[row, element] = value
    return x


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        ({"x": rows(7)}, "7 windows are too few"),
        ({"z": rows()}, "calibration data is for inputs ['z'], the model's are ['x']"),
        ({"x": rows(60, 5)}, "[60, 5] does not hold windows of 4 elements"),
        ({"x": np.float64(3.0)}, "does not hold windows of 4 elements"),
        ({"x": np.full((60, 4), "a")}, "are not numbers"),
        ({"x": _with(3, 2, np.nan)}, "1 values are not finite, the first at window 3, element 2"),
        ({"x": _with(5, 0, -np.inf)}, "1 values are not finite, the first at window 5, element 0"),
    ],
)
def test_bad_data_is_refused(data: dict[str, Vector], reason: str) -> None:
    with pytest.raises(DataError) as caught:
        calibrate(relu_graph(), data, Options())
    assert reason in str(caught.value)


def test_inputs_of_different_length_are_refused() -> None:
    nodes = (
        Node(Input("a"), (), (2,)),
        Node(Input("b"), (), (2,)),
        Node(Affine((csr_array(np.eye(2)),) * 2, np.zeros(2)), (0, 1), (2,)),
    )
    graph = TensorGraph("sum", nodes, (Output("y", 2, (2,)),))
    with pytest.raises(DataError, match="different numbers of calibration windows"):
        calibrate(graph, {"a": rows(60, 2), "b": rows(61, 2)}, Options())


def test_an_activation_that_overflows_is_reported_at_its_node() -> None:
    graph = relu_graph()
    bad = Elementwise("Log", lambda x: np.where(x > 0.0, x, np.nan))
    nodes = (*graph.nodes[:2], Node(bad, (1,), (4,)))
    with pytest.raises(DataError, match="not finite"):
        calibrate(TensorGraph("log", nodes, graph.outputs), {"x": rows()}, Options())
