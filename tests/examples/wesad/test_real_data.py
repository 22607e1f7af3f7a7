"""On the real recordings, where they are at hand: loading, our features, and the targets."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from examples.study.folds import Protocol, run_fold, score
from examples.study.windows import Windows, join
from examples.wesad.archive import load_recording, recording_files
from examples.wesad.dataset import load_windows
from examples.wesad.features import wrist_features
from examples.wesad.recipes import RECIPES
from examples.wesad.synthetic import SUBJECTS
from examples.wesad.tables import load_table
from examples.wesad.windows import TASKS

ALIKE = {"hr_mean": 0.9, "hr_std": 0.8, "ibi_sdnn": 0.8, "ibi_rmssd": 0.8, "ibi_pnn50": 0.9}
"""Least correlation of what rests on finding beats, where our method is another."""

OTHER_SPECTRUM = ("hrv_lf", "hrv_hf", "hrv_lfhf")


@pytest.fixture(scope="module")
def table(wesad: Path) -> Windows:
    return load_table(_there(wesad / "features_wrist_60s10s.csv"))


def _there(path: Path) -> Path:
    if not path.exists():
        pytest.skip(f"no {path.name} in the data folder")
    return path


def test_our_windows_and_features_are_the_tables(wesad: Path, table: Windows) -> None:
    subjects = ("S2", "S10", "S17")
    files = [_there(wesad / "wrist" / f"{subject}_wrist.npz") for subject in subjects]
    ours = join([wrist_features(load_recording(path)) for path in files])
    theirs = table.select(np.isin(table.subject, subjects))
    place = np.array([subjects.index(subject) for subject in theirs.subject.tolist()])
    order = np.lexsort(np.stack([theirs.start, place]))
    assert ours.names == theirs.names
    assert ours.start.tolist() == theirs.start[order].tolist()
    assert ours.label.tolist() == theirs.label[order].tolist()
    for number, name in enumerate(ours.names):
        found, wanted = ours.values[:, number], theirs.values[order, number]
        correlation = np.corrcoef(found, wanted)[0, 1]
        if name in OTHER_SPECTRUM:
            assert correlation > 0.4, name
        elif name in ALIKE:
            assert correlation > ALIKE[name], name
        elif name in ("scr_n", "scr_amp"):
            assert correlation > 0.995, name
        else:
            np.testing.assert_allclose(
                found, wanted, rtol=1e-3, atol=3e-3 * wanted.std(), err_msg=name
            )


def test_every_subject_is_there(wesad: Path, table: Windows) -> None:
    assert table.subjects == SUBJECTS
    assert [int((table.label == label).sum()) for label in (1, 2, 3, 4)] == [1671, 904, 465, 1004]
    assert len(recording_files(wesad)) in (0, len(SUBJECTS))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "model", "classes", "least"),
    [
        ("chest_wrist", "mlp", 2, 0.966),
        ("chest_wrist", "mlp", 3, 0.86),
        ("wrist", "mlp", 2, 0.95),
        ("raw", "cnn", 2, 0.95),
        ("raw", "cnn", 3, 0.85),
    ],
)
def test_leave_one_subject_out_reaches_its_target(
    wesad: Path, tmp_path: Path, kind: str, model: str, classes: int, least: float
) -> None:
    windows = load_windows(wesad, kind)
    protocol = Protocol(TASKS[classes], RECIPES[model][0], "subject", engine=None)
    folds = tuple(run_fold(windows, subject, protocol, tmp_path) for subject in windows.subjects)
    found = score(folds, classes)
    assert found.windows == 3040
    assert found.plaintext >= least
