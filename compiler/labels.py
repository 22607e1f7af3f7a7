"""True labels that lie beside the inputs in a data file, and what share of them a model gets."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eer.runtime.arrays import LABEL_NAMES
from eer.runtime.errors import DataError
from eer.runtime.fields import Json
from eer.runtime.files import read_file
from eer.runtime.model import OutputSpec

from .agreement import Labels, classes
from .ir.tensor import Vector


@dataclass(frozen=True, slots=True)
class Accuracy:
    """Share of windows whose true label each form of the model finds."""

    original: float
    polynomial: float
    encrypted: float

    def to_json(self) -> Json:
        return {
            "original": self.original,
            "polynomial": self.polynomial,
            "encrypted": self.encrypted,
        }


@dataclass(frozen=True, slots=True, eq=False)
class Truth:
    """True classes [windows] of one output."""

    spec: OutputSpec
    classes: Labels

    @classmethod
    def of(cls, labels: NDArray[Any], specs: Sequence[OutputSpec]) -> Truth | None:
        """For the first output that chooses one class a window; None where there is none.

        Raises DataError for labels that are no classes of that output.
        """
        for spec in specs:
            chosen = classes(np.zeros((1, int(np.prod(_values_shape(spec))))), spec)
            if chosen is not None and chosen.size == 1:
                return cls(spec, _numbers(labels, spec))
        return None

    def of_windows(self, picked: NDArray[np.int64]) -> Truth:
        """The truth about some of the windows."""
        return Truth(self.spec, self.classes[picked])

    def share(self, outputs: Mapping[str, Vector]) -> float:
        """Share of windows that post-processed outputs get right."""
        values = np.asarray(outputs[self.spec.name], np.float64)
        chosen = classes(values.reshape(len(values), -1), self.spec)
        assert chosen is not None
        return float(np.mean(chosen[:, 0] == self.classes))


def _values_shape(spec: OutputSpec) -> tuple[int, ...]:
    """Shape of one window's post-processed values: an argmax has lost its axis."""
    if spec.post != "argmax":
        return spec.shape
    axis = spec.axis % len(spec.shape)
    return spec.shape[:axis] + spec.shape[axis + 1 :]


def _numbers(labels: NDArray[Any], spec: OutputSpec) -> Labels:
    """Class numbers of labels that are numbers already, or names."""
    if labels.dtype.kind in "biuf" and np.array_equal(labels, labels.astype(np.int64)):
        numbers: Labels = labels.astype(np.int64)
        count = max(2, *spec.shape)
        if numbers.min() < 0 or numbers.max() >= count:
            raise DataError(
                f"labels go from {numbers.min()} to {numbers.max()}; output '{spec.name}' has "
                f"classes 0 to {count - 1}",
                hint="number the classes from 0, in the order of the model's outputs",
            )
        return numbers
    known = {name: k for k, name in enumerate(spec.labels)}
    unknown = sorted({str(x) for x in labels} - known.keys())
    if unknown:
        raise DataError(
            f"label '{unknown[0]}' is none of the model's: {', '.join(known) or 'it has none'}",
            hint="use class numbers, or compile with --labels",
        )
    return np.asarray([known[str(x)] for x in labels], np.int64)


def read_labels(path: str | Path) -> NDArray[Any] | None:
    """The labels [windows] in a data file: the first array or column named like labels, or None.

    The file must be one that `read_arrays` takes.
    """
    match Path(path).suffix.lower():
        case ".npz":
            with np.load(io.BytesIO(read_file(path)), allow_pickle=False) as archive:
                names = [n for n in archive.files if n.lower() in LABEL_NAMES]
                arrays = [np.asarray(archive[n]) for n in names]
            return next((a.reshape(-1) for a in arrays if a.size == len(a)), None)
        case ".csv" | ".tsv" | ".txt":
            return _column(read_file(path).decode("utf-8-sig"))
        case _:
            return None


def _column(text: str) -> NDArray[Any] | None:
    lines = [line for line in text.splitlines() if line.strip()]
    delimiter = max(",;\t", key=lines[0].count)
    rows = list(csv.reader(lines, delimiter=delimiter, skipinitialspace=True))
    at = [k for k, name in enumerate(rows[0]) if name.strip().lower() in LABEL_NAMES]
    if not at:
        return None
    cells = [row[at[0]].strip() for row in rows[1:]]
    try:
        return np.asarray([float(c) for c in cells])
    except ValueError:
        return np.asarray(cells)
