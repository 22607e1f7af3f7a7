"""Affine maps between arbitrary layouts: random ones, and plans for them in numpy's arithmetic."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from hypothesis import strategies as st
from scipy.sparse import csr_array

from eer.compiler.backend.affine_task import AffineTask
from eer.compiler.backend.decision import AffinePlan
from eer.compiler.backend.emit import Emitted, emit
from eer.compiler.backend.plan import Plan
from eer.compiler.backend.schedule import Rescaling
from eer.compiler.ir.layout import NOTHING, Index, Layout
from eer.compiler.ir.tensor import Affine, Input, Node, Output, TensorGraph, Vector
from eer.runtime.program import Program, Slots
from tests.backend.networks import run_program

GARBAGE = 1e3
"""Size of what stands where a layout holds nothing."""

LEVEL = 3


@dataclass(frozen=True)
class Case:
    """One affine map: matrices, and a layout for each operand (None: the client packs it)."""

    matrices: tuple[csr_array, ...]
    layouts: tuple[Layout | None, ...]
    slots: int

    @property
    def task(self) -> AffineTask:
        return AffineTask(self.matrices, self.layouts, LEVEL, LEVEL - 1, self.slots)


def random_matrix(rng: np.random.Generator, rows: int, columns: int, kind: str) -> csr_array:
    """Small integers, so that sums are exact."""
    dense = rng.integers(1, 9, (rows, columns)).astype(np.float64)
    match kind:
        case "sparse":
            dense *= rng.random((rows, columns)) < 0.3
        case "band":
            away = np.arange(columns)[None, :] - np.arange(rows)[:, None]
            dense *= np.abs(away) < 2
        case "one each":
            dense *= np.arange(columns)[None, :] == rng.integers(0, columns, (rows, 1))
        case "equal":
            dense[:] = dense[:, :1]
        case "holes":
            dense[rng.random(rows) < 0.5] = 0.0
            dense[:, rng.random(columns) < 0.5] = 0.0
    return csr_array(dense)


def random_layout(rng: np.random.Generator, size: int, slots: int, kind: str) -> Layout:
    """Every element stands somewhere; where it says nothing, anything may stand."""
    base = np.arange(size)
    if size > slots or kind == "ciphers":
        ciphers = max(2, -(-size // slots))
        index = np.full(ciphers * slots, NOTHING, dtype=np.int64)
        index[rng.choice(ciphers * slots, size, replace=False)] = base
        return Layout(index.reshape(ciphers, slots))
    index = np.full(slots, NOTHING, dtype=np.int64)
    match kind:
        case "coset":
            period = 1 << (size - 1).bit_length()
            padded = np.pad(base, (0, period - size), constant_values=NOTHING)
            index = np.tile(padded, slots // period)
        case "sliding":
            period = min(slots, size + int(rng.integers(0, 3)))
            padded = np.pad(base, (0, period - size), constant_values=NOTHING)
            index = padded[np.arange(slots) % period]
            index[slots - int(rng.integers(0, slots - size + 1)) :] = NOTHING
        case "scattered":
            index[rng.choice(slots, size, replace=False)] = base
        case "permuted":
            copies = slots // size
            index[: size * copies] = np.tile(rng.permutation(base), copies)
        case _:
            index[:size] = base
    return Layout(index[None, :])


@st.composite
def cases(draw: st.DrawFn, most: int = 3) -> Case:
    """Up to `most` operands, each an input or a value in some layout, at least one element each."""
    slots = draw(st.sampled_from([16, 32, 64]))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    rows = draw(st.integers(1, 20))
    matrices: list[csr_array] = []
    layouts: list[Layout | None] = []
    for _ in range(draw(st.integers(1, most))):
        columns = draw(st.integers(1, 20))
        kind = draw(st.sampled_from(("dense", "sparse", "band", "one each", "equal", "holes")))
        matrices.append(random_matrix(rng, rows, columns, kind))
        held = draw(
            st.sampled_from(
                ("input", "first", "coset", "sliding", "scattered", "permuted", "ciphers")
            )
        )
        layouts.append(None if held == "input" else random_layout(rng, columns, slots, held))
    return Case(tuple(matrices), tuple(layouts), slots)


def emitted_for(case: Case, plan: AffinePlan, bias: Vector) -> Emitted:
    """The emitted program of one map."""
    operands = len(case.matrices)
    inputs = [Node(Input(f"x{k}"), (), (m.shape[1],)) for k, m in enumerate(case.matrices)]
    map_ = Node(Affine(case.matrices, bias), tuple(range(operands)), (len(bias),))
    graph = TensorGraph("map", (*inputs, map_), (Output("y", operands, map_.shape),))
    layouts = {
        k: layout
        for k, layout in enumerate(case.layouts)
        if layout is not None and k not in plan.packed
    }
    layouts[operands] = plan.layout
    levels = (*(1 for _ in inputs), 0)
    whole = Plan(case.slots, levels, Rescaling.eager(1), layouts, {operands: plan}, 0.0)
    emitted = emit(graph, whole)
    assert emitted.program.outputs == emitted.values[operands]
    return emitted


def check_plan(case: Case, plan: AffinePlan, seed: int = 0) -> Program:
    """Every slot that the plan's layout claims to hold an element does, whatever fills the rest;
    or, where the client sums parts, their sums are the elements."""
    rng = np.random.default_rng(seed)
    values = [rng.integers(-9, 10, m.shape[1]).astype(np.float64) for m in case.matrices]
    bias = rng.integers(-9, 10, case.matrices[0].shape[0]).astype(np.float64)
    wanted = bias + sum(m @ x for m, x in zip(case.matrices, values, strict=True))
    emitted = emitted_for(case, plan, bias)
    program = emitted.program

    def filled(operand: int, row: Index) -> Vector:
        fill = rng.normal(size=case.slots) * GARBAGE
        return np.where(row >= 0, values[operand][np.maximum(row, 0)], fill)

    ciphers: list[Slots] = []
    for e in emitted.inputs:
        vector: Slots = filled(e.node, e.real)
        second = e.imaginary
        ciphers.append(vector if second is None else vector + 1j * filled(e.node, second))
    found = np.array(run_program(program, ciphers))
    index = plan.layout.index
    assert found.shape == index.shape
    assert plan.layout.holds(len(wanted))
    if plan.parts is not None:
        sums = np.zeros(len(wanted))
        for element, value in zip(plan.parts.reshape(-1), found.reshape(-1), strict=True):
            if element >= 0:
                sums[element] += value
        np.testing.assert_allclose(sums, wanted, atol=1e-6)
        return program
    held = index >= 0
    np.testing.assert_allclose(found[held], wanted[index[held]], atol=1e-6)
    return program
