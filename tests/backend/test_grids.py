"""Convolutions over several ciphertexts: inputs in grids, and channels spread out."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse import csr_array

from eer.compiler.backend.affine_planner import plan_affine
from eer.compiler.backend.affine_task import AffineTask
from eer.compiler.backend.convolutions import spread
from eer.compiler.backend.decision import AffinePlan
from eer.compiler.backend.grids import in_grids
from eer.compiler.backend.taps import Taps
from eer.compiler.cost import CostModel
from eer.compiler.ir.layout import Layout
from tests.backend.affine import LEVEL, Case, check_plan
from tests.backend.conv_maps import Convolution, convolutions

COST = CostModel(13)
INF = float("inf")
SLOTS = st.sampled_from([4, 32, 64, 256, 1024])


def plans(task: AffineTask, shape: tuple[int, ...]) -> Iterator[AffinePlan]:
    """Those that spread channels out, with and without sums of equally weighted elements."""
    for t in (task, task.prefolded()):
        for k in range(0 if t is None else len(t.layouts)):
            assert t is not None
            layout = t.layouts[k]
            for pattern in () if layout is None else spread(shape, layout, t.matrices[k]):
                plan = plan_affine(t, pattern, COST, INF)
                assert plan is not None
                yield plan


@settings(max_examples=60, deadline=None)
@given(conv=convolutions(), slots=SLOTS)
def test_inputs_in_grids_are_right(conv: Convolution, slots: int) -> None:
    """Whatever the stride, the padding, the dilation and the groups, in whatever ciphertexts."""
    case = Case((conv.matrix(),), (None,), slots)
    for task in case.task.in_grids(conv.shape):
        for plan in plans(task, conv.shape):
            check_plan(case, plan)


@settings(max_examples=40, deadline=None)
@given(data=st.data(), slots=SLOTS)
def test_a_convolution_reads_what_another_spread_out(data: st.DataObject, slots: int) -> None:
    first = data.draw(convolutions())
    again = data.draw(convolutions(first.out))
    second = Convolution(
        first.out,
        first.space,
        again.out,
        min(again.kernel, *first.space),
        again.stride,
        again.padding,
        groups=again.groups,
    )
    tasks = Case((first.matrix(),), (None,), slots).task.in_grids(first.shape)
    for made in (plan for task in tasks for plan in plans(task, first.shape)):
        case = Case((second.matrix(),), (made.layout,), slots)
        for plan in plans(case.task, second.shape):
            check_plan(case, plan)


def test_as_many_ciphertexts_as_it_takes() -> None:
    """The benchmark's first convolution with 64, 256 and 512 slots to a window: four channels and
    two remainders of the stride are eight grids of 64 slots. Two share complex slots."""
    conv = Convolution(4, (128,), 8, 7, 2, 3)
    matrix = conv.matrix()
    taps = Taps.of(conv.shape, matrix)
    assert taps is not None
    assert in_grids(taps, 32) is None
    for slots, inputs, outputs in ((64, 4, 8), (256, 1, 2), (512, 1, 1)):
        index = in_grids(taps, slots)
        assert index is not None
        assert len(index) == 512 // slots
        task = next(AffineTask((matrix,), (None,), LEVEL, LEVEL - 1, slots).in_grids(conv.shape))
        plan, *_ = plans(task, conv.shape)
        assert (plan.inputs, plan.layout.ciphers) == (inputs, outputs)
        # Four shifts of each grid, for two of them at once; the same for every ciphertext.
        assert plan.products == outputs * 16


def test_grids_start_where_their_first_taps_do() -> None:
    """If that takes no more room: then all take the same rotations."""
    conv = Convolution(2, (30,), 2, 4, 2, 1)
    taps = Taps.of(conv.shape, conv.matrix())
    assert taps is not None
    index = in_grids(taps, 64)
    assert index is not None
    # Odd elements are read from the one before the first on, even ones from the first.
    assert index[0, :4].tolist() == [-1, 1, 3, 5]
    assert index[0, 16:20].tolist() == [0, 2, 4, 6]


def test_a_grid_is_repeated_where_there_is_room() -> None:
    conv = Convolution(1, (16,), 2, 3, 1, 1)
    taps = Taps.of(conv.shape, conv.matrix())
    assert taps is not None
    index = in_grids(taps, 64)
    assert index is not None
    np.testing.assert_array_equal(index, np.tile(np.arange(16), 4)[None, :])


@pytest.mark.parametrize("channels", [3, 16])
def test_channels_lie_where_the_same_rotations_serve_them(channels: int) -> None:
    """In grids of 16 slots, of which there are four in a ciphertext: a rotation for each of the
    taps and of the grids, however many outputs there are."""
    conv = Convolution(4, (16,), channels, 3, 1, 1)
    case = Case((conv.matrix(),), (Layout(np.arange(64)[None, :]),), 64)
    plan, *_ = plans(case.task, conv.shape)
    assert plan.layout.ciphers == -(-channels // 4)
    places = {(t.source, t.shift) for c in plan.ciphers for t in c.terms}
    assert len(places) <= 12
    check_plan(case, plan)


def test_every_other_position_is_a_channel_of_its_own() -> None:
    """With so few slots that positions would not fit one ciphertext; and sums of neighbours are
    then sums of ciphertexts."""
    conv = Convolution(2, (16,), 3, 3, 1, 1)
    matrix = conv.matrix()
    (task,) = Case((matrix,), (None,), 8).task.in_grids(conv.shape)
    (made,) = plans(task, conv.shape)
    assert made.layout.index[:2].tolist() == [[*range(0, 16, 2)], [*range(16, 32, 2)]]
    pool = csr_array(np.kron(np.eye(24), np.ones((1, 2))))
    case = Case((pool,), (made.layout,), 8)
    summed = case.task.prefolded()
    assert summed is not None
    assert summed.prefolds[0].sums == ((0, 3), (1, 4), (2, 5))
    for plan in plans(case.task, (3, 8)):
        check_plan(case, plan)


def test_only_convolutions_are_spread() -> None:
    matrix = Convolution(1, (8, 8), 2, 3, 1, 1).matrix()
    layout = Layout(np.arange(64)[None, :])
    assert not list(spread((128,), layout, matrix))
    assert not list(spread((2, 32), layout, matrix))
    assert not list(Case((matrix,), (None,), 64).task.in_grids((128,)))
