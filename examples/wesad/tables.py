"""Reading ready-made feature tables: one row a window, with `subject`, `start_sec` and `label`."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from eer.runtime.errors import DataError
from examples.study.table_files import read_csv
from examples.study.windows import Windows

_KEYS = ("subject", "start_sec", "label")


def load_table(path: Path) -> Windows:
    """The windows of a feature file; every column but the three keys is a feature."""
    text = read_csv(path)
    missing = [key for key in _KEYS if key not in text]
    if missing or not len(text[_KEYS[0]]):
        raise DataError(
            f"the table has no column {missing[0]!r}" if missing else "the table has no rows",
            where=str(path),
        )
    try:
        columns = {name: column.astype(np.float64) for name, column in text.items()}
    except ValueError as error:
        raise DataError(f"not a number: {error}", where=str(path)) from error
    for name, column in columns.items():
        if not np.isfinite(column).all():
            line = int(np.argmin(np.isfinite(column))) + 2
            raise DataError(f"{name} is not finite in line {line}", where=str(path))
    names = tuple(name for name in columns if name not in _KEYS)
    return Windows(
        names=names,
        values=np.stack([columns[name] for name in names], axis=1),
        label=columns["label"].astype(np.int64),
        subject=np.array([f"S{number:.0f}" for number in columns["subject"]]),
        start=columns["start_sec"].astype(np.int64),
        source=path.name,
    )
