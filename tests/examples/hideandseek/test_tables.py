"""Ready-made feature tables: both formats, any order of columns, and what is amiss in them."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest

from eer.runtime.errors import DataError, FileError
from examples.hideandseek.columns import FEATURES
from examples.hideandseek.dataset import find_data, load_observations
from examples.hideandseek.observations import Observations
from examples.hideandseek.tables import load_table, save_table

KEYS = ["subject", "session", "start_sec", "suppression"]


def write_csv(path: Path, header: list[str], rows: list[list[object]]) -> Path:
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([header, *rows])
    return path


def row(number: int, **given: object) -> dict[str, object]:
    """A window whose features are their own places, plus `number`."""
    keys: dict[str, object] = {"subject": 4, "session": "c2", "start_sec": 3, "suppression": 7.5}
    return keys | {name: place + number for place, name in enumerate(FEATURES)} | given


def table(path: Path, *rows: dict[str, object], header: list[str] | None = None) -> Path:
    header = header or [*KEYS, *FEATURES]
    return write_csv(path, header, [[cells[name] for name in header] for cells in rows])


def same(found: Observations, wanted: Observations) -> None:
    for name in ("values", "worker", "session", "start", "suppression"):
        np.testing.assert_array_equal(getattr(found, name), getattr(wanted, name), err_msg=name)
    assert found.synthetic == wanted.synthetic


def test_what_is_saved_is_what_is_loaded(tmp_path: Path, observations: Observations) -> None:
    path = tmp_path / "deeper" / "features.npz"
    save_table(observations, path)
    same(load_table(path), observations)
    same(load_observations(path), observations)
    assert find_data(path, tmp_path) == path
    assert [p.name for p in path.parent.iterdir()] == ["features.npz"]


def test_columns_may_stand_in_any_order(tmp_path: Path) -> None:
    header = [*reversed(FEATURES), *KEYS]
    path = table(tmp_path / "a.csv", row(0), row(1, subject="P5", session=3.0), header=header)
    found = load_table(path)
    np.testing.assert_array_equal(found.values[0], np.arange(228))
    np.testing.assert_array_equal(found.values[1], np.arange(228) + 1)
    assert found.worker.tolist() == ["P4", "P5"]
    assert found.session.tolist() == [2, 3]
    assert found.start.tolist() == [3, 3]
    assert found.suppression.tolist() == [7.5, 7.5]
    assert not found.synthetic


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        ({"worker_f0_mean": "high"}, "worker_f0_mean is not a number"),
        ({"gamma4": "nan"}, "gamma4 is not a finite number in row 1"),
        ({"suppression": ""}, "suppression is not a number"),
        ({"subject": "anna"}, "'anna' is no worker's number"),
        ({"session": "b1"}, "'b1' is no call"),
    ],
)
def test_cells_that_make_no_sense(tmp_path: Path, given: dict[str, object], reason: str) -> None:
    with pytest.raises(DataError, match=reason):
        load_table(table(tmp_path / "a.csv", row(0, **given)))


def test_tables_that_are_not_whole(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    header = [name for name in (*KEYS, *FEATURES) if name not in ("ibi", "bpm", "session")]
    with pytest.raises(DataError, match=r"no column 'session', nor 2 others"):
        load_table(table(path, row(0), header=header))
    with pytest.raises(DataError, match="no rows"):
        load_table(table(path))
    write_csv(path, ["a", "b"], [[1, 2], [3]])
    with pytest.raises(DataError, match="line 3 has 1 of 2 columns"):
        load_table(path)
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(DataError, match="no table of text"):
        load_table(path)
    broken = tmp_path / "a.npz"
    broken.write_bytes(b"PK\x03\x04 no more")
    with pytest.raises(DataError, match="damaged or cut short"):
        load_table(broken)
    with pytest.raises(FileError, match="cannot read"):
        load_table(tmp_path / "none.npz")
    objects = tmp_path / "objects.npz"
    np.savez(objects, subject=np.array([{}], dtype=object), allow_pickle=True)
    with pytest.raises(DataError):
        load_table(objects)
