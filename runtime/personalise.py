"""Many steps of a personal model in one process: for examples, tests and measurements.

In service the two halves lie on two machines, and the shell commands (`eer personal`,
`eer refresh`) do the same one step at a time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from math import inf, log2
from time import perf_counter
from typing import Any

import numpy as np

from .client import Client, Refreshed
from .decode import Prediction
from .errors import DataError
from .personal import PersonalModel
from .program import Vector

Inputs = Mapping[str, Any]

Batches = Sequence[Inputs] | Callable[[int], Inputs]
"""The inputs of every step, taken in turn, each encrypted and sent once and kept by the server; or
a function of the step's number, from 1, whose inputs are sent for every step."""

Expected = Callable[[int], Mapping[str, Any]]
"""The state that the same algorithm has in the clear after so many steps, by name."""


@dataclass(frozen=True, slots=True, eq=False)
class StepReport:
    """What one step took, and what the client saw of it.

    `bytes_up` counts the question, where it was not sent before, and the update, `bytes_down` the
    answer. `error` is the largest
    difference of the state from what was expected, `precision` the same as bits; both are None
    where nothing was expected. `resumed` says that the answer was there already, computed before
    an interruption; its time is then not counted.
    """

    step: int
    version: int
    server_seconds: float
    client_seconds: float
    bytes_up: int
    bytes_down: int
    refreshes: int
    resumed: bool
    error: float | None
    state: Mapping[str, Vector] = field(repr=False)
    prediction: Prediction = field(repr=False)

    @property
    def precision(self) -> float | None:
        if self.error is None:
            return None
        return -log2(self.error) if self.error > 0 else inf


def personalise(
    client: Client,
    personal: PersonalModel,
    batches: Batches,
    steps: int,
    *,
    others: Sequence[Client] = (),
    expected: Expected | None = None,
    progress: Callable[[StepReport], None] | None = None,
) -> list[StepReport]:
    """Teach `personal` until it has `steps` steps behind it, however many it has already.

    `client` is the step model's, `others` are those of models that share the state. Called again
    after an interruption, it goes on where the folder says. Raises DataError where there are no
    batches, else what `Client.encrypt`, `PersonalModel.step` and `Client.refresh` raise; the state
    is then that of the last whole step.
    """
    if not callable(batches) and not batches:
        raise DataError("there is nothing to learn from", hint="give at least one batch")
    reports: list[StepReport] = []
    for report in _steps(client, personal, batches, steps, others, expected):
        reports.append(report)
        if progress is not None:
            progress(report)
    return reports


def _steps(
    client: Client,
    personal: PersonalModel,
    batches: Batches,
    steps: int,
    others: Sequence[Client],
    expected: Expected | None,
) -> Iterator[StepReport]:
    kept: dict[int, bytes] = {}
    while (done := personal.version.step) < steps:
        number, pending = done + 1, personal.pending
        sent = 0
        times = [perf_counter()]
        if pending is not None:
            answer = pending.answer
            times.append(perf_counter())
        else:
            place = number if callable(batches) else done % len(batches)
            question = kept.get(place)
            if question is None:
                question = client.encrypt(batches(number) if callable(batches) else batches[place])
                sent = len(question)
            if not callable(batches):
                kept[place] = question
            times.append(perf_counter())
            answer = personal.step(question)
        times.append(perf_counter())
        refreshed = client.refresh(answer, others)
        times.append(perf_counter())
        version = personal.commit(refreshed.update)
        times.append(perf_counter())
        encrypt, step, refresh, commit = (b - a for a, b in pairwise(times))
        yield StepReport(
            step=version.step,
            version=version.version,
            server_seconds=step + commit,
            client_seconds=encrypt + refresh,
            bytes_up=sent + len(refreshed.update),
            bytes_down=len(answer),
            refreshes=version.step,
            resumed=pending is not None,
            error=None if expected is None else _error(refreshed, expected(number)),
            state=refreshed.state,
            prediction=refreshed.prediction,
        )


def _error(refreshed: Refreshed, expected: Mapping[str, Any]) -> float:
    return max(
        float(np.abs(values - np.asarray(expected[name], np.float64)).max())
        for name, values in refreshed.state.items()
    )
