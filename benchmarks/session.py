"""One case, all contestants: compiled one after the other, then run in turn, message by message."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from . import ours
from .cases import Case
from .contestant import SETTINGS_FILE, TASK_FILE, Json, Settings
from .data import TaskData
from .process import ContestantError, ContestantProcess, Launch
from .result import Row, Timing, largest, medians, same_labels, speedup
from .source import load_case

Progress = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Entry:
    """A contestant on a case, as the harness knows it.

    `engine` is set for eer alone; peers get `parameters`. `compiles` says that compiling is a
    process of its own; `most_windows` caps the windows of one that takes minutes for each.
    """

    name: str
    version: str
    launch: Launch
    engine: str = ""
    parameters: Json = field(default_factory=dict)
    compiles: bool = True
    most_windows: int | None = None

    @property
    def is_ours(self) -> bool:
        return bool(self.engine)


@dataclass(frozen=True, slots=True)
class Conditions:
    """The same for all contestants: windows, cap of memory, and the core that they share."""

    windows: int
    memory_gb: float
    core: int | None


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


def run_case(
    case: Case, entries: Sequence[Entry], conditions: Conditions, progress: Progress
) -> list[Row]:
    """Rows of all entries, in their order; a contestant that fails gets a row that says why."""
    data = load_case(case, case.windows(conditions.windows))
    with tempfile.TemporaryDirectory(prefix="eer-bench-") as root, ExitStack() as open_ones:
        records = [
            _prepare(case, data, entry, conditions, Path(root) / str(number))
            for number, entry in enumerate(entries)
        ]
        for record in records:
            if record.entry.compiles:
                progress(f"{case.name}: {record.entry.name} compiles")
                _attempt(record, lambda r=record: _compile(r))  # type: ignore[misc]
        serving = []
        for record in (r for r in records if r.entry.is_ours):
            progress(f"{case.name}: {record.entry.name} makes keys")
            process = _serve(record, open_ones)
            if process is not None:
                serving.append((record, process))
        peers = [r for r in records if not r.entry.is_ours and r.failure is None]
        for peer in peers:
            progress(f"{case.name}: {peer.entry.name} makes keys")
            with ExitStack() as this_peer:
                process = _serve(peer, this_peer)
                if process is not None:
                    progress(f"{case.name}: {peer.entry.name} in turn with eer")
                    _in_turn(case, [*serving, (peer, process)], conditions.windows)
        if not any(p.timings for p in peers):
            progress(f"{case.name}: eer")
            _in_turn(case, serving, conditions.windows)
        return [_row(case, data, record) for record in records]


def _prepare(
    case: Case, data: TaskData, entry: Entry, conditions: Conditions, folder: Path
) -> _Record:
    folder.mkdir()
    data.save(folder / TASK_FILE)
    if case.onnx is not None:
        (folder / ours.ONNX_FILE).write_bytes(case.onnx.read_bytes())
    Settings(
        entry.engine, case.batch, entry.parameters, conditions.memory_gb, conditions.core
    ).save(folder)
    assert (folder / SETTINGS_FILE).exists()
    return _Record(entry, folder)


def _attempt(record: _Record, action: Callable[[], None]) -> None:
    try:
        action()
    except ContestantError as error:
        record.failure = error.reason


def _compile(record: _Record) -> None:
    with record.entry.launch.start("compile", record.folder) as process:
        record.facts |= process.reply()


def _serve(record: _Record, stack: ExitStack) -> ContestantProcess | None:
    """Start it and wait until its keys are made; None where that, or its compilation, failed."""
    if record.failure is not None:
        return None
    try:
        process = stack.enter_context(record.entry.launch.start("serve", record.folder))
        record.facts |= process.reply()
    except ContestantError as error:
        record.failure = error.reason
        return None
    return process


def _in_turn(
    case: Case, serving: Sequence[tuple[_Record, ContestantProcess]], windows: int
) -> None:
    """Send every message to all of `serving` before the next; the first one twice, to warm up."""
    limits = [r.entry.most_windows for r, _ in serving if r.entry.most_windows is not None]
    firsts = [0 if case.batch > 1 else m for m in range(case.messages(min([windows, *limits])))]
    before = {id(r): len(r.timings) for r, _ in serving}
    alive = list(serving)
    for number, first in enumerate([firsts[0], *firsts]):
        for record, process in list(alive):
            try:
                reply = process.ask({"first": first})
            except ContestantError as error:
                record.failure = error.reason
                alive.remove((record, process))
                continue
            record.facts |= reply["facts"]
            record.peak_mb = reply["peak_mb"]
            record.scores[first] = np.array(reply["scores"])
            if number:
                record.timings.append(Timing(reply["wall_ms"], reply["cpu_ms"]))
    reference = next((r for r, _ in alive if r.entry.is_ours), None)
    for record, _ in alive:
        if reference is not None and not record.entry.is_ours:
            fresh = reference.timings[before[id(reference)] :]
            record.speedup = speedup(fresh, record.timings[before[id(record)] :])
            record.against = reference.entry.name


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
    scores = np.concatenate([record.scores[first] for first in sorted(record.scores)])
    reference = data.outputs[: len(scores)]
    polynomial = record.folder / ours.POLYNOMIAL_FILE
    cpu, wall = medians(record.timings)
    return replace(
        empty,
        windows=len(scores),
        cpu_ms=cpu,
        wall_ms=wall,
        max_error=largest(scores, reference),
        polynomial_error=largest(scores, np.load(polynomial)[: len(scores)])
        if polynomial.exists()
        else None,
        labels=same_labels(scores, reference),
        peak_mb=max(record.peak_mb, record.facts.get("compile_peak_mb", 0.0)),
        facts=empty.facts | {"run_peak_mb": record.peak_mb},
        speedup=record.speedup,
        against=record.against,
    )
