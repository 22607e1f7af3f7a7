"""The report: complete, true, the same for the same input; and `eer explain`, which shows it."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from eer.compiler import CompiledModel, CompileWarning, Options, compile_model
from eer.compiler.frontend import Reference, load_onnx
from eer.compiler.sizes import sizes_json
from eer.runtime.bundle import load_model
from eer.runtime.client import Client
from eer.runtime.errors import DataError, ParameterError, UsageError
from eer.runtime.fields import Json
from eer.runtime.params import MAX_LOG_QP_128
from eer.runtime.server import Server
from tests.compiler.networks import Array, Net, make, mlp

OPTIONS = Options(max_degree=4, tolerance=0.05, labels=("calm", "tense", "happy"))


@pytest.fixture(scope="module")
def compiled() -> CompiledModel:
    model, data = make(mlp)
    return compile_model(model, data, OPTIONS)


def without_timings(report: Json) -> Json:
    return {k: v for k, v in report.items() if k != "compile_seconds"}


def test_the_same_input_gives_the_same_file_and_report(compiled: CompiledModel) -> None:
    model, data = make(mlp)
    again = compile_model(model, data, OPTIONS)
    assert again.client.model_id == compiled.client.model_id
    assert again.to_bytes() == compiled.to_bytes()
    assert json.dumps(without_timings(again.report)) == json.dumps(without_timings(compiled.report))
    model, data = make(mlp, seed=1)
    assert compile_model(model, data, OPTIONS).client.model_id != compiled.client.model_id


def test_timings_stand_outside_the_file(compiled: CompiledModel, tmp_path: Path) -> None:
    seconds = compiled.report["compile_seconds"]
    stages = {k: v for k, v in seconds.items() if k != "total"}
    assert list(stages)[:2] == ["reading the model", "merging linear layers"]
    assert sum(stages.values()) == pytest.approx(seconds["total"])
    compiled.save(tmp_path / "m.eer", tmp_path / "m.json")
    kept = load_model(tmp_path / "m.eer").report
    assert kept == without_timings(json.loads((tmp_path / "m.json").read_text()))


def test_accuracy_is_what_the_references_say(compiled: CompiledModel) -> None:
    model, data = make(mlp)
    accuracy = compiled.report["accuracy"]
    name = compiled.client.outputs[0].name
    exact = Reference(load_onnx(model)).run(data)[name]
    polynomial = compiled.plaintext(data)[name]
    error = np.abs(exact - polynomial)
    assert accuracy["polynomials"]["windows"] == len(data["x"]) == 64
    assert accuracy["polynomials"]["max_error"] == pytest.approx(error.max())
    flips = (exact.argmax(axis=1) != polynomial.argmax(axis=1)).sum()
    assert accuracy["polynomials"]["class_flips"] == flips
    assert accuracy["layouts"]["max_error"] < 1e-12
    assert accuracy["noise"]["max_error"] > 0
    assert accuracy["total"]["max_error"] <= (
        accuracy["polynomials"]["max_error"] + accuracy["noise"]["max_error"] + 1e-9
    )


def test_activations_tell_interval_degree_and_error(compiled: CompiledModel) -> None:
    (fit,) = compiled.report["activations"]["fits"]
    assert fit["function"] == "SiLU"
    assert "mul" in fit["name"]
    assert fit["low"] < fit["high"]
    (kept,) = compiled.report["polynomials"]
    assert len(kept["chebyshev"]) - 1 == fit["degree"] <= 4
    # The error on the interval, found again from the coefficients that the report keeps.
    worst = 0.0
    for column, center, radius in zip(
        np.transpose(kept["chebyshev"]), kept["center"], kept["radius"], strict=True
    ):
        t = np.linspace(-1.0, 1.0, 2001)
        x = center + radius * t
        value = np.polynomial.chebyshev.chebval(t, column)
        worst = max(worst, float(np.abs(value - x / (1.0 + np.exp(-x))).max()))
    assert fit["max_error"] == pytest.approx(worst, rel=0.02)


def test_parameters_and_layers_add_up(compiled: CompiledModel) -> None:
    report = compiled.report
    assert report["step"] is None
    parameters = report["parameters"]
    assert parameters["log_qp"] == sum(parameters["log_q"]) + sum(parameters["log_p"])
    log_n = int(np.log2(parameters["ring_dimension"]))
    assert parameters["log_qp"] <= parameters["log_qp_limit"] == MAX_LOG_QP_128[log_n]
    layers = report["layers"]
    # The last layer's weights are in the map before the squares.
    assert [layer["kind"] for layer in layers] == ["affine", "activation"]
    assert layers[0]["name"] == "first, last"
    for one, next_one in pairwise(layers):
        assert one["depth_out"] == next_one["depth_in"]
        assert one["level_out"] == next_one["level_in"] <= one["level_in"]
    operations = report["program"]["operations"]
    assert sum(layer["rotations"] for layer in layers) == operations["rotate"]
    products = operations.get("multiply_cipher", 0) + operations.get("square", 0)
    assert sum(layer["cipher_products"] for layer in layers) == products
    computed = report["predicted"]["run_ms"]["compute"]
    assert sum(layer["predicted_ms"] for layer in layers) == pytest.approx(computed)
    stages = report["predicted"]["stages_ms"]
    assert sum(stages[s] for s in ("encrypt", "run", "decrypt")) == pytest.approx(stages["total"])
    assert report["predicted_ms"] == stages["total"]
    assert report["sizes"]["galois_keys"] == len(report["program"]["rotation_steps"])


@pytest.mark.parametrize("engine", ["seal", "desilo"])
def test_sizes_are_those_of_the_files(engine: str) -> None:
    model, data = make(mlp)
    compiled = compile_model(model, data, Options(engine=engine, max_degree=4, tolerance=0.05))
    client = Client(compiled.client)
    sizes = sizes_json(compiled.client, compiled.server.program)
    keys = client.generate_keys()
    near = 0.1 if engine == "seal" else 0.001
    assert sizes["evaluation_key_bytes"] == pytest.approx(len(keys.evaluation), rel=near)
    message = client.encrypt(data["x"][:1])
    assert sizes["upload_bytes"] == pytest.approx(len(message), rel=near)
    server = Server(compiled.server, keys.evaluation)
    assert sizes["download_bytes"] == pytest.approx(len(server.run(message)), rel=near, abs=1024)


def test_without_data_the_assumption_is_a_warning_and_in_the_report() -> None:
    model, _ = make(mlp)
    with pytest.warns(CompileWarning, match=r"assumed to lie in \[-2, 2\]"):
        compiled = compile_model(
            model, None, Options(max_degree=4, tolerance=0.1, input_range=(-2.0, 2.0))
        )
    assert compiled.report["accuracy"]["calibrated"] is False
    assert sum("no calibration data" in w for w in compiled.report["warnings"]) == 1
    assert not compiled.client.inputs[0].calibrated
    assert compiled.client.inputs[0].low.min() == -2.0


def test_few_rows_and_a_tolerance_that_is_missed_are_warnings() -> None:
    model, data = make(mlp)
    with pytest.warns(CompileWarning) as caught:
        compiled = compile_model(
            model, data["x"][:20], Options(degrees={"mul_2": 2}, tolerance=0.0)
        )
    texts = [str(w.message) for w in caught]
    assert texts == compiled.report["warnings"]
    assert any("only 20 calibration windows" in t for t in texts)
    assert any("do not meet the tolerance of 0" in t for t in texts)


def test_a_degree_is_taken_as_given() -> None:
    model, data = make(mlp)
    compiled = compile_model(model, data, Options(degrees={"mul_2": 3}, tolerance=0.3))
    assert [f["degree"] for f in compiled.report["activations"]["fits"]] == [3]
    with pytest.raises(UsageError, match="no activation comes from a node named 'nope'") as caught:
        compile_model(model, data, Options(degrees={"nope": 3}))
    assert "mul_2" in str(caught.value.hint)


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"engine": "clear"}, "nothing is compiled for engine 'clear'"),
        ({"tolerance": 1.5}, "the tolerance is 1.5"),
        ({"tolerance": float("nan")}, "the tolerance is nan"),
        ({"input_range": (3.0, -3.0)}, "the input range is 3.0 to -3.0"),
        ({"batch": 3}, "the batch is 3"),
        ({"margin": -0.1}, "the margin is -0.1"),
        ({"effort": "heroic"}, "the effort is 'heroic'"),
        ({"labels": ("a", "a")}, "two labels are the same"),
    ],
    ids=lambda v: "-".join(v) if isinstance(v, dict) else "",
)
def test_options_that_cannot_be(options: Json, reason: str) -> None:
    with pytest.raises(UsageError, match=reason) as caught:
        Options(**options)
    assert caught.value.hint


def test_less_than_128_bits_is_refused() -> None:
    with pytest.raises(ParameterError, match="80-bit security was asked for"):
        Options(security=80)


def test_labels_need_a_class_each() -> None:
    model, data = make(mlp)
    with pytest.raises(UsageError, match=r"2 labels were given \(yes, no\)"):
        compile_model(model, data, Options(labels=("yes", "no")))


def _data(change: str) -> tuple[dict[str, Array], str]:
    _, data = make(mlp)
    x = data["x"]
    match change:
        case "name":
            return {"windows": x}, r"calibration data is for inputs \['windows'\]"
        case "shape":
            return {"x": x.reshape(64, 4, 2)}, r"has shape \[64, 4, 2\]; the model wants \[window"
        case "text":
            return {"x": np.full((64, 8), "a")}, "are not numbers"
        case "nan":
            x[5, 3] = np.nan
            return data, "not finite, the first at window 5, element 3"
        case _:
            return {"x": x[:7]}, "7 windows are too few"


@pytest.mark.parametrize("change", ["name", "shape", "text", "nan", "few"])
def test_calibration_data_that_does_not_fit(change: str) -> None:
    model, _ = make(mlp)
    data, reason = _data(change)
    with pytest.raises(DataError, match=reason):
        compile_model(model, data)


def test_labels_beside_the_inputs_are_no_input() -> None:
    net = Net()
    model = net.model(net.linear(net.input(4), 4, 2))
    data = net.data()
    compiled = compile_model(model, {**data, "y": np.zeros(64)})
    assert [i["name"] for i in compiled.report["inputs"]] == ["x"]
