"""Data files of users: every form that is read, and every mistake that is named."""

from __future__ import annotations

import contextlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from eer.runtime.arrays import read_arrays
from eer.runtime.errors import DataError, EerError, FileError, UsageError

X = np.random.default_rng(0).normal(size=(5, 2, 3))


def read(path: Path, shape: tuple[int, ...] = (2, 3)) -> np.ndarray:
    return read_arrays(path, ["x"], [shape])["x"]


def text(tmp_path: Path, content: str, name: str = "d.csv") -> Path:
    path = tmp_path / name
    path.write_text(content)
    return path


def test_npz(tmp_path: Path) -> None:
    path = tmp_path / "d.npz"
    np.savez(path, x=X.astype(np.float32), y=np.arange(5), other=np.zeros(7))
    np.testing.assert_array_equal(read(path), X.astype(np.float32))
    assert read(path).dtype == np.float64
    np.savez_compressed(path, anything=X, labels=np.arange(5))
    np.testing.assert_array_equal(read(path), X)


def test_npz_of_two_inputs(tmp_path: Path) -> None:
    path = tmp_path / "d.npz"
    np.savez(path, b=X[:, 0], a=X)
    found = read_arrays(path, ["a", "b"], [(2, 3), (3,)])
    assert list(found) == ["a", "b"]
    np.testing.assert_array_equal(found["b"], X[:, 0])
    np.savez(path, b=X[:4, 0], a=X)
    with pytest.raises(DataError, match="'a' has 5, 'b' has 4"):
        read_arrays(path, ["a", "b"], [(2, 3), (3,)])
    np.savez(path, a=X, z=X)
    with pytest.raises(DataError, match="array 'b' is missing; the file holds: a, z"):
        read_arrays(path, ["a", "b"], [(2, 3), (3,)])


def test_npy(tmp_path: Path) -> None:
    path = tmp_path / "d.npy"
    np.save(path, X)
    np.testing.assert_array_equal(read(path), X)
    np.save(path, X[0])
    np.testing.assert_array_equal(read(path), X[:1])
    with pytest.raises(DataError, match="2 inputs: a, b"):
        read_arrays(path, ["a", "b"], [(2, 3), (3,)])


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
@pytest.mark.parametrize("header", ["", "a,b,c,d,e,f", "0,1,2,3,4,5", 'a b,"b",c,d,e,f-1'])
def test_csv(header: str, delimiter: str, tmp_path: Path) -> None:
    rows = [delimiter.join(repr(float(v)) for v in row) for row in X.reshape(5, 6)]
    lines = [header.replace(",", delimiter), *rows] if header else rows
    np.testing.assert_array_equal(read(text(tmp_path, "\n".join(lines) + "\n\n")), X)


def test_csv_as_pandas_writes_it_with_index_and_label(tmp_path: Path) -> None:
    rows = [f"{i},1,2,{i},stress" for i in range(3)]
    path = text(tmp_path, "\ufeff,a,b,c,label\r\n" + "\r\n".join(rows))
    np.testing.assert_array_equal(read(path, (3,)), [[1, 2, 0], [1, 2, 1], [1, 2, 2]])


def test_csv_mistakes(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"hold text, not numbers: who, when \(line 3, column who"):
        read(text(tmp_path, "who,a,when\n1,2,3\nS2,5,noon\n"), (3,))
    with pytest.raises(DataError, match=r"2 columns.*wants 3 \(shape \[3\], flattened\): a, b"):
        read(text(tmp_path, "a,b\n1,2\n"), (3,))
    with pytest.raises(DataError, match="line 3 has 2 columns; the first line has 3"):
        read(text(tmp_path, "1,2,3\n\n1,2\n"), (3,))
    with pytest.raises(DataError, match="is empty"):
        read(text(tmp_path, "\n\n"), (3,))
    with pytest.raises(DataError, match="header line and no rows"):
        read(text(tmp_path, "a,b,c\n"), (3,))
    with pytest.raises(DataError, match=r"NaN or infinite values in 2 of 3 rows.*: 0, 2"):
        read(text(tmp_path, "a,b,c\n1,,3\n4,5,6\nnan,1,1\n"), (3,))
    (tmp_path / "d.csv").write_bytes(b"\xff\xfe\x00a")
    with pytest.raises(DataError, match="cannot be read as text"):
        read(tmp_path / "d.csv", (3,))


def test_wrong_arrays(tmp_path: Path) -> None:
    path = tmp_path / "d.npz"
    np.savez(path, x=X.reshape(5, 6))
    with pytest.raises(DataError, match=r"shape \[5, 6\]; the model wants \[rows, 2, 3\]"):
        read(path)
    np.savez(path, x=X[:0])
    with pytest.raises(DataError, match="has no rows"):
        read(path)
    np.savez(path, x=np.full((5, 2, 3), "a"))
    with pytest.raises(DataError, match="dtype <U1"):
        read(path)
    bad = X.copy()
    bad[[1, 4], 0, 0] = np.nan, np.inf
    np.savez(path, x=bad)
    with pytest.raises(DataError, match="2 of 5 rows, counted from 0: 1, 4"):
        read(path)


def test_nothing_is_unpickled(tmp_path: Path) -> None:
    path = tmp_path / "d.npz"
    np.savez(path, x=np.array([{"a": 1}], dtype=object))
    with pytest.raises(DataError, match=r"cannot be read as .npz"):
        read(path)
    np.save(tmp_path / "d.npy", np.array([{"a": 1}], dtype=object))
    with pytest.raises(DataError, match=r"cannot be read as .npy"):
        read(tmp_path / "d.npy")


def test_misnamed_and_missing_files(tmp_path: Path) -> None:
    np.savez(tmp_path / "d.npz", x=X)
    (tmp_path / "d.npz").rename(tmp_path / "d.npy")
    with pytest.raises(DataError, match=r"no .npy file"):
        read(tmp_path / "d.npy")
    np.save(tmp_path / "e.npy", X)
    (tmp_path / "e.npy").rename(tmp_path / "e.npz")
    with pytest.raises(DataError, match=r"no .npz archive"):
        read(tmp_path / "e.npz")
    with pytest.raises(FileError, match="No such file"):
        read(tmp_path / "none.npz")
    with pytest.raises(UsageError, match="of no kind"):
        read(tmp_path / "d.xlsx")


@settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(data=st.data())
def test_damaged_files_give_our_errors_only(tmp_path: Path, data: st.DataObject) -> None:
    suffix = data.draw(st.sampled_from([".npz", ".npy"]))
    good = tmp_path / f"good{suffix}"
    if suffix == ".npz":
        np.savez_compressed(good, x=X)
    else:
        np.save(good, X)
    raw = bytearray(good.read_bytes())
    place = data.draw(st.integers(0, len(raw) - 1))
    if data.draw(st.booleans()):
        raw = raw[:place]
    else:
        raw[place] ^= 1 << data.draw(st.integers(0, 7))
    (tmp_path / f"bad{suffix}").write_bytes(raw)
    with contextlib.suppress(EerError):
        read(tmp_path / f"bad{suffix}")
