"""Convolutions: folds over channels against a direct computation."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse import csr_array

from eer.compiler.backend.affine_planner import plan_affine
from eer.compiler.backend.candidates import client_sums, orders
from eer.compiler.backend.convolutions import channel_folds
from eer.compiler.cost import CostModel
from eer.compiler.ir.layout import NOTHING, Layout
from eer.runtime.program import DotPlain, Rotate
from tests.backend.affine import Case, check_plan

COST = CostModel(13)
INF = float("inf")


def convolution(
    rng: np.random.Generator, channels: tuple[int, int], length: int, kernel: int, stride: int
) -> tuple[csr_array, int]:
    """(matrix [out * positions, in * length], positions) of a 1-D convolution, padded by half."""
    positions = -(-length // stride)
    matrix = np.zeros((channels[1], positions, channels[0], length))
    weights = rng.integers(1, 9, (channels[1], channels[0], kernel))
    for position in range(positions):
        for tap in range(kernel):
            at = position * stride + tap - kernel // 2
            if 0 <= at < length:
                matrix[:, position, :, at] = weights[:, :, tap]
    return csr_array(matrix.reshape(channels[1] * positions, -1)), positions


def replicated_in(order: np.ndarray, slots: int) -> Layout:
    """As many copies as fit, a power of two apart."""
    period = 1 << (len(order) - 1).bit_length()
    padded = np.full(period, NOTHING, dtype=np.int64)
    padded[: len(order)] = order
    return Layout(np.tile(padded, slots // period)[None, :])


@settings(max_examples=25, deadline=None)
@given(data=st.data())
def test_folds_over_channels_are_right(data: st.DataObject) -> None:
    channels = data.draw(st.integers(2, 6)), data.draw(st.integers(2, 8))
    length, kernel = data.draw(st.integers(5, 12)), data.draw(st.sampled_from([1, 3, 5]))
    stride = data.draw(st.sampled_from([1, 2]))
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32 - 1)))
    matrix, positions = convolution(rng, channels, length, kernel, stride)
    read, shape = (channels[0], length), (channels[1], positions)
    order = data.draw(st.sampled_from(orders(read)))
    layout = replicated_in(order, 512)
    case = Case((matrix,), (layout,), 512)
    for pattern in channel_folds(shape, channels[0], layout, matrix):
        plan = plan_affine(case.task, pattern, COST, INF)
        assert plan is not None
        check_plan(case, plan)


def test_what_folds_over_channels_cost() -> None:
    """8 to 16 channels, stride 2, 5 taps: two channels share the gap of the stride, so 6 shifts."""
    matrix, positions = convolution(np.random.default_rng(0), (8, 16), 64, 5, 2)
    layout = replicated_in(np.arange(512), 4096)
    case = Case((matrix,), (layout,), 4096)
    first = next(channel_folds((16, positions), 8, layout, matrix))
    plan = plan_affine(case.task, first, COST, INF)
    assert plan is not None
    program = check_plan(case, plan)
    assert len(plan.strides) == 3
    assert sum(len(i.srcs) for i in program.instructions if isinstance(i, DotPlain)) == 6
    assert sum(isinstance(i, Rotate) for i in program.instructions) == 3 + 4


@pytest.mark.parametrize("rows", [2, 3, 7])
def test_outputs_of_one_copy_take_a_rotation_each(rows: int) -> None:
    """The client sums; an operand of scattered single elements serves all outputs after turns."""
    rng = np.random.default_rng(rows)
    index = np.full(256, NOTHING, dtype=np.int64)
    index[8 * np.arange(32)] = rng.permutation(32)
    matrix = csr_array(rng.integers(1, 9, (rows, 32)).astype(np.float64))
    case = Case((matrix,), (Layout(index[None, :]),), 256)
    plans = [plan_affine(case.task, p, COST, INF) for p in client_sums(rows, [index], 256)]
    found = [p for p in plans if p is not None]
    for plan in found:
        check_plan(case, plan)
    assert min(p.rotations for p in found) <= rows - 1
    assert not any(p.strides for p in found)
