"""Phases: orders in which a pool is a fold, against what the pool reads."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy.sparse import csr_array

from eer.compiler.backend.affine_planner import plan_affine
from eer.compiler.backend.affine_task import AffineTask
from eer.compiler.backend.convolutions import channel_folds
from eer.compiler.backend.phases import Phases
from eer.compiler.backend.prefold import equal_columns, find_prefold
from eer.compiler.cost import CostModel
from eer.compiler.ir.layout import Layout
from eer.compiler.ir.tensor import Vector
from tests.backend.affine import Case, check_plan
from tests.backend.conv_maps import Convolution

COST = CostModel(13)
INF = float("inf")


def pool(channels: int, size: tuple[int, ...], window: int) -> csr_array:
    """Sums [channels * pooled positions, channels * positions] over windows side by side."""
    space = tuple(n // window for n in size)
    matrix = np.zeros((channels, *space, channels, *size))
    for channel in range(channels):
        for at in np.ndindex(*space):
            within = tuple(slice(p * window, (p + 1) * window) for p in at)
            matrix[(channel, *at, channel, *within)] = 1.0
    return csr_array(matrix.reshape(channels * int(np.prod(space)), -1))


def read_by(
    out: int, channels: int, size: tuple[int, ...], window: int, kernel: int
) -> tuple[csr_array, tuple[int, ...]]:
    """A convolution of what such a pool makes, in one map with it, and the shape of its output."""
    pooled = tuple(n // window for n in size)
    conv = Convolution(channels, pooled, out, kernel)
    return csr_array(conv.matrix() @ pool(channels, size, window)), conv.shape


def test_elements_by_phase_channel_and_position() -> None:
    reader, _ = read_by(2, 3, (4, 6), 2, 1)
    phases = Phases.of((3, 4, 6), reader)
    assert phases is not None
    cube = np.arange(72).reshape(3, 4, 6)
    for phase, (y, x) in enumerate(np.ndindex(2, 2)):
        assert (phases.elements[phase] == cube[:, y::2, x::2]).all()
    assert phases.shape == (12, 2, 3)


@pytest.mark.parametrize(
    ("shape", "matrix"),
    [
        ((3, 4, 4), Convolution(3, (4, 4), 2, 3, padding=1).matrix()),
        # Groups of nine: no fold has so many terms.
        ((3, 6, 6), read_by(2, 3, (6, 6), 3, 1)[0]),
        # What stands beyond the last window is not read.
        ((3, 5, 5), read_by(2, 3, (5, 5), 2, 1)[0]),
        ((48,), read_by(2, 3, (4, 4), 2, 1)[0]),
        # Sums over channels, not over positions.
        ((2, 2, 4), csr_array(np.tile(np.arange(1.0, 9.0), (1, 2)))),
    ],
)
def test_what_is_not_pooled_has_no_phases(shape: tuple[int, ...], matrix: csr_array) -> None:
    assert Phases.of(shape, matrix) is None


@settings(max_examples=30, deadline=None)
@given(data=st.data())
def test_plans_by_phases_are_right(data: st.DataObject) -> None:
    """A convolution of an input in each order of phases, then the pool and a convolution of it."""
    axes = data.draw(st.integers(1, 2))
    size = tuple(2 * data.draw(st.integers(2, 4)) for _ in range(axes))
    channels, middle = data.draw(st.integers(1, 2)), data.draw(st.integers(2, 4))
    kernel = data.draw(st.sampled_from([1, 3, 5]))
    conv = Convolution(channels, size, middle, kernel, padding=kernel // 2)
    first, shape = conv.matrix(), conv.shape
    assert shape == (middle, *size)
    second, out = read_by(data.draw(st.integers(1, 4)), middle, size, 2, 2)
    phases = Phases.of(shape, second)
    # Weights that happen to be equal make other groups.
    assume(phases is not None and len(phases.elements) == 2**axes)
    assert phases is not None
    case = Case((first,), (None,), 1024)
    by_taps = case.task.by_taps(phases.shape, phases.elements.reshape(-1))
    patterns = list(phases.patterns(case.slots))
    assert patterns
    for pattern in patterns:
        plans = [
            plan_affine(task, pattern, COST, INF)
            for task in (case.task, by_taps)
            if task is not None
        ]
        assert plans[0] is not None
        for plan in plans:
            if plan is not None:
                check_plan(case, plan)
        check_next(plans[0].layout, second, middle, out)


def check_next(layout: Layout, second: csr_array, middle: int, out: tuple[int, ...]) -> None:
    """The pool is a fold of the whole ring, and what folds over channels then is right."""
    fold = find_prefold(layout, *equal_columns(second))
    assert fold is not None
    held = fold.layout.index[0]
    assert all((np.roll(held, stride) == held).all() for stride in fold.strides)
    case = Case((second,), (layout,), layout.slots)
    task = case.task.prefolded()
    assert isinstance(task, AffineTask)
    assert task.layouts[0] is not None
    for pattern in channel_folds(out, middle, task.layouts[0], task.matrices[0]):
        plan = plan_affine(task, pattern, COST, INF)
        assert plan is not None
        check_plan(case, plan)


def test_values_are_those_of_the_pool() -> None:
    """The reference of these tests is itself right: means of windows, up to their size."""
    x: Vector = np.random.default_rng(0).normal(size=(3, 4, 6))
    pooled = x.reshape(3, 2, 2, 3, 2).sum(axis=(2, 4))
    assert np.allclose(pool(3, (4, 6), 2) @ x.reshape(-1), pooled.reshape(-1))
