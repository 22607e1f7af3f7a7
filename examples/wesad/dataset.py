"""From a folder, or from the generator, to the windows that a network is given."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

from eer.runtime.errors import DataError
from examples.study.windows import Windows, join

from .archive import load_recording, recording_files
from .channels import raw_windows
from .chest_features import chest_wrist_features
from .features import wrist_features
from .recording import Recording
from .synthetic import synthetic_recordings
from .tables import load_table

KINDS = ("chest_wrist", "wrist", "raw")
"""60 features of chest and wrist, 42 of the wrist, or raw wrist windows."""

_MAKERS: dict[str, Callable[[Recording], Windows]] = {
    "chest_wrist": chest_wrist_features,
    "wrist": wrist_features,
    "raw": raw_windows,
}

Progress = Callable[[str], None]


def load_windows(
    folder: Path | None, kind: str, seed: int = 0, progress: Progress = lambda what: None
) -> Windows:
    """All windows of all subjects, not normalised.

    From `folder`: the ready-made feature table where it has one, else computed from the
    recordings. Without a folder: synthetic, and marked so.
    """
    if folder is None:
        progress("making synthetic recordings")
        return _compute(synthetic_recordings(seed, chest=kind == "chest_wrist"), kind, progress)
    table = folder / f"features_{kind}_60s10s.csv"
    if table.exists():
        progress(f"reading {table.name}")
        return load_table(table)
    files = recording_files(folder)
    if not files:
        raise DataError(
            f"there are no recordings, and no {table.name}",
            where=str(folder),
            hint="unpack the official WESAD archive (S2/S2.pkl, S3/S3.pkl, ...) there",
        )
    return _compute((load_recording(path) for path in files), kind, progress)


def _compute(recordings: Iterable[Recording], kind: str, progress: Progress) -> Windows:
    # One recording at a time: an official one takes half a gigabyte.
    parts = []
    for recording in recordings:
        progress(f"windows of {recording.subject}")
        parts.append(_MAKERS[kind](recording))
    return join(parts)
