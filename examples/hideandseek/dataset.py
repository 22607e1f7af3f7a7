"""From a folder, a table or the generator to windows of features."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from pathlib import Path

from eer.runtime.errors import DataError, FileError

from .call import Call
from .features import call_features
from .observations import Observations, observed
from .release import calls, is_release, open_release
from .synthetic import WORKERS, synthetic_calls
from .tables import SUFFIXES, load_table

Progress = Callable[[str], None]


def find_data(given: Path | None, repository: Path) -> Path | None:
    """The release's folder or a feature table, or None where there is none.

    `given` (the option) comes before the variable EER_DATA, and that before `../shared/data`
    beside the repository. A release lies in the folder itself, or in `hideandseek` in it.
    """
    named = given or (Path(os.environ["EER_DATA"]) if os.environ.get("EER_DATA") else None)
    root = named or repository.parent / "shared" / "data"
    if root.is_file() and root.suffix in SUFFIXES:
        return root
    if named and not named.is_dir():
        raise FileError(
            "no such folder of data, and no .csv or .npz file",
            where=str(named),
            hint="name the folder that holds META, LABELS and SENSORS, or a table of features",
        )
    for folder in (root, root / "hideandseek"):
        if is_release(folder):
            return folder
    if given:
        raise DataError(
            "this folder holds no release of the study",
            where=str(named),
            hint="it consists of META/meta.csv, LABELS/label.pkl and SENSORS/*.pkl",
        )
    return None


def load_observations(
    source: Path | None,
    *,
    seed: int = 0,
    workers: tuple[int, ...] = WORKERS,
    length: float = 1.0,
    skip: Callable[[str], None] | None = None,
    progress: Progress = lambda what: None,
) -> Observations:
    """All windows of all workers, not normalised.

    From a table, or from a release's recordings: there an incomplete call is an error, or told to
    `skip` and left out. Without a source: synthetic calls of `workers`, and marked so.
    """
    if source is None:
        made = synthetic_calls(seed, workers, length=length)
        return _compute(made, "made-up recordings", progress, None)
    if source.is_file():
        progress(f"reading {source.name}")
        return load_table(source)
    progress("reading the release")
    return _compute(calls(open_release(source), skip), "the release", progress, skip)


def _compute(
    recorded: Iterable[Call],
    source: str,
    progress: Progress,
    skip: Callable[[str], None] | None,
) -> Observations:
    parts = []
    for call in recorded:
        progress(f"features of {call.where}")
        try:
            parts.append((call, call_features(call)))
        except DataError as error:
            if skip is None:
                raise
            skip(f"left out: {error.where}: {error.reason}")
    return observed(parts, source)
