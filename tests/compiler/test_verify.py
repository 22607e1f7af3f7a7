"""`verify`: encrypted answers on a data set, the original's, and what stands between them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from eer.compiler import CompiledModel, Options, VerifyWarning, compile_model, verify
from eer.compiler.frontend import Reference, load_onnx
from eer.runtime.bundle import load_model, save_model
from eer.runtime.errors import ArtifactError, DataError, UsageError
from eer.runtime.fields import Json
from eer.runtime.params import MAX_LOG_QP_128
from tests.compiler.networks import Array, make, mlp

LABELS = ("calm", "tense", "happy")


@pytest.fixture(scope="module")
def compiled() -> CompiledModel:
    model, data = make(mlp)
    return compile_model(model, data, Options(max_degree=4, tolerance=0.05, labels=LABELS))


@pytest.fixture(scope="module")
def file(compiled: CompiledModel, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("verify") / "model.eer"
    compiled.save(path)
    return path


@pytest.fixture(scope="module")
def windows() -> Array:
    return make(mlp)[1]["x"]


def test_everything_a_script_asks_for(file: Path, windows: Array) -> None:
    seen: list[tuple[int, int]] = []
    found = verify(
        file, windows, windows=5, progress=lambda done, total: seen.append((done, total))
    )
    plain = found.to_json()
    bundle = load_model(file)
    assert seen == [(k, 5) for k in range(1, 6)]
    assert plain["windows"] == 5
    assert plain["agreement"] == 1.0
    assert plain["class_flips"] == 0
    assert plain["engine"] == "seal"
    assert plain["ring_dimension"] == bundle.client.params.ring_dimension
    assert plain["security_bits"] == 128
    assert plain["precision_bits"] == pytest.approx(found.total.precision_bits)
    # Read back from the library: true primes lie just below their nominal sizes.
    assert plain["log_qp"] != bundle.client.params.log_qp
    assert plain["log_qp"] == pytest.approx(bundle.client.params.log_qp, abs=0.1)
    assert plain["log_qp"] <= MAX_LOG_QP_128[bundle.client.params.log_n]
    predicted = plain["predicted"]
    assert set(predicted["cpu_ms"]) == {"encrypt", "run", "decrypt", "total"}
    assert predicted["cpu_ms"]["run"]["measured"] == plain["stages_cpu_ms"]["run"]
    for row in predicted["cpu_ms"].values():
        assert row["error"] == pytest.approx(row["predicted"] / row["measured"] - 1)
        # How near depends on the machine and on what else it does: only the order of magnitude.
        assert 0.1 < row["predicted"] / row["measured"] < 10
    for name in ("question", "answer", "evaluation_keys"):
        assert abs(predicted["bytes"][name]["error"]) < 0.1
    assert abs(predicted["bytes"]["server_peak"]["error"]) < 0.3
    stages = plain["stages_ms"]
    assert all(stages[s] > 0 for s in ("encrypt", "run", "decrypt"))
    assert max(stages["encrypt"], stages["run"]) < plain["latency_ms"] < 60_000
    assert 0 < plain["cpu_ms"] < 60_000
    for step in ("approximation", "packing", "noise"):
        assert plain[step]["windows"] == 5


def test_workers_give_the_same_answers(file: Path, windows: Array) -> None:
    """Windows in their order, whether a worker or this process took them."""
    seen: list[int] = []
    alone = verify(file, windows, "clear", windows=9)
    shared = verify(
        file, windows, "clear", windows=9, workers=2, progress=lambda done, _: seen.append(done)
    )
    assert seen == list(range(1, 10))
    (name,) = alone.outputs
    np.testing.assert_array_equal(shared.outputs[name], alone.outputs[name])
    assert len(np.unique(alone.outputs[name], axis=0)) == 9
    assert shared.total.class_flips == alone.total.class_flips == 0


def test_the_answers_are_those_of_the_original(file: Path, windows: Array) -> None:
    found = verify(file, windows, windows=4)
    onnx = load_model(file).onnx
    assert onnx is not None
    (name,) = found.outputs
    picked = [0, 21, 42, 63]
    wanted = Reference(load_onnx(onnx)).run({"x": windows[picked]})[name]
    error = np.abs(found.outputs[name] - wanted).max()
    assert error == pytest.approx(found.total.max_error)
    assert error < 0.5
    assert found.total.class_flips == (
        (found.outputs[name].argmax(axis=1) != wanted.argmax(axis=1)).sum()
    )


def test_a_compiled_model_a_bundle_and_a_file_are_all_the_same(
    compiled: CompiledModel, file: Path, windows: Array
) -> None:
    for model in (compiled, load_model(file), str(file)):
        found = verify(model, {"x": windows}, "clear", windows=8)
        assert found.packing is not None
        assert found.packing.max_error < 1e-12
        assert found.noise.max_error < 1e-12
        assert found.model_id == compiled.client.model_id


def test_true_labels_give_accuracies(file: Path, windows: Array, tmp_path: Path) -> None:
    onnx = load_model(file).onnx
    assert onnx is not None
    (scores,) = Reference(load_onnx(onnx)).run({"x": windows}).values()
    true = scores.argmax(axis=1)
    true[0] = (true[0] + 1) % 3
    np.savez(tmp_path / "data.npz", x=windows, labels=np.array(LABELS)[true])
    found = verify(file, tmp_path / "data.npz", "clear")
    assert found.accuracy is not None
    assert found.accuracy.original == 63 / 64
    assert found.accuracy.encrypted == pytest.approx(63 / 64, abs=0.05)
    assert verify(file, windows, "clear", windows=3).accuracy is None


def test_labels_that_fit_no_class_are_left_out_with_a_warning(file: Path, windows: Array) -> None:
    with pytest.warns(VerifyWarning, match="labels go from 3 to 5; output .* has classes 0 to 2"):
        found = verify(file, windows, "clear", 4, labels=np.arange(64) % 3 + 3)
    assert found.accuracy is None
    with pytest.raises(DataError, match="2 labels for 64 windows"):
        verify(file, windows, "clear", labels=[0, 1])


def test_windows_out_of_range_are_counted_and_run_all_the_same(file: Path, windows: Array) -> None:
    wild = windows[:4].copy()
    wild[2, 5] = 50.0
    with pytest.warns(VerifyWarning, match="1 of 4 windows lie outside the calibrated range"):
        found = verify(file, wild, "clear")
    assert found.refused == 1
    assert found.to_json()["refused_windows"] == 1
    assert found.windows == 4


def test_a_file_without_the_original_cannot_be_verified(
    compiled: CompiledModel, windows: Array, tmp_path: Path
) -> None:
    path = tmp_path / "bare.eer"
    save_model(path, compiled.client, compiled.server, compiled.report)
    with pytest.raises(ArtifactError, match="does not hold the ONNX original") as caught:
        verify(path, windows)
    assert caught.value.where == str(path)
    assert caught.value.hint


def test_a_report_of_something_else_leaves_packing_unknown(
    compiled: CompiledModel, windows: Array
) -> None:
    reports: list[Json] = [{}, {"polynomials": []}, {"polynomials": [{"node": 1}]}]
    for report in reports:
        found = verify(replace(compiled.bundle(), report=report), windows, "clear", 3)
        assert found.packing is None
        assert found.to_json()["packing"] is None
        assert found.approximation.max_error == pytest.approx(found.total.max_error)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (np.zeros((4, 7)), r"has shape \[4, 7\]; the model wants \[windows, 8\]"),
        (np.full((4, 8), np.inf), "NaN or infinite"),
        (np.full((4, 8), "a"), "not real numbers"),
        ({"y": np.zeros((4, 8))}, "input 'x' is missing"),
    ],
    ids=["shape", "infinite", "text", "name"],
)
def test_data_that_does_not_fit(compiled: CompiledModel, data: Array, reason: str) -> None:
    with pytest.raises(DataError, match=reason):
        verify(compiled, data)


def test_engines_that_cannot(compiled: CompiledModel, windows: Array) -> None:
    with pytest.raises(UsageError, match="no engine named 'nope'"):
        verify(compiled, windows, "nope")
    with pytest.raises(UsageError, match="computes no values"):
        verify(compiled, windows, "dry")
    with pytest.raises(UsageError, match="0 windows were asked for"):
        verify(compiled, windows, windows=0)
    with pytest.raises(UsageError, match="compiled for seal, and desilo has other") as caught:
        verify(compiled, windows, "desilo")
    assert caught.value.hint == "compile it again with --engine desilo"
