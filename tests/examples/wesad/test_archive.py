"""Both formats load to the same recording, and damaged files say what is wrong."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from eer.runtime.errors import DataError, FileError
from examples.wesad.archive import find_data, load_recording, recording_files
from examples.wesad.recording import Recording
from examples.wesad.synthetic import write_archive, write_npz


@pytest.fixture(scope="module")
def archive(recordings: tuple[Recording, ...], tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("WESAD")
    for recording in recordings:
        write_archive(recording, folder)
    return folder


@pytest.fixture(scope="module")
def arrays(recordings: tuple[Recording, ...], tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wesad")
    for recording in recordings:
        write_npz(recording, folder / "wrist")
    return folder


def test_the_official_archive_gives_back_the_recording(
    recordings: tuple[Recording, ...], archive: Path
) -> None:
    paths = recording_files(archive)
    assert [path.name for path in paths] == ["S2.pkl", "S10.pkl", "S17.pkl"]
    for path, wanted in zip(paths, recordings, strict=True):
        found = load_recording(path)
        assert found.subject == wanted.subject
        assert found.synthetic
        for name in ("bvp", "eda", "temp", "acc", "label"):
            np.testing.assert_allclose(
                getattr(found, name), getattr(wanted, name), atol=1e-9, err_msg=name
            )
        assert found.chest is not None
        assert wanted.chest is not None
        np.testing.assert_array_equal(found.chest.ecg, wanted.chest.ecg)
        np.testing.assert_array_equal(found.chest.resp, wanted.chest.resp)


def test_wrist_arrays_give_back_the_recording(
    recordings: tuple[Recording, ...], arrays: Path
) -> None:
    paths = recording_files(arrays)
    assert [path.name for path in paths] == ["S2_wrist.npz", "S10_wrist.npz", "S17_wrist.npz"]
    for path, wanted in zip(paths, recordings, strict=True):
        found = load_recording(path)
        assert (found.subject, found.synthetic, found.chest) == (wanted.subject, True, None)
        for name in ("bvp", "eda", "temp", "acc", "label"):
            np.testing.assert_allclose(
                getattr(found, name), getattr(wanted, name), rtol=1e-5, atol=1e-5, err_msg=name
            )


Content = dict[str, Any]


def _drop_sensor(content: Content) -> None:
    del content["signal"]["wrist"]["EDA"]


def _drop_chest_sensor(content: Content) -> None:
    del content["signal"]["chest"]["ECG"]


def _drop_wrist(content: Content) -> None:
    del content["signal"]["wrist"]


def _drop_label(content: Content) -> None:
    del content["label"]


def _double_rate(content: Content) -> None:
    wrist = content["signal"]["wrist"]
    wrist["EDA"] = np.repeat(wrist["EDA"], 2, axis=0)


def _cut_pulse(content: Content) -> None:
    wrist = content["signal"]["wrist"]
    wrist["BVP"] = wrist["BVP"][: len(wrist["BVP"]) // 2]


def _two_axes(content: Content) -> None:
    wrist = content["signal"]["wrist"]
    wrist["ACC"] = wrist["ACC"][:, :2]


def _text(content: Content) -> None:
    content["signal"]["wrist"]["TEMP"] = "warm"


def _holes(content: Content) -> None:
    content["signal"]["wrist"]["TEMP"][5] = np.nan


def _labels(content: Content) -> None:
    content["label"] = content["label"] + 6


def _list(content: Content) -> None:
    content["signal"] = [1, 2]


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (_drop_sensor, "'EDA' is missing"),
        (_drop_chest_sensor, "'ECG' is missing"),
        (_drop_wrist, "'wrist' is missing"),
        (_drop_label, "'label' is missing"),
        (_double_rate, "recorded at 8 Hz instead, or cut short"),
        (_cut_pulse, "recorded at 32 Hz instead, or cut short"),
        (_two_axes, "wrist ACC has 2 columns, expected 3"),
        (_text, "TEMP is not an array of numbers"),
        (_holes, "wrist TEMP holds NaN"),
        (_labels, "labels must be 0 to 7"),
        (_list, "signal should be a dictionary, is list"),
    ],
)
def test_a_damaged_archive_says_what_is_wrong(
    archive: Path, tmp_path: Path, damage: Callable[[Content], None], reason: str
) -> None:
    # The test reads what it wrote itself a few lines above.
    content: Content = pickle.loads((archive / "S2" / "S2.pkl").read_bytes())
    damage(content)
    path = tmp_path / "S2.pkl"
    path.write_bytes(pickle.dumps(content, protocol=2))
    with pytest.raises(DataError) as error:
        load_recording(path)
    assert reason in str(error.value)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"eda": None}, "the array 'eda' is missing"),
        ({"fs": None}, "the array 'fs' is missing"),
        ({"fs": np.array(32)}, "recorded at 32 Hz, expected 4 Hz"),
        ({"bvp_64": np.zeros(4000)}, "bvp_64 has 4000 samples"),
        ({"acc": np.zeros((4, 4))}, "acc has 4 columns, expected 3"),
        ({"temp": np.array(["warm"])}, "temp is not an array of numbers"),
    ],
)
def test_damaged_arrays_say_what_is_wrong(
    arrays: Path, tmp_path: Path, change: dict[str, Any], reason: str
) -> None:
    with np.load(arrays / "wrist" / "S2_wrist.npz") as file:
        content = dict(file) | change
    path = tmp_path / "S2_wrist.npz"
    np.savez(path, **{name: array for name, array in content.items() if array is not None})
    with pytest.raises(DataError) as error:
        load_recording(path)
    assert reason in str(error.value)


@pytest.mark.parametrize("part", [0.0, 0.3, 0.99])
def test_a_truncated_npz_says_so(arrays: Path, tmp_path: Path, part: float) -> None:
    content = (arrays / "wrist" / "S2_wrist.npz").read_bytes()
    path = tmp_path / "S2_wrist.npz"
    path.write_bytes(content[: int(part * len(content))])
    with pytest.raises(DataError, match="damaged or cut short"):
        load_recording(path)


def test_an_npz_of_objects_is_not_unpickled(tmp_path: Path) -> None:
    path = tmp_path / "S2_wrist.npz"
    np.savez(path, eda=np.array([{}], dtype=object))
    with pytest.raises(DataError, match="damaged"):
        load_recording(path)


def test_other_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"not \.csv"):
        load_recording(tmp_path / "S2.csv")
    with pytest.raises(FileError, match="cannot read"):
        load_recording(tmp_path / "S2_wrist.npz")


def test_signals_that_differ_by_a_sample_are_cut_to_the_shortest(
    archive: Path, tmp_path: Path
) -> None:
    content: Content = pickle.loads((archive / "S2" / "S2.pkl").read_bytes())
    wrist = content["signal"]["wrist"]
    wrist["EDA"] = wrist["EDA"][:-3]
    path = tmp_path / "S2.pkl"
    path.write_bytes(pickle.dumps(content, protocol=2))
    found = load_recording(path)
    assert len(found.eda) == len(found.label) == len(wrist["EDA"])
    assert len(found.bvp) == 16 * len(found.label)


class TestFindData:
    def test_the_option_comes_first(
        self, arrays: Path, archive: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("EER_DATA", str(archive))
        assert find_data(arrays, tmp_path) == arrays
        assert find_data(None, tmp_path) == archive

    def test_the_folder_beside_the_repository(
        self, recordings: tuple[Recording, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.delenv("EER_DATA", raising=False)
        assert find_data(None, tmp_path / "repository") is None
        folder = tmp_path / "shared" / "data" / "wesad"
        write_npz(recordings[0], folder / "wrist")
        assert find_data(None, tmp_path / "repository") == folder

    def test_a_named_folder_must_be_there_and_hold_data(self, tmp_path: Path) -> None:
        with pytest.raises(FileError, match="no such folder"):
            find_data(tmp_path / "nowhere", tmp_path)
        with pytest.raises(DataError, match="holds neither"):
            find_data(tmp_path, tmp_path)
