"""What a client refuses before it encrypts, and where elements land in the slots."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eer.runtime.errors import DataError, UsageError
from eer.runtime.inputs import RangeWarning, check_inputs
from eer.runtime.model import InputSpec, OutputSpec
from eer.runtime.packing import pack_windows, unpack_windows


def spec(name: str = "x", shape: tuple[int, ...] = (2, 3), calibrated: bool = True) -> InputSpec:
    size = int(np.prod(shape))
    low, high = np.zeros(size), np.full(size, 2.0)
    return InputSpec(name, shape, (np.arange(8) % size,), low, high, calibrated)


def test_one_window_many_windows_and_names() -> None:
    x = np.ones((5, 2, 3), np.float32)
    for given_ in (x, {"x": x}, x.tolist(), x.astype(np.int8), x.astype(bool)):
        (checked,) = check_inputs(given_, [spec()])
        assert checked.shape == (5, 6)
        assert checked.dtype == np.float64
    (checked,) = check_inputs(np.arange(6).reshape(2, 3) / 3, [spec()])
    np.testing.assert_array_equal(checked, [np.arange(6) / 3])


@pytest.mark.parametrize(
    ("given_", "reason"),
    [
        (np.ones((5, 6)), r"shape \[5, 6\]; the model wants \[windows, 2, 3\]"),
        (np.ones((5, 3, 2)), r"shape \[5, 3, 2\]"),
        (np.ones((1, 5, 2, 3)), r"shape \[1, 5, 2, 3\]"),
        (np.float64(3), r"shape \[\]"),
        (np.ones((0, 2, 3)), "has no windows"),
        (np.ones((1, 2, 3), complex), "dtype complex128, not real numbers"),
        (np.full((1, 2, 3), "a"), "dtype <U1"),
        (np.full((1, 2, 3), None), "dtype object"),
        ([[1, 2], [3]], "cannot be read as an array"),
        ({"z": np.ones((1, 2, 3))}, "input 'x' is missing"),
        ({"x": np.ones((1, 2, 3)), "z": 1}, "no input is 'z'"),
    ],
)
def test_refused(given_: Any, reason: str) -> None:
    with pytest.raises(DataError, match=reason) as caught:
        check_inputs(given_, [spec()])
    assert caught.value.hint


def test_several_inputs() -> None:
    specs = [spec("a"), spec("b", (4,))]
    a, b = np.ones((3, 2, 3)), np.ones((3, 4))
    assert [c.shape for c in check_inputs({"b": b, "a": a}, specs)] == [(3, 6), (3, 4)]
    with pytest.raises(DataError, match="2 inputs and one array"):
        check_inputs(a, specs)
    with pytest.raises(DataError, match="'a' has 3, 'b' has 2"):
        check_inputs({"a": a, "b": b[:2]}, specs)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_nan_and_infinity_are_located(bad: float) -> None:
    x = np.ones((4, 2, 3))
    x[2, 1, 0] = x[3, 0, 0] = bad
    with pytest.raises(DataError, match=r"2 NaN or infinite.*window 2 at element \[1, 0\]"):
        check_inputs(x, [spec()], range_check="off")


def test_range_is_widened_by_the_share() -> None:
    x = np.ones((2, 2, 3))
    x[1, 0, 2] = 3.0
    check_inputs(x, [spec()], share=0.5)
    x[1, 0, 2] = 3.001
    x[0, 1, 1] = -1.5
    with pytest.raises(DataError) as caught:
        check_inputs(x, [spec()], share=0.5)
    assert caught.value.reason == (
        "2 of 12 values of input 'x' lie outside the calibrated range by more than 50% of its "
        "width; the worst is -1.5 in window 0 at element [1, 1], where 0 to 2 was calibrated"
    )
    assert caught.value.where == "input 'x'"


def test_an_assumed_range_says_so() -> None:
    with pytest.raises(DataError, match="outside the assumed range"):
        check_inputs(np.full((1, 2, 3), 9.0), [spec(calibrated=False)])


def test_constant_elements_have_a_width_too() -> None:
    constant = InputSpec(
        "x", (1,), (np.zeros(8, np.int64),), np.array([100.0]), np.array([100.0]), True
    )
    check_inputs(np.array([[140.0]]), [constant])
    with pytest.raises(DataError):
        check_inputs(np.array([[160.0]]), [constant])


def test_range_check_off_and_warn() -> None:
    x = np.full((1, 2, 3), 50.0)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check_inputs(x, [spec()], range_check="off")
    with pytest.warns(RangeWarning, match="6 of 6 values"):
        check_inputs(x, [spec()], range_check="warn")
    with pytest.raises(UsageError):
        check_inputs(x, [spec()], range_check="maybe")  # type: ignore[arg-type]


@settings(max_examples=100, deadline=None)
@given(st.data())
def test_every_element_lies_where_the_plan_says(data: st.DataObject) -> None:
    slots, batch = 8, data.draw(st.sampled_from([1, 2, 16]))
    windows = data.draw(st.integers(1, batch))
    elements = data.draw(st.integers(1, 6))
    row = np.array(data.draw(st.lists(st.integers(-1, elements - 1), min_size=8, max_size=8)))
    values = np.random.default_rng(0).normal(size=(windows, elements)) + 5
    ring = pack_windows(values, row, batch)
    assert ring.shape == (slots * batch,)
    for s in range(slots):
        for b in range(batch):
            expected = values[b, row[s]] if row[s] >= 0 and b < windows else 0.0
            assert ring[s * batch + b] == expected


@settings(max_examples=100, deadline=None)
@given(st.data())
def test_outputs_are_sums_of_their_slots(data: st.DataObject) -> None:
    slots, batch = 8, data.draw(st.sampled_from([1, 2, 16]))
    windows = data.draw(st.integers(1, batch))
    elements = [*range(6), *data.draw(st.lists(st.integers(0, 5), max_size=6))]
    parts = len(elements)
    places = data.draw(st.lists(st.integers(0, slots - 1), min_size=parts, max_size=parts))
    numbers = data.draw(st.lists(st.integers(0, 2), min_size=parts, max_size=parts))
    rows = (np.array(elements), np.array(numbers), np.array(places))
    out = OutputSpec("y", (2, 3), rows[0], rows[1], rows[2], "none", 0, ())
    ciphers = [np.random.default_rng(i).normal(size=slots * batch) for i in range(3)]
    read = unpack_windows(ciphers, out, windows, batch)
    assert read.shape == (windows, 2, 3)
    for b in range(windows):
        for e in range(6):
            expected = sum(
                ciphers[number][place * batch + b]
                for element, number, place in zip(elements, numbers, places, strict=True)
                if element == e
            )
            assert read[b].reshape(-1)[e] == pytest.approx(expected, abs=1e-12)
