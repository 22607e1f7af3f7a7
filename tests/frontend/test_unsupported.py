"""What cannot be compiled: one error that lists every node, its source line and what to do."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper

from eer.compiler.frontend import export_torch, import_graph, load_onnx
from eer.compiler.frontend.source import STACK_TRACE, source_line
from eer.runtime.errors import ModelError

TRACE = """File "/home/a/train.py", line 12, in forward
    x = self.pool(x)
File "/home/a/lib/site-packages/torch/nn/modules/pooling.py", line 91, in forward
    return F.max_pool1d("""


def failure(model: Any) -> str:
    with pytest.raises(ModelError) as caught:
        import_graph(load_onnx(model))
    return str(caught.value)


def test_the_whole_text(sketch_type: Any) -> None:
    sketch = sketch_type()
    x = sketch.input("N", 2, 8)
    pooled = sketch("MaxPool", x, kernel_shape=[2], strides=[2], name="pool")
    sketch.nodes[-1].metadata_props.add(key=STACK_TRACE, value=TRACE)
    norm = sketch("LayerNormalization", pooled, np.ones(4), name="norm")
    out = sketch("MatMul", sketch("LogSoftmax", norm, name="attention"), np.ones((4, 3)))
    assert failure(sketch.model([out])) == (
        "error[model]: 3 nodes of the model cannot be compiled\n"
        "  MaxPool 'pool': compares encrypted values\n"
        '    from: File "/home/a/train.py", line 12, in forward: x = self.pool(x)\n'
        "    instead: use average pooling (torch.nn.AvgPool1d or 2d) and train again\n"
        "  LayerNormalization 'norm': divides by a deviation computed from the encrypted values "
        "themselves\n"
        "    instead: use batch normalisation (torch.nn.BatchNorm1d or 2d), which uses trained "
        "statistics\n"
        "  LogSoftmax 'attention': takes a logarithm of encrypted values inside the network\n"
        "    instead: only as the last layer (the client computes it then); inside, use Softmax, "
        "or a sigmoid\n"
        "   at: sketch\n"
        " hint: change these lines of the PyTorch module, train and export again"
    )


def test_later_problems_are_found_behind_a_node_of_unknown_shape(sketch_type: Any) -> None:
    sketch = sketch_type()
    odd = helper.make_node("Mystery", [sketch.input("N", 4)], ["odd"], "odd", domain="acme")
    sketch.nodes.append(odd)
    out = sketch("TopK", sketch("Relu", "odd"), np.array([1]), outputs=2, name="best")[0]
    proto = onnx.helper.make_model(
        helper.make_graph(
            sketch.nodes,
            "g",
            sketch.inputs,
            [helper.make_tensor_value_info(out, 1, ["N", 1])],
            sketch.weights,
        ),
        opset_imports=[helper.make_opsetid("", 18), helper.make_opsetid("acme", 1)],
        ir_version=10,
    )
    text = failure(proto)
    assert "2 nodes of the model cannot be compiled" in text
    assert "Mystery 'odd': is not an operation that eer can compile" in text
    assert "TopK 'best': chooses elements by encrypted values" in text


def test_nodes_that_no_output_needs_do_not_matter(sketch_type: Any) -> None:
    sketch = sketch_type()
    x = sketch.input("N", 4)
    sketch("ReduceMax", x)
    assert len(import_graph(load_onnx(sketch.model([sketch("Neg", x)]))).nodes) == 2


def test_problems_stand_in_the_order_of_the_graph(sketch_type: Any) -> None:
    """A root of what may be negative is only found at the end; it is listed in its place."""
    sketch = sketch_type()
    x = sketch.input("N", 4)
    shares = sketch("Sqrt", sketch("ReduceSum", x, np.array([1])))
    text = failure(sketch.model([sketch("Round", sketch("MatMul", shares, np.ones((1, 2))))]))
    assert "2 nodes" in text
    assert text.index("Sqrt 'sqrt_1': takes a root") < text.index("Round 'round_3'")


@pytest.mark.parametrize(
    ("op", "attributes", "advice"),
    [
        ("GlobalMaxPool", {}, "average pooling"),
        ("LpNormalization", {"axis": 1}, "BatchNorm1d"),
        ("InstanceNormalization", {}, "BatchNorm1d"),
        ("ReduceMax", {}, "use the mean"),
        ("ReduceL2", {}, "sum of squares"),
        ("Floor", {}, "after decryption"),
        ("Tan", {}, "tanh"),
        ("RandomNormalLike", {}, "module.eval()"),
        ("Bernoulli", {}, "module.eval()"),
        ("ArgMin", {"axis": 1}, "choose the smallest after decryption"),
        ("Hardmax", {}, "choose the largest after decryption"),
    ],
)
def test_advice(sketch_type: Any, op: str, attributes: dict[str, Any], advice: str) -> None:
    sketch = sketch_type()
    more = [np.ones(2), np.ones(2)] if op == "InstanceNormalization" else []
    out = sketch(op, sketch.input(1, 2, 4), *more, **attributes)
    proto = sketch.model([sketch("Cast", out, to=1)])
    assert advice in failure(proto)


@pytest.mark.parametrize(("op", "gates"), [("LSTM", 4), ("GRU", 3), ("RNN", 1)])
def test_recurrent_layers(sketch_type: Any, op: str, gates: int) -> None:
    sketch = sketch_type()
    x = sketch.input(5, 1, 2)
    weights = [np.ones((1, 3 * gates, 2)), np.ones((1, 3 * gates, 3))]
    text = failure(sketch.model([sketch(op, x, *weights, hidden_size=3)]))
    assert f"{op} '{op.lower()}_0': is a recurrent layer, which is not supported yet" in text
    assert "1-D convolution" in text


def test_indices_that_depend_on_data(sketch_type: Any) -> None:
    sketch = sketch_type()
    x = sketch.input(1, 4)
    whole = sketch("Cast", x, to=7)
    text = failure(sketch.model([sketch("Gather", np.ones((4, 2)), whole)]))
    assert "Cast 'cast_0': rounds an encrypted value to an integer or a truth value" in text


def test_training_mode(sketch_type: Any) -> None:
    sketch = sketch_type()
    x = sketch.input("N", 4)
    dropped = sketch("Dropout", x, np.float32(0.5), np.bool_(True), outputs=2)[0]
    norm = sketch("BatchNormalization", dropped, *[np.ones(4)] * 4, training_mode=1, outputs=3)[0]
    text = failure(sketch.model([norm]))
    assert "2 nodes" in text
    assert text.count("call module.eval() before the export") == 2


def test_a_matrix_beyond_all_bounds(sketch_type: Any) -> None:
    sketch = sketch_type()
    out = sketch("MatMul", sketch.input("N", 9000, 100), np.ones((100, 100)))
    assert "is a linear map of 90,000,000 coefficients" in failure(sketch.model([out]))


def test_counting_the_windows_of_a_batch(sketch_type: Any) -> None:
    """x / len(x): the result would depend on how many windows are sent together."""
    sketch = sketch_type()
    x = sketch.input("N", 4)
    count = sketch("Cast", sketch("Shape", x, start=0, end=1), to=1)
    assert "computes with the number of windows in the batch" in failure(
        sketch.model([sketch("Div", x, count)])
    )


@pytest.mark.parametrize(
    ("recorded", "expected"),
    [
        (TRACE, 'File "/home/a/train.py", line 12, in forward: x = self.pool(x)'),
        ('File "a.py", line 3, in f', 'File "a.py", line 3, in f'),
        ("", None),
        ("no frames here", None),
        (
            'File "/x/site-packages/own/model.py", line 3, in f\n    go()',
            'File "/x/site-packages/own/model.py", line 3, in f: go()',
        ),
    ],
)
def test_source_line(recorded: str, expected: str | None) -> None:
    node = helper.make_node("Relu", ["x"], ["y"])
    node.metadata_props.add(key=STACK_TRACE, value=recorded)
    assert source_line(node) == expected


def test_a_real_export_points_into_the_module() -> None:
    torch = pytest.importorskip("torch")

    class Recurrent(torch.nn.Module):  # type: ignore[misc, name-defined]
        def __init__(self) -> None:
            super().__init__()
            self.lstm = torch.nn.LSTM(4, 5, batch_first=True)
            self.norm = torch.nn.LayerNorm(5)
            self.head = torch.nn.Linear(5, 2)

        def forward(self, x: Any) -> Any:
            x = torch.nn.functional.max_pool1d(x, 2)
            states, _ = self.lstm(x.transpose(1, 2))
            weights = torch.softmax(self.norm(states), dim=1)
            return self.head((weights * states).amax(1))

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        text = failure(export_torch(Recurrent(), torch.zeros(1, 4, 16)))
    assert "4 nodes of the model cannot be compiled" in text
    for op, code in (
        ("MaxPool", "x = torch.nn.functional.max_pool1d(x, 2)"),
        ("LSTM", "states, _ = self.lstm(x.transpose(1, 2))"),
        ("LayerNormalization", "weights = torch.softmax(self.norm(states), dim=1)"),
        ("ReduceMax", "return self.head((weights * states).amax(1))"),
    ):
        item = text[text.index(f"  {op} '") :].splitlines()
        assert item[1].startswith('    from: File "')
        assert "test_unsupported.py" in item[1]
        assert item[1].endswith(f"in forward: {code}")
        assert item[2].startswith("    instead: ")
