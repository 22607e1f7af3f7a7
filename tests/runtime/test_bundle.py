"""Model, client and server bundles: round trips, and refusal of whatever is inconsistent."""

from __future__ import annotations

import json
from dataclasses import fields, is_dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from eer.runtime.bundle import load_model, model_to_bytes, save_model, split_model
from eer.runtime.client_bundle import client_to_bytes, load_client
from eer.runtime.container import Container, pack, unpack
from eer.runtime.errors import ArtifactError, FileError, UsageError
from eer.runtime.identity import compute_model_id
from eer.runtime.model import ClientModel
from eer.runtime.program import Add, Conjugate, LevelDown, Negate, Rotate, Sub, TimesI
from eer.runtime.program_codec import decode_instructions, encode_instructions
from eer.runtime.server_bundle import load_server, server_to_bytes

if TYPE_CHECKING:
    from .conftest import Sample


def assert_same(a: Any, b: Any) -> None:
    """Structural equality of dataclasses that hold arrays."""
    assert type(a) is type(b)
    if isinstance(a, np.ndarray):
        np.testing.assert_array_equal(a, b)
        assert a.dtype == b.dtype
    elif isinstance(a, tuple):
        assert len(a) == len(b)
        for x, y in zip(a, b, strict=True):
            assert_same(x, y)
    elif is_dataclass(a):
        for f in fields(a):
            assert_same(getattr(a, f.name), getattr(b, f.name))
    else:
        assert a == b


def test_round_trip(sample: Sample) -> None:
    bundle = load_model(sample.to_bytes())
    assert_same(bundle.client, sample.client)
    assert_same(bundle.server, sample.server)
    assert bundle.report == {"note": "made by hand"}
    assert bundle.onnx == b"onnx here"


def test_model_without_onnx(sample: Sample, tmp_path: Path) -> None:
    save_model(tmp_path / "m.eer", sample.client, sample.server, {})
    assert load_model(tmp_path / "m.eer").onnx is None


def test_halves_load_from_the_model_or_on_their_own(sample: Sample, model_file: Path) -> None:
    for source in (model_file, str(model_file), client_to_bytes(sample.client)):
        assert_same(load_client(source), sample.client)
    for source in (model_file, str(model_file), server_to_bytes(sample.server)):
        assert_same(load_server(source), sample.server)


def test_each_half_refuses_the_other(sample: Sample) -> None:
    with pytest.raises(ArtifactError, match="this is a server bundle"):
        load_client(server_to_bytes(sample.server))
    with pytest.raises(ArtifactError, match="this is a client bundle"):
        load_server(client_to_bytes(sample.client))
    with pytest.raises(ArtifactError, match="this is a client bundle"):
        load_model(client_to_bytes(sample.client))


def test_split(model_file: Path, sample: Sample, tmp_path: Path) -> None:
    client, server = split_model(model_file, tmp_path / "new")
    assert_same(load_client(client), sample.client)
    assert_same(load_server(server), sample.server)
    with pytest.raises(FileError, match="there already"):
        split_model(model_file, tmp_path / "new", overwrite=False)
    target = tmp_path / "client.eer"
    target.write_bytes(model_file.read_bytes())
    with pytest.raises(UsageError, match="part of itself"):
        split_model(target, tmp_path)


def test_client_bundle_reveals_no_weights(sample: Sample) -> None:
    # Uncompressed, so that a weight would stand there as it is.
    container = unpack(client_to_bytes(sample.client), ("client",))
    everything = b"".join(a.tobytes() for a in container.arrays.values())
    everything += json.dumps(container.meta.values).encode()
    weights = {float(w) for plain in sample.server.program.plains for w in plain}
    for weight in weights - {0.0, 1.0, -1.0}:
        assert np.float64(weight).tobytes() not in everything
        assert np.float32(weight).tobytes() not in everything
        assert repr(weight).encode() not in everything
    names = {f.name for f in fields(ClientModel)}
    assert not names & {"program", "plains", "weights"}


def test_equal_plaintexts_are_stored_once(sample: Sample) -> None:
    noise = np.random.default_rng(5).normal(size=(40, 8))
    many = replace(sample.server.program, plains=tuple(noise[i % 2] for i in range(40)))
    container = unpack(server_to_bytes(replace(sample.server, program=many)), ("server",))
    assert container.arrays["plains"].shape == (2, 8)
    loaded = load_server(server_to_bytes(replace(sample.server, program=many)))
    assert_same(loaded.program.plains, many.plains)


def test_all_instructions_survive(sample: Sample) -> None:
    more = (
        Rotate(0, -3),
        Add(1, 1),
        Sub(2, 0),
        Negate(3),
        LevelDown(4, 1),
        Conjugate(5),
        TimesI(6),
    )
    instructions = (*more, *sample.server.program.instructions)
    assert decode_instructions(encode_instructions(instructions), "here") == instructions
    assert decode_instructions(encode_instructions(()), "here") == ()


@settings(max_examples=300, deadline=None)
@given(st.lists(st.integers(-2, 11) | st.integers(-(2**63), 2**63 - 1), max_size=30))
def test_any_words_are_instructions_or_refused(words: list[int]) -> None:
    try:
        instructions = decode_instructions(np.asarray(words, np.int64), "here")
    except ArtifactError:
        return
    assert encode_instructions(instructions).tolist() == words


def test_model_id_depends_on_all_that_matters(sample: Sample) -> None:
    client, program = sample.client, sample.server.program
    base = (client.params, program, client.input_scale, client.inputs, client.outputs)

    def changed(index: int, value: Any) -> str:
        parts = list(base)
        parts[index] = value
        return compute_model_id(*parts)  # type: ignore[arg-type]

    spec, out = client.inputs[0], client.outputs[0]
    moved = (spec.packing[0] + 1) % 4
    ids = [
        compute_model_id(*base),
        changed(0, replace(client.params, engine="clear")),
        changed(0, replace(client.params, log_scale=29.0)),
        changed(1, replace(program, plains=(program.plains[0], program.plains[1] + 1e-15))),
        changed(1, replace(program, instructions=(*program.instructions[:-1], Negate(6)))),
        changed(1, replace(program, outputs=(6,))),
        changed(2, client.input_scale * 2),
        changed(3, (replace(spec, packing=(moved,)),)),
        changed(3, (replace(spec, name="z"),)),
        changed(4, (replace(out, slots=out.slots[::-1]),)),
        changed(4, (replace(out, elements=out.elements[::-1]),)),
        changed(4, (replace(out, post="softmax"),)),
        changed(4, (replace(out, labels=("a", "b")),)),
    ]
    assert len(set(ids)) == len(ids)
    assert ids[0] == sample.client.model_id
    wider = (replace(spec, low=spec.low - 1),)
    assert changed(3, wider) == ids[0]
    assert changed(1, replace(program, labels=())) == ids[0]


def test_keys_that_serve_too_low_a_level_make_no_model(sample: Sample) -> None:
    assert sample.server.program.rotation_levels == (1, 1)
    for levels in ((), (1, 1), (2, 1)):
        client = replace(sample.client, rotation_levels=levels)
        bundle = load_model(model_to_bytes(client, sample.server, {}))
        assert bundle.client.rotation_levels == levels
    with pytest.raises(ArtifactError, match="do not belong together"):
        model_to_bytes(replace(sample.client, rotation_levels=(1, 0)), sample.server, {})


def test_halves_of_two_models(sample: Sample) -> None:
    other = sample.renamed("other", 3.0)
    assert other.client.model_id != sample.client.model_id
    with pytest.raises(ArtifactError, match="do not belong together"):
        model_to_bytes(sample.client, other.server, {})
    mixed = pack(
        "model",
        {"model_id": sample.client.model_id, "name": "mixed"},
        {
            "client": client_to_bytes(sample.client),
            "server": server_to_bytes(other.server),
            "report": b"{}",
        },
    )
    with pytest.raises(ArtifactError, match="do not belong together"):
        load_model(mixed)


def rebuilt(container: Container, meta: dict[str, Any], arrays: dict[str, Any]) -> bytes:
    """The same file with other contents and true hashes: what an attacker can make."""
    return pack(
        container.kind,
        dict(container.meta.values) | meta,
        dict(container.blobs),
        dict(container.arrays) | arrays,
    )


def client_change(sample: Sample, meta: dict[str, Any], **arrays: Any) -> bytes:
    return rebuilt(unpack(client_to_bytes(sample.client), ("client",)), meta, arrays)


def server_change(sample: Sample, meta: dict[str, Any], **arrays: Any) -> bytes:
    return rebuilt(unpack(server_to_bytes(sample.server), ("server",)), meta, arrays)


PARAMS = {
    "engine": "seal",
    "log_n": 13,
    "log_q": [40.0, 30.0, 30.0],
    "log_p": [50.0],
    "log_scale": 30.0,
    "security_bits": 128,
}


def test_less_security_than_128_bits_is_refused(sample: Sample) -> None:
    for params in (
        PARAMS | {"log_q": [60.0, 60.0, 60.0]},
        PARAMS | {"security_bits": 80},
        PARAMS | {"log_n": 10},
        PARAMS | {"log_n": 40},
        PARAMS | {"log_q": []},
    ):
        with pytest.raises(ArtifactError, match="refused"):
            load_client(client_change(sample, {"params": params}))
        with pytest.raises(ArtifactError, match="refused"):
            load_server(server_change(sample, {"params": params}))


def test_inconsistent_client(sample: Sample) -> None:
    i = [{"name": "x", "shape": [4], "calibrated": True, "role": "window", "complex": []}]
    o = [{"name": "y", "shape": [2], "post": "none", "axis": 0, "labels": [], "state": ""}]
    packing = np.arange(8).reshape(1, 8) // 2
    bounds = np.array([[-1.0] * 4, [1.0] * 4])
    assert load_client(client_change(sample, {"inputs": i, "outputs": o}, packing0=packing))
    changes: list[tuple[dict[str, Any], dict[str, Any]]] = [
        ({"slots": 6}, {}),
        ({"slots": 16}, {}),
        ({"slots": 1 << 20}, {}),
        ({"input_levels": [3]}, {}),
        ({"input_levels": [2, 2]}, {}),
        ({"input_scale": -1.0}, {}),
        ({"input_scale": "1"}, {}),
        ({"rotations": [4, 2]}, {}),
        ({"rotations": [0, 2]}, {}),
        ({"rotations": [8]}, {}),
        ({"rotation_levels": [1]}, {}),
        ({"rotation_levels": [1, 3]}, {}),
        ({"rotation_levels": [1, -1]}, {}),
        ({"model_id": "no hex"}, {}),
        ({"inputs": []}, {}),
        ({"inputs": i * 2}, {}),
        ({"inputs": [i[0] | {"shape": [3]}]}, {}),
        ({"inputs": [i[0] | {"shape": [0]}]}, {}),
        ({"inputs": [i[0] | {"shape": [2**40, 2**40]}]}, {}),
        ({"inputs": [i[0] | {"calibrated": 1}]}, {}),
        ({"inputs": [i[0] | {"role": "weight"}]}, {}),
        ({"inputs": [i[0] | {"role": "state"}]}, {}),
        ({"outputs": []}, {}),
        ({"outputs": [o[0] | {"post": "eval"}]}, {}),
        ({"outputs": [o[0] | {"shape": [2**40]}]}, {}),
        ({"outputs": [o[0] | {"axis": 1}]}, {}),
        ({"outputs": [o[0] | {"labels": [1]}]}, {}),
        ({"outputs": [o[0] | {"state": "x"}]}, {}),
        ({"outputs": [o[0] | {"state": "W"}]}, {}),
        ({}, {"packing0": packing + 1}),
        ({}, {"packing0": packing - 2}),
        ({}, {"packing0": packing[:, :4]}),
        ({}, {"packing0": packing.astype(np.float64)}),
        ({}, {"packing0": packing[0]}),
        ({}, {"range0": bounds[::-1]}),
        ({}, {"range0": bounds[:, :3]}),
        ({}, {"range0": bounds * np.inf}),
        ({}, {"range0": bounds * np.nan}),
        ({}, {"decoding0": np.array([[0, 1], [0, 0], [0, 8]])}),
        ({}, {"decoding0": np.array([[0, 1], [0, -1], [0, 1]])}),
        ({}, {"decoding0": np.array([[0, 1], [0, 1 << 40], [0, 1]])}),
        ({}, {"decoding0": np.array([[0, 2], [0, 0], [0, 1]])}),
        ({}, {"decoding0": np.array([[0, -1], [0, 0], [0, 1]])}),
        ({}, {"decoding0": np.array([[0, 0], [0, 0], [0, 1]])}),
        ({}, {"decoding0": np.array([[0], [0], [0]])}),
        ({}, {"decoding0": np.array([[0, 0], [0, 1]])}),
        ({}, {"decoding0": np.zeros((3, 0), int)}),
    ]
    for meta, arrays in changes:
        with pytest.raises(ArtifactError):
            load_client(client_change(sample, meta, **arrays))


def test_inconsistent_server(sample: Sample) -> None:
    words = encode_instructions(sample.server.program.instructions)
    plains = np.stack(sample.server.program.plains)
    assert load_server(server_change(sample, {}, instructions=words, plains=plains))
    x = {"name": "x", "role": "window", "ciphers": 1}
    changes: list[tuple[dict[str, Any], dict[str, Any]]] = [
        ({"slots": 16}, {}),
        ({"input_levels": []}, {}),
        ({"input_levels": [3]}, {}),
        ({"input_levels": [1]}, {}),
        ({"outputs": []}, {}),
        ({"outputs": [8]}, {}),
        ({"labels": ["fc"]}, {}),
        ({"inputs": []}, {}),
        ({"inputs": [x | {"ciphers": 0}]}, {}),
        ({"inputs": [x | {"ciphers": 2}]}, {}),
        ({"inputs": [x | {"role": "state"}]}, {}),
        ({"inputs": [x | {"role": ""}]}, {}),
        ({"states": [{"state": "x", "ciphers": [0]}]}, {}),
        ({}, {"instructions": words[:-1]}),
        ({}, {"instructions": encode_instructions((Rotate(0, 8),))}),
        ({}, {"instructions": encode_instructions((LevelDown(0, -1),))}),
        ({}, {"instructions": encode_instructions((LevelDown(0, 2),))}),
        ({}, {"instructions": encode_instructions((Negate(1),))}),
        ({}, {"plains": plains[:1]}),
        ({}, {"plains": plains[:, :4]}),
        ({}, {"plains": plains * np.nan}),
        ({}, {"plain_places": np.array([0, -1])}),
        ({}, {"plain_places": np.array([0])}),
        ({}, {"label_places": np.array([0, 1])}),
        ({}, {"label_places": np.full(7, 9)}),
    ]
    for meta, arrays in changes:
        with pytest.raises(ArtifactError):
            load_server(server_change(sample, meta, **arrays))


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=4,
)


@settings(
    max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.data())
def test_any_header_is_read_or_refused(sample: Sample, data: st.DataObject) -> None:
    """Rehashed files with a header field replaced by anything: ArtifactError, never another."""
    for raw, load in (
        (client_to_bytes(sample.client), load_client),
        (server_to_bytes(sample.server), load_server),
    ):
        container = unpack(raw, ("client", "server"))
        key = data.draw(st.sampled_from(sorted(container.meta.values)))
        value = data.draw(JSON)
        nested = container.meta.values[key]
        if isinstance(nested, list) and nested and isinstance(nested[0], dict):
            inner = data.draw(st.sampled_from(sorted(nested[0])))
            value = data.draw(st.sampled_from([value, [nested[0] | {inner: value}]]))
        elif isinstance(nested, dict):
            inner = data.draw(st.sampled_from(sorted(nested)))
            value = data.draw(st.sampled_from([value, nested | {inner: value}]))
        try:
            load(rebuilt(container, {key: value}, {}))
        except ArtifactError:
            continue


@settings(
    max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.data())
def test_any_word_of_an_array_is_read_or_refused(sample: Sample, data: st.DataObject) -> None:
    for raw, load in (
        (client_to_bytes(sample.client), load_client),
        (server_to_bytes(sample.server), load_server),
    ):
        container = unpack(raw, ("client", "server"))
        name = data.draw(st.sampled_from(sorted(n for n, a in container.arrays.items() if a.size)))
        array = container.arrays[name].copy()
        place = data.draw(st.integers(0, array.size - 1))
        word = data.draw(st.integers(-3, 12) | st.integers(-(2**63), 2**63 - 1))
        array.reshape(-1).view(np.int64)[place] = word
        try:
            load(rebuilt(container, {}, {name: array}))
        except ArtifactError:
            continue
