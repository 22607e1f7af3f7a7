"""Client and server against each other on SEAL, and against everything that does not belong."""

from __future__ import annotations

import typing
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from eer.runtime import pool as pool_module
from eer.runtime import pool_host as pool_host_module
from eer.runtime import server as server_module
from eer.runtime.client import Client, KeyPair
from eer.runtime.container import pack, unpack
from eer.runtime.engine import Engine, SecretKey
from eer.runtime.engines import open_engine
from eer.runtime.errors import ArtifactError, DataError, KeyMismatchError, UsageError
from eer.runtime.executor import Executor
from eer.runtime.model import ServerModel
from eer.runtime.pieces import joined
from eer.runtime.pool import ServerPool
from eer.runtime.program import DotCipher, Vector
from eer.runtime.server import Server
from eer.runtime.wire import (
    EvaluationKeysFile,
    Message,
    message_to_bytes,
    read_evaluation_keys,
    read_message,
    read_secret_key,
)
from tests.runtime.role_types import types_within

if TYPE_CHECKING:
    from .conftest import Sample

TOLERANCE = 5e-4


@dataclass
class Setup:
    engine: Engine
    client: Client
    keys: KeyPair
    server: Server
    question: bytes
    answer: bytes


@pytest.fixture(scope="module")
def setup(sample: Sample, windows: Vector) -> Setup:
    engine = open_engine(sample.client.params)
    client = Client(sample.client, engine)
    keys = client.generate_keys()
    server = Server(sample.server, keys.evaluation, engine)
    question = client.encrypt(windows)
    return Setup(engine, client, keys, server, question, server.run(question))


def test_answer_is_right(setup: Setup, sample: Sample, windows: Vector) -> None:
    prediction = setup.client.decrypt(setup.answer)
    assert prediction.windows == 3
    expected = sample.reference(windows)
    np.testing.assert_allclose(prediction.outputs["scores"], expected, atol=TOLERANCE)
    names = np.array(["calm", "tense"])
    np.testing.assert_array_equal(prediction.labels["scores"], names[expected.argmax(axis=1)])


def test_answer_is_right_on_the_clear_engine(sample: Sample, windows: Vector) -> None:
    engine = open_engine(sample.client.params, "clear")
    client = Client(sample.client, engine)
    server = Server(sample.server, client.generate_keys().evaluation, engine)
    prediction = client.decrypt(server.run(client.encrypt({"x": windows})))
    np.testing.assert_allclose(
        prediction.outputs["scores"], sample.reference(windows), rtol=1e-12, atol=1e-14
    )


def test_a_full_ciphertext_of_windows(setup: Setup, sample: Sample) -> None:
    x = np.random.default_rng(3).uniform(-1, 1, (sample.client.batch, 4))
    prediction = setup.client.decrypt(setup.server.run(setup.client.encrypt(x)))
    np.testing.assert_allclose(prediction.outputs["scores"], sample.reference(x), atol=TOLERANCE)


def test_more_windows_than_fit(setup: Setup, sample: Sample) -> None:
    batch = sample.client.batch
    x = np.random.default_rng(3).uniform(-1, 1, (batch + 2, 4))
    with pytest.raises(DataError, match=f"one message holds {batch}"):
        setup.client.encrypt(x)
    messages = list(setup.client.encrypt_all(x))
    assert [read_message(m).windows for m in messages] == [batch, 2]
    outputs = [setup.client.decrypt(setup.server.run(m)).outputs["scores"] for m in messages]
    np.testing.assert_allclose(np.concatenate(outputs), sample.reference(x), atol=TOLERANCE)


def test_the_secret_key_outlives_the_client(setup: Setup, sample: Sample, windows: Vector) -> None:
    engine = open_engine(sample.client.params)
    later = Client(sample.client, engine, secret_key=setup.keys.secret)
    assert later.key_id == setup.keys.key_id
    np.testing.assert_allclose(
        later.decrypt(setup.answer).outputs["scores"], sample.reference(windows), atol=TOLERANCE
    )


def test_progress_reaches_the_number_of_steps(setup: Setup) -> None:
    seen: list[int] = []
    setup.server.run(setup.question, seen.append)
    assert seen == sorted(seen)
    assert seen[-1] == setup.server.steps


def test_client_without_a_key(sample: Sample, windows: Vector) -> None:
    client = Client(sample.client, open_engine(sample.client.params))
    with pytest.raises(UsageError, match="no secret key"):
        client.encrypt(windows)
    with pytest.raises(UsageError, match="no secret key"):
        client.encrypt_all(windows)
    with pytest.raises(UsageError, match="no secret key"):
        client.decrypt(b"")


def test_keys_of_another_model(setup: Setup, sample: Sample) -> None:
    other = sample.renamed("other", 0.5)
    with pytest.raises(KeyMismatchError, match="secret key of another model"):
        Client(other.client, setup.engine, secret_key=setup.keys.secret)
    with pytest.raises(KeyMismatchError, match="evaluation keys of another model"):
        Server(other.server, setup.keys.evaluation, setup.engine)


def test_ciphertext_of_another_model(setup: Setup, sample: Sample) -> None:
    other = sample.renamed("other", 0.5)
    client = Client(other.client, setup.engine)
    keys = client.generate_keys()
    with pytest.raises(KeyMismatchError, match=r"ciphertext of another model.*'other'"):
        Server(other.server, keys.evaluation, setup.engine).run(setup.question)
    with pytest.raises(KeyMismatchError, match="ciphertext of another model"):
        client.decrypt(setup.answer)


def test_ciphertext_of_another_key(setup: Setup, sample: Sample, windows: Vector) -> None:
    other = Client(sample.client, setup.engine)
    other.generate_keys()
    with pytest.raises(KeyMismatchError, match="ciphertext of another key"):
        setup.server.run(other.encrypt(windows))
    with pytest.raises(KeyMismatchError, match="ciphertext of another key"):
        other.decrypt(setup.answer)


def test_keys_and_ciphertexts_of_another_engine(setup: Setup, sample: Sample) -> None:
    clear = open_engine(sample.client.params, "clear")
    with pytest.raises(KeyMismatchError, match="made with the engine 'seal'") as caught:
        Server(sample.server, setup.keys.evaluation, clear)
    assert "--engine seal" in str(caught.value)
    with pytest.raises(KeyMismatchError, match="made with the engine 'seal'"):
        Client(sample.client, clear, secret_key=setup.keys.secret)


def test_other_parameters(setup: Setup, sample: Sample) -> None:
    # A model that claims the same id with other parameters.
    forged = replace(sample.client, params=replace(sample.client.params, log_scale=29.0))
    with pytest.raises(KeyMismatchError, match="other parameters"):
        Client(forged, open_engine(forged.params), secret_key=setup.keys.secret)


def test_secret_key_in_the_wrong_places(setup: Setup, sample: Sample) -> None:
    with pytest.raises(ArtifactError, match="this is a secret key") as caught:
        Server(sample.server, setup.keys.secret, setup.engine)
    assert "don't send this one to a server" in str(caught.value)
    with pytest.raises(ArtifactError, match="this is a secret key"):
        setup.server.run(setup.keys.secret)
    with pytest.raises(ArtifactError, match="this is a set of evaluation keys"):
        Client(sample.client, setup.engine, secret_key=setup.keys.evaluation)


def test_messages_in_the_wrong_direction(setup: Setup) -> None:
    with pytest.raises(ArtifactError, match="encrypted answer, not an input"):
        setup.server.run(setup.answer)
    with pytest.raises(ArtifactError, match="encrypted input, not an answer"):
        setup.client.decrypt(setup.question)


def test_keys_that_lack_a_rotation(setup: Setup, sample: Sample) -> None:
    container = unpack(setup.keys.evaluation, ("evaluation-keys",))
    meta = dict(container.meta.values) | {"rotations": [1]}
    with pytest.raises(KeyMismatchError, match="lack 2 of the model's rotations"):
        Server(sample.server, pack("evaluation-keys", meta, container.blobs), setup.engine)


def changed_message(data: bytes, **changes: Any) -> bytes:
    return message_to_bytes(replace(read_message(data), **changes))


def test_messages_of_the_wrong_form(setup: Setup) -> None:
    body = read_message(setup.question).bodies[0]
    with pytest.raises(ArtifactError, match=r"levels \[1\]; the model takes \[2\]"):
        setup.server.run(changed_message(setup.question, levels=(1,)))
    with pytest.raises(ArtifactError, match=r"levels \[2, 2\]"):
        setup.server.run(
            changed_message(setup.question, levels=(2, 2), counts=(2,), bodies=(body, body))
        )
    with pytest.raises(ArtifactError, match="600 windows; 512 fit"):
        setup.server.run(changed_message(setup.question, windows=600))
    with pytest.raises(ArtifactError, match="600 windows"):
        setup.client.decrypt(changed_message(setup.answer, windows=600))
    with pytest.raises(ArtifactError, match="'counts'"):
        setup.server.run(changed_message(setup.question, counts=(3,)))
    with pytest.raises(ArtifactError, match="announced"):
        setup.server.run(changed_message(setup.question, bodies=(body, body)))
    with pytest.raises(ArtifactError, match="'direction'"):
        setup.server.run(changed_message(setup.question, direction="sideways"))


def test_the_library_sees_nothing_that_does_not_belong(
    setup: Setup, sample: Sample, windows: Vector, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = Client(sample.client, setup.engine)
    other.generate_keys()
    foreign = other.encrypt(windows)

    def never(*_: Any) -> Any:
        raise AssertionError("the library was asked")

    monkeypatch.setattr(type(setup.engine), "load_cipher", never)
    for message in (foreign, changed_message(setup.question, levels=(1,)), setup.answer):
        with pytest.raises(ArtifactError):
            setup.server.run(message)
    with pytest.raises(ArtifactError):
        setup.client.decrypt(foreign)


def test_a_header_that_lies_about_the_level(setup: Setup, sample: Sample, windows: Vector) -> None:
    low = replace(sample.client, input_levels=(1,))
    client = Client(low, setup.engine, secret_key=setup.keys.secret)
    lie = changed_message(client.encrypt(windows), levels=(2,))
    with pytest.raises(ArtifactError, match="level and scale"):
        setup.server.run(lie)


def test_a_header_that_lies_about_the_scale(setup: Setup, sample: Sample, windows: Vector) -> None:
    odd = replace(sample.client, input_scale=sample.client.input_scale * 1.01)
    client = Client(odd, setup.engine, secret_key=setup.keys.secret)
    with pytest.raises(ArtifactError, match="level and scale"):
        setup.server.run(client.encrypt(windows))


def test_inputs_have_two_polynomials_and_answers_may_have_three(
    setup: Setup, sample: Sample, windows: Vector
) -> None:
    engine, key = setup.engine, setup.client._secret()
    program = sample.server.program
    *others, square = program.instructions
    assert isinstance(square, DotCipher)
    lazy = replace(program, instructions=(*others, replace(square, relinearise=False)))
    server = Server(replace(sample.server, program=lazy), setup.keys.evaluation, engine)
    answer = server.run(setup.question)
    assert engine.load_cipher(read_message(answer).bodies[0]).parts == 3
    found = setup.client.decrypt(answer).outputs["scores"]
    # Rescaling three polynomials errs by sqrt(2N/3) times as much.
    np.testing.assert_allclose(found, sample.reference(windows), atol=0.1)

    keys = read_evaluation_keys(setup.keys.evaluation)
    evaluation = engine.load_evaluation_keys(keys.body, key.key_id, keys.rotations)
    root = engine.encrypt(key, np.ones(engine.slots), 2, sample.client.input_scale**0.5)
    product = engine.evaluator(evaluation).dot_cipher([(root, root)], False, relinearise=False)
    forged = changed_message(setup.question, bodies=(engine.save_cipher(product),))
    with pytest.raises(ArtifactError, match="ciphertext 0 is a product that was not relinearised"):
        setup.server.run(forged)


def test_a_body_that_is_no_ciphertext(setup: Setup) -> None:
    body = bytes(joined(read_message(setup.question).bodies[0]))
    for wrong in (b"", body[:-5], body[::-1], b"x" * len(body)):
        with pytest.raises(ArtifactError):
            setup.server.run(changed_message(setup.question, bodies=((wrong,),)))


def reads(setup: Setup) -> Iterator[tuple[bytes, Any]]:
    yield setup.keys.secret, read_secret_key
    yield setup.keys.evaluation, read_evaluation_keys
    yield setup.question, read_message
    yield setup.answer, read_message


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(share=st.floats(0, 1, exclude_max=True), bit=st.integers(0, 7))
def test_damage_anywhere_is_refused(setup: Setup, share: float, bit: int) -> None:
    """Truncation and bit flips in keys and ciphertexts of every kind, bodies included."""
    for data, read in reads(setup):
        place = int(share * len(data))
        with pytest.raises(ArtifactError):
            read(data[:place])
        changed = bytearray(data)
        changed[place] ^= 1 << bit
        with pytest.raises(ArtifactError):
            read(bytes(changed))


@settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(share=st.floats(0, 1, exclude_max=True), bit=st.integers(0, 7))
def test_damage_in_the_header_region_is_refused(setup: Setup, share: float, bit: int) -> None:
    for data, read in reads(setup):
        changed = bytearray(data)
        changed[int(share * 900)] ^= 1 << bit
        with pytest.raises(ArtifactError):
            read(bytes(changed))


def test_server_types_cannot_hold_a_secret_key(setup: Setup) -> None:
    """Nothing that the server takes, returns or keeps is a secret key or has a field for one."""
    reachable: set[Any] = set()
    takers = (Server.__init__, Server.run, Executor.__init__, Executor.run)
    pool = (ServerPool.__init__, ServerPool.run, ServerPool.run_all)
    for callable_ in (*takers, *pool):
        for hint in typing.get_type_hints(callable_).values():
            types_within(hint, reachable)
    for kept in vars(setup.server).values():
        types_within(type(kept), reachable)
    assert {ServerModel, EvaluationKeysFile, Message} & reachable == {ServerModel}
    for extra in (EvaluationKeysFile, Message):
        types_within(extra, reachable)
    assert SecretKey not in reachable
    assert not [t for t in reachable if "Secret" in t.__name__]
    assert not any(isinstance(v, SecretKey) for v in vars(setup.server).values())
    for module in (server_module, pool_module, pool_host_module):
        assert "SecretKey" not in vars(module)
        assert "read_secret_key" not in vars(module)


def test_secrets_do_not_show_in_representations(setup: Setup) -> None:
    key = read_secret_key(setup.keys.secret)
    for text in (repr(setup.keys), repr(key), repr(read_message(setup.question))):
        assert len(text) < 500
