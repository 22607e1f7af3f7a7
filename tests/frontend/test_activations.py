"""Activations as ops of their own against onnxruntime, and elementwise expressions fused."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from scipy.sparse import diags_array

from eer.compiler.frontend import fuse_elementwise, import_graph, load_onnx
from eer.compiler.ir.interpret import outputs
from eer.compiler.ir.tensor import (
    Affine,
    Elementwise,
    Input,
    Node,
    Output,
    Polynomial,
    Product,
    TensorGraph,
)
from eer.runtime.errors import ModelError

Agree = Callable[..., TensorGraph]


def names(graph: TensorGraph) -> list[str]:
    """Names of elementwise functions and polynomials, types of the others, without inputs."""
    return [
        n.op.name if isinstance(n.op, Elementwise | Polynomial) else type(n.op).__name__
        for n in graph.nodes
        if n.operands
    ]


@pytest.mark.parametrize(
    ("op", "attributes", "name"),
    [
        ("Relu", {}, "Relu"),
        ("LeakyRelu", {"alpha": 0.2}, "LeakyRelu"),
        ("Elu", {"alpha": 0.7}, "Elu"),
        ("Selu", {}, "Selu"),
        ("Celu", {"alpha": 1.5}, "Celu"),
        ("Tanh", {}, "Tanh"),
        ("Softplus", {}, "Softplus"),
        ("Softsign", {}, "Softsign"),
        ("HardSigmoid", {"alpha": 0.3}, "HardSigmoid"),
        ("HardSwish", {}, "HardSwish"),
        ("Mish", {}, "Mish"),
        ("Gelu", {}, "GELU"),
        ("Gelu", {"approximate": "tanh"}, "GELU"),
        ("Erf", {}, "Erf"),
        ("Exp", {}, "Exp"),
        ("Abs", {}, "Abs"),
        ("ThresholdedRelu", {"alpha": 0.5}, "ThresholdedRelu"),
        ("Sin", {}, "Sin"),
        ("Cos", {}, "Cos"),
        ("Sinh", {}, "Sinh"),
        ("Cosh", {}, "Cosh"),
        ("Atan", {}, "Atan"),
        ("Asinh", {}, "Asinh"),
        ("Shrink", {"lambd": 0.4, "bias": 0.1}, "Shrink"),
    ],
)
def test_each(agree: Agree, op: str, attributes: dict[str, Any], name: str) -> None:
    graph = agree(lambda s, x: s(op, x, **attributes), (2, 7), opset=20, batches=("N", 3), scale=3)
    assert names(graph) == [name]


def test_sigmoid_inside_the_network(agree: Agree) -> None:
    graph = agree(lambda s, x: s("Neg", s("Sigmoid", x)), (5,))
    assert names(graph) == ["Sigmoid", "Affine"]


@pytest.mark.parametrize("slope", [(), (1,), (3, 1), (1, 4), (3, 4)])
def test_prelu_slopes(agree: Agree, slope: tuple[int, ...]) -> None:
    values = np.random.default_rng(2).uniform(-1, 1, slope)
    assert names(agree(lambda s, x: s("PRelu", x, values), (3, 4))) == ["PRelu"]


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (-0.5, 0.7, ["Clip(-0.5, 0.7)"]),
        (0, 6, ["ReLU6"]),
        (0, None, ["Relu"]),
        (None, 1.0, ["Clip(-inf, 1)"]),
        (-1, 1, ["HardTanh"]),
        (None, None, []),
    ],
)
def test_clip(agree: Agree, low: float | None, high: float | None, expected: list[str]) -> None:
    bounds = ["" if b is None else np.float32(b) for b in (low, high)]
    assert names(agree(lambda s, x: s("Clip", x, *bounds), (5,), scale=3)) == expected


def test_maximum_and_minimum_with_constants(agree: Agree) -> None:
    assert names(agree(lambda s, x: s("Max", x, np.float32(0)), (3,))) == ["Relu"]
    assert names(agree(lambda s, x: s("Min", np.float32(0.3), x), (3,))) == ["Min"]
    agree(lambda s, x: s("Max", x, np.array([[0.1], [-0.2]])), (2, 3))


def test_a_known_base(agree: Agree) -> None:
    agree(lambda s, x: s("Pow", np.float32(2), x), (3,))


def silu(s: Any, x: str) -> Any:
    return s("Mul", x, s("Sigmoid", x))


def silu_by_hand(s: Any, x: str) -> Any:
    return s("Div", x, s("Add", s("Exp", s("Neg", x)), np.float32(1)))


def gelu(s: Any, x: str) -> Any:
    inner = s("Erf", s("Div", x, np.float32(np.sqrt(2))))
    return s("Mul", s("Mul", x, s("Add", inner, np.float32(1))), np.float32(0.5))


def gelu_tanh(s: Any, x: str) -> Any:
    cube = s("Mul", np.float32(0.044715), s("Pow", x, np.float32(3)))
    inner = s("Tanh", s("Mul", np.float32(np.sqrt(2 / np.pi)), s("Add", x, cube)))
    return s("Mul", s("Mul", np.float32(0.5), x), s("Add", inner, np.float32(1)))


def hard_swish(s: Any, x: str) -> Any:
    clipped = s("Clip", s("Add", x, np.float32(3)), np.float32(0), np.float32(6))
    return s("Div", s("Mul", x, clipped), np.float32(6))


def mish(s: Any, x: str) -> Any:
    return s("Mul", x, s("Tanh", s("Softplus", x)))


def quick_gelu(s: Any, x: str) -> Any:
    return s("Mul", x, s("Sigmoid", s("Mul", x, np.float32(1.702))))


def softsign(s: Any, x: str) -> Any:
    return s("Div", x, s("Add", s("Abs", x), np.float32(1)))


def leaky_by_where(s: Any, x: str) -> Any:
    return s("Where", s("Greater", x, np.float32(0)), x, s("Mul", x, np.float32(0.01)))


def elu_by_where(s: Any, x: str) -> Any:
    below = s("Sub", s("Exp", s("Min", x, np.float32(0))), np.float32(1))
    return s("Where", s("LessOrEqual", x, np.float32(0)), below, x)


def log_sigmoid(s: Any, x: str) -> Any:
    return s("Log", s("Sigmoid", x))


def swish_of_double(s: Any, x: str) -> Any:
    return s("Mul", x, s("Sigmoid", s("Mul", x, np.float32(2))))


@pytest.mark.parametrize(
    ("make", "name"),
    [
        (silu, "SiLU"),
        (silu_by_hand, "SiLU"),
        (gelu, "GELU"),
        (gelu_tanh, "GELU"),
        (hard_swish, "HardSwish"),
        (mish, "Mish"),
        (quick_gelu, "QuickGELU"),
        (softsign, "Softsign"),
        (leaky_by_where, "LeakyRelu"),
        (elu_by_where, "Elu"),
        (log_sigmoid, "LogSigmoid"),
        (swish_of_double, "x*Sigmoid(2*x)"),
    ],
)
def test_expressions_become_one_node(agree: Agree, make: Any, name: str) -> None:
    """Between a batch norm and a layer, both of which stay on their own."""
    scale, zero = np.array([0.5, 2.0, 1.5]), np.zeros(3)

    def whole(s: Any, x: str) -> Any:
        normed = s("BatchNormalization", x, scale, scale, zero, np.ones(3))
        return s("MatMul", make(s, normed), np.arange(6.0).reshape(3, 2) / 6)

    assert names(agree(whole, (3,))) == ["Affine", name, "Affine"]


def test_origin_of_a_fused_node(agree: Agree) -> None:
    graph = agree(lambda s, x: s("Neg", silu(s, x)), (3,), batches=("N",))
    fused = graph.nodes[1]
    assert fused.origin.names == ("sigmoid_0", "mul_1")
    assert fused.origin.ops == ("Sigmoid", "Mul")


def test_an_inner_value_used_elsewhere_stays(agree: Agree) -> None:
    """y = relu(x) goes on to a layer as well; silu(y) is then a function of x of its own."""

    def make(s: Any, x: str) -> Any:
        y = s("Relu", x)
        return s("Add", s("MatMul", y, np.eye(3)[::-1].copy()), silu(s, y))

    assert names(agree(make, (3,))) == [
        "Relu",
        "Affine",
        "Relu(x)*Sigmoid(Relu(x))",
        "Affine",
    ]


def test_different_values_are_not_fused(agree: Agree) -> None:
    """Squeeze and excitation: the gate comes from all elements."""

    def make(s: Any, x: str) -> Any:
        gate = s("Sigmoid", s("MatMul", s("ReduceMean", x, np.array([2]), keepdims=0), np.eye(3)))
        return s("Mul", x, s("Unsqueeze", gate, np.array([2])))

    assert names(agree(make, (3, 4))) == ["Affine", "Sigmoid", "Affine", "Product"]


def test_the_degree_of_an_exact_polynomial_is_bounded(agree: Agree) -> None:
    """x^4, twice: degree 16 stays two nodes."""

    def make(s: Any, x: str) -> Any:
        return s("Pow", s("Pow", x, np.float32(4)), np.float32(4))

    assert names(agree(make, (3,), scale=0.5)) == ["x^4", "x^4"]


def test_fusing_keeps_what_the_graph_computes() -> None:
    """Parameters that differ by element, in functions and in affine maps."""
    slope = np.array([0.1, 0.2, 0.3, 0.4])

    def diagonal(*values: float) -> Any:
        return diags_array(np.array(values, dtype=float)).tocsr()

    nodes = (
        Node(Input("x"), (), (4,)),
        Node(Elementwise("PRelu", lambda v: np.where(v < 0, slope * v, v)), (0,), (4,)),
        Node(Affine((diagonal(1, 2, 3, 4), diagonal(1, 1, 1, 1)), np.arange(4.0)), (0, 1), (4,)),
        Node(Product(), (1, 2), (4,)),
    )
    graph = TensorGraph("g", nodes, (Output("y", 3, (4,)),))
    fused = fuse_elementwise(graph)
    assert [type(n.op) for n in fused.nodes] == [Input, Elementwise]
    x = np.random.default_rng(0).standard_normal((6, 4))
    np.testing.assert_allclose(outputs(fused, {"x": x})["y"], outputs(graph, {"x": x})["y"])


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda s, x: s("Pow", x, np.float32(-2)), "divides by an encrypted value"),
        (lambda s, x: s("Sqrt", x), "takes a root or a logarithm of an encrypted value"),
        (lambda s, x: s("Log", x), "takes a root or a logarithm of an encrypted value"),
        (
            lambda s, x: s("Cast", s("Cast", s("Greater", x, np.float32(0)), to=1), to=1),
            "compares an encrypted value with a constant",
        ),
        (lambda s, x: s("Max", x, s("Neg", x)), "compares encrypted values with each other"),
        (lambda s, x: s("Pow", x, x), "has an encrypted exponent"),
    ],
)
def test_what_is_no_bounded_function(sketch_type: Any, make: Any, reason: str) -> None:
    sketch = sketch_type()
    model = sketch.model([make(sketch, sketch.input("N", 3))])
    with pytest.raises(ModelError) as caught:
        import_graph(load_onnx(model))
    assert reason in str(caught.value)
