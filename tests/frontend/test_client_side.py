"""A final softmax, sigmoid or argmax is left to the client."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from eer.compiler.frontend import import_graph, load_onnx
from eer.compiler.ir.tensor import Elementwise, TensorGraph
from eer.runtime.errors import ModelError

Agree = Callable[..., TensorGraph]

WEIGHT = np.random.default_rng(4).standard_normal((4, 3))


def posts(graph: TensorGraph) -> list[tuple[str, int, tuple[int, ...]]]:
    return [(o.post, o.axis, o.shape) for o in graph.outputs]


@pytest.mark.parametrize(
    ("op", "attributes", "expected"),
    [
        ("Softmax", {"axis": -1}, ("softmax", 1, (4, 3))),
        ("Softmax", {"axis": 1}, ("softmax", 0, (4, 3))),
        ("LogSoftmax", {"axis": 2}, ("log_softmax", 1, (4, 3))),
        ("Sigmoid", {}, ("sigmoid", -1, (4, 3))),
        ("ArgMax", {"axis": 1}, ("argmax", 0, (4, 3))),
        ("ArgMax", {"axis": -1, "keepdims": 0}, ("argmax", 1, (4, 3))),
    ],
)
def test_each(agree: Agree, op: str, attributes: dict[str, Any], expected: Any) -> None:
    graph = agree(lambda s, x: s(op, x, **attributes), (4, 3))
    assert posts(graph) == [expected]
    assert len(graph.nodes) == 1


def test_several_outputs_of_one_value(agree: Agree) -> None:
    def make(s: Any, x: str) -> Any:
        logits = s("MatMul", x, WEIGHT)
        soft = s("Softmax", logits)
        return logits, soft, s("ArgMax", soft, axis=1, keepdims=0), s("LogSoftmax", logits)

    graph = agree(make, (4,))
    assert [p[0] for p in posts(graph)] == ["none", "softmax", "argmax", "log_softmax"]
    assert {o.node for o in graph.outputs} == {1}


def test_reshaped_on_the_way_out(agree: Agree) -> None:
    def scores(s: Any, x: str) -> Any:
        return s("Squeeze", s("Sigmoid", s("MatMul", x, WEIGHT[:, :1])), np.array([1]))

    assert posts(agree(scores, (4,))) == [("sigmoid", -1, ())]

    def turned(s: Any, x: str) -> Any:
        return s("Transpose", s("Softmax", x, axis=1), perm=[0, 3, 1, 2])

    assert posts(agree(turned, (4, 1, 3))) == [("softmax", 1, (3, 4, 1))]

    def squeezed(s: Any, x: str) -> Any:
        return s("Identity", s("Squeeze", s("LogSoftmax", x, axis=3), np.array([1])))

    assert posts(agree(squeezed, (1, 2, 3))) == [("log_softmax", 1, (2, 3))]


def test_a_sigmoid_that_goes_on_is_an_activation(agree: Agree) -> None:
    def make(s: Any, x: str) -> Any:
        gate = s("Sigmoid", x)
        return gate, s("MatMul", gate, WEIGHT)

    graph = agree(make, (4,))
    assert [p[0] for p in posts(graph)] == ["none", "none"]
    assert isinstance(graph.nodes[1].op, Elementwise)


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (
            lambda s, x: s("MatMul", s("LogSoftmax", x), WEIGHT),
            "takes a logarithm of encrypted values inside the network",
        ),
        (
            lambda s, x: s("Reshape", s("Softmax", x), np.array([-1, 2, 2])),
            "splits the axis of a final softmax",
        ),
        (
            lambda s, x: s("ArgMax", s("Softmax", s("Reshape", x, np.array([-1, 2, 2]))), axis=1),
            "takes the largest along another axis than the final softmax",
        ),
    ],
)
def test_what_the_client_cannot_do(sketch_type: Any, make: Any, reason: str) -> None:
    sketch = sketch_type()
    model = sketch.model([make(sketch, sketch.input("N", 4))])
    with pytest.raises(ModelError) as caught:
        import_graph(load_onnx(model))
    assert reason in str(caught.value)
