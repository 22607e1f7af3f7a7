"""Any input may be encrypted: weights at run time, public inputs, products of ciphertexts."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper, shape_inference

from eer.compiler import Options, compile_model
from eer.compiler.backend.absorb import absorb
from eer.compiler.backend.contract import contract
from eer.compiler.backend.emit import emit
from eer.compiler.backend.levels import assign_levels
from eer.compiler.backend.planner import Search, plan_graph
from eer.compiler.cost import CostModel
from eer.compiler.frontend import Reference, Roles, import_graph, load_onnx
from eer.compiler.ir import interpret
from eer.compiler.ir.tensor import Contraction
from eer.compiler.passes.merge_affine import merge_affine
from eer.compiler.verification import verify
from eer.runtime.bundle import load_model
from eer.runtime.client import Client
from eer.runtime.engines import open_engine
from eer.runtime.errors import DataError, ParameterError, UsageError
from eer.runtime.server import Server
from tests.backend.networks import run_clear

RNG = np.random.default_rng(0)


def onnx_model(
    nodes: list[Any],
    inputs: dict[str, tuple[Any, ...]],
    outputs: list[str],
    weights: dict[str, np.ndarray] | None = None,
) -> Any:
    graph = helper.make_graph(
        nodes,
        "net",
        [helper.make_tensor_value_info(n, TensorProto.FLOAT, s) for n, s in inputs.items()],
        [helper.make_tensor_value_info(n, TensorProto.FLOAT, None) for n in outputs],
        [
            numpy_helper.from_array(w.astype(np.float32) if w.dtype == np.float64 else w, n)
            for n, w in (weights or {}).items()
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    return shape_inference.infer_shapes(model)


def head(batch: Any = "N") -> Any:
    """8 -> 6 -> square -> 2."""
    weights = {
        "trunk.weight": RNG.normal(size=(6, 8)) / 3,
        "trunk.bias": RNG.normal(size=6) / 3,
        "head.weight": RNG.normal(size=(2, 6)) / 3,
        "head.bias": RNG.normal(size=2) / 3,
    }
    nodes = [
        helper.make_node("Gemm", ["x", "trunk.weight", "trunk.bias"], ["t"], "trunk", transB=1),
        helper.make_node("Mul", ["t", "t"], ["h"], "square"),
        helper.make_node("Gemm", ["h", "head.weight", "head.bias"], ["y"], "head", transB=1),
    ]
    return onnx_model(nodes, {"x": (batch, 8)}, ["y"], weights)


@pytest.mark.parametrize(("engine", "batch"), [("clear", 1), ("seal", 4)])
def test_a_personal_head_costs_a_level_at_most(engine: str, batch: int, tmp_path: Path) -> None:
    model, x = head(), RNG.normal(size=(64, 8))
    plain = compile_model(model, x, Options(effort="low"))
    names = ("head.weight", "head.bias")
    personal = compile_model(model, x, Options(encrypt_weights=names, effort="low", batch=batch))
    depth = personal.report["program"]["products_deep"]
    # Known weights move into the squares before them; a user's own are multiplied with.
    assert depth <= plain.report["program"]["products_deep"] + 1
    assert {s.name: s.role for s in personal.client.inputs} == {
        "x": "window",
        "head.weight": "state",
        "head.bias": "state",
    }
    personal.save(tmp_path / "personal.eer")
    bundle = load_model(tmp_path / "personal.eer")
    opened = open_engine(bundle.client.params, engine)
    client = Client(bundle.client, opened, range_check="off")
    server = Server(bundle.server, client.generate_keys().evaluation, opened)
    own = {"head.weight": RNG.normal(size=(2, 6)) / 3, "head.bias": RNG.normal(size=2)}
    state = server.load_state(client.encrypt_state(own))
    found = client.decrypt(server.run(client.encrypt({"x": x[:batch]}), state=state)).outputs["y"]
    w = {t.name: numpy_helper.to_array(t) for t in model.graph.initializer}
    h = (x[:batch] @ w["trunk.weight"].T + w["trunk.bias"]) ** 2
    np.testing.assert_allclose(found, h @ own["head.weight"].T + own["head.bias"], atol=0.02)


def test_the_client_sums_what_a_personal_head_multiplies() -> None:
    """No rotation after the product, and answers as if there were folds."""
    x = RNG.normal(size=(64, 8))
    names = ("head.weight", "head.bias")
    personal = compile_model(head(), x, Options(encrypt_weights=names, effort="low"))
    layer = next(r for r in personal.report["layers"] if r["name"] == "head")
    assert layer["method"] == "as it lies, summed by the client"
    assert layer["rotations"] == 0
    (scores,) = personal.client.outputs
    assert np.bincount(scores.elements).tolist() == [6, 6]
    own = {"head.weight": RNG.normal(size=(2, 6)) / 3, "head.bias": RNG.normal(size=2)}
    found, wanted = (
        run({"x": x[:5]} | own)["y"] for run in (personal.simulated, personal.plaintext)
    )
    np.testing.assert_allclose(found, wanted, atol=0.02)


@pytest.mark.parametrize("kept", [False, True])
def test_a_state_is_folded_for_it_goes_back_as_it_is(kept: bool) -> None:
    loaded = load_onnx(head(), Roles(("head.weight", "head.bias")))
    graph = merge_affine(import_graph(loaded))
    if kept:
        outputs = tuple(replace(output, state="head.bias") for output in graph.outputs)
        graph = replace(graph, outputs=outputs)
    scheduled = contract(absorb(graph), computed=True)
    plan = plan_graph(scheduled, 256, CostModel(13), Search(2, 1, 1))
    (made,) = plan.contractions.values()
    assert (made.parts is None, made.strides == ()) == (kept, not kept)


def test_a_personal_model_is_verified_with_its_trained_weights() -> None:
    x = RNG.normal(size=(64, 8))
    compiled = compile_model(
        head(1), x, Options(encrypt_weights=("head.weight", "head.bias"), effort="low")
    )
    assert len(compiled.client.input_levels) > 1
    assert compiled.report["sizes"]["input_ciphertexts"] == 1, "the server keeps the weights"
    found = verify(compiled, x, "clear", windows=4)
    assert found.total.max_error < 1e-5
    assert found.packing is not None
    assert found.packing.max_error < 1e-9


def test_public_inputs_are_constants() -> None:
    nodes = [
        helper.make_node("Mul", ["x", "rate"], ["s"], "scale"),
        helper.make_node("Mul", ["s", "x"], ["y"], "square"),
    ]
    model = onnx_model(nodes, {"x": ("N", 4), "rate": (1,)}, ["y"])
    x = RNG.normal(size=(64, 4))
    data = {"x": x, "rate": np.full((64, 1), 0.5)}
    compiled = compile_model(model, data, Options(encrypted=("x",)))
    assert [s.name for s in compiled.client.inputs] == ["x"]
    np.testing.assert_allclose(compiled.simulated(x)["y"], 0.5 * x * x, atol=1e-6)
    data["rate"][3] = 0.6
    with pytest.raises(DataError, match="'rate' is not encrypted, and varies"):
        compile_model(model, data, Options(encrypted=("x",)))
    with pytest.raises(UsageError, match="no input of the model is named 'z'"):
        compile_model(model, data, Options(encrypted=("z",)))


def test_names_of_weights_and_state_are_checked() -> None:
    with pytest.raises(UsageError, match=r"no weight of the model is named 'head\.w'"):
        load_onnx(head(), Roles(("head.w",)))
    x = RNG.normal(size=(16, 8))
    with pytest.raises(UsageError, match="an output 'z' that is not there"):
        compile_model(head(), x, Options(state={"z": "x"}))
    with pytest.raises(UsageError, match="'x', which has a batch axis"):
        compile_model(head(), x, Options(state={"y": "x"}))


SHAPES = st.integers(1, 5)


@st.composite
def two_operands(draw: st.DrawFn) -> tuple[Any, bool]:
    """A product of two encrypted tensors, or of one with a value computed from the other input,
    summed, scaled, transposed or added to; with whether an operand is computed."""
    m, k, n = draw(SHAPES), draw(SHAPES), draw(SHAPES)
    shape = {"a": (m, k), "b": (k, n), "c": (m, n)}
    computed = draw(st.booleans())
    nodes = []
    left = "a"
    if computed:
        nodes += [
            helper.make_node("Mul", ["a", "a"], ["s"], "square"),
            helper.make_node("Add", ["s", "half"], ["h"], "shift"),
        ]
        left = "h"
    kind = draw(st.sampled_from(["matmul", "gemm", "mul", "outer"]))
    match kind:
        case "matmul":
            nodes.append(helper.make_node("MatMul", [left, "b"], ["p"], "matmul"))
        case "gemm":
            shape["b"] = (n, k)
            nodes.append(
                helper.make_node("Gemm", [left, "b", "c"], ["p"], "gemm", transB=1, alpha=0.5)
            )
        case "mul":
            shape["b"], shape["c"] = (m, k), (m, k)
            nodes.append(helper.make_node("Mul", [left, "b"], ["p"], "mul"))
        case _:
            shape["b"], shape["c"] = (m, 1), (1, k)
            nodes += [
                helper.make_node("Mul", [left, "b"], ["q"], "broadcast"),
                helper.make_node("ReduceSum", ["q", "axis"], ["p"], "sum", keepdims=1),
            ]
    match draw(st.sampled_from(["plain", "add", "sub", "transpose"])):
        case "plain":
            nodes.append(helper.make_node("Identity", ["p"], ["y"], "end"))
        case "add":
            nodes.append(helper.make_node("Add", ["p", "c"], ["y"], "end"))
        case "sub":
            nodes.append(helper.make_node("Sub", ["c", "p"], ["y"], "end"))
        case _:
            nodes.append(helper.make_node("Transpose", ["p"], ["y"], "end", perm=[1, 0]))
    used = {name for node in nodes for name in node.input}
    inputs = {name: s for name, s in shape.items() if name in used}
    weights = {"half": np.full(1, 0.5), "axis": np.array([0])}
    return onnx_model(nodes, inputs, ["y"], weights), computed


def rows(arrays: dict[str, Any]) -> list[dict[str, Any]]:
    """One window at a time."""
    return [{n: a[k : k + 1] for n, a in arrays.items()} for k in range(3)]


@settings(max_examples=15, deadline=None)
@given(two_operands(), st.booleans())
def test_products_of_ciphertexts_are_those_of_onnxruntime(
    drawn: tuple[Any, bool], boldly: bool
) -> None:
    model, computed = drawn
    loaded = load_onnx(model, Roles(whole=True))
    rng = np.random.default_rng(0)
    data = {i.name: rng.uniform(-1, 1, (3, *i.shape)) for i in loaded.inputs}
    graph = merge_affine(import_graph(loaded))
    flat = {n: a.reshape(3, -1) for n, a in data.items()}
    wanted = Reference(loaded).run(data)["y"].reshape(3, -1)
    np.testing.assert_allclose(interpret.outputs(graph, flat)["y"], wanted, atol=1e-5)
    scheduled = contract(absorb(graph), computed=boldly)
    assert any(isinstance(n.op, Contraction) for n in scheduled.nodes)
    if not computed:
        # One product, and one more level where a sum is scaled that nothing else takes up.
        assert max(assign_levels(scheduled)) <= 2
    np.testing.assert_allclose(interpret.outputs(scheduled, flat)["y"], wanted, atol=1e-5)
    try:
        plan = plan_graph(scheduled, 256, CostModel(13), Search(2, 1, 1))
    except ParameterError:
        assert boldly  # Then the operands are arranged by affine maps, which always have a plan.
        return
    found = [run_clear(scheduled, plan, emit(scheduled, plan), part)["y"] for part in rows(flat)]
    np.testing.assert_allclose(np.concatenate(found), wanted, atol=1e-5)
