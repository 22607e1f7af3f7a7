"""Windows, tasks, normalisation and feature tables."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from eer.runtime.errors import DataError, FileError
from examples.study.metrics import accuracy, macro_f1
from examples.study.normalise import LIMIT, prepared
from examples.study.windows import Windows, held_out, join
from examples.wesad.dataset import load_windows
from examples.wesad.features import wrist_features
from examples.wesad.recording import Recording
from examples.wesad.synthetic import synthetic_recordings, write_archive, write_npz
from examples.wesad.tables import load_table
from examples.wesad.windows import TASKS

HEADER = "a,b,label,subject,start_sec"


def windows(subjects: int = 4, each: int = 30, *, channels: bool = False) -> Windows:
    rng = np.random.default_rng(1)
    w = subjects * each
    shape = (w, 3, 20) if channels else (w, 3)
    return Windows(
        names=("x", "y", "z"),
        values=rng.normal(5, 3, shape),
        label=rng.integers(1, 5, w),
        subject=np.repeat([f"S{number + 8}" for number in range(subjects)], each),
        start=np.tile(10 * np.arange(each), subjects),
        source="made up",
    )


def test_a_held_out_subject_is_in_the_test_mask_and_nowhere_else() -> None:
    data = windows()
    assert data.subjects == ("S8", "S9", "S10", "S11")
    for subject in data.subjects:
        training, test = held_out(data, subject)
        assert set(data.subject[test]) == {subject}
        assert subject not in set(data.subject[training])
        assert (training ^ test).all()


def test_the_tasks_classes() -> None:
    data = windows()
    two, three = TASKS[2].classes(data), TASKS[3].classes(data)
    for label, a, b in ((1, 0, 0), (2, 1, 1), (3, 0, 2), (4, -1, -1)):
        assert set(two[data.label == label]) == {a}
        assert set(three[data.label == label]) == {b}


@pytest.mark.parametrize("channels", [False, True])
def test_by_subject_uses_that_subject_only(channels: bool) -> None:
    data = windows(channels=channels)
    training, test = held_out(data, "S9")
    ready = prepared(data, "subject", training)
    axes = (0, 2) if channels else (0,)
    np.testing.assert_allclose(ready.values[test].mean(axis=axes), 0, atol=0.05)
    np.testing.assert_allclose(ready.values[test].std(axis=axes), 1, atol=0.05)
    other = data.values.copy()
    other[training] = 7 * other[training] - 1
    again = prepared(data.with_values(other), "subject", training)
    np.testing.assert_array_equal(again.values[test], ready.values[test])


@pytest.mark.parametrize("channels", [False, True])
def test_by_training_never_looks_at_the_test_subject(channels: bool) -> None:
    data = windows(channels=channels)
    training, test = held_out(data, "S9")
    ready = prepared(data, "training", training)
    other = data.values.copy()
    other[test] *= 7
    again = prepared(data.with_values(other), "training", training)
    np.testing.assert_array_equal(again.values[training], ready.values[training])
    assert np.abs(again.values).max() == LIMIT


def test_long_tails_are_taken_on_a_logarithmic_scale() -> None:
    data = windows()
    values = data.values.copy()
    values[:, 0] = np.exp(values[:, 0])
    data = data.with_values(values)
    for normalisation in ("subject", "training"):
        ready = prepared(data, normalisation, held_out(data, "S9")[0])
        found = ready.values[:, 0]
        straight = np.corrcoef(found, np.log(values[:, 0]))[0, 1]
        bent = np.corrcoef(found, values[:, 0])[0, 1]
        assert straight > 0.9 > bent
        # A feature that may be negative stays on its own scale.
        own = data.subject == "S9"
        assert np.corrcoef(ready.values[own, 1], values[own, 1])[0, 1] > 0.999


def test_a_constant_feature_becomes_zero() -> None:
    data = windows()
    values = data.values.copy()
    values[:, 1] = 3.3
    for normalisation in ("subject", "training"):
        ready = prepared(data.with_values(values), normalisation, np.ones(len(data), dtype=bool))
        np.testing.assert_array_equal(ready.values[:, 1], 0)


def test_recordings_of_other_features_do_not_join() -> None:
    data = windows()
    with pytest.raises(DataError, match="different features"):
        join([data, windows().select(data.label == 1), _renamed(data)])
    with pytest.raises(DataError, match="no recording"):
        join([])


def _renamed(data: Windows) -> Windows:
    return Windows(("u", "v", "w"), data.values, data.label, data.subject, data.start, "made up")


def test_metrics_by_hand() -> None:
    wanted = np.array([0, 0, 0, 0, 1, 1, 2, 2])
    found = np.array([0, 0, 0, 1, 1, 0, 2, 1])
    assert accuracy(wanted, found) == 5 / 8
    # Precision and recall: 3/4 and 3/4; 1/3 and 1/2; 1 and 1/2.
    assert macro_f1(wanted, found, 3) == pytest.approx((3 / 4 + 2 / 5 + 2 / 3) / 3)
    assert macro_f1(wanted, wanted, 3) == 1.0
    assert macro_f1(wanted[:4], wanted[:4], 2) == 0.5


class TestTables:
    def test_reads_features_by_name(self, tmp_path: Path) -> None:
        path = tmp_path / "t.csv"
        path.write_text(f"{HEADER}\n1.5,2,1,2,310\n-3,4e2,4,17,320\n")
        found = load_table(path)
        assert found.names == ("a", "b")
        np.testing.assert_array_equal(found.values, [[1.5, 2], [-3, 400]])
        assert found.label.tolist() == [1, 4]
        assert found.subject.tolist() == ["S2", "S17"]
        assert found.start.tolist() == [310, 320]
        assert not found.synthetic

    @pytest.mark.parametrize(
        ("text", "reason"),
        [
            ("", "no column 'subject'"),
            (HEADER, "no rows"),
            ("a,b,label,start_sec\n1,2,3,4", "no column 'subject'"),
            (f"{HEADER}\n1,2,1,2,310\n1,2", "line 3 has 2 of 5 columns"),
            (f"{HEADER}\n1,warm,1,2,310", "not a number"),
            (f"{HEADER}\n1,nan,1,2,310", "b is not finite in line 2"),
        ],
    )
    def test_a_damaged_table_says_what_is_wrong(
        self, tmp_path: Path, text: str, reason: str
    ) -> None:
        path = tmp_path / "t.csv"
        path.write_text(text)
        with pytest.raises(DataError) as error:
            load_table(path)
        assert reason in str(error.value)

    def test_a_missing_table_says_so(self, tmp_path: Path) -> None:
        with pytest.raises(FileError, match="cannot read"):
            load_table(tmp_path / "t.csv")


class TestLoadWindows:
    def test_both_formats_give_the_same_features(
        self, recordings: tuple[Recording, ...], tmp_path: Path
    ) -> None:
        for recording in recordings[:2]:
            write_archive(recording, tmp_path / "official")
            write_npz(recording, tmp_path / "arrays")
        official = load_windows(tmp_path / "official", "wrist")
        arrays = load_windows(tmp_path / "arrays", "wrist")
        direct = join([wrist_features(recording) for recording in recordings[:2]])
        for found in (official, arrays):
            assert found.synthetic
            assert found.subjects == ("S2", "S10")
            assert found.label.tolist() == direct.label.tolist()
            np.testing.assert_allclose(found.values, direct.values, rtol=1e-2, atol=1e-3)
        both = load_windows(tmp_path / "official", "chest_wrist")
        assert both.values.shape == (len(direct), 60)

    def test_without_a_folder_it_is_synthetic(self, monkeypatch: pytest.MonkeyPatch) -> None:
        few = synthetic_recordings(0, ("S2", "S3"), length=0.3)
        monkeypatch.setattr("examples.wesad.dataset.synthetic_recordings", lambda seed, chest: few)
        found = load_windows(None, "raw")
        assert found.synthetic
        assert found.subjects == ("S2", "S3")

    def test_a_folder_without_what_is_asked_for(self, tmp_path: Path) -> None:
        (tmp_path / "features_wrist_60s10s.csv").write_text(f"{HEADER}\n1.5,2,1,2,310\n")
        assert len(load_windows(tmp_path, "wrist")) == 1
        with pytest.raises(DataError, match="no recordings, and no features_chest_wrist"):
            load_windows(tmp_path, "chest_wrist")


class TestSynthetic:
    def test_the_same_seed_gives_the_same_people(self) -> None:
        first, again = (synthetic_recordings(5, ("S3",), length=0.1)[0] for _ in range(2))
        other = synthetic_recordings(6, ("S3",), length=0.1)[0]
        np.testing.assert_array_equal(first.bvp, again.bvp)
        assert len(first.bvp) != len(other.bvp) or (first.bvp != other.bvp).any()

    def test_it_is_plausible_and_marked(self, recordings: tuple[Recording, ...]) -> None:
        for recording in recordings:
            assert recording.synthetic
            assert set(recording.label.tolist()) == {0, 1, 2, 3, 4}
            assert recording.eda.min() > 0
            assert 25 < recording.temp.mean() < 40
            assert 0.8 < np.linalg.norm(recording.acc, axis=1).mean() < 1.3
            found = wrist_features(recording)
            rate = found.values[:, found.names.index("hr_mean")]
            assert ((rate > 40) & (rate < 160)).all()

    def test_a_recording_without_a_chest_makes_no_archive(self, tmp_path: Path) -> None:
        with pytest.raises(ValueError, match="chest=True"):
            write_archive(synthetic_recordings(0, ("S2",), length=0.1)[0], tmp_path)
