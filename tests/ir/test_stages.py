"""Every kind of broken graph is refused, with the pass to blame and the node to look at."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from scipy.sparse import csr_array

from eer.compiler.backend.poly_schemes import plan_polynomial
from eer.compiler.ir.stages import Stage, check
from eer.compiler.ir.tensor import (
    Affine,
    Core,
    Elementwise,
    Input,
    Node,
    Origin,
    Output,
    Polynomial,
    Product,
    TensorGraph,
    TensorOp,
)
from eer.runtime.errors import InternalError

SIZE = 3


def polynomial(size: int = SIZE) -> Polynomial:
    return Polynomial(np.ones((3, size)), np.zeros(size), np.ones(size))


OPS: dict[str, TensorOp] = {
    "affine": Affine((csr_array(np.eye(SIZE)),), np.zeros(SIZE)),
    "elementwise": Elementwise("Relu", lambda x: np.maximum(x, 0)),
    "polynomial": polynomial(),
    "core": Core(plan_polynomial(polynomial())),
}


def graph(op: TensorOp, *operands: int, size: int = SIZE) -> TensorGraph:
    """An input, and one node that reads it."""
    origin = Origin(("layer",), ("Op",))
    nodes = (Node(Input("x"), (), (SIZE,)), Node(op, operands, (size,), origin))
    return TensorGraph("net", nodes, (Output("y", 1, (size,)),))


@pytest.mark.parametrize(
    ("stage", "legal"),
    [
        (Stage.IMPORTED, {"affine", "elementwise", "polynomial"}),
        (Stage.POLYNOMIAL, {"affine", "polynomial"}),
        (Stage.SCHEDULED, {"affine", "core"}),
    ],
)
@pytest.mark.parametrize("name", list(OPS))
def test_each_stage_has_its_ops(stage: Stage, legal: set[str], name: str) -> None:
    g = graph(OPS[name], 0)
    if name in legal:
        check(g, stage, "fold")
        return
    with pytest.raises(InternalError) as caught:
        check(g, stage, "fold")
    kind = type(OPS[name]).__name__
    assert str(caught.value) == (
        f"error[internal]: after fold: n1 is a {kind}, which stage '{stage.value}' does not admit\n"
        "   at: layer"
    )


def affine(weights: np.ndarray, bias: np.ndarray) -> Affine:
    return Affine((csr_array(weights),), bias)


BAD_NUMBERS = (np.nan, np.inf)

BROKEN: dict[str, tuple[Callable[[], TensorGraph], str]] = {
    "later node": (lambda: graph(OPS["affine"], 1), "n1 reads (1,), not all of them earlier nodes"),
    "negative node": (lambda: graph(OPS["affine"], -1), "n1 reads (-1,), not all of them earlier"),
    "input with operands": (lambda: graph(Input("z"), 0), "n1 is an input with operands"),
    "too few matrices": (
        lambda: graph(OPS["affine"], 0, 0),
        "n1 is an affine map of shapes [(3, 3)]",
    ),
    "wrong rows": (
        lambda: graph(affine(np.ones((2, 3)), np.zeros(3)), 0),
        "n1 is an affine map of shapes [(2, 3)] from [3] to 3",
    ),
    "wrong columns": (
        lambda: graph(affine(np.ones((3, 2)), np.zeros(3)), 0),
        "n1 is an affine map of shapes [(3, 2)] from [3] to 3",
    ),
    "wrong bias": (
        lambda: graph(affine(np.ones((3, 3)), np.zeros(2)), 0),
        "n1 is an affine map of shapes [(3, 3)] from [3] to 3",
    ),
    "infinite bias": (
        lambda: graph(affine(np.ones((3, 3)), np.array([0, np.inf, 0])), 0),
        "n1 has a bias that is not finite",
    ),
    "weights that are no numbers": (
        lambda: graph(affine(np.full((3, 3), np.nan), np.zeros(3)), 0),
        "n1 has a weight that is not finite",
    ),
    "product of one": (lambda: graph(Product(), 0), "n1 multiplies [3] to 3"),
    "product of another size": (
        lambda: graph(Product(), 0, 0, size=2),
        "n1 multiplies [3, 3] to 2",
    ),
    "polynomial of another size": (
        lambda: graph(polynomial(2), 0),
        "n1 is a polynomial with coefficients for another size",
    ),
    "radius of another size": (
        lambda: graph(replace(polynomial(), radius=np.ones(2)), 0),
        "n1 is a polynomial with coefficients for another size",
    ),
    "coefficient": (
        lambda: graph(replace(polynomial(), chebyshev=np.full((3, 3), np.nan)), 0),
        "n1 is a polynomial with a bad coefficient, center or radius",
    ),
    "center": (
        lambda: graph(replace(polynomial(), center=np.full(3, np.inf)), 0),
        "n1 is a polynomial with a bad coefficient, center or radius",
    ),
    "radius": (
        lambda: graph(replace(polynomial(), radius=np.array([1.0, 0.0, 1.0])), 0),
        "n1 is a polynomial with a bad coefficient, center or radius",
    ),
    "polynomial of two": (lambda: graph(polynomial(), 0, 0), "n1 maps [3, 3] to 3"),
    "elementwise to another size": (
        lambda: graph(OPS["elementwise"], 0, size=2),
        "n1 maps [3] to 2",
    ),
}


@pytest.mark.parametrize("name", list(BROKEN))
def test_broken_nodes_are_refused(name: str) -> None:
    make, problem = BROKEN[name]
    with pytest.raises(InternalError) as caught:
        check(make(), Stage.IMPORTED, "fold")
    assert caught.value.reason.startswith(f"after fold: {problem}")
    assert caught.value.where == "layer"


def test_a_core_of_another_size_is_refused() -> None:
    core = Core(plan_polynomial(polynomial(2)))
    with pytest.raises(InternalError, match="n1 is the core of a polynomial of another size"):
        check(graph(core, 0), Stage.SCHEDULED, "absorb")


@pytest.mark.parametrize("node", [2, -1])
def test_outputs_read_nodes_that_are_there(node: int) -> None:
    g = replace(graph(OPS["affine"], 0), outputs=(Output("y", node, (SIZE,)),))
    with pytest.raises(InternalError, match="after fold: output y reads a node that is not there"):
        check(g, Stage.IMPORTED, "fold")


def test_outputs_have_their_nodes_size() -> None:
    g = replace(graph(OPS["affine"], 0), outputs=(Output("y", 1, (2, 2)),))
    with pytest.raises(InternalError, match="after fold: output y has a wrong shape"):
        check(g, Stage.IMPORTED, "fold")
    check(replace(g, outputs=(Output("y", 1, (1, 3)),)), Stage.IMPORTED, "fold")
