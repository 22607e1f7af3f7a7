"""Replacing activations: end-to-end agreement, the fewest levels, warnings, overrides."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from numpy.polynomial import chebyshev
from scipy.sparse import csr_array
from scipy.special import expit

from eer.compiler.backend.poly_schemes import plan_polynomial
from eer.compiler.ir.interpret import outputs
from eer.compiler.ir.poly_plan import levels_of_degree
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
    Vector,
)
from eer.compiler.options import Options
from eer.compiler.passes.activations import ActivationReport, replace_activations
from eer.compiler.passes.calibrate import calibrate
from eer.compiler.passes.degree_search import PRODUCTS, levels
from eer.compiler.passes.fit import Parity
from eer.compiler.passes.merge_affine import merge_affine
from eer.runtime.errors import UsageError

SIZES = (16, 24, 12, 3)


def silu() -> Elementwise:
    return Elementwise("SiLU", lambda x: x * expit(x))


def relu() -> Elementwise:
    return Elementwise("Relu", lambda x: np.maximum(x, 0.0))


def tanh() -> Elementwise:
    return Elementwise("Tanh", lambda x: np.asarray(np.tanh(x)))


def mlp(*activations: Elementwise, post: str = "none", seed: int = 0) -> TensorGraph:
    """16-24-12-3, pre-activations of order one on standard normal inputs."""
    rng = np.random.default_rng(seed)
    nodes = [Node(Input("x"), (), SIZES[:1])]
    for k, (columns, rows) in enumerate(pairwise(SIZES)):
        matrix = rng.normal(size=(rows, columns)) / np.sqrt(columns) * 1.3
        op = Affine((csr_array(matrix),), 0.2 * rng.normal(size=rows))
        nodes.append(Node(op, (len(nodes) - 1,), (rows,), Origin((f"fc{k}",))))
        if k < len(activations):
            node = Node(activations[k], (len(nodes) - 1,), (rows,), Origin((f"act{k}",)))
            nodes.append(node)
    last = len(nodes) - 1
    return TensorGraph("mlp", tuple(nodes), (Output("y", last, SIZES[-1:], post),))


def data(rows: int = 256, seed: int = 1) -> Vector:
    return np.random.default_rng(seed).normal(size=(rows, SIZES[0]))


def replaced(
    graph: TensorGraph, options: Options | None = None, x: Vector | None = None
) -> tuple[TensorGraph, ActivationReport]:
    options = options or Options()
    ranges = calibrate(graph, {"x": data() if x is None else x}, options)
    return replace_activations(graph, ranges, options)


def agreement(a: TensorGraph, b: TensorGraph, x: Vector) -> float:
    labels = [np.argmax(outputs(g, {"x": x})["y"], axis=1) for g in (a, b)]
    return float(np.mean(labels[0] == labels[1]))


@pytest.mark.parametrize("activation", [silu, tanh])
@pytest.mark.parametrize("tolerance", [0.01, 0.05])
def test_labels_of_fresh_data_agree_within_the_tolerance(
    activation: Callable[[], Elementwise], tolerance: float
) -> None:
    graph = mlp(activation(), activation())
    result, report = replaced(graph, Options(tolerance=tolerance))
    assert report.within_tolerance
    assert report.warnings == ()
    assert not any(isinstance(n.op, Elementwise) for n in result.nodes)
    assert agreement(graph, result, data(4000, seed=9)) >= 1 - 1.5 * tolerance


def test_the_report_says_what_an_independent_run_shows() -> None:
    graph = mlp(silu(), silu())
    result, report = replaced(graph)
    assert report.all_rows.agreement == agreement(graph, result, data())
    assert report.levels == 3 + sum(levels_of_degree(f.degree) for f in report.fits)
    for fit in report.fits:
        op = result.nodes[fit.node].op
        assert isinstance(op, Polynomial)
        assert op.degree == fit.degree
        assert fit.low == pytest.approx(float((op.center - op.radius).min()))
        assert fit.high == pytest.approx(float((op.center + op.radius).max()))
        assert plan_polynomial(op).depth == levels_of_degree(fit.degree)
    assert [f.name for f in report.fits] == ["act0", "act1"]
    assert [f.function for f in report.fits] == ["SiLU", "SiLU"]


def test_errors_are_measured_on_the_inputs_that_the_polynomial_sees() -> None:
    graph = mlp(silu(), silu())
    result, report = replaced(graph)
    x = data()
    op = result.nodes[2].op
    assert isinstance(op, Polynomial)
    first = graph.nodes[1].op
    assert isinstance(first, Affine)
    z = x @ first.matrices[0].toarray().T + first.bias
    t = (z - op.center) / op.radius
    ours = np.stack(
        [np.polynomial.chebyshev.chebval(t[:, e], op.chebyshev[:, e]) for e in range(z.shape[1])],
        axis=1,
    )
    rms = np.sqrt(np.mean((ours - z * expit(z)) ** 2))
    assert report.fits[0].rms_error == pytest.approx(float(rms), rel=1e-6)
    assert np.abs(t).max() < 1.0


def test_a_tighter_tolerance_never_costs_fewer_levels() -> None:
    graph = mlp(silu(), silu())
    found = [replaced(graph, Options(tolerance=t))[1].levels for t in (0.2, 0.05, 0.01, 0.002)]
    assert found == sorted(found)
    assert found[0] < found[-1]


def test_the_search_is_not_beaten_by_any_shallower_choice() -> None:
    """Exhaustively: no choice of one level less is accepted when asked for by hand."""
    graph = mlp(silu(), silu())
    _, report = replaced(graph)
    spent = report.levels - 3
    for first in range(1, spent - 1):
        degrees = {"act0": 2**first, "act1": 2 ** (spent - 1 - first)}
        other = replaced(graph, Options(degrees=degrees))[1]
        assert other.levels == report.levels - 1
        assert not other.within_tolerance or not other.all_rows.accepted


def test_overrides_by_name() -> None:
    graph = mlp(silu(), silu())
    result, report = replaced(graph, Options(degrees={"act1": 6}))
    assert report.fits[1].degree == 6
    op = result.nodes[4].op
    assert isinstance(op, Polynomial)
    assert op.degree == 6


def test_an_override_of_degree_one_is_linear() -> None:
    result, report = replaced(mlp(silu(), silu()), Options(degrees={"act0": 1, "act1": 1}))
    assert [type(n.op) for n in merge_affine(result).nodes] == [Input, Affine]
    assert not report.within_tolerance
    assert report.warnings


@pytest.mark.parametrize(
    ("options", "reason", "hint"),
    [
        (Options(degrees={"nose": 3}), "named 'nose'", "act0, act1"),
        (Options(degrees={"act0": 0}), "degree 0 for 'act0'", ""),
        (Options(degrees={"act0": 64}), "degree 64 for 'act0'", ""),
        (Options(max_degree=1), "largest degree", ""),
    ],
)
def test_bad_degrees_are_refused(options: Options, reason: str, hint: str) -> None:
    with pytest.raises(UsageError) as caught:
        replaced(mlp(silu(), silu()), options)
    assert reason in str(caught.value)
    assert hint in str(caught.value)


def test_a_tolerance_that_cannot_be_met_is_said() -> None:
    graph = mlp(relu(), relu())
    result, report = replaced(graph, Options(tolerance=0.001, max_degree=3))
    assert not report.within_tolerance
    (warning,) = report.warnings
    assert "up to degree 3 do not meet the tolerance of 0.001" in warning
    assert f"{report.held_out.agreement:.1%}" in warning
    assert all(f.degree <= 3 for f in report.fits)
    assert np.all(np.isfinite(outputs(result, {"x": data()})["y"]))


def test_what_is_quicker_is_told_where_the_tolerance_cannot_be_met() -> None:
    graph = mlp(relu(), relu())
    options = Options(tolerance=0.001)
    _, report = replaced(graph, options)
    warning = next(w for w in report.warnings if "do not meet the tolerance" in w)
    _, shallow = replaced(graph, replace(options, max_degree=8))
    agreement, saved = shallow.held_out.agreement, report.levels - shallow.levels
    assert {f.degree for f in shallow.fits} == {8}
    assert f"8: {agreement:.1%}, {saved} levels fewer" in warning
    _, fixed = replaced(graph, replace(options, degrees={"act0": 3, "act1": 3}))
    assert "Quicker" not in fixed.warnings[0]


def test_a_regression_output_keeps_within_the_tolerance_of_its_range() -> None:
    graph = mlp(silu(), silu())
    head = Affine((csr_array(np.array([[1.0, -0.5, 0.25]])),), np.zeros(1))
    nodes = (*graph.nodes, Node(head, (5,), (1,)))
    graph = TensorGraph("regression", nodes, (Output("y", 6, (1,)),))
    result, report = replaced(graph, Options(tolerance=0.02))
    assert report.within_tolerance
    x = data(2000, seed=4)
    exact, ours = (outputs(g, {"x": x})["y"] for g in (graph, result))
    assert np.abs(exact - ours).max() <= 1.5 * 0.02 * np.ptp(exact)


def test_fresh_values_do_not_explode() -> None:
    """The hard case of a high degree: relu, few windows, many elements."""
    graph = mlp(relu(), relu())
    result, _ = replaced(graph, Options(tolerance=0.001), data(64))
    x = data(4000, seed=5)
    exact, ours = (outputs(g, {"x": x})["y"] for g in (graph, result))
    assert np.abs(exact - ours).max() <= np.ptp(exact)


def test_later_layers_are_fitted_on_what_earlier_polynomials_give() -> None:
    """A crude first layer shifts what the second sees; its interval follows."""
    graph = mlp(relu(), relu())
    options = Options(degrees={"act0": 2, "act1": 8})
    result, _ = replaced(graph, options)
    rows = {"x": data()}
    hidden = replace(result, outputs=(Output("h", 3, (12,)),))
    seen = outputs(hidden, rows)["h"]
    op = result.nodes[4].op
    assert isinstance(op, Polynomial)
    assert np.abs((seen - op.center) / op.radius).max() <= 1.0


def test_without_activations_the_graph_stays_but_exact_polynomials_move() -> None:
    rng = np.random.default_rng(0)
    matrix = csr_array(5.0 * rng.normal(size=(4, 16)))
    nodes = (
        Node(Input("x"), (), (16,)),
        Node(Affine((matrix,), np.full(4, 7.0)), (0,), (4,)),
        Node(Product(), (1, 1), (4,)),
    )
    graph = merge_affine(TensorGraph("square", nodes, (Output("y", 2, (4,)),)))
    result, report = replaced(graph)
    assert report.fits == ()
    assert report.within_tolerance
    op = result.nodes[2].op
    assert isinstance(op, Polynomial)
    assert np.all(op.radius > 5.0)
    x = data(50)
    exact, ours = (outputs(g, {"x": x})["y"] for g in (graph, result))
    np.testing.assert_allclose(ours, exact, rtol=1e-10, atol=1e-9 * np.abs(exact).max())


def test_steps_of_a_recurrence_share_their_degree() -> None:
    rng = np.random.default_rng(0)
    matrix = csr_array(rng.normal(size=(6, 6)) * 0.6)
    into = csr_array(rng.normal(size=(6, 16)) / 4)
    nodes = [Node(Input("x"), (), (16,)), Node(Affine((into,), np.zeros(6)), (0,), (6,))]
    for _ in range(4):
        nodes.append(Node(tanh(), (len(nodes) - 1,), (6,), Origin(("rnn",))))
        op = Affine((matrix, into), np.zeros(6))
        nodes.append(Node(op, (len(nodes) - 1, 0), (6,), Origin(("rnn",))))
    graph = TensorGraph("rnn", tuple(nodes), (Output("y", len(nodes) - 1, (6,)),))
    _, report = replaced(graph, Options(tolerance=0.05))
    assert len(report.fits) == 4
    assert len({f.degree for f in report.fits}) == 1
    assert report.within_tolerance


def test_without_data_the_report_says_so() -> None:
    graph = mlp(silu(), silu())
    options = Options(tolerance=0.05)
    result, report = replace_activations(graph, calibrate(graph, None, options), options)
    assert not report.calibrated
    assert "no calibration data" in report.warnings[0]
    assert agreement(graph, result, data(1000)) > 0.9


@pytest.mark.parametrize("rows", [8, 20, 40])
def test_few_rows_still_give_polynomials(rows: int) -> None:
    graph = mlp(silu(), silu())
    result, report = replaced(graph, Options(tolerance=0.05), data(rows))
    assert report.rows == rows
    assert agreement(graph, result, data(2000, seed=3)) > 0.8


def test_results_are_the_same_every_time() -> None:
    first, second = (replaced(mlp(silu(), tanh()))[0] for _ in range(2))
    for a, b in zip(first.nodes, second.nodes, strict=True):
        if isinstance(a.op, Polynomial):
            assert isinstance(b.op, Polynomial)
            np.testing.assert_array_equal(a.op.chebyshev, b.op.chebyshev)


SMOOTH: dict[Parity, Callable[[Vector], Vector]] = {
    Parity.NONE: lambda x: np.asarray(expit(x + 1.3)),
    Parity.EVEN: lambda x: x * expit(x),
    Parity.ODD: lambda x: np.asarray(np.tanh(x)),
}


@pytest.mark.parametrize("parity", Parity)
def test_the_searchs_product_counts_are_the_plans(parity: Parity) -> None:
    for degree in range(2, 32):
        t = chebyshev.chebpts1(200)
        fitted = np.asarray(chebyshev.chebfit(t, SMOOTH[parity](4 * t), degree), np.float64)
        c = np.zeros((degree + 1, 1))
        c[parity.terms(degree), 0] = fitted[parity.terms(degree)]
        plan = plan_polynomial(Polynomial(c, np.zeros(1), np.ones(1)))
        assert plan.products == PRODUCTS[parity][degree]


def test_parity_saves_products() -> None:
    result, _ = replaced(mlp(silu(), silu()), Options(degrees={"act0": 8, "act1": 8}))
    for node in result.nodes:
        if isinstance(node.op, Polynomial):
            assert np.all(node.op.chebyshev[3::2] == 0.0)
            assert np.all(node.op.center == 0.0)
            assert plan_polynomial(node.op).products == 3


def test_levels_count_the_longest_path() -> None:
    graph = mlp(silu(), silu())
    assert levels(graph, {2: 2, 4: 8}) == 3 + 1 + 3
