"""Ops that move elements, against onnxruntime: for a symbolic batch axis, one window and three."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import helper

from eer.compiler.frontend import import_graph, load_onnx
from eer.compiler.ir.tensor import Affine, TensorGraph
from eer.runtime.errors import ModelError

Agree = Callable[..., TensorGraph]
quick = settings(max_examples=20, deadline=None, database=None, derandomize=True)


def ints(*values: int) -> Any:
    return np.array(values, dtype=np.int64)


@quick
@given(order=st.permutations([1, 2, 3]))
def test_transpose(agree: Agree, order: list[int]) -> None:
    agree(lambda s, x: s("Transpose", x, perm=[0, *order]), (2, 3, 4))


def test_transpose_of_the_batch_and_back(agree: Agree) -> None:
    def make(sketch: Any, x: str) -> Any:
        turned = sketch("Transpose", x, perm=[1, 0, 2])
        shifted = sketch("Add", turned, np.arange(12.0).reshape(4, 1, 3))
        return sketch("Transpose", shifted, perm=[1, 2, 0])

    agree(make, (4, 3))


@quick
@given(
    axis=st.integers(1, 3),
    start=st.integers(-6, 6),
    end=st.integers(-6, 6),
    step=st.sampled_from([-2, -1, 1, 2, 3]),
)
def test_slice(agree: Agree, axis: int, start: int, end: int, step: int) -> None:
    length = (4, 5, 6)[axis - 1]
    if not range(length)[start:end:step]:
        start, end, step = 0, length, abs(step)
    agree(lambda s, x: s("Slice", x, ints(start), ints(end), ints(axis), ints(step)), (4, 5, 6))


@quick
@given(axis=st.sampled_from([1, 2, -1, -2]), data=st.data())
def test_gather(agree: Agree, axis: int, data: st.DataObject) -> None:
    length = {1: 4, 2: 5, -1: 5, -2: 4}[axis]
    shape = data.draw(st.sampled_from([(), (1,), (3,), (2, 2)]))
    size = int(np.prod(shape, dtype=int))
    places = st.integers(-length, length - 1)
    chosen = data.draw(st.lists(places, min_size=size, max_size=size))
    indices = np.array(chosen, dtype=np.int64).reshape(shape)
    agree(lambda s, x: s("Gather", x, indices, axis=axis), (4, 5))


def test_gather_of_elements(agree: Agree) -> None:
    indices = np.array([[[0, 2], [1, 1], [-1, 0]]])

    def make(sketch: Any, x: str) -> Any:
        return sketch("GatherElements", x, indices, axis=1)

    agree(make, (3, 2), batches=(1,))


@quick
@given(
    pads=st.lists(st.integers(-1, 3), min_size=4, max_size=4),
    mode=st.sampled_from(["constant", "reflect", "edge"]),
    value=st.sampled_from([None, 0.0, 1.5]),
)
def test_pad(agree: Agree, pads: list[int], mode: str, value: float | None) -> None:
    before, after = pads[:2], pads[2:]
    if mode != "constant":
        before, after = [abs(p) for p in before], [abs(p) for p in after]
    whole = ints(0, *before, 0, *after)

    def make(sketch: Any, x: str) -> Any:
        filling = [np.float32(value)] if value is not None and mode == "constant" else []
        return sketch("Pad", x, whole, *filling, mode=mode)

    agree(make, (4, 5))


@quick
@given(axis=st.integers(1, 2), sizes=st.lists(st.integers(1, 3), min_size=1, max_size=3))
def test_split_and_concat(agree: Agree, axis: int, sizes: list[int]) -> None:
    shape = [3, 3]
    shape[axis - 1] = sum(sizes)

    def make(sketch: Any, x: str) -> Any:
        parts = sketch("Split", x, ints(*sizes), axis=axis, outputs=len(sizes))
        parts = [parts] if isinstance(parts, str) else list(parts)
        return sketch("Concat", *parts[::-1], *parts[:1], axis=axis)

    agree(make, tuple(shape))


def test_split_into_equal_parts(agree: Agree) -> None:
    agree(lambda s, x: s("Split", x, axis=1, num_outputs=3, outputs=3), (7,))
    agree(lambda s, x: s("Split", x, axis=1, outputs=3), (6,), opset=13)


def test_concat_with_constants(agree: Agree) -> None:
    """A learned token in front of every window, as torch writes it: expanded to the batch."""

    def make(sketch: Any, x: str) -> Any:
        count = sketch("Shape", x, start=0, end=1)
        shape = sketch("Concat", count, ints(1, 4), axis=0)
        token = sketch("Expand", np.arange(4.0).reshape(1, 1, 4), shape)
        return sketch("Concat", token, x, token, axis=1)

    agree(make, (3, 4))


@pytest.mark.parametrize(
    ("op", "arguments", "attributes"),
    [
        ("Expand", [np.array([1, 5, 2, 3])], {}),
        ("Tile", [np.array([1, 2, 1, 3])], {}),
        ("Flatten", [], {"axis": 1}),
        ("Flatten", [], {"axis": -1}),
        ("Flatten", [], {"axis": 2}),
        ("Squeeze", [np.array([1])], {}),
        ("Unsqueeze", [np.array([1, -1])], {}),
        ("Reshape", [np.array([0, -1])], {}),
        ("Reshape", [np.array([-1, 3, 2])], {}),
        ("Identity", [], {}),
        ("Dropout", [], {}),
        ("Cast", [], {"to": 1}),
        ("Trilu", [], {"upper": 0}),
    ],
)
def test_each(agree: Agree, op: str, arguments: list[Any], attributes: dict[str, Any]) -> None:
    def make(sketch: Any, x: str) -> Any:
        moved = sketch(op, x, *arguments, **attributes)
        # The batch must be back on axis 0 of its own where it was merged.
        return sketch("Reshape", moved, ints(-1, 1, 2, 3)) if op == "Flatten" else moved

    agree(make, (1, 2, 3))


@pytest.mark.parametrize("op", ["DepthToSpace", "SpaceToDepth"])
def test_depth_and_space(agree: Agree, op: str) -> None:
    agree(lambda s, x: s(op, x, blocksize=2), (4, 2, 4))


def test_scatter_of_constants(agree: Agree) -> None:
    mask = np.array([True, False, True])
    agree(lambda s, x: s("Where", mask, x, np.array([7.0, 8.0, 9.0])), (2, 3))
    agree(lambda s, x: s("Where", ~mask[None], 0 * np.ones(1), x), (2, 3))
    agree(lambda s, x: s("Compress", x, mask, axis=2), (2, 3))


def test_reshaping_costs_no_node(agree: Agree) -> None:
    def make(sketch: Any, x: str) -> Any:
        flat = sketch("Flatten", sketch("Unsqueeze", x, ints(2)))
        return sketch("Squeeze", sketch("Reshape", flat, ints(0, 3, 1, 4)), ints(2))

    assert len(agree(make, (4, 3)).nodes) == 1


def test_shape_arithmetic_is_folded(agree: Agree) -> None:
    """What exporters write for x.reshape(x.shape[0], x.shape[1] * x.shape[2])."""

    def make(sketch: Any, x: str) -> Any:
        shape = sketch("Shape", x)
        batch = sketch("Unsqueeze", sketch("Gather", shape, np.int64(0)), ints(0))
        sizes = sketch("Slice", shape, ints(1), ints(3), ints(0))
        product = sketch("ReduceProd", sizes, keepdims=1)
        flat = sketch("Reshape", x, sketch("Concat", batch, product, axis=0))
        steps = sketch("Range", np.int64(0), np.int64(12), np.int64(3))
        return sketch("Gather", flat, steps, axis=1)

    graph = agree(make, (4, 3))
    assert [type(n.op) for n in graph.nodes[1:]] == [Affine]


@pytest.mark.parametrize("target", [(1, 12), (1, -1), (5, 12)])
def test_batch_written_into_a_reshape(same: Any, sketch_type: Any, target: tuple[int, ...]) -> None:
    """The older exporter writes the example's batch size as a number, and says it is symbolic."""
    sketch = sketch_type()
    flat = sketch("Reshape", sketch.input("N", 3, 4), ints(*target))
    out = sketch("MatMul", flat, np.arange(24.0).reshape(12, 2) / 24)
    windows = 5 if target[0] == 5 else 1
    graph = same(sketch.model([out]), windows=windows)
    assert graph.outputs[0].shape == (2,)


def test_fixed_batch_of_one_may_be_dropped(agree: Agree) -> None:
    """With one window declared, taking it out of the batch changes nothing."""

    def make(sketch: Any, x: str) -> Any:
        one = sketch("Gather", x, np.int64(0), axis=0)
        return sketch("Unsqueeze", sketch("MatMul", one, np.eye(3)[:, :2]), ints(0))

    agree(make, (4, 3), batches=(1,))
    agree(lambda s, x: s("Squeeze", x, ints(0)), (4, 3), batches=(1,))


@pytest.mark.parametrize(
    "make",
    [
        lambda s, x: s("Gather", x, np.int64(0), axis=0),
        lambda s, x: s("Slice", x, ints(0), ints(1), ints(0)),
        lambda s, x: s("ReduceSum", s("Concat", x, x, axis=0), ints(0)),
        lambda s, x: s("Reshape", x, ints(4, -1)),
        lambda s, x: s("Softmax", x, axis=0),
        lambda s, x: s("CumSum", x, np.int64(0)),
        lambda s, x: s("ReduceMean", x, ints(0)),
        lambda s, x: s("ReduceSum", x),
        lambda s, x: s("MatMul", np.ones((2, 3)), x),
        lambda s, x: s("Add", x, np.arange(12.0).reshape(3, 4)),
        lambda s, x: s("MatMul", x, s("Transpose", x, perm=[1, 0])),
        lambda s, x: s("Add", x, s("Unsqueeze", x, ints(1))),
    ],
)
def test_mixing_windows_is_refused(sketch_type: Any, agree: Agree, make: Any) -> None:
    with pytest.raises(ModelError) as caught:
        agree(make, (4,), batches=(3,))
    assert "combines values of different windows: it works along the batch axis" in str(
        caught.value
    )


def test_a_symbolic_batch_cannot_be_dropped(sketch_type: Any) -> None:
    sketch = sketch_type()
    out = sketch("Squeeze", sketch.input("N", 4), ints(0))
    with pytest.raises(ModelError, match="combines values of different windows"):
        import_graph(load_onnx(sketch.model([out])))


def test_windows_must_be_on_the_first_axis_of_an_output(sketch_type: Any) -> None:
    sketch = sketch_type()
    out = sketch("Transpose", sketch.input("N", 4), perm=[1, 0])
    with pytest.raises(ModelError) as caught:
        import_graph(load_onnx(sketch.model([out])))
    assert str(caught.value) == (
        "error[model]: output 'transpose_0:0' does not have the windows of the batch on its first"
        " axis\n   at: sketch\n hint: transpose or reshape it to [batch, ...] before it is returned"
    )


def test_a_branch_on_a_shape(same: Any, sketch_type: Any) -> None:
    """An If whose condition is known is its branch, as the older exporter writes squeeze."""
    then_node = helper.make_node("Squeeze", ["x0", "axis"], ["squeezed"], "squeeze")
    else_node = helper.make_node("Identity", ["x0"], ["kept"], "keep")
    untyped = [onnx.ValueInfoProto(name=n) for n in ("squeezed", "kept")]
    for value in untyped:
        value.type.tensor_type.elem_type = 1
    sketch = sketch_type()
    x = sketch.input("N", 1, 3)
    sketch.weight(ints(1), "axis")
    length = sketch("Gather", sketch("Shape", x), np.int64(1))
    out = sketch(
        "If",
        sketch("Equal", length, np.int64(1)),
        then_branch=helper.make_graph([then_node], "then", [], untyped[:1]),
        else_branch=helper.make_graph([else_node], "else", [], untyped[1:]),
    )
    model = sketch.model([sketch("Neg", out)])
    # ONNX's shape inference does not see through the branches.
    result = helper.make_tensor_value_info(model.graph.output[0].name, 1, ["N", 3])
    model.graph.output[0].CopyFrom(result)
    assert same(model).outputs[0].shape == (3,)
