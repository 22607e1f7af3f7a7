"""Small ONNX networks written down in a few lines, with random weights and data to match."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper, shape_inference

Array = NDArray[np.float64]


class Net:
    """An ONNX graph in the making; every method adds a node and returns its output's name."""

    def __init__(self, seed: int = 0) -> None:
        self.random = np.random.default_rng(seed)
        self.inputs: dict[str, tuple[int, ...]] = {}
        self.nodes: list[onnx.NodeProto] = []
        self.weights: list[onnx.TensorProto] = []

    def input(self, *shape: int, name: str = "x") -> str:
        self.inputs[name] = shape
        return name

    def __call__(self, op: str, *operands: Any, name: str | None = None, **attributes: Any) -> str:
        names = [o if isinstance(o, str) else self.weight(o) for o in operands]
        name = name or f"{op.lower()}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(op, names, [f"{name}:0"], name, **attributes))
        return f"{name}:0"

    def weight(self, values: Any) -> str:
        array = np.asarray(values)
        array = array.astype(np.float32) if array.dtype == np.float64 else array
        name = f"w{len(self.weights)}"
        self.weights.append(numpy_helper.from_array(array, name))
        return name

    def linear(self, x: str, inside: int, outside: int, name: str | None = None) -> str:
        weight = self.random.normal(0.0, inside**-0.5, (inside, outside))
        return self("Gemm", x, weight, self.random.normal(0.0, 0.3, outside), name=name)

    def conv(self, x: str, inside: int, outside: int, *kernel: int, **attributes: Any) -> str:
        """Channels `inside` and `outside` of one group; the kernel may have any number of axes."""
        fan = inside * int(np.prod(kernel))
        weight = self.random.normal(0.0, fan**-0.5, (outside, inside, *kernel))
        bias = self.random.normal(0.0, 0.3, outside)
        return self("Conv", x, weight, bias, kernel_shape=list(kernel), **attributes)

    def norm(self, x: str, channels: int) -> str:
        """Batch normalisation as it stands after training."""
        draw = self.random.uniform
        shapes = [draw(0.5, 1.5, channels), draw(-0.5, 0.5, channels)]
        shapes += [draw(-0.3, 0.3, channels), draw(0.5, 2.0, channels)]
        return self("BatchNormalization", x, *shapes)

    def silu(self, x: str) -> str:
        return self("Mul", x, self("Sigmoid", x))

    def model(self, *outputs: str) -> onnx.ModelProto:
        kinds = {n.output[0]: n.op_type for n in self.nodes}
        results = [
            helper.make_tensor_value_info(
                o, TensorProto.INT64 if kinds[o] == "ArgMax" else TensorProto.FLOAT, None
            )
            for o in outputs
        ]
        inputs = [
            helper.make_tensor_value_info(name, TensorProto.FLOAT, ("N", *shape))
            for name, shape in self.inputs.items()
        ]
        graph = helper.make_graph(self.nodes, "net", inputs, results, self.weights)
        opsets = [helper.make_opsetid("", 18)]
        model = helper.make_model(graph, opset_imports=opsets, ir_version=10)
        return shape_inference.infer_shapes(model)

    def data(self, windows: int = 64) -> dict[str, Array]:
        """Windows for every input, [windows, *shape], standard normal and cut at 3."""
        return {
            name: np.clip(self.random.standard_normal((windows, *shape)), -3.0, 3.0)
            for name, shape in self.inputs.items()
        }


Build = Callable[[Net], str | Sequence[str]]


def make(build: Build, seed: int = 0) -> tuple[onnx.ModelProto, dict[str, Array]]:
    """The model that `build` describes, and data for it."""
    net = Net(seed)
    outputs = build(net)
    names = [outputs] if isinstance(outputs, str) else list(outputs)
    return net.model(*names), net.data()


def mlp(net: Net) -> str:
    """8 -> 6 -> SiLU -> 3: the smallest thing that is still a network."""
    return net.linear(net.silu(net.linear(net.input(8), 8, 6, "first")), 6, 3, "last")
