"""Convolutions of an input that the client packs so that rotations serve all taps."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.sparse import csr_array

from eer.compiler.backend.affine_planner import plan_affine
from eer.compiler.backend.affine_task import AffineTask
from eer.compiler.backend.candidates import replicated
from eer.compiler.backend.convolutions import pack_taps
from eer.compiler.backend.pattern import explicit
from eer.compiler.cost import CostModel
from eer.compiler.ir.layout import Layout
from eer.runtime.program import DotPlain
from tests.backend.affine import Case, check_plan

COST = CostModel(13)
INF = float("inf")


def convolution(
    channels: int, size: tuple[int, ...], out: int, kernel: int, stride: int, padding: int
) -> tuple[csr_array, tuple[int, ...]]:
    """(matrix, output shape) of a convolution over one or two axes, with random kernels."""
    weights = np.random.default_rng(0).integers(1, 9, (out, channels, *(kernel for _ in size)))
    space = tuple((n + 2 * padding - kernel) // stride + 1 for n in size)
    matrix = np.zeros((out, *space, channels, *size))
    for position in np.ndindex(*space):
        for tap in np.ndindex(*(kernel for _ in size)):
            at = tuple(p * stride + t - padding for p, t in zip(position, tap, strict=True))
            if all(0 <= a < n for a, n in zip(at, size, strict=True)):
                matrix[:, *position, :, *at] = weights[:, :, *tap]
    return csr_array(matrix.reshape(out * int(np.prod(space)), -1)), (out, *space)


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
    matrix, shape = convolution(channels, size, out, kernel, stride, padding)
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


def test_taps_are_packed_for_convolutions_without_folds_only() -> None:
    matrix, shape = convolution(1, (8, 8), 2, 3, 1, 1)
    order = np.arange(128)
    assert pack_taps(shape, explicit(order[None, :]), matrix) is not None
    (folded, *_) = (p for p in replicated(order, 256, "") if p.strides)
    assert pack_taps(shape, folded, matrix) is None
    assert pack_taps(shape, explicit(order.reshape(2, 64)), matrix) is None
    assert pack_taps((128,), explicit(order[None, :]), matrix) is None
    assert pack_taps(shape, explicit(order[None, :]), csr_array(np.ones((128, 64)))) is None
    assert AffineTask((matrix,), (Layout(np.arange(64)[None, :]),), 3, 2, 64).by_taps(shape) is None


def test_a_valid_convolution_reads_more_than_its_outputs_hold() -> None:
    """Without padding the last taps of the last outputs stand in no slot: not packed so."""
    matrix, shape = convolution(1, (8, 8), 2, 3, 1, 0)
    assert pack_taps(shape, explicit(np.arange(72)[None, :]), matrix) is None
