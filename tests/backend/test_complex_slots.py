"""Two real values to a slot: what it saves, and that results stay what they are."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from scipy.sparse import csr_array

from eer.compiler.backend.affine_planner import plan_affine
from eer.compiler.backend.candidates import client_sums, replicated
from eer.compiler.backend.complex_slots import Join, joined, two_by_two
from eer.compiler.backend.pattern import explicit
from eer.compiler.backend.terms import Term
from eer.compiler.cost import CostModel
from eer.compiler.ir.layout import Layout
from eer.runtime.program import Conjugate, Rotate, TimesI
from tests.backend.affine import Case, check_plan, random_matrix

COST = CostModel(13)
INF = float("inf")


@given(
    seed=st.integers(0, 2**32 - 1),
    shifts=st.lists(st.integers(0, 15), min_size=1, max_size=16, unique=True),
    others=st.lists(st.integers(0, 15), max_size=16, unique=True),
    turn=st.integers(0, 15),
)
def test_joined_terms_are_the_same_sum(
    seed: int, shifts: list[int], others: list[int], turn: int
) -> None:
    """Of two sources, or of one with itself where there are no others; a third stays as it is."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(3, 16))
    second = 1 if others else 0
    places = [(0, s) for s in shifts] + [(1, s) for s in others] + [(2, 3)]
    terms = [Term.of(source, shift, rng.normal(size=16)) for source, shift in places]
    join = Join(0, second, turn)
    z = [x[0] + 1j * np.roll(x[second], -turn), x[1], x[2]]
    found = joined(terms, join, 16)
    assert len({(t.source, t.shift) for t in found}) == len(found) <= len(terms)
    wanted = sum(t.mask * np.roll(x[t.source], -t.shift) for t in terms)
    total = sum(t.mask * np.roll(z[t.source], -t.shift) for t in found)
    np.testing.assert_allclose(np.real(total), wanted, atol=1e-12)


def test_sources_are_joined_two_by_two() -> None:
    assert two_by_two([3, 5, 8]) == [(3, 5), (8, 8)]
    assert two_by_two([3, 5]) == [(3, 5)]
    assert two_by_two([]) == []


def dense(rows: int, columns: int) -> csr_array:
    return random_matrix(np.random.default_rng(0), rows, columns, "dense")


def test_the_client_packs_two_inputs_into_one_ciphertext() -> None:
    """32 inputs to 16 outputs in 64 slots: 8 packed ciphertexts without folds, 4 in pairs."""
    case = Case((dense(16, 32),), (None,), 64)
    (pattern,) = (p for p in replicated(np.arange(16), 64, "") if p.period == 64)
    plan = plan_affine(case.task, pattern, COST, INF)
    assert plan is not None
    assert plan.inputs == plan.products == 16
    assert plan.imaginary[0].shape == plan.packed[0].shape
    assert plan.conjugates
    assert plan.rotations == 1
    program = check_plan(case, plan)
    assert sum(isinstance(i, Conjugate) for i in program.instructions) == 1
    assert program.conjugation_level is not None


def test_what_only_the_client_sees_is_not_conjugated() -> None:
    case = Case((dense(4, 32),), (None,), 64)
    (pattern,) = client_sums(4, [], 64)
    for shown in (False, True):
        plan = plan_affine(replace(case.task, shown=shown), pattern, COST, INF)
        assert plan is not None
        assert plan.conjugates is (plan.inputs == 1 and not shown)
        program = check_plan(case, plan)
        assert any(isinstance(i, Conjugate) for i in program.instructions) is plan.conjugates
        assert plan.inputs == 1


def test_a_join_halves_rotations_and_products() -> None:
    """A dense map of what the server has computed, by diagonals."""
    case = Case((dense(32, 32),), (Layout(np.tile(np.arange(32), 2)[None, :]),), 64)
    (pattern,) = (p for p in replicated(np.arange(32), 64, "") if p.period == 64)
    plan = plan_affine(case.task, pattern, COST, INF)
    assert plan is not None
    (cipher,) = plan.ciphers
    assert len(cipher.joins) == 1
    assert plan.products == 16
    program = check_plan(case, plan)
    assert sum(isinstance(i, TimesI) for i in program.instructions) == 1
    switches = sum(isinstance(i, Rotate | Conjugate) for i in program.instructions)
    assert switches == plan.rotations < 2 * np.sqrt(32) - 2


def test_a_join_does_for_several_ciphertexts() -> None:
    """Two that are read, and joined once for the two that are made of them."""
    layout = Layout(np.arange(64).reshape(2, 32))
    case = Case((dense(64, 64),), (layout,), 32)
    plan = plan_affine(case.task, explicit(np.arange(64).reshape(2, 32)), COST, INF)
    assert plan is not None
    assert [len(cipher.joins) for cipher in plan.ciphers] == [1, 1]
    program = check_plan(case, plan)
    assert sum(isinstance(i, TimesI) for i in program.instructions) == 1
    switches = sum(isinstance(i, Rotate | Conjugate) for i in program.instructions)
    assert switches == plan.rotations


def test_one_product_stays_real() -> None:
    case = Case((dense(8, 8),), (None,), 64)
    (pattern,) = (p for p in replicated(np.arange(8), 64, "") if p.period == 8)
    plan = plan_affine(case.task, pattern, COST, INF)
    assert plan is not None
    assert not plan.conjugates
    assert not plan.imaginary
    program = check_plan(case, plan)
    assert not program.is_complex
