"""Softmax and division inside the network: exact as a graph, and close as polynomials."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from onnx import helper
from scipy.special import softmax

from eer.compiler import Options, compile_model
from eer.compiler.frontend import import_graph, load_onnx
from eer.compiler.ir import interpret
from eer.compiler.ir.tensor import Product
from eer.runtime.errors import DataError
from tests.compiler.test_encrypted_operands import onnx_model

RNG = np.random.default_rng(0)


def probabilities(classes: int, axis: int = 1) -> Any:
    """A softmax that the network goes on with."""
    nodes = [
        helper.make_node("Softmax", ["x"], ["p"], "softmax", axis=axis),
        helper.make_node("Sub", ["p", "half"], ["y"], "after"),
    ]
    shape = ("N", classes) if axis == 1 else ("N", 2, classes)
    return onnx_model(nodes, {"x": shape}, ["y"], {"half": np.full(1, 0.5)})


@pytest.mark.parametrize("classes", [1, 2, 3, 4, 6])
def test_softmax_is_made_of_functions_of_one_variable(classes: int) -> None:
    graph = import_graph(load_onnx(probabilities(classes)))
    x = RNG.normal(size=(20, classes)) * 3
    np.testing.assert_allclose(
        interpret.outputs(graph, {"x": x})["y"], softmax(x, axis=1) - 0.5, atol=1e-7
    )
    products = sum(isinstance(n.op, Product) for n in graph.nodes)
    assert products == (1 if classes > 3 else 0)


def test_softmax_along_an_inner_axis() -> None:
    graph = import_graph(load_onnx(probabilities(3, axis=2)))
    x = RNG.normal(size=(20, 2, 3))
    found = interpret.outputs(graph, {"x": x.reshape(20, -1)})["y"].reshape(20, 2, 3)
    np.testing.assert_allclose(found, softmax(x, axis=2) - 0.5, atol=1e-7)


@pytest.mark.parametrize(("classes", "error"), [(2, 0.04), (3, 0.06), (5, 0.02)])
def test_its_polynomials_are_close(classes: int, error: float) -> None:
    """Of degree 7, on inputs like those of the calibration."""
    reach = 3.0 if classes < 4 else 1.0
    x = np.random.default_rng(0).uniform(-reach, reach, (1000, classes))
    compiled = compile_model(
        probabilities(classes),
        x[:900],
        Options(tolerance=0.02, effort="low", degrees={"softmax": 7}),
    )
    found = compiled.simulated(x[900:])["y"]
    assert np.abs(found - (softmax(x[900:], axis=1) - 0.5)).max() < error
    names = {fit["function"] for fit in compiled.report["activations"]["fits"]}
    wanted = {2: {"Sigmoid"}, 3: {"LogCosh", "Sigmoid"}, 5: {"Exp", "Reciprocal"}}
    assert names == wanted[classes]


def quotient() -> Any:
    nodes = [
        helper.make_node("Mul", ["b", "b"], ["s"], "square"),
        helper.make_node("Add", ["s", "one"], ["d"], "shift"),
        helper.make_node("ReduceSum", ["d", "axis"], ["t"], "total", keepdims=1),
        helper.make_node("Div", ["a", "t"], ["y"], "divide"),
    ]
    weights = {"one": np.ones(1), "axis": np.array([1])}
    return onnx_model(nodes, {"a": (1, 3), "b": (1, 3)}, ["y"], weights)


def test_division_by_what_stays_positive() -> None:
    rng = np.random.default_rng(0)
    data = {name: rng.uniform(-1, 1, (1000, 3)) for name in "ab"}
    compiled = compile_model(quotient(), data)
    wanted = data["a"] / (data["b"] ** 2 + 1).sum(1, keepdims=True)
    found = compiled.simulated(data)["y"]
    assert np.abs(found - wanted).max() < 0.02


def test_division_by_what_changes_its_sign_is_refused() -> None:
    nodes = [
        helper.make_node("ReduceSum", ["b", "axis"], ["t"], "total", keepdims=1),
        helper.make_node("Div", ["a", "t"], ["y"], "divide"),
    ]
    model = onnx_model(nodes, {"a": (1, 3), "b": (1, 3)}, ["y"], {"axis": np.array([1])})
    data = {name: RNG.normal(size=(64, 3)) for name in "ab"}
    with pytest.raises(DataError, match="comes near zero"):
        compile_model(model, data)
    with pytest.raises(DataError, match="comes near zero"):
        compile_model(model)
