"""What is checked before any node is: the file, opset, weights, inputs and outputs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from eer.compiler.frontend import Reference, import_graph, load_onnx
from eer.runtime.errors import DataError, EerError, FileError, ModelError


def model(sketch_type: Any, *shape: int | str, opset: int = 18, **options: Any) -> onnx.ModelProto:
    sketch = sketch_type(opset)
    x = sketch.input(*shape, **options)
    proto = sketch.model([sketch("MatMul", x, np.arange(12.0).reshape(4, 3))])
    assert isinstance(proto, onnx.ModelProto)
    return proto


def failure(source: Any, kind: type[EerError] = ModelError) -> str:
    with pytest.raises(kind) as caught:
        load_onnx(source)
    return str(caught.value)


@pytest.mark.parametrize("form", ["path", "string", "bytes", "proto"])
def test_sources(tmp_path: Path, sketch_type: Any, form: str) -> None:
    proto = model(sketch_type, "N", 4)
    path = tmp_path / "emotion.onnx"
    onnx.save(proto, path)
    forms: dict[str, Any] = {
        "path": path,
        "string": str(path),
        "bytes": path.read_bytes(),
        "proto": proto,
    }
    source = forms[form]
    loaded = load_onnx(source)
    assert loaded.name == ("emotion" if form in ("path", "string") else "sketch")
    assert loaded.opset == 18
    assert [(i.name, i.shape, i.batched, i.dtype) for i in loaded.inputs] == [
        ("x0", (4,), True, "float32")
    ]
    assert loaded.batch is None
    assert import_graph(loaded).outputs[0].shape == (3,)


def test_a_loaded_proto_is_a_copy(sketch_type: Any) -> None:
    proto = model(sketch_type, "N", 4)
    before = proto.SerializeToString()
    import_graph(load_onnx(proto))
    assert proto.SerializeToString() == before


@pytest.mark.parametrize("opset", [13, 15, 17, 20, 22])
def test_opsets(sketch_type: Any, opset: int) -> None:
    assert load_onnx(model(sketch_type, "N", 4, opset=opset)).opset == opset


def test_missing_file(tmp_path: Path) -> None:
    path = tmp_path / "none.onnx"
    assert failure(path, FileError) == (
        "error[file]: cannot read the model: No such file or directory\n"
        f"   at: {path}\n hint: check the path"
    )


@pytest.mark.parametrize("content", [b"", b"not a model", bytes(range(256)), b"\x08\x09"])
def test_not_an_onnx_file(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "m.onnx"
    path.write_bytes(content)
    text = failure(path)
    assert "not an ONNX model" in text
    assert f"at: {path}" in text
    assert "torch.onnx.export" in text


@pytest.mark.parametrize("share", [0.2, 0.5, 0.8, 0.97])
def test_truncated_file(sketch_type: Any, share: float) -> None:
    content = model(sketch_type, "N", 4).SerializeToString()
    failure(content[: int(len(content) * share)])


def test_a_pytorch_checkpoint(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    path = tmp_path / "weights.pt"
    torch.save({"w": torch.zeros(2)}, path)
    assert "this is a PyTorch checkpoint, not an ONNX model" in failure(path)


def test_old_opset(sketch_type: Any) -> None:
    assert failure(model(sketch_type, "N", 4, opset=11)) == (
        "error[model]: the model uses opset 11; 13 is the oldest supported\n"
        "   at: sketch\n"
        " hint: export it again with torch.onnx.export(..., opset_version=18)"
    )


def test_newer_opset_than_known(sketch_type: Any) -> None:
    proto = model(sketch_type, "N", 4)
    proto.opset_import[0].version = 999
    assert "the model uses opset 999; the installed onnx package knows up to" in failure(proto)


def test_invalid_graph(sketch_type: Any) -> None:
    proto = model(sketch_type, "N", 4)
    proto.graph.node[0].input[0] = "nowhere"
    assert "this is not a valid ONNX model: " in failure(proto)


def test_weights_that_are_not_finite(sketch_type: Any) -> None:
    sketch = sketch_type()
    x = sketch.input("N", 3)
    bad = sketch.weight(np.array([[1.0, np.nan, np.inf]]), "fc.weight")
    good = sketch.weight(np.ones((1, 3)), "other")
    proto = sketch.model([sketch("Add", sketch("Mul", x, bad), good)])
    assert failure(proto) == (
        "error[model]: weights are NaN or infinite: 'fc.weight' (2 of 3)\n"
        "   at: sketch\n"
        " hint: the training diverged: lower the learning rate or clip gradients, train again"
    )


def test_infinite_coefficients_made_by_folding(sketch_type: Any) -> None:
    sketch = sketch_type()
    x = sketch.input("N", 3)
    proto = sketch.model([sketch("Div", x, np.array([1.0, 0.0, 2.0]))])
    with pytest.raises(ModelError, match="has coefficients that are not finite"):
        import_graph(load_onnx(proto))


@pytest.mark.parametrize(
    ("shape", "text"),
    [
        (("N", "T", 4), "not only the batch axis has a variable length: axis 1 of 'x0' (T)"),
        ((1, "T", 4), "not only the batch axis has a variable length: axis 1 of 'x0' (T)"),
        ((0, 4), "input 'x0' has an axis of length 0"),
    ],
)
def test_input_shapes(sketch_type: Any, shape: tuple[int | str, ...], text: str) -> None:
    assert text in failure(model(sketch_type, *shape))


def test_several_batch_axes(sketch_type: Any) -> None:
    sketch = sketch_type()
    x, y = sketch.input("batch", 4, name="eda"), sketch.input("s7", 4, name="bvp")
    assert failure(sketch.model([sketch("Add", x, y)])) == (
        "error[model]: several axes could be the batch: batch of 'eda', s7 of 'bvp'\n"
        "   at: sketch\n"
        " hint: give axis 0 of all inputs the same name, or fix it with a batch of 1"
    )


@pytest.mark.parametrize("kind", [TensorProto.INT64, TensorProto.BOOL])
def test_integer_inputs(sketch_type: Any, kind: int) -> None:
    sketch = sketch_type()
    tokens = sketch.input("N", 4, name="tokens", kind=kind)
    table = np.ones((9, 2))
    whole = sketch("Cast", tokens, to=7)
    text = failure(sketch.model([sketch("Gather", table, whole)]))
    assert (
        f"input 'tokens' has type {'int64' if kind == 7 else 'bool'}; encrypted inputs are" in text
    )


@pytest.mark.parametrize("kind", [TensorProto.DOUBLE, TensorProto.FLOAT16])
def test_other_floats(same: Any, sketch_type: Any, kind: int) -> None:
    sketch = sketch_type()
    x = sketch.input("N", 4, kind=kind)
    out = sketch("MatMul", sketch("Cast", x, to=1), np.arange(12.0).reshape(4, 3))
    same(sketch.model([out]), tolerance=2e-2)


def test_constant_output(sketch_type: Any) -> None:
    sketch = sketch_type()
    x = sketch.input("N", 4)
    shape = sketch("Cast", sketch("Shape", x, start=1), to=1)
    proto = sketch.model([sketch("Neg", x), shape])
    with pytest.raises(ModelError) as caught:
        import_graph(load_onnx(proto))
    assert str(caught.value) == (
        "error[model]: output 'cast_1:0' is a constant: it does not depend on the input\n"
        "   at: sketch\n"
        " hint: return something computed from the input, or leave this output out"
    )


def test_no_input(sketch_type: Any) -> None:
    sketch = sketch_type()
    assert "the model has no input" in failure(sketch.model([sketch("Neg", np.ones(3))]))


def external(sketch_type: Any, folder: Path) -> Path:
    path = folder / "m.onnx"
    onnx.save(
        model(sketch_type, "N", 4),
        path,
        save_as_external_data=True,
        location="m.onnx.data",
        size_threshold=0,
    )
    return path


def test_external_weights(tmp_path: Path, sketch_type: Any, same: Any) -> None:
    path = external(sketch_type, tmp_path)
    same(path)
    assert "the weights are in other files ('m.onnx.data')" in failure(path.read_bytes())
    (tmp_path / "m.onnx.data").unlink()
    assert failure(path) == (
        "error[model]: the weights are in other files, of which these are missing: m.onnx.data\n"
        f"   at: {path}\n"
        " hint: copy them beside the .onnx file, or export with external_data=False"
    )


def test_truncated_external_weights(tmp_path: Path, sketch_type: Any) -> None:
    path = external(sketch_type, tmp_path)
    (tmp_path / "m.onnx.data").write_bytes(b"\0" * 8)
    failure(path)


def test_local_functions_are_inlined(same: Any) -> None:
    """The dynamo exporter may leave its own functions in the model."""
    body = [
        helper.make_node("Sigmoid", ["v"], ["s"]),
        helper.make_node("Mul", ["v", "s"], ["r"]),
    ]
    function = helper.make_function(
        "pkg.own", "Swish", ["v"], ["r"], body, [helper.make_opsetid("", 18)]
    )
    graph = helper.make_graph(
        [helper.make_node("Swish", ["x"], ["y"], domain="pkg.own")],
        "main",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 3])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", 3])],
    )
    opsets = [helper.make_opsetid("", 18), helper.make_opsetid("pkg.own", 1)]
    proto = helper.make_model(graph, functions=[function], opset_imports=opsets, ir_version=10)
    assert [getattr(n.op, "name", "") for n in same(proto).nodes] == ["x", "SiLU"]


@pytest.mark.parametrize("batch", ["N", 1, 3])
def test_reference_takes_any_number_of_windows(sketch_type: Any, batch: int | str) -> None:
    reference = Reference(load_onnx(model(sketch_type, batch, 4)))
    x = np.random.default_rng(0).standard_normal((7, 4))
    expected = x.astype(np.float32) @ np.arange(12.0, dtype=np.float32).reshape(4, 3)
    (result,) = reference.run({"x0": x}).values()
    np.testing.assert_allclose(result, expected, rtol=1e-5, atol=1e-5)


def test_reference_refuses_other_shapes(sketch_type: Any) -> None:
    reference = Reference(load_onnx(model(sketch_type, "N", 4)))
    with pytest.raises(DataError, match="input 'x0' has shape"):
        reference.run({"x0": np.zeros((2, 5))})
    with pytest.raises(DataError, match="no data for input x0"):
        reference.run({"y": np.zeros((2, 4))})
