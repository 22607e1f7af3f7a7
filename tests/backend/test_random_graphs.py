"""Random graphs: whatever a network is made of, its program computes the same."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from eer.compiler.backend.absorb import absorb
from eer.compiler.backend.builder import COARSEST
from eer.compiler.backend.levels import assign_levels, levels_used, steps_of
from eer.compiler.backend.plans import coarsest, nominal_scales
from eer.compiler.ir import interpret
from eer.compiler.ir.stages import Stage, check
from eer.compiler.ir.tensor import Affine, Core, Input, Polynomial, Product, TensorGraph, Vector
from eer.runtime.errors import ParameterError
from eer.runtime.program import Rotate, infer_levels
from eer.runtime.scales import assign_scales
from tests.backend.networks import Net, planned, run_clear, seal_schedules

MOST_DEPTH = 8
SMALL = 1e3
"""Values beyond this say more of the random weights than of the program."""


@st.composite
def graphs(draw: st.DrawFn, widest: int = 12, nodes: int = 5) -> TensorGraph:
    """Affine maps of one to three values, polynomials and products, any of them read twice."""
    net = Net(draw(st.integers(0, 2**32 - 1)))
    sizes = st.integers(1, widest)
    for k in range(draw(st.integers(1, 2))):
        net.input(draw(sizes), name=f"x{k}")
    for _ in range(draw(st.integers(1, nodes))):
        kind = draw(st.sampled_from(("affine", "affine", "polynomial", "product", "sum")))
        earlier = st.integers(0, len(net.nodes) - 1)
        a = draw(earlier)
        match kind:
            case "affine":
                net.affine(a, size=draw(sizes), density=draw(st.sampled_from((1.0, 0.4))))
            case "sum":
                others = draw(st.lists(earlier, min_size=1, max_size=2))
                net.affine(a, *others, size=draw(sizes))
            case "polynomial":
                h = net.polynomial(a, draw(st.integers(0, 6)))
                vary(net, h, draw(st.sampled_from(("same", "each", "zeros"))))
            case _:
                size = net.nodes[a].size
                alike = [n for n, node in enumerate(net.nodes) if node.size == size]
                net.product(a, draw(st.sampled_from(alike)))
    read = {o for node in net.nodes for o in node.operands}
    unread = [n for n in range(len(net.nodes)) if n not in read]
    more = draw(st.lists(st.integers(0, len(net.nodes) - 1), max_size=1))
    return net.graph(*dict.fromkeys((*unread, *more)))


def vary(net: Net, number: int, how: str) -> None:
    """Give every element a polynomial of its own, on its own interval, some without some terms."""
    node = net.nodes[number]
    assert isinstance(node.op, Polynomial)
    if how == "same":
        return
    coefficients = node.op.chebyshev * net.rng.uniform(0.5, 1.5, node.op.chebyshev.shape)
    if how == "zeros":
        coefficients *= net.rng.random(coefficients.shape) < 0.6
    radius = net.rng.uniform(2.5, 3.5, node.size)
    center = net.rng.uniform(-0.2, 0.2, node.size)
    net.nodes[number] = replace(node, op=Polynomial(coefficients, center, radius))


def inputs_of(graph: TensorGraph, windows: int, seed: int = 0) -> dict[str, Vector]:
    rng = np.random.default_rng(seed)
    nodes = [graph.nodes[n] for n in graph.inputs]
    return {
        n.op.name: rng.uniform(-1, 1, (windows, n.size)) for n in nodes if isinstance(n.op, Input)
    }


def is_constant(graph: TensorGraph) -> bool:
    """Whether some map has only zeros left: constant outputs are refused before they get here."""
    maps = (n.op for n in graph.nodes if isinstance(n.op, Affine))
    return any(not any(m.data.any() for m in op.matrices) for op in maps)


def reasonable(graph: TensorGraph, inputs: dict[str, Vector]) -> dict[str, Vector]:
    """Outputs by the interpreter, of graphs that are not too deep and do not blow up."""
    scheduled = absorb(graph)
    assume(not is_constant(scheduled))
    assume(max(assign_levels(scheduled)) <= MOST_DEPTH)
    assume(all(np.abs(v).max() < SMALL for v in interpret.evaluate(graph, inputs)))
    assume(all(np.abs(v).max() < SMALL for v in interpret.evaluate(scheduled, inputs)))
    return interpret.outputs(graph, inputs)


def compare(found: dict[str, Vector], wanted: dict[str, Vector], tolerance: float) -> None:
    assert found.keys() == wanted.keys()
    for name, values in wanted.items():
        bound = tolerance * max(1.0, np.abs(values).max())
        np.testing.assert_allclose(found[name], values, atol=bound)


@settings(max_examples=60, deadline=None)
@given(graph=graphs())
def test_absorbed_graphs_compute_the_same_no_deeper_than_promised(graph: TensorGraph) -> None:
    inputs = inputs_of(graph, 3)
    wanted = reasonable(graph, inputs)
    scheduled = absorb(graph)
    check(scheduled, Stage.SCHEDULED, "absorb")
    compare(interpret.outputs(scheduled, inputs), wanted, 1e-7)
    assert max(assign_levels(scheduled)) <= promised_depth(graph)


def promised_depth(graph: TensorGraph) -> int:
    """Every polynomial its core's levels, and one more where no affine map stands before it, or
    none to take what is left over after it."""
    depths: list[int] = []
    for node in graph.nodes:
        below = max((depths[o] for o in node.operands), default=0)
        match node.op:
            case Affine() | Product():
                below += 1
            case Polynomial():
                below += max(0, node.op.degree - 1).bit_length()
            case _:
                pass
        bare = [o for o in node.operands if not isinstance(graph.nodes[o].op, Affine)]
        if isinstance(node.op, Polynomial | Product) and bare:
            below += 1
        depths.append(below)
    ends = (
        depths[o.node] + isinstance(graph.nodes[o.node].op, Polynomial | Product)
        for o in graph.outputs
    )
    return max(ends)


@settings(max_examples=50, deadline=None)
@given(graph=graphs(), slots=st.sampled_from([32, 64]))
def test_programs_compute_what_graphs_do(graph: TensorGraph, slots: int) -> None:
    inputs = inputs_of(graph, 1)
    wanted = reasonable(graph, inputs)
    scheduled, plan, emitted = planned(graph, slots)
    compare(run_clear(scheduled, plan, emitted, inputs), wanted, 1e-7)
    program = emitted.program
    levels, depths = infer_levels(program), assign_levels(scheduled)
    assert len(program.labels) == len(program.instructions)
    assert program.rotations == tuple(
        sorted({i.step for i in program.instructions if isinstance(i, Rotate)})
    )
    assert all(0 < step < slots for step in program.rotations)
    for number, values in emitted.values.items():
        op = scheduled.nodes[number].op
        for value in values:
            # Eager rescaling: a ciphertext's level is its node's depth.
            assert levels[value] == depths[number], type(op).__name__
    for number, node in enumerate(scheduled.nodes):
        for operand in node.operands:
            assert depths[operand] >= depths[number] + levels_used(node)


@settings(max_examples=12, deadline=None)
@given(graph=graphs(widest=40, nodes=3))
def test_tensors_larger_than_a_ciphertext(graph: TensorGraph) -> None:
    inputs = inputs_of(graph, 1)
    wanted = reasonable(graph, inputs)
    scheduled, plan, emitted = planned(graph, 16)
    compare(run_clear(scheduled, plan, emitted, inputs), wanted, 1e-7)


@settings(max_examples=12, deadline=None)
@given(graph=graphs(), batch=st.sampled_from([2, 8]))
def test_windows_that_share_ciphertexts_get_their_own_answers(
    graph: TensorGraph, batch: int
) -> None:
    inputs = inputs_of(graph, batch)
    wanted = reasonable(graph, inputs)
    scheduled, plan, emitted = planned(graph, 32)
    compare(run_clear(scheduled, plan, emitted, inputs, batch=batch), wanted, 1e-7)


@settings(max_examples=25, deadline=None)
@given(graph=graphs())
def test_some_lazy_schedule_computes_the_same_on_any_primes(graph: TensorGraph) -> None:
    inputs = inputs_of(graph, 1)
    wanted = reasonable(graph, inputs)
    for schedule in seal_schedules(steps_of(absorb(graph)), 8):
        scheduled, plan, emitted = planned(graph, 32, schedule.rescaling)
        params = schedule.params
        step = 2.0 ** (params.log_n + 1)
        moduli = [2.0**b - step * (k + 1) + 1 for k, b in enumerate(params.log_q)]
        assign_scales(emitted.program, moduli, 2.0**params.log_scale)
        if coarsest(nominal_scales(emitted.program, params)) >= COARSEST:
            found = run_clear(scheduled, plan, emitted, inputs, params=params)
            compare(found, wanted, 1e-6)
            return
    pytest.fail("no schedule is precise enough to be used")


@settings(max_examples=10, deadline=None)
@given(graph=graphs())
def test_planning_twice_gives_the_same_program(graph: TensorGraph) -> None:
    reasonable(graph, inputs_of(graph, 1))
    first, again = (planned(graph, 32)[2] for _ in range(2))
    assert first.program.instructions == again.program.instructions
    assert first.program.input_levels == again.program.input_levels
    assert [p.tobytes() for p in first.program.plains] == [
        p.tobytes() for p in again.program.plains
    ]
    for a, b in zip(first.inputs, again.inputs, strict=True):
        assert a.node == b.node
        assert (a.real == b.real).all()
        assert (a.imaginary is None) == (b.imaginary is None)
        assert a.imaginary is None or np.array_equal(a.imaginary, np.asarray(b.imaginary))


def test_a_map_without_a_plan_is_named() -> None:
    """1,500 inputs of 1,500 outputs, dense, aligned with another value: more terms than allowed."""
    net = Net(0)
    x = net.input(4)
    a = net.affine(x, size=1500)
    b = net.polynomial(net.affine(a, size=1500), 2)
    graph = net.graph(net.product(a, b))
    with pytest.raises(ParameterError, match=r"no layout was found for .* 2048 slots"):
        planned(graph, 2048)


def test_cores_and_products_lie_as_their_operands() -> None:
    net = Net(1)
    x = net.input(6)
    h = net.affine(x, size=6)
    graph = net.graph(net.affine(net.product(net.polynomial(h, 3), net.affine(h, size=6)), size=2))
    scheduled, plan, _ = planned(graph, 32)
    for number, node in enumerate(scheduled.nodes):
        if isinstance(node.op, Core | Product):
            held = plan.layouts[number].index
            for operand in node.operands:
                inside = held >= 0
                assert (plan.layouts[operand].index[inside] == held[inside]).all()
