"""A personal model: T encrypted steps against T plaintext steps, versions, rollback, refusals."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from eer.runtime.client import Client
from eer.runtime.engines import open_engine
from eer.runtime.errors import (
    ArtifactError,
    DataError,
    EngineError,
    FileError,
    KeyMismatchError,
    UsageError,
)
from eer.runtime.inputs import RangeWarning
from eer.runtime.model import ServerModel
from eer.runtime.personal import PersonalModel
from eer.runtime.server import Server
from eer.runtime.state_update import read_update, update_to_bytes
from eer.runtime.wire import message_to_bytes
from tests.runtime.personal_setup import BATCHES, RNG, START, WINDOWS, Servers, Setup, User, build
from tests.runtime.stateful import DECAY, gated_step, next_weights, step_model, use_model

TOLERANCE = {"clear": 1e-12, "seal": 2e-3}


@pytest.fixture(scope="module")
def setup() -> Setup:
    return build("clear")


@pytest.mark.parametrize("engine", ["clear", "seal"])
def test_t_steps_are_t_plaintext_steps(engine: str, tmp_path: Path) -> None:
    setup, tolerance = build(engine), TOLERANCE[engine]
    personal = setup.create(tmp_path / "p")
    plain = START
    np.testing.assert_allclose(setup.weights(personal), plain, atol=tolerance)
    for number, x in enumerate(BATCHES, start=1):
        plain = next_weights(plain, x)
        np.testing.assert_allclose(setup.advance(personal, x), plain, atol=tolerance)
        assert personal.version.step == number
        if number in (1, len(BATCHES)):
            answer = personal.run(setup.user.use.encrypt({"X": WINDOWS}))
            found = setup.user.use.decrypt(answer).outputs["y"]
            np.testing.assert_allclose(found, WINDOWS * plain, atol=tolerance)


def test_the_folder_outlives_the_process(setup: Setup, tmp_path: Path) -> None:
    first = setup.create(tmp_path / "p")
    setup.advance(first, BATCHES[0])
    later = setup.open(tmp_path / "p")
    plain = next_weights(START, BATCHES[0])
    np.testing.assert_allclose(setup.weights(later), plain, rtol=1e-12)
    # Two objects on one folder see what the other commits.
    setup.advance(later, BATCHES[1])
    np.testing.assert_allclose(setup.weights(first), next_weights(plain, BATCHES[1]), rtol=1e-12)


def test_rollback_and_history(setup: Setup, tmp_path: Path) -> None:
    personal = setup.create(tmp_path / "p", history=3)
    plain = [START]
    for x in BATCHES[:4]:
        setup.advance(personal, x)
        plain.append(next_weights(plain[-1], x))
    assert [v.version for v in personal.versions] == [3, 4, 5]
    assert sorted(p.name for p in (tmp_path / "p").glob("version-*")) == [
        "version-0003.eer",
        "version-0004.eer",
        "version-0005.eer",
    ]
    for back in (3, 2):
        assert personal.rollback().step == back
        np.testing.assert_allclose(setup.weights(personal), plain[back], rtol=1e-12)
    with pytest.raises(UsageError, match="no version before"):
        personal.rollback()
    # Learning goes on from there, under a number that was never used.
    setup.advance(personal, BATCHES[5])
    assert personal.version.version == 6
    np.testing.assert_allclose(
        setup.weights(personal), next_weights(plain[2], BATCHES[5]), rtol=1e-12
    )


def test_a_step_waits_for_its_refresh(setup: Setup, tmp_path: Path) -> None:
    personal, client = setup.create(tmp_path / "p"), setup.user.step
    question = client.encrypt({"X": BATCHES[0]})
    answer = personal.step(question)
    with pytest.raises(UsageError, match="step 1 was computed and waits"):
        personal.step(question)
    reopened = setup.open(tmp_path / "p")
    assert reopened.pending is not None
    assert reopened.pending.answer == answer
    # Inference goes on with the state as it was.
    np.testing.assert_allclose(setup.weights(reopened), START, rtol=1e-12)
    reopened.discard()
    assert personal.pending is None
    again = personal.step(client.encrypt({"X": BATCHES[1]}))
    stale = client.refresh(answer, [setup.user.use]).update
    with pytest.raises(ArtifactError, match="not made from the answer of the step that waits"):
        personal.commit(stale)
    update = client.refresh(again, [setup.user.use]).update
    assert personal.commit(update).step == 1
    # Sent twice, as a client does that heard no answer.
    assert personal.commit(update).step == 1
    assert len(personal.versions) == 2


def test_what_the_client_refuses_leaves_the_state_alone(setup: Setup, tmp_path: Path) -> None:
    personal = setup.create(tmp_path / "p")
    wild = Client(
        replace(
            setup.user.step.model,
            inputs=tuple(
                replace(s, low=s.low / 100, high=s.high / 100) if s.role == "state" else s
                for s in setup.user.step.model.inputs
            ),
        ),
        open_engine(setup.user.step.model.params, "clear"),
        secret_key=setup.user.keys[0].secret,
    )
    answer = personal.step(wild.encrypt({"X": BATCHES[0]}))
    with pytest.raises(DataError, match="values of state 'W' lie outside the calibrated range"):
        wild.refresh(answer, [setup.user.use])
    assert personal.version.step == 0
    wild.range_check = "warn"
    with pytest.warns(RangeWarning, match="state 'W'"):
        personal.commit(wild.refresh(answer, [setup.user.use]).update)
    assert personal.version.step == 1


def test_updates_that_do_not_belong(setup: Setup, tmp_path: Path) -> None:
    personal, client, use = setup.create(tmp_path / "p"), setup.user.step, setup.user.use
    answer = personal.step(client.encrypt({"X": BATCHES[0]}))
    good = read_update(client.refresh(answer, [use]).update)
    step_id, use_id = client.model.model_id, use.model.model_id
    with pytest.raises(KeyMismatchError, match="no state for the inference model"):
        personal.commit(client.refresh(answer).update)

    def changed(model_id: str, **changes: Any) -> bytes:
        messages = dict(good.messages)
        messages[model_id] = replace(messages[model_id], **changes)
        return update_to_bytes(good.answer, {m: message_to_bytes(x) for m, x in messages.items()})

    binding = good.messages[use_id].binding
    for model_id, changes, reason in (
        (use_id, {"binding": replace(binding, key_id="ab" * 16)}, "state of another key"),
        (use_id, {"binding": replace(binding, params_hash="ab")}, "other parameters"),
        (use_id, {"names": ("V",)}, r"holds \['V'\].*\['W'\] in"),
        (step_id, {"levels": (1,)}, r"of levels \[1\]"),
        (step_id, {"bodies": (b"rubbish",)}, "ciphertext"),
    ):
        with pytest.raises(ArtifactError, match=reason):
            personal.commit(changed(model_id, **changes))
    with pytest.raises(ArtifactError, match="'sections'"):
        personal.commit(changed(use_id, direction="input"))
    assert personal.version.step == 0
    assert personal.commit(changed(use_id)).step == 1


def test_servers_of_another_user_or_model(setup: Setup, tmp_path: Path) -> None:
    setup.create(tmp_path / "p")
    stranger = build("clear")
    with pytest.raises(KeyMismatchError, match="step model of another key"):
        PersonalModel(tmp_path / "p", step=stranger.servers["step"])
    with pytest.raises(KeyMismatchError, match="inference model of another key"):
        PersonalModel(tmp_path / "p", inference=stranger.servers["inference"])
    other = step_model("other", shift=0.2)
    user = User.new("clear", other, use_model())
    with pytest.raises(KeyMismatchError, match="step model of another model"):
        PersonalModel(tmp_path / "p", step=user.servers(other, use_model())["step"])
    with pytest.raises(KeyMismatchError, match="of another key"):
        PersonalModel.create(tmp_path / "q", stranger.first, **setup.servers)
    assert not (tmp_path / "q").exists()


def test_a_personal_model_is_made_of_what_it_needs(setup: Setup, tmp_path: Path) -> None:
    step, use = setup.servers["step"], setup.servers["inference"]
    wrong: list[tuple[Servers, str]] = [
        ({}, "has a step, an inference model, or one of each"),
        ({"step": step, "inference": step}, "has a step, an inference model, or one of each"),
        ({"step": use}, "'use' is no step"),
    ]
    for servers, reason in wrong:
        with pytest.raises(UsageError, match=reason):
            PersonalModel.create(tmp_path / "p", setup.first, **servers)
    plain = step_model()
    windows = tuple(replace(s, role="window") for s in plain.client.inputs)
    outputs = tuple(replace(o, state="") for o in plain.client.outputs)
    bare = replace(plain.client, inputs=windows, outputs=outputs)
    client = Client(bare, open_engine(bare.params, "clear"))
    stateless = Server(
        ServerModel.of(bare, plain.server.program),
        client.generate_keys().evaluation,
        open_engine(bare.params, "clear"),
    )
    with pytest.raises(UsageError, match="the inference model takes no state"):
        PersonalModel.create(tmp_path / "p", setup.first, inference=stateless)
    with pytest.raises(UsageError, match="history of 1"):
        setup.create(tmp_path / "p", history=1)
    with pytest.raises(EngineError, match="sparse secret of unknown weight"):
        setup.create(tmp_path / "p", refresh="bootstrap")
    setup.create(tmp_path / "p")
    with pytest.raises(FileError, match="holds a personal model already"):
        setup.create(tmp_path / "p")
    with pytest.raises(FileError, match="cannot read"):
        PersonalModel(tmp_path / "nowhere")


def test_a_learned_elsewhere_state_needs_no_step(setup: Setup, tmp_path: Path) -> None:
    first = setup.user.use.initial_state(START)
    server = setup.servers["inference"]
    personal = PersonalModel.create(tmp_path / "p", first, inference=server)
    np.testing.assert_allclose(setup.weights(personal), START, rtol=1e-12)
    with pytest.raises(UsageError, match="no step model was given"):
        personal.step(b"")
    with pytest.raises(UsageError, match="without a model for the role 'step'"):
        setup.open(tmp_path / "p")


def test_without_servers_a_folder_can_be_looked_at_and_rolled_back(
    setup: Setup, tmp_path: Path
) -> None:
    setup.advance(setup.create(tmp_path / "p"), BATCHES[0])
    bare = PersonalModel(tmp_path / "p")
    assert [v.step for v in bare.versions] == [0, 1]
    assert bare.rollback().step == 0
    with pytest.raises(UsageError, match="no inference model was given"):
        bare.run(b"")


def test_state_that_no_step_renews_stays(tmp_path: Path) -> None:
    step, use = gated_step(), use_model()
    user = User.new("seal", step, use)
    gate = RNG.uniform(-1, 1, 4)
    first = user.step.initial_state({"W": START, "A": gate}, [user.use])
    personal = PersonalModel.create(tmp_path / "p", first, **user.servers(step, use))
    weights = START
    for x in BATCHES[:3]:
        refreshed = user.step.refresh(personal.step(user.step.encrypt({"X": x})), [user.use])
        assert set(refreshed.state) == {"W"}
        personal.commit(refreshed.update)
        weights = DECAY * weights + gate * x
        np.testing.assert_allclose(refreshed.state["W"], weights, atol=2e-3)
    # Both models read it back from the disk, the renewed and the kept state together.
    later = PersonalModel(tmp_path / "p", **user.servers(step, use))
    answer = later.step(user.step.encrypt({"X": BATCHES[3]}))
    found = user.step.refresh(answer, [user.use]).state["W"]
    np.testing.assert_allclose(found, DECAY * weights + gate * BATCHES[3], atol=2e-3)


def test_initial_states_that_do_not_fit(setup: Setup) -> None:
    client, use = setup.user.step, setup.user.use
    with pytest.raises(DataError, match="no state is 'V'"):
        client.initial_state({"W": START, "V": START}, [use])
    with pytest.raises(DataError, match="'W' is missing"):
        client.initial_state({}, [use])
    answer = setup.servers["inference"].run(use.encrypt({"X": WINDOWS, "W": START}))
    with pytest.raises(UsageError, match="'use' is no step"):
        use.refresh(answer)
