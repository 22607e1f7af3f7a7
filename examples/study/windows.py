"""Labelled windows of many subjects, and the tasks that are set on them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from eer.runtime.errors import DataError

Signal = NDArray[np.float64]
Mask = NDArray[np.bool_]
Codes = NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class Windows:
    """w windows of all subjects. `values` is [w, ...]; the other arrays are [w].

    `names` names the features or channels along axis 1. `label` is a condition, as the study
    numbers them, and `start` the second of its session at which a window begins.
    """

    names: tuple[str, ...]
    values: Signal
    label: Codes
    subject: NDArray[np.str_]
    start: Codes
    source: str
    """What the values are made from, for captions."""
    synthetic: bool = False

    def __post_init__(self) -> None:
        w = len(self.values)
        if not (len(self.label) == len(self.subject) == len(self.start) == w):
            raise DataError("windows, labels, subjects and starts differ in number")
        if self.values.ndim < 2 or self.values.shape[1] != len(self.names):
            raise DataError(
                f"windows of shape {list(self.values.shape[1:])} with {len(self.names)} names"
            )

    def __len__(self) -> int:
        return len(self.values)

    @property
    def subjects(self) -> tuple[str, ...]:
        """Every subject once, by number."""
        return tuple(sorted(set(self.subject.tolist()), key=lambda name: (len(name), name)))

    def select(self, mask: Mask) -> Windows:
        """The windows where `mask` [w] is true."""
        return replace(
            self,
            values=self.values[mask],
            label=self.label[mask],
            subject=self.subject[mask],
            start=self.start[mask],
        )

    def with_values(self, values: Signal) -> Windows:
        """The same windows with other values."""
        return replace(self, values=values)


@dataclass(frozen=True, slots=True)
class Task:
    """Which conditions are told apart: `conditions[c]` are those of class c."""

    study: str
    """Whose data, for captions."""
    labels: tuple[str, ...]
    conditions: tuple[tuple[int, ...], ...]
    base: int = 1
    """Labels that are the same divided by this belong to one part of the session; 1: each its own.
    """

    def classes(self, windows: Windows) -> Codes:
        """The class of each window [w], or -1 where its condition has none."""
        classes = np.full(len(windows), -1, dtype=np.int64)
        for code, conditions in enumerate(self.conditions):
            classes[np.isin(windows.label, conditions)] = code
        return classes

    def parts(self, windows: Windows) -> Codes:
        """The part of the session that each window [w] belongs to."""
        return windows.label // self.base


def join(parts: Sequence[Windows]) -> Windows:
    """The windows of several recordings, all with the same features, as one set."""
    if not parts:
        raise DataError("no recording holds a single window of one condition")
    first = parts[0]
    for part in parts:
        if part.names != first.names:
            raise DataError("recordings with different features cannot be joined")
    return Windows(
        names=first.names,
        values=np.concatenate([part.values for part in parts]),
        label=np.concatenate([part.label for part in parts]),
        subject=np.concatenate([part.subject for part in parts]),
        start=np.concatenate([part.start for part in parts]),
        source=first.source,
        synthetic=any(part.synthetic for part in parts),
    )


def held_out(windows: Windows, *subjects: str) -> tuple[Mask, Mask]:
    """(training mask, test mask): all windows of `subjects` are in the second, and only those.

    Windows overlap by most of their length: any random split within a subject would leak.
    """
    test: Mask = np.isin(windows.subject, subjects)
    return ~test, test
