"""Inputs that are state: packed once for all windows, kept by the server, checked by name."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest

from eer.runtime.bundle import load_model, model_to_bytes
from eer.runtime.client import Client
from eer.runtime.engine import Engine
from eer.runtime.engines import open_engine
from eer.runtime.errors import ArtifactError, DataError, UsageError
from eer.runtime.identity import compute_model_id
from eer.runtime.packing import pack_repeated
from eer.runtime.server import Server
from eer.runtime.wire import message_to_bytes, read_message
from tests.runtime.stateful import Pair, next_weights, step_model, use_model

RNG = np.random.default_rng(4)
W = RNG.uniform(-1, 1, 4)
X = RNG.uniform(-1, 1, (3, 4))
TOLERANCE = 5e-4


@dataclass(frozen=True)
class Side:
    """A client with a server of its own."""

    pair: Pair
    engine: Engine
    client: Client
    server: Server

    @staticmethod
    def of(pair: Pair, engine: str = "clear") -> Side:
        opened = open_engine(pair.client.params, engine)
        client = Client(pair.client, opened)
        return Side(
            pair, opened, client, Server(pair.server, client.generate_keys().evaluation, opened)
        )


@pytest.fixture(scope="module", params=["clear", "seal"])
def use(request: pytest.FixtureRequest) -> Side:
    return Side.of(use_model(), request.param)


@pytest.fixture(scope="module")
def step() -> Side:
    return Side.of(step_model())


def test_state_is_one_value_for_all_windows(use: Side) -> None:
    state = use.server.load_state(use.client.encrypt_state({"W": W}))
    batch = use.client.batch
    assert batch == 512
    many = RNG.uniform(-1, 1, (batch, 4))
    for windows in (X, X[:1], many):
        answer = use.server.run(use.client.encrypt({"X": windows}), state=state)
        found = use.client.decrypt(answer).outputs["y"]
        np.testing.assert_allclose(found, windows * W, atol=TOLERANCE)


def test_state_travels_with_the_windows_where_the_server_keeps_none(use: Side) -> None:
    message = use.client.encrypt({"W": W, "X": X})
    assert read_message(message).names == ("X", "W")
    found = use.client.decrypt(use.server.run(message)).outputs["y"]
    np.testing.assert_allclose(found, X * W, atol=TOLERANCE)


def test_one_array_will_do_where_there_is_one_input_of_the_role(use: Side) -> None:
    state = use.server.load_state(use.client.encrypt_state(W))
    messages = list(use.client.encrypt_all(np.tile(X, (300, 1))))
    assert [read_message(m).windows for m in messages] == [512, 388]
    answers = [use.client.decrypt(use.server.run(m, state=state)).outputs["y"] for m in messages]
    np.testing.assert_allclose(np.concatenate(answers), np.tile(X * W, (300, 1)), atol=TOLERANCE)


def test_a_step_takes_one_window_and_gives_state_that_is_the_same_in_all_places(step: Side) -> None:
    assert step.client.batch == 1
    with pytest.raises(DataError, match="3 windows were given; one message holds 1"):
        step.client.encrypt({"X": X})
    state = step.server.load_state(step.client.encrypt_state({"W": W}))
    answer = step.server.run(step.client.encrypt({"X": X[0]}), state=state)
    prediction = step.client.decrypt(answer)
    np.testing.assert_allclose(prediction.outputs["W_next"], [next_weights(W, X[0])], rtol=1e-12)
    np.testing.assert_allclose(prediction.outputs["loss"], [W * X[0]], rtol=1e-12)
    key = step.client._secret()
    new = step.engine.decrypt(key, step.engine.load_cipher(read_message(answer).bodies[0]))
    places = new.reshape(8, 512)
    np.testing.assert_array_equal(places, np.repeat(places[:, :1], 512, axis=1))


def test_repeated_packing() -> None:
    row = np.array([2, -1, 0, 1])
    packed = pack_repeated(np.array([10.0, 20.0, 30.0]), row, 2)
    np.testing.assert_array_equal(packed, [30, 30, 0, 0, 10, 10, 20, 20])


def test_state_that_is_missing_or_given_twice(use: Side) -> None:
    with pytest.raises(ArtifactError, match="holds 'X'; 'X', 'W' is wanted") as caught:
        use.server.run(use.client.encrypt({"X": X}))
    assert "needs its state" in str(caught.value)
    state = use.server.load_state(use.client.encrypt_state({"W": W}))
    with pytest.raises(ArtifactError, match="holds 'X', 'W'; 'X' is wanted") as caught:
        use.server.run(use.client.encrypt({"X": X, "W": W}), state=state)
    assert "holds this state already" in str(caught.value)


def test_messages_in_the_wrong_place(use: Side) -> None:
    windows, state = use.client.encrypt({"X": X}), use.client.encrypt_state({"W": W})
    with pytest.raises(ArtifactError, match="encrypted state, not an input"):
        use.server.run(state)
    with pytest.raises(ArtifactError, match="encrypted input, not a state"):
        use.server.load_state(windows)
    with pytest.raises(ArtifactError, match="encrypted state, not an answer"):
        use.client.decrypt(state)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"names": ("V",)}, "holds 'V'; 'W' is wanted"),
        ({"names": ("X",)}, "holds 'X'; 'W' is wanted"),
        ({"levels": (0,)}, r"levels \[0\]; the model takes \[1\]"),
        ({"windows": 600}, "600 windows; 512 fit"),
    ],
)
def test_states_of_the_wrong_form(use: Side, changes: dict[str, Any], reason: str) -> None:
    state = read_message(use.client.encrypt_state({"W": W}))
    with pytest.raises(ArtifactError, match=reason):
        use.server.load_state(message_to_bytes(replace(state, **changes)))


def test_counts_must_be_the_models(use: Side) -> None:
    message = read_message(use.client.encrypt({"X": X, "W": W}))
    with pytest.raises(ArtifactError, match="holds 'W', 'X'; 'X', 'W' is wanted"):
        use.server.run(message_to_bytes(replace(message, names=("W", "X"))))
    body = message.bodies[0]
    more = replace(message, counts=(2, 1), levels=(1, 1, 1), bodies=(body, body, body))
    with pytest.raises(ArtifactError, match=r"levels \[1, 1, 1\]"):
        use.server.run(message_to_bytes(more))


def test_a_step_refuses_several_windows(step: Side) -> None:
    message = read_message(step.client.encrypt({"X": X[:1], "W": W}))
    with pytest.raises(ArtifactError, match="2 windows; 1 fit"):
        step.server.run(message_to_bytes(replace(message, windows=2)))


def test_state_of_the_wrong_form_is_refused_by_the_client(use: Side) -> None:
    with pytest.raises(DataError, match=r"state 'W' has shape \[2, 4\]; the model wants \[4\]"):
        use.client.encrypt_state({"W": np.zeros((2, 4))})
    with pytest.raises(DataError, match="input 'W' is missing"):
        use.client.encrypt_state({})
    with pytest.raises(DataError, match=r"state 'W' holds 1 NaN .* the first at element \[2\]"):
        use.client.encrypt_state({"W": [0, 0, np.nan, 0]})
    with pytest.raises(DataError, match=r"1 of 4 values of state 'W' .* worst is 9 at element \[1"):
        use.client.encrypt_state({"W": [0, 9, 0, 0]})
    with pytest.raises(DataError, match="input 'X' is missing"):
        use.client.encrypt({"W": W})


def test_a_model_without_state_has_none_to_encrypt() -> None:
    pair = step_model()
    windows_only = tuple(replace(s, role="window") for s in pair.client.inputs)
    client = Client(replace(pair.client, inputs=windows_only), open_engine(pair.client.params))
    with pytest.raises(UsageError, match="keeps no state"):
        client.encrypt_state({"W": W})


def test_bundles_keep_the_roles() -> None:
    pair = step_model()
    loaded = load_model(model_to_bytes(pair.client, pair.server, {}))
    assert [s.role for s in loaded.client.inputs] == ["window", "state"]
    assert [o.state for o in loaded.client.outputs] == ["W", ""]
    assert loaded.server.inputs == pair.server.inputs
    assert loaded.server.state_outputs == pair.server.state_outputs
    assert loaded.server.state_outputs[0].ciphers == (0,)
    other = replace(pair.server, state_outputs=())
    with pytest.raises(ArtifactError, match="do not belong together"):
        model_to_bytes(pair.client, other, {})


def test_roles_are_part_of_the_models_id() -> None:
    pair = step_model()
    client, program = pair.client, pair.server.program

    def identity(inputs: Any, outputs: Any) -> str:
        return compute_model_id(client.params, program, client.input_scale, inputs, outputs)

    plain_in = tuple(replace(s, role="window") for s in client.inputs)
    plain_out = tuple(replace(o, state="") for o in client.outputs)
    ids = {identity(i, o) for i in (client.inputs, plain_in) for o in (client.outputs, plain_out)}
    assert len(ids) == 4
    assert client.model_id in ids
