"""Ready-made tables of the 228 features, as .csv or .npz: one row, or one element, a window.

Beside the features, in any order, a table has `subject` (a worker's number), `session` (c1 to c3,
or 1 to 3), `start_sec` and `suppression`. `save_table` writes one, so that the features of a
release need to be computed only once.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eer.runtime.errors import DataError, FileError
from examples.study.table_files import read_csv, read_npz

from .columns import FEATURES
from .observations import Observations

_KEYS = ("subject", "session", "start_sec", "suppression")
SUFFIXES = (".csv", ".npz")


def load_table(path: Path) -> Observations:
    """The windows of a feature file. Raises FileError, and DataError naming what is amiss."""
    columns = read_csv(path) if path.suffix == ".csv" else read_npz(path)
    missing = [name for name in (*_KEYS, *FEATURES) if name not in columns]
    if missing:
        raise DataError(
            f"the table has no column {missing[0]!r}"
            + (f", nor {len(missing) - 1} others" if len(missing) > 1 else ""),
            where=str(path),
            hint="it takes the 228 published features, and subject, session, start_sec and "
            "suppression",
        )
    numbers = {name: _numbers(columns[name], name, path) for name in (*FEATURES, *_KEYS[2:])}
    length = {len(column) for column in numbers.values()}
    if len(length) != 1 or 0 in length:
        raise DataError("the table has no rows, or columns of several lengths", where=str(path))
    return Observations(
        values=np.stack([numbers[name] for name in FEATURES], axis=1),
        worker=np.array([_worker(value, path) for value in columns["subject"].tolist()]),
        session=np.array([_session(v, path) for v in columns["session"].tolist()], dtype=np.int64),
        start=numbers["start_sec"].astype(np.int64),
        suppression=numbers["suppression"],
        source=path.name,
        synthetic="synthetic" in columns,
    )


def save_table(observations: Observations, path: Path) -> None:
    """Write the windows as .npz, whole or not at all."""
    columns = dict(zip(FEATURES, observations.values.T, strict=True))
    keys = (
        np.array([int(name[1:]) for name in observations.worker.tolist()]),
        observations.session,
        observations.start,
        observations.suppression,
    )
    content: dict[str, Any] = dict(zip(_KEYS, keys, strict=True)) | columns
    if observations.synthetic:
        content["synthetic"] = np.array(True)
    unfinished = path.with_name(path.name + ".part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with unfinished.open("wb") as file:
            np.savez_compressed(file, **content)
        unfinished.replace(path)
    except OSError as error:
        raise FileError(f"cannot write: {error.strerror}", where=str(path)) from error


def _numbers(column: NDArray[np.str_], name: str, path: Path) -> NDArray[np.float64]:
    try:
        numbers = np.asarray(column).astype(np.float64)
    except ValueError as error:
        raise DataError(f"{name} is not a number: {error}", where=str(path)) from error
    if numbers.ndim != 1 or not np.isfinite(numbers).all():
        bad = np.flatnonzero(~np.isfinite(numbers.reshape(-1)))
        row = f" in row {bad[0] + 1}" if len(bad) else ""
        raise DataError(f"{name} is not a finite number{row}", where=str(path))
    return numbers


def _worker(value: object, path: Path) -> str:
    try:
        return f"P{int(float(str(value).lstrip('Pp')))}"
    except ValueError as error:
        raise DataError(f"{value!r} is no worker's number", where=str(path)) from error


def _session(value: object, path: Path) -> int:
    text = str(value).removeprefix("c").removesuffix(".0")
    if text not in ("1", "2", "3"):
        raise DataError(f"{value!r} is no call", where=str(path), hint="sessions are c1, c2 and c3")
    return int(text)
