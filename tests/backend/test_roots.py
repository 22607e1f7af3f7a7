"""Roots: weights of last layers before squares instead of behind them, with the same outputs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.polynomial import chebyshev
from scipy.sparse import csr_array

from eer.compiler.backend.absorb import absorb
from eer.compiler.backend.levels import assign_levels
from eer.compiler.backend.roots import MOST_COPIES, rooted
from eer.compiler.ir import interpret
from eer.compiler.ir.stages import Stage, check
from eer.compiler.ir.tensor import Affine, Polynomial, Readout, TensorGraph
from eer.runtime.program import DotCipher, infer_levels
from tests.backend.networks import Net, planned, planned_as, run_clear


def classifier(seed: int, outputs: int, density: float = 1.0) -> TensorGraph:
    net = Net(seed)
    h = net.polynomial(net.affine(net.input(9), size=7), 2)
    h = net.polynomial(net.affine(h, size=6), 2)
    return net.graph(net.affine(h, size=outputs, density=density))


def convolution(seed: int, outputs: int) -> TensorGraph:
    """The mean over time of the squares of a convolution, in a layer with two operands' sum."""
    net = Net(seed)
    x = net.input(2, 8)
    return net.graph(net.affine(net.polynomial(net.convolution(x, 3, 3), 2), size=outputs))


def activations(degree: int, seed: int, outputs: int) -> TensorGraph:
    """Polynomials of a degree, even but for a linear term, before the last layer: softened absolute
    values, as smooth versions of ReLU are beside a linear term."""
    net = Net(seed)
    h = net.polynomial(net.affine(net.input(9), size=7), 2)
    h = net.polynomial(net.affine(h, size=6), degree)
    op = net.nodes[h].op
    assert isinstance(op, Polynomial)
    t = np.cos(np.pi * (np.arange(64) + 0.5) / 64)
    softness = np.random.default_rng(seed).uniform(0.05, 0.4, op.chebyshev.shape[1])
    even = chebyshev.chebfit(t, np.sqrt(t[:, None] ** 2 + softness**2), degree)
    op.chebyshev[::2], op.chebyshev[3::2] = even[::2], 0.0
    return net.graph(net.affine(h, size=outputs))


def quartic(seed: int, outputs: int) -> TensorGraph:
    return activations(4, seed, outputs)


def octic(seed: int, outputs: int) -> TensorGraph:
    return activations(8, seed, outputs)


def rooted_form(graph: TensorGraph) -> TensorGraph:
    made = rooted(absorb(graph))
    assert made is not None
    check(made, Stage.SCHEDULED, "roots")
    return made


@pytest.mark.parametrize("outputs", range(1, 2 * MOST_COPIES + 1))
@settings(max_examples=5, deadline=None)
@given(seed=st.integers(0, 10_000), make=st.sampled_from((classifier, quartic, octic)))
def test_outputs_are_the_same_at_a_level_less(
    outputs: int, seed: int, make: Callable[[int, int], TensorGraph]
) -> None:
    graph = make(seed, outputs)
    scheduled, made = absorb(graph), rooted_form(graph)
    x = {"x": np.random.default_rng(seed).normal(size=(5, 9))}
    wanted = interpret.outputs(graph, x)["y0"]
    np.testing.assert_allclose(interpret.outputs(made, x)["y0"], wanted, rtol=1e-9, atol=1e-9)
    assert max(assign_levels(made)) == max(assign_levels(scheduled)) - 1


@pytest.mark.parametrize("make", [classifier, convolution, quartic, octic])
@pytest.mark.parametrize("outputs", [1, 2, 3, 5])
def test_programs_compute_them(make: Callable[[int, int], TensorGraph], outputs: int) -> None:
    graph = make(outputs, outputs)
    scheduled, plan, emitted = planned_as(rooted_form(graph), 128)
    x = {"x": np.random.default_rng(1).normal(size=(3, scheduled.nodes[0].size))}
    found = run_clear(scheduled, plan, emitted, x, batch=4)["y0"]
    np.testing.assert_allclose(found, interpret.outputs(graph, x)["y0"], atol=1e-9)


def test_squares_come_last() -> None:
    """What only the client reads is a square that is neither weighted nor summed up."""
    _, _, emitted = planned_as(rooted_form(classifier(1, 3)), 128)
    program = emitted.program
    made = dict(program)
    levels = infer_levels(program)
    (last,) = program.outputs
    while not isinstance(made[last], DotCipher):
        last = made[last].src  # type: ignore[union-attr]
    assert levels[last] == levels[program.outputs[0]]
    _, _, plain = planned(classifier(1, 3), 128)
    assert max(program.input_levels) == max(plain.program.input_levels) - 1


def test_weights_of_zero_are_not_read() -> None:
    graph = classifier(3, 3, density=0.5)
    made = rooted_form(graph)
    readout = made.nodes[made.outputs[0].node].op
    assert isinstance(readout, Readout)
    last = absorb(graph).nodes[-1].op
    assert isinstance(last, Affine)
    read = [(readout.real == k).sum() + (readout.imaginary == k).sum() for k in range(3)]
    assert read == np.diff(last.matrices[0].indptr).tolist()
    x = {"x": np.random.default_rng(1).normal(size=(4, 9))}
    wanted = interpret.outputs(graph, x)["y0"]
    np.testing.assert_allclose(interpret.outputs(made, x)["y0"], wanted, atol=1e-9)


def without_weights(graph: TensorGraph) -> TensorGraph:
    """The same graph with a last layer whose first output is a constant."""
    last = graph.nodes[-1]
    assert isinstance(last.op, Affine)
    dense = last.op.matrices[0].toarray()
    dense[0] = 0.0
    return replace(
        graph,
        nodes=(*graph.nodes[:-1], replace(last, op=Affine((csr_array(dense),), last.op.bias))),
    )


def residual(seed: int) -> TensorGraph:
    net = Net(seed)
    h = net.affine(net.input(6), size=6)
    return net.graph(net.affine(net.polynomial(h, 2), h, size=2))


def twice(seed: int) -> TensorGraph:
    net = Net(seed)
    h = net.polynomial(net.affine(net.input(6), size=6), 2)
    return net.graph(net.affine(h, size=2), net.affine(h, size=2))


def cubed(seed: int) -> TensorGraph:
    net = Net(seed)
    return net.graph(net.affine(net.polynomial(net.affine(net.input(6), size=6), 3), size=2))


@pytest.mark.parametrize(
    "graph",
    [
        pytest.param(residual(1), id="another way around the squares"),
        pytest.param(twice(1), id="squares that two layers read"),
        pytest.param(cubed(1), id="no chain of squares"),
        pytest.param(classifier(1, 2 * MOST_COPIES + 1), id="too many outputs"),
        pytest.param(without_weights(classifier(1, 2)), id="an output that is constant"),
    ],
)
def test_other_graphs_stay_as_they_are(graph: TensorGraph) -> None:
    assert rooted(absorb(graph)) is None


def test_states_stay_as_they_are() -> None:
    scheduled = absorb(classifier(1, 3))
    outputs = tuple(replace(o, state="x") for o in scheduled.outputs)
    assert rooted(replace(scheduled, outputs=outputs)) is None
