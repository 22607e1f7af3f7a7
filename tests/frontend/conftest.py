"""ONNX models written down in a few lines, and their comparison with onnxruntime."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper, shape_inference
from scipy import special

from eer.compiler.frontend import Reference, import_graph, load_onnx
from eer.compiler.ir.interpret import evaluate
from eer.compiler.ir.tensor import Output, TensorGraph

Array = NDArray[Any]
Batch = int | str


class Sketch:
    """Builds an ONNX graph: sketch("Add", x, array) adds a node and returns its output's name."""

    def __init__(self, opset: int = 18) -> None:
        self.opset = opset
        self.inputs: list[onnx.ValueInfoProto] = []
        self.nodes: list[onnx.NodeProto] = []
        self.weights: list[onnx.TensorProto] = []

    def input(self, *shape: Batch, name: str | None = None, kind: int = TensorProto.FLOAT) -> str:
        name = name or f"x{len(self.inputs)}"
        self.inputs.append(helper.make_tensor_value_info(name, kind, shape))
        return name

    def weight(self, array: Any, name: str | None = None) -> str:
        name = name or f"w{len(self.weights)}"
        array = np.asarray(array)
        array = array.astype(np.float32) if array.dtype == np.float64 else array
        self.weights.append(numpy_helper.from_array(array, name))
        return name

    def __call__(self, op: str, *operands: Any, outputs: int = 1, **attributes: Any) -> Any:
        names = [o if isinstance(o, str) else self.weight(o) for o in operands]
        name = attributes.pop("name", f"{op.lower()}_{len(self.nodes)}")
        out = [f"{name}:{k}" for k in range(outputs)]
        self.nodes.append(helper.make_node(op, names, out, name, **attributes))
        return out[0] if outputs == 1 else tuple(out)

    def model(self, outputs: Sequence[str]) -> onnx.ModelProto:
        kinds = {n.output[0]: n.op_type for n in self.nodes}
        results = [
            helper.make_tensor_value_info(
                name, TensorProto.INT64 if kinds.get(name) == "ArgMax" else TensorProto.FLOAT, None
            )
            for name in outputs
        ]
        graph = helper.make_graph(self.nodes, "sketch", self.inputs, results, self.weights)
        opsets = [helper.make_opsetid("", self.opset)]
        model = helper.make_model(graph, opset_imports=opsets, ir_version=10)
        # Valid models declare the shapes of their outputs.
        return shape_inference.infer_shapes(model)


def _after(output: Output, value: Array) -> Array:
    """What the client makes of a decrypted output [windows, size]."""
    array = value.reshape(len(value), *output.shape)
    axis = output.axis + 1
    results: dict[str, Callable[[], Any]] = {
        "none": lambda: array,
        "sigmoid": lambda: special.expit(array),
        "softmax": lambda: special.softmax(array, axis),
        "log_softmax": lambda: special.log_softmax(array, axis),
        "argmax": lambda: array.argmax(axis),
    }
    return np.asarray(results[output.post]())


def _same(
    source: Any, windows: int = 4, scale: float = 1.0, tolerance: float = 2e-5
) -> TensorGraph:
    model = load_onnx(source)
    graph = import_graph(model)
    random = np.random.default_rng(7)
    inputs = {s.name: scale * random.standard_normal((windows, *s.shape)) for s in model.inputs}
    expected = Reference(model).run(inputs)
    values = evaluate(graph, {n: a.astype(np.float32).astype(float) for n, a in inputs.items()})
    assert [o.name for o in graph.outputs] == list(expected)
    for output in graph.outputs:
        ours, theirs = _after(output, values[output.node]), expected[output.name]
        assert ours.size == theirs.size
        if output.post != "argmax":
            assert ours.shape == theirs.shape
        theirs = theirs.reshape(ours.shape)
        assert np.isfinite(theirs).all()
        np.testing.assert_allclose(ours, theirs, rtol=tolerance, atol=tolerance)
    return graph


@pytest.fixture(scope="session")
def same() -> Callable[..., TensorGraph]:
    """Import a model and compare it with onnxruntime on random windows; returns its graph."""
    return _same


@pytest.fixture(scope="session")
def agree() -> Callable[..., TensorGraph]:
    """agree(make, *shapes): `make(sketch, *inputs)` returns the outputs of a model, which is
    compared with onnxruntime for a symbolic batch axis, a batch of 1 and one of 3."""

    def check(
        make: Callable[..., Any],
        *shapes: tuple[int, ...],
        opset: int = 18,
        batches: Sequence[Batch] = ("N", 1, 3),
        scale: float = 1.0,
        tolerance: float = 2e-5,
    ) -> TensorGraph:
        graph = None
        for batch in batches:
            sketch = Sketch(opset)
            out = make(sketch, *[sketch.input(batch, *shape) for shape in shapes])
            names = [out] if isinstance(out, str) else list(out)
            graph = _same(sketch.model(names), scale=scale, tolerance=tolerance)
        assert graph is not None
        return graph

    return check


@pytest.fixture(scope="session")
def sketch_type() -> type[Sketch]:
    return Sketch
