"""The driver of many steps: reports, precision, and going on where the folder says."""

from __future__ import annotations

from collections.abc import Mapping
from math import inf, log2
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from eer.runtime.client import Client
from eer.runtime.engines import open_engine
from eer.runtime.errors import DataError
from eer.runtime.personal import PersonalModel
from eer.runtime.personalise import StepReport, personalise
from eer.runtime.server import Server
from tests.runtime.stateful import next_weights, step_model, use_model

RNG = np.random.default_rng(5)
START = RNG.uniform(-0.5, 0.5, 4)
BATCHES = [{"X": x} for x in RNG.uniform(-1, 1, (3, 4))]


def expected(step: int) -> Mapping[str, Any]:
    """The same steps in the clear."""
    weights = START
    for number in range(step):
        weights = next_weights(weights, BATCHES[number % len(BATCHES)]["X"])
    return {"W": weights}


def setup(engine: str, folder: Path) -> tuple[Client, Client, PersonalModel]:
    step, use = step_model(), use_model()
    clients = [Client(p.client, open_engine(p.client.params, engine)) for p in (step, use)]
    servers = [
        Server(p.server, c.generate_keys().evaluation, open_engine(p.client.params, engine))
        for p, c in zip((step, use), clients, strict=True)
    ]
    first = clients[0].initial_state({"W": START}, [clients[1]])
    personal = PersonalModel.create(folder / "p", first, step=servers[0], inference=servers[1])
    return clients[0], clients[1], personal


@pytest.mark.parametrize(("engine", "tolerance"), [("clear", 1e-12), ("seal", 1e-3)])
def test_steps_are_reported(engine: str, tolerance: float, tmp_path: Path) -> None:
    client, use, personal = setup(engine, tmp_path)
    seen: list[StepReport] = []
    reports = personalise(
        client, personal, BATCHES, 5, others=[use], expected=expected, progress=seen.append
    )
    assert seen == reports
    assert [r.step for r in reports] == [r.refreshes for r in reports] == [1, 2, 3, 4, 5]
    for report in reports:
        wanted = expected(report.step)["W"]
        np.testing.assert_allclose(report.state["W"], wanted, atol=tolerance)
        assert report.error is not None
        assert report.error == pytest.approx(np.abs(report.state["W"] - wanted).max())
        assert report.error < tolerance
        assert report.precision == (inf if report.error == 0 else -log2(report.error))
        assert min(report.server_seconds, report.client_seconds) > 0
        assert min(report.bytes_up, report.bytes_down) > 1000
        assert not report.resumed
        before = expected(report.step - 1)["W"]
        x = BATCHES[(report.step - 1) % 3]["X"]
        np.testing.assert_allclose(report.prediction.outputs["loss"][0], before * x, atol=tolerance)


def test_it_goes_on_where_it_was_stopped(tmp_path: Path) -> None:
    client, use, personal = setup("clear", tmp_path)
    personalise(client, personal, BATCHES, 2, others=[use])
    personal.step(client.encrypt(BATCHES[2]))  # and the client went away
    asked: list[int] = []

    def batches(step: int) -> Mapping[str, Any]:
        asked.append(step)
        return BATCHES[(step - 1) % 3]

    reports = personalise(client, personal, batches, 4, others=[use], expected=expected)
    assert [(r.step, r.resumed) for r in reports] == [(3, True), (4, False)]
    assert asked == [4]
    assert max(r.error or 0 for r in reports) < 1e-12
    assert personalise(client, personal, batches, 4, others=[use]) == []
    (last,) = personalise(client, personal, BATCHES, 5, others=[use])
    assert last.error is None
    assert last.precision is None


def test_nothing_to_learn_from(tmp_path: Path) -> None:
    client, _, personal = setup("clear", tmp_path)
    with pytest.raises(DataError, match="nothing to learn from"):
        personalise(client, personal, [], 1)


def test_a_batch_is_sent_once(tmp_path: Path) -> None:
    client, use, personal = setup("clear", tmp_path)
    question = len(client.encrypt(BATCHES[0]))
    first, second, third = personalise(client, personal, BATCHES[:2], 3, others=[use])
    assert first.bytes_up == second.bytes_up > question
    assert third.bytes_up == pytest.approx(first.bytes_up - question, abs=64)
    (fourth,) = personalise(client, personal, lambda step: BATCHES[0], 4, others=[use])
    assert fourth.bytes_up > question
