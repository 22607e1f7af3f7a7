"""Whole plans: the emitted program on the slot interpreter equals the tensor interpreter."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eer.compiler.backend.builder import COARSEST
from eer.compiler.backend.levels import assign_levels, steps_of
from eer.compiler.backend.planner import Search, takes_longer
from eer.compiler.backend.plans import coarsest, nominal_scales
from eer.compiler.backend.schedule import Rescaling, Step
from eer.compiler.cost import CostModel
from eer.compiler.ir import interpret
from eer.compiler.ir.tensor import Polynomial, TensorGraph
from eer.runtime.program import DotPlain, Rotate, infer_levels
from tests.backend.networks import Net, planned, run_clear, seal_schedules


def mlp(seed: int) -> TensorGraph:
    net = Net(seed)
    h = net.polynomial(net.affine(net.input(12), size=9), 2)
    h = net.polynomial(net.affine(h, size=7), 2)
    return net.graph(net.affine(h, size=3))


def deep_activation(seed: int) -> TensorGraph:
    net = Net(seed)
    h = net.polynomial(net.affine(net.input(8), size=8), 7)
    return net.graph(net.affine(net.polynomial(net.affine(h, size=6), 5), size=2))


def residual(seed: int) -> TensorGraph:
    net = Net(seed)
    h = net.affine(net.input(6), size=6)
    return net.graph(net.affine(net.polynomial(h, 3), h, size=6))


def gate(seed: int) -> TensorGraph:
    net = Net(seed)
    x = net.input(10)
    a, b = net.affine(x, size=5), net.polynomial(net.affine(x, size=5), 2)
    return net.graph(net.affine(net.product(a, b), size=2))


def two_of_each(seed: int) -> TensorGraph:
    net = Net(seed)
    a, b = net.input(5, name="a"), net.input(7, name="b")
    h = net.polynomial(net.affine(a, b, size=6), 2)
    return net.graph(net.affine(h, size=4), net.affine(h, size=1))


def convolutions(seed: int) -> TensorGraph:
    net = Net(seed)
    h = net.polynomial(net.convolution(net.input(2, 12), 3, 3), 2)
    h = net.polynomial(net.convolution(h, 4, 3), 2)
    return net.graph(net.affine(h, size=3))


def bare(seed: int) -> TensorGraph:
    """An activation of the input, another of that, and an activation as the output."""
    net = Net(seed)
    return net.graph(net.polynomial(net.polynomial(net.input(6), 2), 3))


def wide(seed: int) -> TensorGraph:
    """Tensors that take several ciphertexts."""
    net = Net(seed)
    h = net.polynomial(net.affine(net.input(20), size=150, density=0.3), 2)
    return net.graph(net.affine(h, size=3))


KINDS = (mlp, deep_activation, residual, gate, two_of_each, convolutions, bare, wide)


def inputs_of(graph: TensorGraph, windows: int, seed: int = 1) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    nodes = [graph.nodes[n] for n in graph.inputs]
    return {n.op.name: rng.normal(size=(windows, n.size)) for n in nodes}  # type: ignore[union-attr]


@pytest.mark.parametrize("make", KINDS)
@settings(max_examples=2, deadline=None)
@given(seed=st.integers(0, 10_000))
def test_program_equals_graph(make: Callable[[int], TensorGraph], seed: int) -> None:
    graph = make(seed)
    scheduled, plan, emitted = planned(graph, 128)
    inputs = inputs_of(graph, 1, seed)
    found = run_clear(scheduled, plan, emitted, inputs)
    for name, wanted in interpret.outputs(graph, inputs).items():
        np.testing.assert_allclose(found[name], wanted, atol=1e-9 * max(1, np.abs(wanted).max()))


@pytest.mark.parametrize("make", KINDS)
def test_every_lazy_schedule_computes_the_same(make: Callable[[int], TensorGraph]) -> None:
    graph = make(3)
    scheduled, _, _ = planned(graph, 128)
    inputs = inputs_of(graph, 1)
    wanted = interpret.outputs(graph, inputs)
    schedules = seal_schedules(steps_of(scheduled), 6)
    fine = 0
    for schedule in schedules[:: max(1, len(schedules) // 6)]:
        scheduled, plan, emitted = planned(graph, 128, schedule.rescaling)
        if coarsest(nominal_scales(emitted.program, schedule.params)) < COARSEST:
            continue
        fine += 1
        found = run_clear(scheduled, plan, emitted, inputs, params=schedule.params)
        for name in wanted:
            np.testing.assert_allclose(found[name], wanted[name], atol=1e-8)
    assert fine, "no schedule is precise enough to be used"


@pytest.mark.parametrize("make", [mlp, convolutions])
def test_batches_keep_windows_apart(make: Callable[[int], TensorGraph]) -> None:
    graph = make(5)
    scheduled, plan, emitted = planned(graph, 128)
    inputs = inputs_of(graph, 4)
    found = run_clear(scheduled, plan, emitted, inputs, batch=4)
    for name, wanted in interpret.outputs(graph, inputs).items():
        np.testing.assert_allclose(found[name], wanted, atol=1e-9)


def test_an_input_is_one_ciphertext_where_rotations_are_worth_it() -> None:
    """With room for two replicas only, products without rotations would take 24 or more."""
    net = Net(9)
    h = net.polynomial(net.affine(net.input(48), size=48), 2)
    graph = net.graph(net.affine(h, size=3))
    scheduled, plan, emitted = planned(graph, 128)
    assert len(emitted.program.input_levels) == 1
    inputs = inputs_of(graph, 1)
    found = run_clear(scheduled, plan, emitted, inputs)
    for name, wanted in interpret.outputs(graph, inputs).items():
        np.testing.assert_allclose(found[name], wanted, atol=1e-9)


@pytest.mark.parametrize("degree", range(2, 17))
def test_polynomials_that_are_simpler_in_one_ciphertext_than_in_others(degree: int) -> None:
    """All sums with plaintexts of the second ciphertext may be of zeros."""
    net = Net(degree)
    number = net.polynomial(net.input(32), degree)
    node = net.nodes[number]
    assert isinstance(node.op, Polynomial)
    columns = node.op.chebyshev.copy()
    for kept in ([0, 1], [1], [0, degree], [degree]):
        zeros = np.setdiff1d(np.arange(degree + 1), kept)
        columns[:, 16:] = node.op.chebyshev[:, 16:]
        columns[zeros, 16:] = 0.0
        net.nodes[number] = replace(node, op=replace(node.op, chebyshev=columns.copy()))
        graph = net.graph(number)
        scheduled, plan, emitted = planned(graph, 16)
        inputs = inputs_of(graph, 1)
        found = run_clear(scheduled, plan, emitted, inputs)
        for name, wanted in interpret.outputs(graph, inputs).items():
            np.testing.assert_allclose(found[name], wanted, atol=1e-9 * np.abs(wanted).max())


@pytest.mark.parametrize("make", KINDS)
def test_programs_are_typed_and_reproducible(make: Callable[[int], TensorGraph]) -> None:
    graph = make(7)
    scheduled, _, emitted = planned(graph, 128)
    program = emitted.program
    levels = infer_levels(program)
    assert all(levels[o] >= 0 for o in program.outputs)
    assert len(program.labels) == len(program.instructions)
    assert max(program.input_levels) == max(assign_levels(scheduled))
    used = {i.step for i in program.instructions if isinstance(i, Rotate)}
    assert set(program.rotations) == used
    again = planned(graph, 128)[2].program
    assert again.instructions == program.instructions
    assert all((a == b).all() for a, b in zip(again.plains, program.plains, strict=True))


def test_schedules_put_rescales_off_only_where_they_may() -> None:
    net = Net(0)
    x = net.input(6)
    h = net.product(net.affine(x, size=6), net.affine(x, size=6))
    gated = net.product(h, net.product(h, h))
    scheduled, _, _ = planned(net.graph(net.affine(gated, size=2)), 128)
    steps = steps_of(scheduled)
    kept = [d for d, s in enumerate(steps) if s is Step.KEPT]
    assert kept
    for schedule in seal_schedules(steps, 6, (14,)):
        rescaling = schedule.rescaling
        assert isinstance(rescaling, Rescaling)
        assert all(rescaling.rescales[d] for d in kept)
        assert sum(rescaling.rescales[1:]) == schedule.params.max_level


def test_polynomials_may_put_rescales_off() -> None:
    scheduled, _, _ = planned(deep_activation(0), 128)
    steps = steps_of(scheduled)
    products = [d for d, s in enumerate(steps) if s is Step.CIPHER]
    found = [s.rescaling for s in seal_schedules(steps, 6, (14, 15))]
    assert any(not r.rescales[d] for r in found for d in products[1:])


def test_no_more_instructions_than_a_dense_layer_needs() -> None:
    """16 x 16 on 256 slots: one product and four folds, no rotation before."""
    net = Net(0)
    graph = net.graph(net.affine(net.input(16), size=16))
    _, _, emitted = planned(graph, 256)
    rotations = [i for i in emitted.program.instructions if isinstance(i, Rotate)]
    products = [i for i in emitted.program.instructions if isinstance(i, DotPlain)]
    assert len(rotations) <= 4
    assert len(products) == 1


@pytest.mark.parametrize("build", [mlp, convolutions, residual])
def test_a_limit_tells_whether_there_is_a_plan(build: Callable[[int], TensorGraph]) -> None:
    scheduled, plan, _ = planned(build(5), 1024)
    given = (scheduled, 1024, CostModel(13), Search(), plan.rescaling)
    assert not takes_longer(*given, plan.milliseconds * 1.001)
    assert takes_longer(*given, plan.milliseconds * 0.999)
