"""`merge_affine`: same values as the interpreter's on the original graph, and fewer nodes."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse import csr_array, random_array
from scipy.special import erf, expit

from eer.compiler.ir.interpret import outputs
from eer.compiler.ir.tensor import (
    Affine,
    Elementwise,
    Input,
    Node,
    Origin,
    Output,
    Polynomial,
    Product,
    TensorGraph,
    TensorOp,
    Vector,
)
from eer.compiler.passes.merge_affine import merge_affine


class Draft:
    """A graph under construction."""

    def __init__(self, size: int) -> None:
        self.nodes = [Node(Input("x"), (), (size,), Origin(("x",)))]

    def add(self, op: TensorOp, *operands: int, size: int | None = None) -> int:
        size = self.nodes[operands[0]].size if size is None else size
        self.nodes.append(Node(op, operands, (size,), Origin((f"n{len(self.nodes)}",))))
        return len(self.nodes) - 1

    def affine(self, matrix: Vector, x: int, bias: float = 0.0) -> int:
        rows = len(matrix)
        return self.add(Affine((csr_array(matrix),), np.full(rows, bias)), x, size=rows)

    def scale(self, by: float, x: int, bias: float = 0.0) -> int:
        size = self.nodes[x].size
        return self.affine(by * np.eye(size), x, bias)

    def sum(self, *operands: int) -> int:
        size = self.nodes[operands[0]].size
        eye = csr_array(np.eye(size))
        return self.add(Affine((eye,) * len(operands), np.zeros(size)), *operands)

    def graph(self, *outs: int) -> TensorGraph:
        outs = outs or (len(self.nodes) - 1,)
        named = tuple(Output(f"y{i}", n, self.nodes[n].shape) for i, n in enumerate(outs))
        return TensorGraph("draft", tuple(self.nodes), named)


def ops(graph: TensorGraph) -> list[str]:
    return [type(n.op).__name__ for n in graph.nodes]


def assert_same(graph: TensorGraph, merged: TensorGraph, rows: int = 7) -> None:
    rng = np.random.default_rng(3)
    (source,) = graph.inputs
    x = rng.normal(size=(rows, graph.nodes[source].size))
    expected, actual = outputs(graph, {"x": x}), outputs(merged, {"x": x})
    assert expected.keys() == actual.keys()
    for name, value in expected.items():
        scale = max(1.0, float(np.abs(value).max()))
        np.testing.assert_allclose(
            np.broadcast_to(actual[name], value.shape) / scale, value / scale, atol=1e-9, rtol=0
        )


def relu() -> Elementwise:
    return Elementwise("Relu", lambda x: np.maximum(x, 0.0))


def sigmoid() -> Elementwise:
    return Elementwise("Sigmoid", lambda x: np.asarray(expit(x)))


def test_affine_chain_becomes_one_matrix() -> None:
    rng = np.random.default_rng(0)
    draft = Draft(5)
    h = draft.affine(rng.normal(size=(7, 5)), 0, bias=0.5)
    draft.affine(rng.normal(size=(3, 7)), h, bias=-1.0)
    merged = merge_affine(draft.graph())
    assert ops(merged) == ["Input", "Affine"]
    assert merged.nodes[1].origin.names == ("n1", "n2")
    assert_same(draft.graph(), merged)


def test_residual_becomes_one_matrix() -> None:
    draft = Draft(4)
    h = draft.affine(np.arange(16.0).reshape(4, 4), 0)
    draft.sum(h, 0)
    merged = merge_affine(draft.graph())
    assert ops(merged) == ["Input", "Affine"]
    assert merged.nodes[1].operands == (0,)
    assert_same(draft.graph(), merged)


def test_affine_read_by_an_activation_stays_and_is_shared() -> None:
    rng = np.random.default_rng(0)
    draft = Draft(4)
    h = draft.affine(rng.normal(size=(4, 4)), 0)
    r = draft.add(relu(), h)
    w = draft.affine(rng.normal(size=(4, 4)), r)
    draft.sum(w, h)
    merged = merge_affine(draft.graph())
    assert ops(merged) == ["Input", "Affine", "Elementwise", "Affine"]
    assert set(merged.nodes[3].operands) == {1, 2}
    assert_same(draft.graph(), merged)


def test_selection_goes_through_even_where_an_activation_reads_it() -> None:
    rng = np.random.default_rng(0)
    draft = Draft(4)
    flipped = draft.affine(np.eye(4)[::-1], 0)
    r = draft.add(relu(), flipped)
    a = draft.affine(rng.normal(size=(2, 4)), flipped)
    b = draft.affine(rng.normal(size=(2, 4)), r)
    draft.sum(a, b)
    merged = merge_affine(draft.graph())
    assert 0 in merged.nodes[-1].operands
    assert_same(draft.graph(), merged)


def test_work_is_repeated_where_that_saves_a_level() -> None:
    rng = np.random.default_rng(0)
    draft = Draft(4)
    h = draft.affine(rng.normal(size=(4, 4)), 0)
    gate = draft.affine(rng.normal(size=(4, 4)), h)
    draft.add(Product(), h, gate)
    merged = merge_affine(draft.graph())
    assert [n.operands for n in merged.nodes[1:3]] == [(0,), (0,)]
    assert_same(draft.graph(), merged)


def test_zero_matrices_explicit_zeros_and_identities_disappear() -> None:
    draft = Draft(3)
    explicit = csr_array((np.array([0.0, 2.0]), np.array([0, 1]), np.array([0, 1, 2, 2])), (3, 3))
    assert explicit.nnz == 2
    same = draft.affine(np.eye(3), 0)
    r = draft.add(relu(), same)
    gone = csr_array((3, 3))
    draft.add(Affine((explicit, gone), np.ones(3)), same, r)
    merged = merge_affine(draft.graph())
    assert ops(merged) == ["Input", "Affine"]
    op = merged.nodes[1].op
    assert isinstance(op, Affine)
    assert op.matrices[0].nnz == 1
    assert_same(draft.graph(), merged)


def test_constants_fold() -> None:
    draft = Draft(3)
    constant = draft.add(Affine((), np.array([1.0, -2.0, 3.0])), size=3)
    r = draft.add(relu(), constant)
    draft.add(Product(), 0, r)
    merged = merge_affine(draft.graph())
    assert ops(merged) == ["Input", "Affine"]
    assert_same(draft.graph(), merged)


def test_square_and_its_chains_become_polynomials() -> None:
    draft = Draft(3)
    h = draft.affine(np.ones((3, 3)), 0)
    square = draft.add(Product(), h, h)
    cube = draft.add(Product(), square, h)
    draft.add(Product(), cube, h)
    merged = merge_affine(draft.graph())
    assert ops(merged) == ["Input", "Affine", "Polynomial"]
    op = merged.nodes[2].op
    assert isinstance(op, Polynomial)
    assert op.degree == 4
    assert_same(draft.graph(), merged)


def test_a_square_of_the_input_stays_a_product() -> None:
    """As a polynomial it would scale its argument first, at the cost of a level."""
    draft = Draft(3)
    square = draft.add(Product(), 0, 0)
    draft.affine(np.ones((2, 3)), square)
    merged = merge_affine(draft.graph())
    assert ops(merged) == ["Input", "Product", "Affine"]


def test_a_product_of_too_high_degree_stays() -> None:
    draft = Draft(2)
    h = draft.affine(np.ones((2, 2)), 0)
    square = draft.add(Product(), h, h)
    fourth = draft.add(Product(), square, square)
    eighth = draft.add(Product(), fourth, fourth)
    draft.add(Product(), eighth, h)
    merged = merge_affine(draft.graph())
    assert ops(merged) == ["Input", "Affine", "Polynomial", *["Product"] * 3]
    assert_same(draft.graph(), merged)


def test_trained_quadratic_becomes_one_polynomial() -> None:
    rng = np.random.default_rng(0)
    draft = Draft(3)
    h = draft.affine(rng.normal(size=(3, 3)), 0, bias=0.2)
    square = draft.add(Product(), h, h)
    parts = (csr_array(np.diag([0.3, 0.2, 0.1])), csr_array(np.diag([1.0, 0.5, 0.4])))
    y = draft.add(Affine(parts, np.full(3, 0.25)), square, h)
    draft.affine(rng.normal(size=(2, 3)), y)
    merged = merge_affine(draft.graph())
    assert ops(merged) == ["Input", "Affine", "Polynomial", "Affine"]
    op = merged.nodes[2].op
    assert isinstance(op, Polynomial)
    assert op.degree == 2
    assert_same(draft.graph(), merged)


def test_polynomial_takes_up_scaling_before_it() -> None:
    rng = np.random.default_rng(0)
    draft = Draft(4)
    r = draft.add(relu(), 0)
    scales = np.diag([2.0, -1.5, 0.0, 0.25])
    s = draft.affine(scales, r, bias=0.3)
    coefficients = rng.normal(size=(4, 4))
    p = draft.add(Polynomial(coefficients, np.full(4, 0.1), np.full(4, 2.0)), s)
    draft.affine(rng.normal(size=(2, 4)), p)
    graph = draft.graph(len(draft.nodes) - 1, r)
    merged = merge_affine(graph)
    assert ops(merged) == ["Input", "Elementwise", "Polynomial", "Affine"]
    assert_same(graph, merged)


def test_silu_as_sigmoid_and_mul_is_recognised() -> None:
    draft = Draft(3)
    h = draft.affine(np.ones((3, 3)), 0)
    draft.add(Product(), h, draft.add(sigmoid(), h))
    merged = merge_affine(draft.graph())
    assert ops(merged) == ["Input", "Affine", "Elementwise"]
    op = merged.nodes[2].op
    assert isinstance(op, Elementwise)
    assert op.name == "SiLU"
    assert_same(draft.graph(), merged)


def test_gelu_as_erf_is_recognised() -> None:
    draft = Draft(3)
    h = draft.affine(np.ones((3, 3)), 0)
    inner = draft.scale(1 / np.sqrt(2.0), h)
    e = draft.add(Elementwise("Erf", lambda x: np.asarray(erf(x))), inner)
    product = draft.add(Product(), h, draft.scale(1.0, e, bias=1.0))
    draft.affine(np.ones((2, 3)), draft.scale(0.5, product))
    merged = merge_affine(draft.graph())
    assert ops(merged) == ["Input", "Affine", "Elementwise", "Affine"]
    assert_same(draft.graph(), merged)


def test_an_activation_with_another_reader_is_not_repeated() -> None:
    rng = np.random.default_rng(0)
    draft = Draft(3)
    h = draft.affine(rng.normal(size=(3, 3)), 0)
    r = draft.add(relu(), h)
    residual = draft.sum(h, r)
    second = draft.add(sigmoid(), residual)
    draft.add(Product(), second, draft.affine(rng.normal(size=(3, 3)), r))
    merged = merge_affine(draft.graph())
    assert ops(merged).count("Elementwise") == 2
    assert_same(draft.graph(), merged)


FUNCTIONS: tuple[Callable[[], Elementwise], ...] = (
    relu,
    sigmoid,
    lambda: Elementwise("Tanh", lambda x: np.asarray(np.tanh(x))),
)


@st.composite
def graphs(draw: st.DrawFn) -> TensorGraph:
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    draft = Draft(draw(st.integers(1, 5)))
    for _ in range(draw(st.integers(1, 12))):
        kind = draw(st.sampled_from(("dense", "diagonal", "sum", "function", "product", "poly")))
        x = draw(st.integers(0, len(draft.nodes) - 1))
        size = draft.nodes[x].size
        twins = [i for i, n in enumerate(draft.nodes) if n.size == size]
        y = draw(st.sampled_from(twins))
        match kind:
            case "dense":
                rows = draw(st.integers(1, 5))
                matrix = random_array((rows, size), density=0.6, rng=rng).toarray()
                draft.affine(matrix, x, bias=draw(st.sampled_from((0.0, 0.5))))
            case "diagonal":
                draft.affine(np.diag(rng.choice((0.0, 1.0, -0.7), size=size)), x, bias=0.1)
            case "sum":
                draft.sum(x, y)
            case "function":
                draft.add(draw(st.sampled_from(FUNCTIONS))(), x)
            case "product":
                # Kept of order one, or errors of 1e-9 are rounding of huge values.
                draft.add(Product(), draft.add(FUNCTIONS[2](), x), y)
            case _:
                coefficients = rng.normal(size=(draw(st.integers(1, 5)), size)) / 4
                draft.add(Polynomial(coefficients, np.zeros(size), np.full(size, 3.0)), x)
    last = len(draft.nodes) - 1
    return draft.graph(last, draw(st.integers(0, last)))


@settings(max_examples=150, deadline=None)
@given(graphs())
def test_outputs_are_the_same(graph: TensorGraph) -> None:
    merged = merge_affine(graph)
    assert_same(graph, merged)
    assert ops(merge_affine(merged)) == ops(merged)


@settings(max_examples=100, deadline=None)
@given(graphs())
def test_no_affine_is_read_by_affines_only(graph: TensorGraph) -> None:
    merged = merge_affine(graph)
    read_out = {o.node for o in merged.outputs}
    for number, node in enumerate(merged.nodes):
        if isinstance(node.op, Affine) and number not in read_out:
            readers = [merged.nodes[u].op for u in merged.users(number)]
            assert any(not isinstance(r, Affine) for r in readers)


def test_an_output_that_is_an_input_survives() -> None:
    draft = Draft(3)
    same = draft.affine(np.eye(3), 0)
    merged = merge_affine(draft.graph(same))
    assert_same(draft.graph(same), merged)
    assert merged.outputs[0].node == 0


@pytest.mark.parametrize("times", [2, 3])
def test_the_same_operand_several_times_is_added(times: int) -> None:
    draft = Draft(3)
    draft.sum(*(0,) * times)
    merged = merge_affine(draft.graph())
    assert merged.nodes[1].operands == (0,)
    assert_same(draft.graph(), merged)
