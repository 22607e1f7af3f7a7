"""Choices that owe nothing to the subject that is tested: two subjects at a time are held out.

What a network that was trained without both makes of the one counts for the fold that holds out the
other: that fold's own subject was in neither training nor scoring. What an inner fold found is kept
on disk, so that a run that was interrupted goes on where it stopped.
"""

from __future__ import annotations

import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from eer.runtime.errors import DataError

from .windows import Windows

Found = NDArray[np.float64]


def pairs(windows: Windows, partners: int, wanted: tuple[str, ...]) -> Iterator[tuple[str, str]]:
    """Each pair of subjects that are at most `partners` apart, round the circle of all of them,
    and of which one is in `wanted`. Raises DataError where there are not enough subjects."""
    subjects = windows.subjects
    count = len(subjects)
    if count < 3:
        raise DataError(
            "inner folds take at least three subjects",
            where=windows.source,
            hint="put the other subjects' recordings beside these, or give --fixed",
        )
    for first in range(count):
        for second in range(first + 1, count):
            pair = subjects[first], subjects[second]
            near = min(second - first, count - second + first) <= partners
            if near and set(pair) & set(wanted):
                yield pair


def kept(path: Path, mark: str, compute: Callable[[], Found]) -> Found:
    """What `compute` finds: read from `path` where that was kept under the same mark, or else
    computed and kept there, whole or not at all."""
    if path.exists():
        try:
            with path.open("rb") as opened, np.load(opened, allow_pickle=False) as file:
                if str(file["mark"]) == mark:
                    return np.asarray(file["found"])
        except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
            raise DataError(
                f"this saved inner fold cannot be read: {error}",
                where=str(path),
                hint="delete it; it is then run again",
            ) from error
    found = compute()
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_suffix(".part")
    with unfinished.open("wb") as written:
        np.savez(written, found=found, mark=np.array(mark))
    unfinished.replace(path)
    return found
