"""Absorption: polynomials' scalings go into their neighbours, at no level and no other value."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from eer.compiler.backend.absorb import absorb
from eer.compiler.backend.levels import assign_levels, deepest_path, levels_used, steps_of
from eer.compiler.backend.schedule import Step
from eer.compiler.ir import interpret
from eer.compiler.ir.stages import Stage, check
from eer.compiler.ir.tensor import (
    Affine,
    Core,
    Elementwise,
    Input,
    Polynomial,
    Product,
    TensorGraph,
)
from tests.backend.networks import Net


def absorbed(graph: TensorGraph) -> TensorGraph:
    """The scheduled graph, after both were seen to compute the same."""
    scheduled = absorb(graph)
    check(scheduled, Stage.SCHEDULED, "absorb")
    rng = np.random.default_rng(0)
    names = {graph.nodes[n].op.name: graph.nodes[n].size for n in graph.inputs}  # type: ignore[union-attr]
    inputs = {name: rng.uniform(-1, 1, (3, size)) for name, size in names.items()}
    wanted, found = interpret.outputs(graph, inputs), interpret.outputs(scheduled, inputs)
    for name in wanted:
        bound = 1e-8 * max(1.0, np.abs(wanted[name]).max())
        np.testing.assert_allclose(found[name], wanted[name], atol=bound)
    return scheduled


def kinds(graph: TensorGraph) -> list[str]:
    return [type(n.op).__name__ for n in graph.nodes]


def depth(graph: TensorGraph) -> int:
    return max(assign_levels(graph))


@pytest.mark.parametrize(("degree", "levels"), [(2, 1), (3, 2), (4, 2), (7, 3), (8, 3)])
def test_between_affine_maps_a_polynomial_costs_its_core(degree: int, levels: int) -> None:
    net = Net(0)
    h = net.polynomial(net.affine(net.input(4), size=3), degree)
    scheduled = absorbed(net.graph(net.affine(h, size=2)))
    assert kinds(scheduled) == ["Input", "Affine", "Core", "Affine"]
    assert depth(scheduled) == 2 + levels


def test_polynomials_of_degree_one_vanish() -> None:
    net = Net(0)
    h = net.polynomial(net.affine(net.input(4), size=3), 1)
    scheduled = absorbed(net.graph(net.affine(h, size=2)))
    assert kinds(scheduled) == ["Input", "Affine", "Affine"]


def test_a_bare_activation_gets_a_map_before_and_after() -> None:
    net = Net(0)
    scheduled = absorbed(net.graph(net.polynomial(net.input(4), 3)))
    assert kinds(scheduled) == ["Input", "Affine", "Core", "Affine"]
    for node in scheduled.nodes:
        if isinstance(node.op, Affine):
            (matrix,) = node.op.matrices
            assert matrix.nnz == 4, "a diagonal"


def test_a_square_of_the_input_needs_no_map_before_it() -> None:
    """x^2 = (T_2(x) + 1) / 2: monic already, so only its scale is left, for the output."""
    net = Net(0)
    h = net.polynomial(net.input(4), 2)
    node = net.nodes[h]
    square = Polynomial(np.tile([[0.5], [0.0], [0.5]], (1, 4)), np.zeros(4), np.ones(4))
    net.nodes[h] = replace(node, op=square)
    scheduled = absorbed(net.graph(h))
    assert kinds(scheduled)[:2] == ["Input", "Core"]
    assert depth(scheduled) <= 2


def test_polynomials_of_polynomials() -> None:
    net = Net(1)
    h = net.polynomial(net.polynomial(net.affine(net.input(4), size=3), 2), 3)
    scheduled = absorbed(net.graph(net.affine(h, size=2)))
    assert kinds(scheduled) == ["Input", "Affine", "Core", "Affine", "Core", "Affine"]
    assert depth(scheduled) == 3 + 1 + 2


def test_a_map_that_others_read_as_well_stays_for_them() -> None:
    net = Net(2)
    h = net.affine(net.input(4), size=3)
    scheduled = absorbed(net.graph(net.affine(net.polynomial(h, 4), h, size=2), h))
    assert kinds(scheduled).count("Affine") == 3
    assert depth(scheduled) == 2 + 2


def test_factors_take_their_scales_along_and_shifts_are_made_exact() -> None:
    net = Net(3)
    x = net.input(4)
    a, b = (net.polynomial(net.affine(x, size=3), 2) for _ in range(2))
    scheduled = absorbed(net.graph(net.affine(net.product(a, b), size=2)))
    assert kinds(scheduled).count("Core") == 2
    shifted = any(isinstance(n.op, Core) and np.any(n.op.plan.post_shift) for n in scheduled.nodes)
    # Two maps before the activations, the last one, and one for each shifted factor.
    assert kinds(scheduled).count("Affine") == (5 if shifted else 3)


def test_products_of_plain_values_are_left_alone() -> None:
    net = Net(4)
    x = net.input(4)
    h = net.affine(x, size=4)
    graph = net.graph(net.affine(net.product(h, x), size=2))
    assert kinds(absorbed(graph)) == kinds(graph)
    assert depth(absorbed(graph)) == 3


def test_every_element_may_have_a_polynomial_of_its_own() -> None:
    net = Net(5)
    h = net.polynomial(net.affine(net.input(4), size=5), 5)
    node = net.nodes[h]
    assert isinstance(node.op, Polynomial)
    coefficients = node.op.chebyshev * np.random.default_rng(0).uniform(0.5, 2, (6, 5))
    coefficients[1:, 2] = 0.0
    net.nodes[h] = replace(
        node, op=Polynomial(coefficients, np.linspace(-1, 1, 5), np.linspace(2, 5, 5))
    )
    scheduled = absorbed(net.graph(net.affine(h, size=2)))
    last = scheduled.nodes[-1].op
    assert isinstance(last, Affine)
    # The constant one is in the bias: no weight reads it, not even one of zero.
    assert last.matrices[0].nnz == 2 * 4
    assert last.matrices[0].data.all()


def test_what_is_not_a_polynomial_is_refused() -> None:
    net = Net(6)
    h = net.affine(net.input(4), size=4)
    graph = net.graph(h)
    bad = replace(graph.nodes[1], op=Elementwise("Relu", lambda x: np.maximum(x, 0)), operands=(0,))
    with pytest.raises(TypeError, match="Elementwise must be replaced before absorption"):
        absorb(replace(graph, nodes=(graph.nodes[0], bad)))


def test_levels_are_the_longest_way_to_an_output() -> None:
    net = Net(7)
    x = net.input(4)
    h = net.affine(x, size=4)
    deep = net.affine(net.polynomial(net.affine(h, size=4), 4), size=4)
    graph = absorb(net.graph(net.affine(deep, h, size=2), h))
    levels = assign_levels(graph)
    for number, node in enumerate(graph.nodes):
        users = graph.users(number)
        assert levels[number] == max(
            (levels[u] + levels_used(graph.nodes[u]) for u in users), default=0
        )
        assert levels_used(node) == {Input: 0, Affine: 1, Core: 2}[type(node.op)]
    assert levels[0] == 1 + 1 + 2 + 1 + 1
    path = deepest_path(graph)
    assert path[0] == 0
    assert [type(graph.nodes[n].op).__name__ for n in path] == [
        "Input",
        "Affine",
        "Affine",
        "Core",
        "Affine",
        "Affine",
    ]


def test_steps_say_what_happens_at_each_depth() -> None:
    net = Net(8)
    h = net.polynomial(net.affine(net.input(4), size=4), 8)
    graph = absorb(net.graph(net.affine(h, size=2)))
    plain, cipher = Step.PLAIN, Step.CIPHER
    # Entry d is the step from depth d: the output's map, the core's three products, the first map.
    assert steps_of(graph) == (plain, plain, cipher, cipher, cipher, plain)


def test_a_value_that_waits_for_its_partner_keeps_up_with_the_scales() -> None:
    net = Net(9)
    x = net.input(4)
    gate = net.affine(net.affine(net.affine(x, size=4), size=4), size=4)
    graph = absorb(net.graph(net.product(net.affine(x, size=4), gate)))
    levels = assign_levels(graph)
    product = next(n for n, node in enumerate(graph.nodes) if isinstance(node.op, Product))
    early, late = graph.nodes[product].operands
    assert levels[early] == levels[late] == 1
    assert steps_of(graph)[1] is Step.CIPHER
