"""One case, all contestants: compiled one after the other, then run in turn, message by message."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from time import monotonic

import numpy as np
from numpy.typing import NDArray

from eer.compiler.clock import on_gpu
from eer.runtime.errors import EerError

from . import pools
from .cases import Case
from .contestant import ONNX_FILE, POLYNOMIAL_FILE, TASK_FILE, Json, Settings
from .data import TaskData
from .process import ContestantError, ContestantProcess, Launch
from .result import Row, Timing, largest, medians, same_labels, speedup
from .source import load_case

Progress = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Entry:
    """A contestant on a case, as the harness knows it.

    `engine` is set for eer alone; peers get `parameters`. `unable` says why it is not run at all.
    """

    name: str
    version: str
    launch: Launch
    engine: str = ""
    parameters: Json = field(default_factory=dict)
    unable: str | None = None

    @property
    def is_ours(self) -> bool:
        return bool(self.engine)


@dataclass(frozen=True, slots=True)
class Conditions:
    """The same for all contestants: windows, cap of memory, and the core that they share.

    A turn of messages ends after `seconds`, with fewer of them; one is always counted. eer is also
    served by `workers` processes at once, where that is more than one.
    """

    windows: int
    memory_gb: float
    core: int | None
    seconds: float = 60.0
    workers: int = 1


@dataclass(slots=True, eq=False)
class _Record:
    """What has been found about one contestant so far."""

    entry: Entry
    folder: Path
    facts: Json = field(default_factory=dict)
    timings: list[Timing] = field(default_factory=list)
    scores: dict[int, NDArray[np.float64]] = field(default_factory=dict)
    peak_mb: float = 0.0
    speedup: float | None = None
    against: str | None = None
    failure: str | None = None


_Serving = tuple[_Record, ContestantProcess]


def run_case(
    case: Case, entries: Sequence[Entry], conditions: Conditions, progress: Progress
) -> list[Row]:
    """Rows of all entries, in their order; a contestant that fails gets a row that says why."""
    data = load_case(case, case.windows(conditions.windows))
    wanted = _messages(case, conditions)
    with tempfile.TemporaryDirectory(prefix="eer-bench-") as root, ExitStack() as open_ones:
        records = [
            _prepare(case, data, entry, conditions, Path(root) / str(number))
            for number, entry in enumerate(entries)
        ]
        for record in (r for r in records if r.entry.launch.compiles and r.failure is None):
            progress(f"{case.name}: {record.entry.name} compiles")
            _compile(record)
        serving = []
        for record in (r for r in records if r.entry.is_ours and r.failure is None):
            progress(f"{case.name}: {record.entry.name} makes keys")
            process = _serve(record, open_ones)
            if process is not None:
                serving.append((record, process))
        for peer in (r for r in records if not r.entry.is_ours and r.failure is None):
            progress(f"{case.name}: {peer.entry.name} makes keys")
            with ExitStack() as this_peer:
                process = _serve(peer, this_peer)
                if process is not None:
                    progress(f"{case.name}: {peer.entry.name} in turn with eer")
                    _in_turn([*serving, (peer, process)], wanted, conditions)
        # Where there is no peer, or one that was too slow for all of them.
        answered = [r.scores for r, _ in serving if r.failure is None]
        left = [m for m in wanted if any(m not in scores for scores in answered)]
        if left:
            progress(f"{case.name}: eer")
            _in_turn(serving, left, conditions)
        open_ones.close()  # pools get all of the memory and of the cores
        if conditions.workers > 1:
            for record in (r for r in records if r.entry.is_ours and r.failure is None):
                progress(f"{case.name}: {record.entry.name} in {conditions.workers} processes")
                _pool(data, record, conditions.workers)
        return [_row(case, data, record) for record in records]


def _prepare(
    case: Case, data: TaskData, entry: Entry, conditions: Conditions, folder: Path
) -> _Record:
    folder.mkdir()
    data.save(folder / TASK_FILE)
    if case.onnx is not None:
        (folder / ONNX_FILE).write_bytes(case.onnx.read_bytes())
    Settings(
        entry.engine,
        case.percent / 100,
        case.batch,
        entry.parameters,
        conditions.memory_gb,
        conditions.core,
    ).save(folder)
    return _Record(entry, folder, failure=entry.unable)


def _messages(case: Case, conditions: Conditions) -> list[int]:
    """The first window of each message; a batch is sent again and again."""
    count = case.messages(conditions.windows)
    return list(range(count)) if case.batch == 1 else [0] * count


def _compile(record: _Record) -> None:
    try:
        with record.entry.launch.compile(record.folder) as process:
            record.facts |= process.reply()
    except ContestantError as error:
        record.failure = error.reason


def _serve(record: _Record, stack: ExitStack) -> ContestantProcess | None:
    """Start it and wait until its keys are made; None where that failed."""
    try:
        process = stack.enter_context(record.entry.launch.serve(record.folder))
        record.facts |= process.reply()
    except ContestantError as error:
        record.failure = error.reason
        return None
    return process


def _in_turn(serving: Sequence[_Serving], messages: Sequence[int], conditions: Conditions) -> None:
    """Send every message to all of `serving` before the next; the first one twice, to warm up.

    What is left when the time is over is not sent. A warm-up that took all of it is counted.
    """
    began = monotonic()
    fresh: dict[int, list[Timing]] = {id(record): [] for record, _ in serving}
    alive = [(record, process) for record, process in serving if record.failure is None]
    for number, first in enumerate([messages[0], *messages]):
        if number and monotonic() - began > conditions.seconds:
            break
        if number == 1:
            for timings in fresh.values():
                timings.clear()
        for record, process in list(alive):
            timing = _ask(record, process, first)
            if timing is None:
                alive.remove((record, process))
            else:
                fresh[id(record)].append(timing)
    reference = next((r for r, _ in alive if r.entry.is_ours), None)
    for record, _ in alive:
        record.timings += fresh[id(record)]
        if reference is not None and record is not reference:
            wall = on_gpu(reference.entry.engine)
            record.speedup = speedup(fresh[id(reference)], fresh[id(record)], wall)
            record.against = reference.entry.name


def _ask(record: _Record, process: ContestantProcess, first: int) -> Timing | None:
    """Have one message answered; None where the contestant failed."""
    try:
        reply = process.ask({"first": first})
    except ContestantError as error:
        record.failure = error.reason
        return None
    scores = np.array(reply["scores"])
    if not np.isfinite(scores).all():
        record.failure = "its answers are not finite"
        return None
    record.facts |= reply["facts"]
    record.peak_mb = reply["peak_mb"]
    record.scores[first] = scores
    return Timing(reply["wall_ms"], reply["cpu_ms"])


def _pool(data: TaskData, record: _Record, workers: int) -> None:
    try:
        record.facts |= pools.measure(record.folder, record.entry.engine, data, workers)
    except EerError as error:  # the figures before stay
        record.facts["pool_failure"] = error.reason


def _row(case: Case, data: TaskData, record: _Record) -> Row:
    entry = record.entry
    empty = Row(
        case=case.name,
        contestant=entry.name,
        version=entry.version,
        windows=0,
        batch=case.batch,
        facts={"parameters": entry.parameters} | record.facts,
        failure=record.failure,
    )
    if record.failure is not None or not record.timings:
        return empty
    answered = sorted(record.scores)
    scores = np.concatenate([record.scores[first] for first in answered])
    batch = len(record.scores[answered[0]])
    asked = np.concatenate([np.arange(first, first + batch) for first in answered])
    reference = data.outputs[asked]
    polynomial = record.folder / POLYNOMIAL_FILE
    cpu, wall = medians(record.timings)
    return replace(
        empty,
        windows=len(scores),
        batch=batch,
        cpu_ms=cpu,
        wall_ms=wall,
        max_error=largest(scores, reference),
        polynomial_error=largest(scores, np.load(polynomial)[asked])
        if polynomial.exists()
        else None,
        labels=same_labels(scores, reference),
        peak_mb=max(record.peak_mb, record.facts.get("compile_peak_mb", 0.0)),
        facts=empty.facts | {"run_peak_mb": record.peak_mb},
        speedup=record.speedup,
        against=record.against,
    )
