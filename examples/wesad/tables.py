"""Reading ready-made feature tables: one row a window, with `subject`, `start_sec` and `label`."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np

from eer.runtime.errors import DataError, FileError
from examples.study.windows import Windows

_KEYS = ("subject", "start_sec", "label")


def load_table(path: Path) -> Windows:
    """The windows of a feature file; every column but the three keys is a feature."""
    try:
        with path.open(newline="", encoding="utf-8") as file:
            header, *rows = [row for row in csv.reader(file) if row] or [[]]
    except OSError as error:
        raise FileError(f"cannot read: {error.strerror}", where=str(path)) from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise DataError("this is no table of text", where=str(path)) from error
    missing = [key for key in _KEYS if key not in header]
    if missing or not rows:
        raise DataError(
            f"the table has no column {missing[0]!r}" if missing else "the table has no rows",
            where=str(path),
        )
    for number, row in enumerate(rows, start=2):
        if len(row) != len(header):
            raise DataError(
                f"line {number} has {len(row)} of {len(header)} columns",
                where=str(path),
                hint="the file was cut short; copy it again",
            )
    try:
        cells = np.array(rows, dtype=np.float64)
    except ValueError as error:
        raise DataError(f"not a number: {error}", where=str(path)) from error
    if not np.isfinite(cells).all():
        line, column = np.argwhere(~np.isfinite(cells))[0]
        raise DataError(f"{header[column]} is not finite in line {line + 2}", where=str(path))
    columns = dict(zip(header, cells.T, strict=True))
    names = tuple(name for name in header if name not in _KEYS)
    return Windows(
        names=names,
        values=np.stack([columns[name] for name in names], axis=1),
        label=columns["label"].astype(np.int64),
        subject=np.array([f"S{number:.0f}" for number in columns["subject"]]),
        start=columns["start_sec"].astype(np.int64),
        source=path.name,
    )
