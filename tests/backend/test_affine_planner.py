"""Plans for one affine map equal numpy's product in every slot that they claim."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse import csr_array

from eer.compiler.backend.affine_planner import best_plans, lower_bound, plan_affine
from eer.compiler.backend.affine_task import AffineTask
from eer.compiler.backend.candidates import (
    client_sums,
    orders,
    replicated,
    single_copies,
    split_over_ciphers,
)
from eer.compiler.backend.convolutions import pitched
from eer.compiler.backend.pattern import Pattern, explicit
from eer.compiler.cost import CostModel
from eer.compiler.ir.layout import NOTHING, Layout
from eer.runtime.program import Conjugate, Rotate
from tests.backend.affine import Case, cases, check_plan, random_matrix

COST = CostModel(13)
INF = float("inf")


def patterns(case: Case) -> list[Pattern]:
    """All the patterns that the planner tries for such a map, and one from a random layout."""
    rows = case.matrices[0].shape[0]
    if rows > case.slots:
        return [split_over_ciphers(order, case.slots) for order in orders((rows,))]
    reads = [row for layout in case.layouts if layout is not None for row in layout.index]
    found = [f for make in (single_copies, client_sums) for f in make(rows, reads, case.slots)]
    shapes = [(rows,), *((k, rows // k) for k in (2, 3) if rows % k == 0)]
    for shape in shapes:
        for n, order in enumerate(orders(shape)):
            found += replicated(order, case.slots, f"order {n}")
        for layout, matrix in zip(case.layouts, case.matrices, strict=True):
            if layout is not None and layout.ciphers == 1:
                found += pitched(shape, layout, matrix)
    rng = np.random.default_rng(rows)
    target = np.full(case.slots, NOTHING)
    target[rng.choice(case.slots, rows, replace=False)] = np.arange(rows)
    return [*found, explicit(target[None, :])]


@settings(max_examples=60, deadline=None)
@given(case=cases(), data=st.data())
def test_every_plan_is_right(case: Case, data: st.DataObject) -> None:
    offered = patterns(case)
    pattern = data.draw(st.sampled_from(offered), label="pattern")
    shown = data.draw(st.booleans(), label="shown")
    for task in (case.task, case.task.in_natural_order(), case.task.prefolded()):
        if task is not None:
            plan = plan_affine(replace(task, shown=shown), pattern, COST, INF)
            if plan is not None:
                check_plan(case, plan)


@settings(max_examples=40, deadline=None)
@given(case=cases(), seed=st.integers(0, 2**32 - 1))
def test_disjoint_patterns_always_have_a_plan_with_room_for_packing(case: Case, seed: int) -> None:
    """Where windows do not overlap a cover exists whatever the layouts are."""
    rows = case.matrices[0].shape[0]
    empty = not any(m.nnz for m in case.matrices)
    order = np.random.default_rng(seed).permutation(rows)
    if rows <= case.slots and not empty:
        for pattern in replicated(order, case.slots, "random"):
            if pattern.kind == "disjoint":
                plan = plan_affine(case.task, pattern, COST, INF)
                assert plan is not None
                check_plan(case, plan, seed)


@settings(max_examples=25, deadline=None)
@given(case=cases(), keep=st.integers(1, 3), effort=st.integers(1, 6))
def test_the_best_plans_are_right_and_differ(case: Case, keep: int, effort: int) -> None:
    if not all(m.nnz for m in case.matrices):
        return
    choices = [(case.task, p) for p in patterns(case)]
    plans = best_plans(choices, COST, keep, effort)
    assert plans
    for plan in plans:
        check_plan(case, plan)
    assert [p.milliseconds for p in plans] == sorted(p.milliseconds for p in plans)
    assert len({p.layout.signature() for p in plans}) == len(plans)
    families = [p.family for p in plans]
    assert all(families.count(f) <= keep for f in families)


@settings(max_examples=60, deadline=None)
@given(case=cases(), data=st.data())
def test_no_plan_is_cheaper_than_its_lower_bound(case: Case, data: st.DataObject) -> None:
    pattern = data.draw(st.sampled_from(patterns(case)), label="pattern")
    task = replace(case.task, shown=data.draw(st.booleans(), label="shown"))
    plan = plan_affine(task, pattern, COST, INF)
    if plan is not None:
        assert lower_bound(task, pattern, COST) <= plan.milliseconds + 1e-9


@settings(max_examples=30, deadline=None)
@given(case=cases(most=1), data=st.data())
def test_rotations_are_counted(case: Case, data: st.DataObject) -> None:
    """Exactly, where there is one output ciphertext; several share what they rotate alike."""
    pattern = data.draw(st.sampled_from(patterns(case)), label="pattern")
    plan = plan_affine(case.task, pattern, COST, INF)
    if plan is None:
        return
    program = check_plan(case, plan)
    emitted = sum(isinstance(i, Rotate | Conjugate) for i in program.instructions)
    assert emitted <= plan.rotations
    if len(plan.ciphers) == 1 and not plan.prefolds:
        assert emitted == plan.rotations


@pytest.mark.parametrize("operands", [1, 2, 3])
@pytest.mark.parametrize("size", [16, 33])
def test_lower_bounds_of_dense_sums(operands: int, size: int) -> None:
    """Giant steps are shared by all operands, so a bound for each of them is none for the sum."""
    period = 1 << (size - 1).bit_length()
    held = np.pad(np.arange(size), (0, period - size), constant_values=NOTHING)
    layout = Layout(np.tile(held, 128 // period)[None, :])
    matrices = (csr_array(np.ones((size, size))),) * operands
    task = AffineTask(matrices, (layout,) * operands, 3, 2, 128)
    for pattern in replicated(np.arange(size), 128, ""):
        plan = plan_affine(task, pattern, COST, INF)
        if plan is not None:
            assert lower_bound(task, pattern, COST) <= plan.milliseconds


def test_a_limit_is_kept() -> None:
    case = Case((csr_array(np.ones((8, 8))),), (None,), 64)
    (first, *_) = replicated(np.arange(8), 64, "flat")
    plan = plan_affine(case.task, first, COST, INF)
    assert plan is not None
    assert plan_affine(case.task, first, COST, plan.milliseconds + 1e-9) is not None
    assert plan_affine(case.task, first, COST, plan.milliseconds - 1e-9) is None


@pytest.mark.parametrize("columns", [5, 40])
def test_several_output_ciphertexts(columns: int) -> None:
    rng = np.random.default_rng(0)
    matrix = random_matrix(rng, 40, columns, "sparse")
    pattern = split_over_ciphers(np.arange(40), 16)
    held = np.full(48, NOTHING)
    held[:columns] = np.arange(columns)
    layout = Layout(held.reshape(3, 16))
    for operand in (None, layout):
        case = Case((matrix,), (operand,), 16)
        plan = plan_affine(case.task, pattern, COST, INF)
        assert plan is not None
        assert plan.layout.ciphers == 3
        check_plan(case, plan)


def test_a_ciphertext_of_biases_only_is_none_of_zeros() -> None:
    """Padding at the end of a large tensor: its rows are zero, and it has slots to spare."""
    dense = np.ones((40, 5))
    dense[32:] = 0.0
    pattern = split_over_ciphers(np.arange(40), 16)
    for operand in (None, Layout(np.pad(np.arange(5), (0, 11), constant_values=NOTHING)[None, :])):
        case = Case((csr_array(dense),), (operand,), 16)
        plan = plan_affine(case.task, pattern, COST, INF)
        assert plan is not None
        program = check_plan(case, plan)
        assert all(plain.any() for plain in program.plains)


def test_inputs_that_would_take_too_many_ciphertexts_are_not_packed() -> None:
    """A dense map of 300 inputs to 300 outputs in the slots of 512: no fold is possible."""
    matrix = csr_array(np.ones((300, 300)))
    task = AffineTask((matrix,), (None,), 3, 2, 512)
    (pattern,) = (
        p for p in replicated(np.arange(300), 512, "") if not p.strides and p.period == 512
    )
    assert plan_affine(task, pattern, COST, INF) is None


def test_natural_order_replicates_where_there_is_room() -> None:
    task = AffineTask(
        (csr_array(np.ones((2, 5))), csr_array(np.ones((2, 20)))), (None, None), 3, 2, 16
    )
    natural = task.in_natural_order()
    first, second = (layout for layout in natural.layouts if layout is not None)
    assert first.index.tolist() == [[0, 1, 2, 3, 4, -1, -1, -1] * 2]
    assert second.index.tolist() == [list(range(16)), [16, 17, 18, 19, *[-1] * 12]]
    assert (natural.natural[0] == first.index).all()
