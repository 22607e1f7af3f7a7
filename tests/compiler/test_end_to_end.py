"""From PyTorch to decrypted answers, on every engine: the three references agree."""

from __future__ import annotations

import numpy as np
import pytest

from eer.compiler import CompiledModel, Options, compile_model
from eer.runtime.client import Client
from eer.runtime.engines import open_engine
from eer.runtime.server import Server
from tests.compiler.models import MODELS, Windows, make, original

WINDOWS = 3


def answers(compiled: CompiledModel, windows: Windows, engine: str) -> np.ndarray:
    """The first output of some windows, through both roles and their files."""
    opened = open_engine(compiled.client.params, engine)
    client = Client(compiled.client, opened)
    keys = client.generate_keys()
    server = Server(compiled.server, keys.evaluation, opened)
    found = [client.decrypt(server.run(m)) for m in client.encrypt_all(windows)]
    return np.concatenate([f.outputs[compiled.client.outputs[0].name] for f in found])


@pytest.mark.parametrize("name", MODELS)
def test_seal_answers_as_the_original(name: str) -> None:
    model, windows = make(name)
    compiled = compile_model(model, windows, Options(tolerance=0.05))
    accuracy = compiled.report["accuracy"]
    assert accuracy["layouts"]["max_error"] < 1e-6
    wanted = original(model, windows[:WINDOWS])
    output = compiled.client.outputs[0].name
    polynomial = compiled.plaintext(windows[:WINDOWS])[output]
    simulated = compiled.simulated(windows[:WINDOWS])[output]
    np.testing.assert_allclose(simulated, polynomial, atol=1e-6)
    found = answers(compiled, windows[:WINDOWS], "seal")
    spread = max(1.0, float(np.abs(wanted).max()))
    assert np.abs(found - polynomial).max() < 0.02 * spread
    assert np.abs(found - wanted).max() < 0.25 * spread
    top = np.sort(wanted.reshape(WINDOWS, -1), axis=1)
    clear = np.ones(WINDOWS, bool) if top.shape[1] == 1 else top[:, -1] - top[:, -2] > 0.1
    agree = found.reshape(WINDOWS, -1).argmax(1) == wanted.reshape(WINDOWS, -1).argmax(1)
    assert agree[clear].all()


@pytest.mark.parametrize("name", ["silu", "conv1d", "gate"])
def test_desilo_answers_as_the_original(name: str) -> None:
    pytest.importorskip("desilofhe")
    model, windows = make(name)
    compiled = compile_model(model, windows, Options(engine="desilo"))
    polynomial = compiled.plaintext(windows[:1])[compiled.client.outputs[0].name]
    found = answers(compiled, windows[:1], "desilo")
    np.testing.assert_allclose(found, polynomial, atol=1e-3)
    np.testing.assert_allclose(answers(compiled, windows[:1], "clear"), polynomial, atol=1e-6)


def test_one_program_on_all_engines() -> None:
    """What is compiled for seal runs on clear, and on dry, which counts the same operations."""
    model, windows = make("square")
    compiled = compile_model(model, windows)
    polynomial = compiled.plaintext(windows[:1])[compiled.client.outputs[0].name]
    for engine in ("seal", "clear"):
        np.testing.assert_allclose(answers(compiled, windows[:1], engine), polynomial, atol=0.02)
    counts = compiled.report["program"]["operations"]
    assert counts["rotate"] >= 1
    assert counts["square"] == 1


def test_batches_share_a_ciphertext() -> None:
    model, windows = make("square")
    compiled = compile_model(model, windows, Options(batch=16))
    assert compiled.client.batch >= 16
    polynomial = compiled.plaintext(windows[:40])[compiled.client.outputs[0].name]
    np.testing.assert_allclose(answers(compiled, windows[:40], "seal"), polynomial, atol=0.02)


@pytest.mark.parametrize(("batch", "how"), [(128, "ciphertexts"), (512, "strands")])
def test_batches_of_convolutions_take_several_ciphertexts(batch: int, how: str) -> None:
    """Slots are too few for the outputs of the first convolution, or even of one channel."""
    model, windows = make("deep conv1d")
    compiled = compile_model(model, windows, Options(batch=batch, tolerance=0.05))
    first, *_ = (x for x in compiled.report["layers"] if x["kind"] == "affine")
    assert how in first["method"]
    polynomial = compiled.plaintext(windows)[compiled.client.outputs[0].name]
    np.testing.assert_allclose(answers(compiled, windows, "clear"), polynomial, atol=1e-6)
    np.testing.assert_allclose(answers(compiled, windows, "seal"), polynomial, atol=0.05)


def test_the_same_input_gives_the_same_model() -> None:
    model, windows = make("silu")
    first, second = (compile_model(model, windows) for _ in range(2))
    assert first.client.model_id == second.client.model_id
    timeless = [
        {k: v for k, v in c.report.items() if k != "compile_seconds"} for c in (first, second)
    ]
    assert timeless[0] == timeless[1]


def test_parameters_obey_the_table() -> None:
    for name in ("linear", "silu", "conv2d"):
        parameters = compile_model(*make(name)).report["parameters"]
        assert parameters["log_qp"] <= parameters["log_qp_limit"]
        assert parameters["security_bits"] == 128
