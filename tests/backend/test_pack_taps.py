"""Convolutions of an input that the client packs so that rotations serve all taps."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from scipy.sparse import csr_array

from eer.compiler.backend.affine_planner import plan_affine
from eer.compiler.backend.affine_task import AffineTask
from eer.compiler.backend.candidates import orders, replicated
from eer.compiler.backend.pattern import explicit
from eer.compiler.backend.taps import Taps, pack_taps
from eer.compiler.cost import CostModel
from eer.compiler.ir.layout import Layout
from eer.runtime.program import DotPlain
from tests.backend.affine import Case, check_plan
from tests.backend.conv_maps import Convolution, convolutions

COST = CostModel(13)
INF = float("inf")


@pytest.mark.parametrize(
    ("channels", "size", "out", "kernel", "stride", "padding", "inputs"),
    [
        (1, (8, 8), 2, 3, 1, 1, 1),
        (2, (6, 6), 2, 3, 1, 1, 1),
        (3, (16,), 4, 5, 1, 2, 2),
        (1, (16,), 4, 4, 2, 1, 1),
        (1, (9, 7), 1, 3, 1, 1, 1),
    ],
)
def test_taps_of_a_convolution_are_rotations(
    channels: int,
    size: tuple[int, ...],
    out: int,
    kernel: int,
    stride: int,
    padding: int,
    inputs: int,
) -> None:
    """`inputs` ciphertexts do, two of the client's in each: one for every input channel, and for
    every remainder of the stride."""
    conv = Convolution(channels, size, out, kernel, stride, padding)
    matrix, shape = conv.matrix(), conv.shape
    order = np.full(256, -1)
    order[: matrix.shape[0]] = np.arange(matrix.shape[0])
    case = Case((matrix,), (None,), 256)
    task = case.task.by_taps(shape)
    assert task is not None
    plan = plan_affine(task, explicit(order[None, :]), COST, INF)
    assert plan is not None
    assert plan.inputs == inputs
    program = check_plan(case, plan)
    products = sum(len(i.srcs) for i in program.instructions if isinstance(i, DotPlain))
    taps = channels * kernel ** len(size)
    assert products == plan.products
    assert taps / 2 <= products < taps


@pytest.mark.parametrize(
    ("channels", "size", "kernel", "stride", "folds", "inputs", "products"),
    [
        # Four channels and two remainders: eight lanes of four taps, for windows of eight slots.
        (4, 16, 7, 2, 3, 1, 2),
        # Windows of four: two ciphertexts, which the client packs as one.
        (4, 16, 7, 2, 2, 1, 4),
        # Twice as many slots as lanes, which are cut in halves; at the edges these differ.
        (4, 16, 7, 2, 4, 1, 2),
        (2, 12, 5, 1, 1, 1, 3),
    ],
)
def test_the_slots_of_a_window_serve_a_lane_each(
    channels: int, size: int, kernel: int, stride: int, folds: int, inputs: int, products: int
) -> None:
    conv = Convolution(channels, (size,), 3, kernel, stride, kernel // 2)
    matrix, shape = conv.matrix(), conv.shape
    order = np.arange(matrix.shape[0])
    case = Case((matrix,), (None,), 1 << (len(order) - 1).bit_length() + folds)
    task = case.task.by_taps(shape)
    assert task is not None
    pattern = next(
        p
        for p in replicated(order, case.slots, "")
        if len(p.strides) == folds and p.kind == "disjoint"
    )
    plan = plan_affine(task, pattern, COST, INF)
    assert plan is not None
    assert (plan.inputs, plan.products) == (inputs, products)
    check_plan(case, plan)


@settings(max_examples=40, deadline=None)
@given(conv=convolutions())
def test_every_packing_of_taps_is_right(conv: Convolution) -> None:
    shape = conv.shape
    case = Case((conv.matrix(),), (None,), 512)
    task = case.task.by_taps(shape)
    if task is None:
        return
    for order in orders(shape):
        for pattern in replicated(order, case.slots, ""):
            plan = plan_affine(task, pattern, COST, INF)
            if plan is not None:
                check_plan(case, plan)


def test_only_convolutions_have_taps() -> None:
    conv = Convolution(1, (8, 8), 2, 3, 1, 1)
    matrix, shape = conv.matrix(), conv.shape
    assert Taps.of(shape, matrix) is not None
    assert Taps.of((128,), matrix) is None
    assert Taps.of((3, 8, 8), matrix) is None
    assert Taps.of(shape, csr_array(np.ones((128, 64)))) is None
    other = matrix.tolil()
    other[5, 63] = 1.0
    assert Taps.of(shape, csr_array(other)) is None
    assert AffineTask((matrix,), (Layout(np.arange(64)[None, :]),), 3, 2, 64).by_taps(shape) is None


def test_taps_are_packed_into_one_output_ciphertext() -> None:
    conv = Convolution(1, (8, 8), 2, 3, 1, 1)
    matrix, shape = conv.matrix(), conv.shape
    taps = Taps.of(shape, matrix)
    assert taps is not None
    order = np.arange(128)
    assert pack_taps(taps, explicit(order[None, :]), matrix) is not None
    assert pack_taps(taps, explicit(order.reshape(2, 64)), matrix) is None
    shuffled = np.random.default_rng(0).permutation(128)
    assert pack_taps(taps, explicit(shuffled[None, :]), matrix) is None


def test_a_valid_convolution_reads_more_than_its_outputs_hold() -> None:
    """Without padding the last taps of the last outputs stand in no slot: not packed so."""
    conv = Convolution(1, (8, 8), 2, 3)
    matrix = conv.matrix()
    taps = Taps.of(conv.shape, matrix)
    assert taps is not None
    assert pack_taps(taps, explicit(np.arange(72)[None, :]), matrix) is None
