"""Writing made-up recordings as the study's release: the same files, names and types.

The pickles are pandas', so writing them needs pandas; reading them does not. What the release's
`video.pkl` holds is not described: a table without columns stands there for each call. Beside
`meta.csv` lies a file SYNTHETIC, which no real release has.
"""

from __future__ import annotations

import csv
import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from .call import CALLS, RESTS, SPEAKERS
from .synthetic import SCALE, WORKERS, Recorded, shouting_first, synthetic_session

_RATINGS = ("stress", "arousal", "valence", "suppression")
_SURVEY = {"PHQ": 9, "PSS": 10, "PPC": 18, "BFI": 15, "RSE": 10, "SWLS": 5}
"""Questionnaires before the study, and their numbers of questions."""
_WOMEN = 24


def write_release(
    folder: Path, seed: int = 0, workers: tuple[int, ...] = WORKERS, *, length: float = 1.0
) -> Path:
    """Write `META/`, `LABELS/` and `SENSORS/` into `folder`, with short calls for `length` < 1."""
    labels: dict[int, Any] = {}
    sensors: dict[int, Any] = {}
    audio: dict[int, Any] = {}
    video: dict[int, Any] = {}
    for worker in workers:
        of_worker: tuple[dict[str, Any], ...] = ({}, {}, {}, {})
        for session in (*RESTS, *CALLS):
            tables = synthetic_session(seed, worker, session, length=length)
            for part, content in zip(of_worker, _parts(tables), strict=True):
                if content is not None:
                    part[session] = content
        labels[worker], sensors[worker], audio[worker], video[worker] = of_worker
    for name, content in (
        ("LABELS/label", labels),
        ("SENSORS/sensors", sensors),
        ("SENSORS/audio", audio),
        ("SENSORS/video", video),
    ):
        path = folder / f"{name}.pkl"
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("wb") as file:
            pickle.dump(content, file)
    _write_meta(folder / "META", seed, workers)
    return folder


def _parts(tables: Mapping[str, Recorded]) -> tuple[Any, Any, Any, Any]:
    """What of one session goes into labels, sensors, audio and video."""
    called = "suppression" in tables
    names = [name for name in tables if name not in (*SPEAKERS, "suppression")]
    return (
        {n: _frame(_rating(tables["suppression"], n)) for n in _RATINGS} if called else None,
        {name: _frame(tables[name]) for name in names},
        {key: _frame(tables[name], last=True) for name, key in SPEAKERS.items()}
        if called
        else None,
        _empty() if called else None,
    )


def _rating(suppression: Recorded, name: str) -> Recorded:
    """Another rating in place of the one of suppression, on its own scale."""
    values = suppression.values
    scaled = {"arousal": values / 2, "valence": (SCALE - values) / 2}.get(name, values)
    return Recorded((name,), suppression.time, scaled)


def _frame(table: Recorded, *, last: bool = False) -> Any:
    """A pandas table with `Timestamp` in milliseconds first, or last, as the voices have it."""
    import pandas  # only here: nothing else needs it

    stamps = np.round(1000 * table.time).astype(np.int64)
    columns = dict(zip(table.columns, table.values.T, strict=True))
    content = columns | {"Timestamp": stamps} if last else {"Timestamp": stamps} | columns
    frame = pandas.DataFrame(content)
    frame.columns = pandas.Index(list(content), dtype=object)
    return frame


def _empty() -> Any:
    import pandas

    return pandas.DataFrame()


def _write_meta(folder: Path, seed: int, workers: tuple[int, ...]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "SYNTHETIC").write_text("made up by examples/hideandseek\n", encoding="utf-8")
    rng = np.random.default_rng(seed)
    with (folder / "meta.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(("Pnum", "order_type", "actor", "actor_sex"))
        for worker in workers:
            actor = 1 + (worker > 19) + (worker > 24) + (worker > 27)
            row = (worker, int(shouting_first(seed, worker)), actor, "MFMF"[actor - 1])
            writer.writerow(row)
        writer.writerow(("", "", "", ""))  # as published
    questions = [f"{name}-{n}" for name, count in _SURVEY.items() for n in range(1, count + 1)]
    with (folder / "presurvey.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(("Pnum", "Sex", "Age", "Education", "Dominant hand", "Career", *questions))
        for worker in workers:
            facts = (worker, int(worker <= _WOMEN), int(rng.integers(19, 55)), 0, 0, 3)
            writer.writerow((*facts, *rng.integers(0, 5, len(questions)).tolist()))
