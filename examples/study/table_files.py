"""Reading tables and arrays from files that others wrote, with errors that say what is amiss."""

from __future__ import annotations

import csv
import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eer.runtime.errors import DataError, FileError


def read_csv(path: Path) -> dict[str, NDArray[np.str_]]:
    """The columns of a .csv file by name, as text; empty lines are left out.

    Raises FileError where it cannot be read, DataError where it is no text or lines were cut short.
    """
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            header, *rows = [row for row in csv.reader(file) if row] or [[]]
    except OSError as error:
        raise FileError(f"cannot read: {error.strerror}", where=str(path)) from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise DataError("this is no table of text", where=str(path)) from error
    for number, row in enumerate(rows, start=2):
        if len(row) != len(header):
            raise DataError(
                f"line {number} has {len(row)} of {len(header)} columns",
                where=str(path),
                hint="the file was cut short; copy it again",
            )
    columns = zip(*rows, strict=True) if rows else ([] for _ in header)
    return {
        name: np.array(column, dtype=np.str_) for name, column in zip(header, columns, strict=True)
    }


def read_npz(path: Path) -> dict[str, NDArray[Any]]:
    """The arrays of an .npz file by name. Raises FileError, and DataError where it is damaged."""
    try:
        # Opened here, for numpy leaves the file open where it finds it damaged.
        with path.open("rb") as opened, np.load(opened, allow_pickle=False) as file:
            return {name: np.asarray(file[name]) for name in file.files}
    except OSError as error:
        raise FileError(f"cannot read: {error.strerror or error}", where=str(path)) from error
    except (zipfile.BadZipFile, zlib.error, ValueError, EOFError) as error:
        raise DataError(
            f"this npz file is damaged or cut short: {error}", where=str(path), hint="copy it again"
        ) from error
