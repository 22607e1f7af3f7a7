"""Two real values to a slot, from the client to its answer, and the files of such models."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from eer.runtime.bundle import load_model, model_to_bytes
from eer.runtime.client import Client
from eer.runtime.client_bundle import client_to_bytes, load_client
from eer.runtime.container import pack, unpack
from eer.runtime.engine import Engine
from eer.runtime.engines import open_engine
from eer.runtime.engines.desilo_library import installed
from eer.runtime.errors import ArtifactError, KeyMismatchError
from eer.runtime.identity import compute_model_id
from eer.runtime.packing import pack_repeated, pack_windows
from eer.runtime.server import Server
from eer.runtime.server_bundle import load_server, server_to_bytes
from eer.runtime.wire import read_evaluation_keys
from tests.runtime.complex_slots import DECAY, RATE, Halves, dense, dense_model, step_model

from .test_bundle import assert_same

if TYPE_CHECKING:
    from .conftest import Run, Sample

TOLERANCE = {"seal": 5e-4, "desilo": 1e-5, "clear": 1e-12}
X = np.random.default_rng(5).uniform(-1, 1, (3, 8))


@dataclass
class Setup:
    halves: Halves
    engine: Engine
    client: Client
    keys: bytes
    server: Server


def set_up(halves: Halves, name: str) -> Setup:
    engine = open_engine(halves.client.params, name)
    client = Client(halves.client, engine)
    keys = client.generate_keys().evaluation
    return Setup(halves, engine, client, keys, Server(halves.server, keys, engine))


@pytest.fixture(params=["clear", "seal", "desilo"])
def name(request: pytest.FixtureRequest) -> str:
    if request.param == "desilo" and not installed():
        pytest.skip("needs desilofhe")
    return str(request.param)


def test_answers_are_right(name: str) -> None:
    setup = set_up(dense_model(name), name)
    prediction = setup.client.decrypt(setup.server.run(setup.client.encrypt(X)))
    np.testing.assert_allclose(prediction.outputs["scores"], dense(X), atol=TOLERANCE[name])


def test_a_full_ciphertext_of_windows(name: str) -> None:
    setup = set_up(dense_model(name), name)
    x = np.random.default_rng(3).uniform(-1, 1, (setup.client.batch, 8))
    prediction = setup.client.decrypt(setup.server.run(setup.client.encrypt(x)))
    np.testing.assert_allclose(prediction.outputs["scores"], dense(x), atol=TOLERANCE[name])


def test_a_state_of_two_values_to_a_slot(name: str) -> None:
    """From message to message, through the client's refresh."""
    setup = set_up(step_model(name), name)
    client, server = setup.client, setup.server
    state = X[0]
    held = server.load_state(client.encrypt_state(state))
    for x in X[1:]:
        answer = server.run(client.encrypt({"X": x}), state=held)
        refreshed = client.refresh(answer)
        products = x * state
        np.testing.assert_allclose(
            refreshed.prediction.outputs["match"][0],
            products[:4] + products[4:],
            atol=TOLERANCE[name],
        )
        state = DECAY * state + RATE * x
        np.testing.assert_allclose(refreshed.state["W"], state, atol=2 * TOLERANCE[name])
        held = server.load_state(client.encrypt_state(refreshed.state["W"]))


def test_slots_are_packed_from_two_rows() -> None:
    values = np.array([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]])
    real, imaginary = np.array([0, -1, 2]), np.array([1, 2, -1])
    packed = pack_windows(values, real, 3, imaginary)
    wanted = [1 + 2j, 4 + 5j, 0, 3j, 6j, 0, 3, 6, 0]
    np.testing.assert_array_equal(packed, wanted)
    assert pack_windows(values, real, 3).dtype == np.float64
    repeated = pack_repeated(values[0], real, 2, imaginary)
    np.testing.assert_array_equal(repeated, np.repeat([1 + 2j, 3j, 3], 2))
    assert pack_repeated(values[0], real, 2).dtype == np.float64


@pytest.fixture(scope="module")
def halves() -> Halves:
    return dense_model()


def test_bundles_survive(halves: Halves) -> None:
    for made in (halves, step_model()):
        bundle = load_model(model_to_bytes(made.client, made.server, {}))
        assert_same(bundle.client, made.client)
        assert_same(bundle.server, made.server)


def test_some_ciphertexts_of_an_input_may_be_real(halves: Halves) -> None:
    spec = halves.client.inputs[0]
    row = spec.packing[0]
    for imaginary in ((None, row, None), (row, None, row), (row, row, row), ()):
        mixed = replace(spec, packing=(row,) * 3, imaginary=imaginary)
        client = replace(halves.client, inputs=(mixed,), input_levels=(2, 2, 2))
        loaded = load_client(client_to_bytes(client))
        assert_same(loaded, client)
        assert len(loaded.inputs[0].rows) == 3
    nothing = replace(spec, imaginary=(None,))
    loaded = load_client(client_to_bytes(replace(halves.client, inputs=(nothing,))))
    assert loaded.inputs[0].imaginary == ()


def test_equal_complex_plaintexts_are_stored_once(halves: Halves) -> None:
    """Real ones take no more room for them; signs of zeros stay."""
    x, y = np.random.default_rng(2).normal(size=(2, 8))
    x[0], y[:2] = -0.0, (-0.0, 0.0)
    z = x + 1j * y
    plains = (z, x, y, z.conj(), x, z.copy(), x + 0j, np.zeros(8), np.zeros(8, complex))
    program = replace(halves.server.program, plains=plains)
    data = server_to_bytes(replace(halves.server, program=program))
    loaded = load_server(data).program.plains
    assert len(loaded) == len(plains)
    for wanted, found in zip(plains, loaded, strict=True):
        assert wanted.dtype == found.dtype
        assert wanted.tobytes() == found.tobytes()
    arrays = unpack(data, ("server",)).arrays
    assert arrays["plains"].shape == (3, 8)
    assert arrays["complex_plains"].shape == (4, 8, 2)


def test_model_id_depends_on_imaginary_parts(halves: Halves, sample: Sample) -> None:
    client, program = halves.client, halves.server.program

    def identity(plains: Any = program.plains, inputs: Any = client.inputs) -> str:
        changed = replace(program, plains=plains)
        parts = (client.params, changed, client.input_scale, inputs, client.outputs)
        return compute_model_id(*parts)

    spec = client.inputs[0]
    row, imaginary = spec.packing[0], spec.imaginary[0]
    assert imaginary is not None
    weights, *others = program.plains
    ids = [
        identity(),
        identity((weights.conj(), *others)),
        identity((weights.real, *others)),
        identity((weights.real + 0j, *others)),
        identity(inputs=(replace(spec, imaginary=()),)),
        identity(inputs=(replace(spec, imaginary=(row,)),)),
        identity(inputs=(replace(spec, packing=(row, row), imaginary=(imaginary, None)),)),
        identity(inputs=(replace(spec, packing=(row, row), imaginary=(None, imaginary)),)),
        identity(inputs=(replace(spec, packing=(row, imaginary), imaginary=()),)),
    ]
    assert len(set(ids)) == len(ids)
    assert ids[0] == client.model_id
    assert identity(inputs=(replace(spec, imaginary=(None,)),)) == ids[4]


def changed(data: bytes, kind: str, meta: dict[str, Any], **arrays: Any) -> bytes:
    container = unpack(data, (kind,))
    found = dict(container.arrays) | arrays
    kept = {n: a for n, a in found.items() if a is not None}
    return pack(kind, dict(container.meta.values) | meta, dict(container.blobs), kept)


def test_inconsistent_clients(halves: Halves) -> None:
    data = client_to_bytes(halves.client)
    (entry,) = unpack(data, ("client",)).meta.values["inputs"]
    rows = np.arange(8).reshape(1, 8)
    assert load_client(changed(data, "client", {}, imaginary0=rows)).inputs[0].imaginary
    changes: list[tuple[dict[str, Any], dict[str, Any]]] = [
        ({}, {"imaginary0": rows + 1}),
        ({}, {"imaginary0": rows - 2}),
        ({}, {"imaginary0": rows[:, :4]}),
        ({}, {"imaginary0": rows[0]}),
        ({}, {"imaginary0": rows[:0]}),
        ({}, {"imaginary0": np.tile(rows, (2, 1))}),
        ({}, {"imaginary0": rows.astype(np.float64)}),
        ({}, {"imaginary0": None}),
        ({"inputs": [entry | {"complex": [1]}]}, {}),
        ({"inputs": [entry | {"complex": [-1]}]}, {}),
        ({"inputs": [entry | {"complex": [0, 0]}]}, {"imaginary0": np.tile(rows, (2, 1))}),
        ({"inputs": [entry | {"complex": 0}]}, {}),
        ({"inputs": [entry | {"complex": [True]}]}, {}),
        ({"conjugation_levels": [3]}, {}),
        ({"conjugation_levels": [-1]}, {}),
        ({"conjugation_levels": [1, 1]}, {}),
        ({"conjugation_levels": None}, {}),
    ]
    for meta, arrays in changes:
        with pytest.raises(ArtifactError):
            load_client(changed(data, "client", meta, **arrays))


def test_inconsistent_servers(halves: Halves) -> None:
    data = server_to_bytes(halves.server)
    parts = unpack(data, ("server",)).arrays["complex_plains"]
    places = unpack(data, ("server",)).arrays["plain_places"]
    assert (parts.shape, places.tolist()) == ((2, 8, 2), [1, 0, 2])
    changes: list[dict[str, Any]] = [
        {"complex_plains": parts * np.array([1, np.nan])},
        {"complex_plains": parts * np.array([np.inf, 1])},
        {"complex_plains": parts[:1]},
        {"complex_plains": parts[:, :4]},
        {"complex_plains": parts[:, :, :1]},
        {"complex_plains": parts.reshape(2, 16)},
        {"complex_plains": parts.astype(np.int64)},
        {"complex_plains": None},
        {"plain_places": np.array([1, 0, 3])},
        {"plain_places": np.array([-1, 0, 2])},
    ]
    for arrays in changes:
        with pytest.raises(ArtifactError):
            load_server(changed(data, "server", {}, **arrays))


def test_keys_without_the_conjugation(halves: Halves) -> None:
    setup = set_up(halves, "clear")
    file = read_evaluation_keys(setup.keys)
    assert file.conjugation
    meta = dict(unpack(setup.keys, ("evaluation-keys",)).meta.values)
    blobs = {"keys": file.body}
    poor = pack("evaluation-keys", meta | {"conjugation": False}, blobs)
    with pytest.raises(KeyMismatchError, match="lack the one for the model's conjugations"):
        Server(halves.server, poor, setup.engine)
    for other in ({"conjugation": 1}, {"conjugation": None}):
        with pytest.raises(ArtifactError, match="conjugation"):
            Server(halves.server, pack("evaluation-keys", meta | other, blobs), setup.engine)


def test_keys_that_lie_about_the_conjugation(sample: Sample, halves: Halves) -> None:
    for name in ("clear", "seal"):
        engine = open_engine(sample.client.params, name)
        keys = Client(sample.client, engine).generate_keys().evaluation
        assert not read_evaluation_keys(keys).conjugation
        with pytest.raises(ArtifactError):
            Server(sample.server, changed(keys, "evaluation-keys", {"conjugation": True}), engine)


def test_keys_for_too_low_a_conjugation_make_no_model(halves: Halves) -> None:
    assert halves.client.conjugation_level == 1
    for level in (1, 2):
        client = replace(halves.client, conjugation_level=level)
        bundle = load_model(model_to_bytes(client, halves.server, {}))
        assert bundle.client.conjugation_level == level
    for low in (0, None):
        client = replace(halves.client, conjugation_level=low)
        with pytest.raises(ArtifactError, match="do not belong together"):
            model_to_bytes(client, halves.server, {})


def test_inspect_says_whether_there_is_a_conjugation(
    eer: Run, halves: Halves, sample: Sample, tmp_path: Path
) -> None:
    keys = set_up(halves, "clear").keys
    files = {
        "model.eer": model_to_bytes(halves.client, halves.server, {}),
        "client.eer": client_to_bytes(halves.client),
        "server.eer": server_to_bytes(halves.server),
        "evaluation.key": keys,
    }
    for name, data in files.items():
        (tmp_path / name).write_bytes(data)
        assert eer.json("inspect", tmp_path / name)["conjugation"] is True
    (tmp_path / "real.eer").write_bytes(sample.to_bytes())
    assert eer.json("inspect", tmp_path / "real.eer")["conjugation"] is False


def test_the_eer_command_from_keys_to_scores(eer: Run, halves: Halves, tmp_path: Path) -> None:
    model = tmp_path / "model.eer"
    model.write_bytes(model_to_bytes(halves.client, halves.server, {}))
    np.save(tmp_path / "data.npy", X)
    assert eer.json("keygen", model)["conjugation"] is True
    eer("encrypt", model, "--key", "secret.key", "--input", "data.npy", "-o", "x.ct")
    eer("run", model, "--keys", "evaluation.key", "x.ct", "-o", "y.ct")
    decrypted = ("decrypt", model, "--key", "secret.key", "y.ct", "--release", "raw")
    scores = eer.json(*decrypted)["outputs"]["scores"]
    np.testing.assert_allclose(scores, dense(X), atol=TOLERANCE["seal"])
