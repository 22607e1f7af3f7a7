"""The study's release as pandas writes it: what is read, and what is said about what is amiss."""

from __future__ import annotations

import csv
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas
import pytest

from eer.runtime.errors import DataError, FileError
from examples.hideandseek.call import CALLS, TRACKS
from examples.hideandseek.dataset import find_data, load_observations
from examples.hideandseek.observations import Observations
from examples.hideandseek.release import calls, is_release, open_release
from examples.hideandseek.synthetic import RATES, synthetic_calls
from tests.examples.hideandseek.conftest import LENGTH

Content = dict[int, Any]


def test_the_files_are_those_of_the_study(release: Path) -> None:
    files = {str(p.relative_to(release)) for p in release.rglob("*") if p.is_file()}
    assert files == {
        *("META/meta.csv", "META/presurvey.csv", "META/SYNTHETIC", "LABELS/label.pkl"),
        *(f"SENSORS/{name}.pkl" for name in ("sensors", "audio", "video")),
    }
    sensors: Content = pickle.loads((release / "SENSORS" / "sensors.pkl").read_bytes())
    assert list(sensors) == [1, 3, 20]
    assert list(sensors[1]) == ["b1", "b2", "b3", "c1", "c2", "c3"]
    names = {"muse", "polar_ecg", "polar_hr", "polar_rr", "galaxy_ppg"}
    names |= {f"e4_{name}" for name in ("bvp", "eda", "temp", "acc", "ibi")}
    assert set(sensors[1]["c1"]) == names
    assert set(sensors[20]["c2"]) == names - {"galaxy_ppg"}
    for name, rate in RATES.items():
        table = sensors[1]["c2"][name]
        assert isinstance(table, pandas.DataFrame)
        assert table["Timestamp"].dtype == np.int64
        seconds = (table["Timestamp"].iloc[-1] - table["Timestamp"].iloc[0]) / 1000
        assert (len(table) - 1) / seconds == pytest.approx(rate, rel=0.01)
        assert seconds == pytest.approx(246 * LENGTH, rel=0.1)
    audio: Content = pickle.loads((release / "SENSORS" / "audio.pkl").read_bytes())
    assert list(audio[3]) == list(CALLS)
    assert set(audio[3]["c3"]) == {1, 2}
    assert audio[3]["c3"][1].columns[-1] == "Timestamp"
    assert len(audio[3]["c3"][2].columns) == 23
    labels: Content = pickle.loads((release / "LABELS" / "label.pkl").read_bytes())
    assert set(labels[20]["c1"]) == {"stress", "arousal", "valence", "suppression"}
    rating = labels[20]["c1"]["suppression"]["suppression"]
    assert 0 <= rating.min() <= rating.max() <= 20
    with (release / "META" / "meta.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == ["Pnum", "order_type", "actor", "actor_sex"]
    assert [row["Pnum"] for row in rows] == ["1", "3", "20", ""]


def test_what_is_read_is_what_was_written(release: Path) -> None:
    found = list(calls(open_release(release)))
    wanted = list(synthetic_calls(5, (1, 3, 20), length=LENGTH))
    assert [call.where for call in found] == [call.where for call in wanted]
    assert all(call.synthetic for call in found)
    for call, other in zip(found, wanted, strict=True):
        for name in TRACKS:
            # Timestamps are whole milliseconds.
            np.testing.assert_allclose(call.tracks[name].time, other.tracks[name].time, atol=6e-4)
            np.testing.assert_array_equal(call.tracks[name].values, other.tracks[name].values)


def test_the_features_are_those_of_the_same_calls(
    release: Path, observations: Observations
) -> None:
    found = load_observations(release)
    assert found.synthetic
    np.testing.assert_array_equal(found.worker, observations.worker)
    np.testing.assert_array_equal(found.session, observations.session)
    assert found.values.shape == observations.values.shape
    close = np.isclose(found.values, observations.values, rtol=0.05, atol=1e-6)
    # A sample at a window's edge may move into it or out of it by half a millisecond.
    assert close.mean() > 0.97


def edit(release: Path, folder: Path, file: str, change: Callable[[Content], None]) -> Path:
    """A copy of the release, one of whose pickles is changed."""
    copy = folder / "release"
    shutil.copytree(release, copy)
    content: Content = pickle.loads((copy / file).read_bytes())
    change(content)
    (copy / file).write_bytes(pickle.dumps(content))
    return copy


SENSORS, AUDIO, LABELS = "SENSORS/sensors.pkl", "SENSORS/audio.pkl", "LABELS/label.pkl"


def _drop(*path: object) -> Callable[[Content], None]:
    def change(content: Content) -> None:
        inner: Any = content
        for step in path[:-1]:
            inner = inner[step]
        del inner[path[-1]]

    return change


def _put(*path: object, value: object) -> Callable[[Content], None]:
    def change(content: Content) -> None:
        inner: Any = content
        for step in path[:-1]:
            inner = inner[step]
        inner[path[-1]] = value

    return change


def _map(*path: object, by: Callable[[Any], Any]) -> Callable[[Content], None]:
    def change(content: Content) -> None:
        inner: Any = content
        for step in path[:-1]:
            inner = inner[step]
        inner[path[-1]] = by(inner[path[-1]])

    return change


def _seconds(table: pandas.DataFrame) -> pandas.DataFrame:
    return table.assign(Timestamp=table["Timestamp"] / 1000)


def _backwards(table: pandas.DataFrame) -> pandas.DataFrame:
    return table.assign(Timestamp=table["Timestamp"].to_numpy()[::-1])


@pytest.mark.parametrize(
    ("file", "change", "reason", "where"),
    [
        (SENSORS, _drop(3), "sensors.pkl holds nothing of the worker", "P3"),
        (AUDIO, _drop(20, "c2"), "audio.pkl does not hold the call", "P20, c2"),
        (SENSORS, _drop(1, "c1", "e4_eda"), "the call has no e4_eda", "P1, c1"),
        (AUDIO, _drop(1, "c3", 2), "the call has no customer", "P1, c3"),
        (LABELS, _drop(3, "c1", "suppression"), "the call has no suppression", "P3, c1"),
        (
            SENSORS,
            _map(1, "c1", "muse", by=lambda t: t.drop(columns="AF8")),
            "muse has no column of numbers 'AF8'",
            "P1, c1",
        ),
        (
            AUDIO,
            _map(1, "c1", 1, by=lambda t: t.drop(columns="mfcc_13")),
            "worker has no column of numbers 'mfcc_13'",
            "P1, c1",
        ),
        (
            SENSORS,
            _map(3, "c2", "e4_temp", by=lambda t: t.iloc[::2]),
            "e4_temp was recorded at 2 Hz, expected 4 Hz",
            "P3, c2",
        ),
        (
            SENSORS,
            _map(3, "c2", "e4_acc", by=lambda t: t.iloc[: len(t) // 2]),
            "e4_acc lasts",
            "P3, c2",
        ),
        (SENSORS, _map(3, "c2", "polar_hr", by=lambda t: t.iloc[:1]), "holds 1 samples", "P3"),
        (SENSORS, _map(3, "c2", "polar_rr", by=lambda t: t.iloc[:0]), "holds 0 samples", "P3"),
        (SENSORS, _map(1, "c2", "e4_eda", by=_backwards), "timestamps that fall", "P1, c2"),
        (SENSORS, _map(1, "c2", "e4_eda", by=_seconds), "e4_eda lasts 0 s", "P1, c2"),
        (SENSORS, _put(1, "c1", "muse", value="none"), "no column of numbers", "P1, c1"),
        (SENSORS, _put(1, "c1", value=[1]), "expected a dictionary, found list", "P1, c1"),
        (
            SENSORS,
            _map(1, "c1", "e4_eda", by=lambda t: t.assign(eda="high")),
            "e4_eda has no column of numbers 'eda'",
            "P1, c1",
        ),
    ],
)
def test_what_is_amiss_is_named(
    release: Path,
    tmp_path: Path,
    file: str,
    change: Callable[[Content], None],
    reason: str,
    where: str,
) -> None:
    broken = edit(release, tmp_path, file, change)
    with pytest.raises(DataError, match=reason) as error:
        list(calls(open_release(broken)))
    assert error.value.where is not None
    assert where in error.value.where
    skipped: list[str] = []
    kept = list(calls(open_release(broken), skipped.append))
    assert len(kept) == 9 - len(skipped)
    assert all(reason in what for what in skipped)


def test_samples_without_a_value_are_left_out(release: Path, tmp_path: Path) -> None:
    def lose(table: pandas.DataFrame) -> pandas.DataFrame:
        return table.assign(eda=table["eda"].where(np.arange(len(table)) != 7))

    broken = edit(release, tmp_path, SENSORS, _map(1, "c1", "e4_eda", by=lose))
    whole, lost = (
        next(calls(open_release(folder))).tracks["e4_eda"] for folder in (release, broken)
    )
    np.testing.assert_array_equal(lost.values, np.delete(whole.values, 7, axis=0))


def test_files_that_are_missing_or_cut_short(release: Path, tmp_path: Path) -> None:
    copy = tmp_path / "release"
    shutil.copytree(release, copy)
    content = (copy / SENSORS).read_bytes()
    (copy / SENSORS).write_bytes(content[: len(content) // 2])
    with pytest.raises(DataError, match="ends too early"):
        open_release(copy)
    (copy / SENSORS).unlink()
    with pytest.raises(FileError, match=r"no SENSORS/sensors\.pkl"):
        open_release(copy)
    (copy / SENSORS).write_bytes(content)
    for text, reason in (
        ("", "no column 'Pnum'"),
        ("worker\n1\n", "no column 'Pnum'"),
        ("Pnum\none\n", "no number"),
    ):
        (copy / "META" / "meta.csv").write_text(text)
        with pytest.raises(DataError, match=reason):
            open_release(copy)


def test_data_is_found_where_it_is_said_to_be(
    release: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("EER_DATA", raising=False)
    assert is_release(release)
    assert find_data(release, tmp_path) == release
    (tmp_path / "hideandseek").symlink_to(release)
    assert find_data(tmp_path, tmp_path) == tmp_path / "hideandseek"
    assert find_data(None, tmp_path / "a" / "b") is None
    monkeypatch.setenv("EER_DATA", str(tmp_path))
    assert find_data(None, tmp_path / "a") == tmp_path / "hideandseek"
    (tmp_path / "empty").mkdir()
    monkeypatch.setenv("EER_DATA", str(tmp_path / "empty"))
    assert find_data(None, tmp_path) is None
    with pytest.raises(DataError, match="no release"):
        find_data(tmp_path / "empty", tmp_path)
    with pytest.raises(FileError, match="no such folder"):
        find_data(tmp_path / "nowhere", tmp_path)
