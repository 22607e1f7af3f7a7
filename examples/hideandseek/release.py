"""Reading the study's release: `META/`, `LABELS/label.pkl` and `SENSORS/{sensors,audio}.pkl`.

The pickles hold pandas tables, which are read without running what they say (study/frames.py).
`SENSORS/video.pkl` and `META/presurvey.csv` are not needed for the features, and not read.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from eer.runtime.errors import DataError, FileError
from examples.study.frames import Frame, read_frames
from examples.study.table_files import read_csv

from .call import CALLS, SENSORS, SPEAKERS, TRACKS, Call, Track

FILES = ("META/meta.csv", "LABELS/label.pkl", "SENSORS/sensors.pkl", "SENSORS/audio.pkl")
"""What must be there."""

Tables = Mapping[object, object]


@dataclass(frozen=True, slots=True, eq=False)
class Release:
    """The tables of a release, by worker, session and name."""

    folder: Path
    workers: tuple[int, ...]
    labels: Tables
    sensors: Tables
    audio: Tables
    synthetic: bool


def is_release(folder: Path) -> bool:
    """Whether the folder holds a release, or what is left of one."""
    return any((folder / name).exists() for name in FILES)


def open_release(folder: Path) -> Release:
    """Read all tables. Raises FileError and DataError where a file is missing or unreadable."""
    for name in FILES:
        if not (folder / name).is_file():
            raise FileError(
                f"the release has no {name}",
                where=str(folder),
                hint=f"it consists of {', '.join(FILES)} and two files that are not read",
            )
    labels, sensors, audio = (_dictionary(read_frames(folder / n), n) for n in FILES[1:])
    return Release(
        folder=folder,
        workers=_workers(folder / "META" / "meta.csv"),
        labels=labels,
        sensors=sensors,
        audio=audio,
        synthetic=(folder / "META" / "SYNTHETIC").exists(),
    )


def calls(release: Release, skip: Callable[[str], None] | None = None) -> Iterator[Call]:
    """Every call of every worker in `meta.csv`, in their order.

    A call that lacks something is an error, or is left out and told to `skip` where that is given.
    """
    for worker in release.workers:
        for session in CALLS:
            try:
                yield _call(release, worker, session)
            except DataError as error:
                if skip is None:
                    raise
                skip(f"left out: {error.where}: {error.reason}")


def _workers(path: Path) -> tuple[int, ...]:
    columns = read_csv(path)
    if "Pnum" not in columns:
        raise DataError(
            "there is no column 'Pnum'",
            where=str(path),
            hint="its columns are Pnum, order_type, actor and actor_sex",
        )
    try:
        # The published file ends in an empty row.
        return tuple(int(float(number)) for number in columns["Pnum"].tolist() if number)
    except ValueError as error:
        raise DataError(f"a worker's number is no number: {error}", where=str(path)) from error


def _call(release: Release, worker: int, session: str) -> Call:
    name, folder = f"P{worker}", release.folder
    recorded = _session(release.sensors, worker, session, "sensors.pkl", folder)
    voices = _session(release.audio, worker, session, "audio.pkl", folder)
    rated = _session(release.labels, worker, session, "label.pkl", folder)
    places = {
        **{sensor: (recorded, sensor) for sensor in SENSORS},
        **{speaker: (voices, key) for speaker, key in SPEAKERS.items()},
        "suppression": (rated, "suppression"),
    }
    tracks = {
        track: _track(tables[key], track, f"{name}, {session}")
        for track, (tables, key) in places.items()
        if key in tables
    }
    return Call(name, session, tracks, synthetic=release.synthetic)


def _session(tables: Tables, worker: int, session: str, file: str, folder: Path) -> Tables:
    if worker not in tables:
        raise DataError(
            f"{file} holds nothing of the worker, whom meta.csv names",
            where=f"P{worker}, {folder}",
            hint="get the file again, or give --skip-incomplete",
        )
    sessions = _dictionary(tables[worker], f"P{worker} in {file}")
    if session not in sessions:
        raise DataError(
            f"{file} does not hold the call",
            where=f"P{worker}, {session}",
            hint=f"it holds {', '.join(sorted(map(str, sessions))) or 'nothing'}; get the file "
            "again, or give --skip-incomplete",
        )
    return _dictionary(sessions[session], f"P{worker}, {session} in {file}")


def _dictionary(value: object, where: str) -> Tables:
    if not isinstance(value, dict):
        raise DataError(f"expected a dictionary, found {type(value).__name__}", where=where)
    return value


def _track(table: object, name: str, where: str) -> Track:
    """The table's columns as a track, without the samples that lack a time or a value.

    A voice that is silent has no pitch: of the voices' descriptors, any one is enough.
    """
    columns: Mapping[str, object] = {}
    if isinstance(table, Frame | dict):
        columns = table.columns if isinstance(table, Frame) else table
    needed = ("Timestamp", *TRACKS[name].columns)
    missing = [column for column in needed if column not in columns]
    if missing:
        raise DataError(
            f"{name} has no column of numbers {missing[0]!r}",
            where=where,
            hint=f"it has {', '.join(map(str, columns)) or 'none'}",
        )
    try:
        found = [np.asarray(columns[column], dtype=np.float64).reshape(-1) for column in needed]
        samples = np.stack(found, axis=1)
    except (TypeError, ValueError) as error:
        raise DataError(f"{name} is no table of numbers: {error}", where=where) from error
    known = np.isfinite(samples)
    enough = known[:, 1:].any(axis=1) if name in SPEAKERS else known[:, 1:].all(axis=1)
    samples = samples[known[:, 0] & enough]
    return Track(samples[:, 0] / 1000.0, samples[:, 1:])
