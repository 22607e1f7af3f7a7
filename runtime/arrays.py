"""Users' data files: `.npz`, `.npy` and `.csv`, for calibration and for encryption."""

from __future__ import annotations

import csv
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .errors import DataError, EerError, UsageError
from .files import PathLikeStr, file_error, open_file
from .program import Vector

LABEL_NAMES = frozenset({"y", "label", "labels", "target", "targets", "class"})
"""Names under which labels lie beside the inputs; they are no input."""


def read_arrays(
    path: PathLikeStr, names: Sequence[str], shapes: Sequence[tuple[int, ...]]
) -> dict[str, Vector]:
    """The model's inputs from a data file: float64 [rows, *shape] by name.

    `.npz` holds an array [rows, *shape] under each of `names` (any name will do for the only array
    of a model of one input); others are ignored. `.npy` holds the only input. `.csv` holds the
    only input, a window a line, flattened in C order, with or without a header line; columns
    named like labels are ignored. Nothing is ever unpickled. Raises DataError for contents that do
    not fit, with the row where there is one, FileError for a file that cannot be read.
    """
    readers = {".npz": _npz, ".npy": _npy, ".csv": _csv, ".tsv": _csv, ".txt": _csv}
    reader = readers.get(Path(path).suffix.lower())
    if reader is None:
        raise UsageError(
            f"{path} is of no kind that can be read", where=str(path), hint="use .npz, .npy or .csv"
        )
    if len(names) > 1 and reader is not _npz:
        raise DataError(
            f"{path} holds one array; the model has {len(names)} inputs: {', '.join(names)}",
            where=str(path),
            hint="save them as one .npz: numpy.savez(path, name=array, ...)",
        )
    found = reader(path, names, shapes)
    checked = {n: _fit(found[n], n, s, path) for n, s in zip(names, shapes, strict=True)}
    rows = {n: len(a) for n, a in checked.items()}
    if len(set(rows.values())) > 1:
        raise DataError(
            "arrays differ in their number of rows: "
            + ", ".join(f"'{n}' has {r}" for n, r in rows.items()),
            where=str(path),
            hint="row i of every array must belong to window i",
        )
    return checked


def _fit(array: NDArray[Any], name: str, shape: tuple[int, ...], path: PathLikeStr) -> Vector:
    """`array` as finite float64 [rows, *shape]."""
    if array.dtype.kind not in "biuf":
        raise DataError(
            f"array '{name}' has dtype {array.dtype}, not real numbers",
            where=str(path),
            hint="save it as float64",
        )
    if array.shape == shape:
        array = array[np.newaxis]
    if array.shape[1:] != shape or array.ndim != len(shape) + 1:
        wanted = ", ".join(("rows", *(str(d) for d in shape)))
        raise DataError(
            f"array '{name}' has shape {list(array.shape)}; the model wants [{wanted}]",
            where=str(path),
            hint="reshape it before saving; check the order of the axes",
        )
    if not len(array):
        raise DataError(f"array '{name}' has no rows", where=str(path))
    values: Vector = array.astype(np.float64)
    bad = np.flatnonzero(~np.isfinite(values.reshape(len(values), -1)).all(axis=1))
    if bad.size:
        rows = ", ".join(str(r) for r in bad[:5].tolist())
        raise DataError(
            f"array '{name}' holds NaN or infinite values in {bad.size} of {len(values)} rows, "
            f"counted from 0: {rows}{', ...' if bad.size > 5 else ''}",
            where=str(path),
            hint="drop these rows or fill the gaps",
        )
    return values


def _damaged(path: PathLikeStr, kind: str, problem: Exception) -> DataError:
    return DataError(
        f"{path} cannot be read as {kind}: {problem}",
        where=str(path),
        hint="save it again with numpy.savez or numpy.save, without object arrays",
    )


def _npz(
    path: PathLikeStr, names: Sequence[str], shapes: Sequence[tuple[int, ...]]
) -> dict[str, NDArray[Any]]:
    stream, _ = open_file(path)
    with stream:
        try:
            archive = np.load(stream, allow_pickle=False)
            if not isinstance(archive, np.lib.npyio.NpzFile):
                raise DataError(f"{path} is no .npz archive", where=str(path))
            with archive:
                keys = _match(archive.files, names, path)
                return {n: np.asarray(archive[k]) for n, k in zip(names, keys, strict=True)}
        except EerError:
            raise
        except OSError as problem:
            raise file_error("read", path, problem) from problem
        except Exception as problem:  # numpy's parsers raise whatever the damage leads to
            raise _damaged(path, ".npz", problem) from problem


def _match(files: Sequence[str], names: Sequence[str], path: PathLikeStr) -> list[str]:
    """The array in the archive for each input name."""
    missing = [n for n in names if n not in files]
    if not missing:
        return list(names)
    others = [f for f in files if f.lower() not in LABEL_NAMES]
    if len(names) == 1 and len(others) == 1:
        return others
    raise DataError(
        f"array '{missing[0]}' is missing; the file holds: {', '.join(files) or 'nothing'}",
        where=str(path),
        hint=f"save the inputs as numpy.savez(path, {', '.join(f'{n}=...' for n in names)})",
    )


def _npy(
    path: PathLikeStr, names: Sequence[str], shapes: Sequence[tuple[int, ...]]
) -> dict[str, NDArray[Any]]:
    stream, _ = open_file(path)
    with stream:
        try:
            array = np.load(stream, allow_pickle=False)
        except OSError as problem:
            raise file_error("read", path, problem) from problem
        except Exception as problem:  # numpy's parsers raise whatever the damage leads to
            raise _damaged(path, ".npy", problem) from problem
    if not isinstance(array, np.ndarray):
        raise DataError(
            f"{path} is no .npy file", where=str(path), hint="give it its true ending, .npz"
        )
    return {names[0]: array}


def _csv(
    path: PathLikeStr, names: Sequence[str], shapes: Sequence[tuple[int, ...]]
) -> dict[str, NDArray[Any]]:
    lines = _lines(path)
    header = lines[0][1] if _is_header(lines[0][1]) else []
    body = lines[1:] if header else lines
    if not body:
        raise DataError(f"{path} holds a header line and no rows", where=str(path))
    width = len(header or body[0][1])
    columns = [f"{i + 1}" for i in range(width)] if not header else [h.strip() for h in header]
    for number, cells in body:
        if len(cells) != width:
            raise DataError(
                f"line {number} has {len(cells)} columns; the first line has {width}",
                where=f"{path}:{number}",
            )
    # A column without a name is the row index that pandas writes.
    kept = [i for i, c in enumerate(columns) if c and c.lower() not in LABEL_NAMES]
    _refuse_text(path, body, columns, kept)
    shape = shapes[0]
    if len(kept) != math.prod(shape):
        raise DataError(
            f"{path} has {len(kept)} columns of numbers; the model wants {math.prod(shape)} "
            f"(shape {list(shape)}, flattened)" + (f": {', '.join(columns)}" if header else ""),
            where=str(path),
            hint="keep the model's input columns only, in the order it was trained with",
        )
    rows = [[_number(cells[i]) for i in kept] for _, cells in body]
    return {names[0]: np.asarray(rows, np.float64).reshape(len(rows), *shape)}


def _lines(path: PathLikeStr) -> list[tuple[int, list[str]]]:
    """(line number, cells) of every line that is not empty."""
    stream, _ = open_file(path)
    with stream:
        try:
            text = stream.read().decode("utf-8-sig")
        except OSError as problem:
            raise file_error("read", path, problem) from problem
        except UnicodeDecodeError as problem:
            raise _not_csv(path, problem) from problem
    rows = text.splitlines()
    first = next((r for r in rows if r.strip()), "")
    delimiter = max(",;\t", key=first.count)
    try:
        reader = csv.reader(rows, delimiter=delimiter, skipinitialspace=True)
        lines = [(reader.line_num, cells) for cells in reader if any(c.strip() for c in cells)]
    except csv.Error as problem:
        raise _not_csv(path, problem) from problem
    if not lines:
        raise DataError(f"{path} is empty", where=str(path))
    return lines


def _not_csv(path: PathLikeStr, problem: Exception) -> DataError:
    return DataError(
        f"{path} cannot be read as text: {problem}",
        where=str(path),
        hint="save it as UTF-8 text, comma-separated",
    )


def _refuse_text(
    path: PathLikeStr, body: list[tuple[int, list[str]]], columns: list[str], kept: list[int]
) -> None:
    """Raise DataError that names the columns in which something is no number."""
    text = {
        i: (number, cells[i])
        for number, cells in reversed(body)
        for i in kept
        if cells[i].strip() and not _is_number(cells[i])
    }
    if not text:
        return
    first = min(text)
    line, cell = text[first]
    raise DataError(
        f"columns that hold text, not numbers: {', '.join(columns[i] for i in sorted(text))} "
        f"(line {line}, column {columns[first]}: {cell[:40]!r})",
        where=f"{path}:{line}",
        hint="remove them, or turn them into numbers as you did for training",
    )


def _is_header(cells: list[str]) -> bool:
    """Names, or the numbers 0, 1, 2, ... that pandas writes where columns have no names."""
    if len(cells) > 2 and [c.strip() for c in cells] == [str(i) for i in range(len(cells))]:
        return True
    return not any(_is_number(cell) for cell in cells)


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True


def _number(cell: str) -> float:
    """A cell's value; an empty one is NaN, which is refused with its row later."""
    return float(cell) if cell.strip() else math.nan
