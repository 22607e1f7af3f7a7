"""The unpickler reads what WESAD's files hold, and nothing that runs."""

from __future__ import annotations

import pickle
import struct
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from eer.runtime.errors import DataError, FileError
from examples.study.restricted_pickle import read_pickle


def python2(value: object) -> bytes:
    """The value as Python 2's cPickle wrote it: byte strings for text and for arrays' contents."""
    return b"\x80\x02" + _python2(value) + b"."


def _python2(value: object) -> bytes:
    if isinstance(value, str):
        return b"T" + struct.pack("<i", len(value)) + value.encode("latin1")
    if isinstance(value, dict):
        items = b"".join(_python2(k) + _python2(v) for k, v in value.items())
        return b"}(" + items + b"u"
    if isinstance(value, np.ndarray):
        return _python2_array(value)
    raise TypeError(type(value).__name__)


def _python2_array(array: NDArray[Any]) -> bytes:
    def integer(number: int) -> bytes:
        return b"J" + struct.pack("<i", number)

    raw = array.tobytes()
    dtype = (
        b"cnumpy\ndtype\n("
        + _python2(array.dtype.str[1:])
        + integer(0)
        + integer(1)
        + b"tR("
        + integer(3)
        + _python2("<")
        + b"NNN"
        + integer(-1)
        + integer(-1)
        + integer(0)
        + b"tb"
    )
    shape = b"(" + b"".join(integer(size) for size in array.shape) + b"t"
    content = b"T" + struct.pack("<i", len(raw)) + raw
    made = b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(" + integer(0) + b"t"
    state = b"(" + integer(1) + shape + dtype + b"\x89" + content + b"tb"
    return made + _python2("b") + b"tR" + state


class Evil:
    """Pickles as a call of its own choice."""

    def __init__(self, call: object, *arguments: object) -> None:
        self.call, self.arguments = call, arguments

    def __reduce__(self) -> tuple[Any, ...]:
        return self.call, self.arguments


def write(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


def test_reads_what_python_2_wrote(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    wanted = {"ACC": rng.normal(size=(50, 3)), "label": np.arange(7, dtype="<i4")}
    found = read_pickle(write(tmp_path / "S2.pkl", python2({"signal": wanted, "subject": "S2"})))
    assert isinstance(found, dict)
    assert found["subject"] == "S2"
    for name, array in wanted.items():
        assert found["signal"][name].dtype == array.dtype
        np.testing.assert_array_equal(found["signal"][name], array)


@pytest.mark.parametrize("protocol", [0, 1, 2, 3, 4])
@pytest.mark.parametrize("dtype", ["f8", "f4", "i4", "i1", ">f8", "?"])
def test_reads_what_python_3_writes(tmp_path: Path, protocol: int, dtype: str) -> None:
    array = np.arange(12).reshape(3, 4).astype(dtype)
    content = pickle.dumps({"a": array, "b": [1, 2.5, None, "ä"]}, protocol=protocol)
    found = read_pickle(write(tmp_path / "S2.pkl", content))
    assert isinstance(found, dict)
    assert found["b"] == [1, 2.5, None, "ä"]
    assert found["a"].dtype == array.dtype.newbyteorder("=")
    np.testing.assert_array_equal(found["a"], array)


@pytest.mark.parametrize(
    ("value", "named"),
    [
        (Evil(eval, "__import__('pathlib').Path('TARGET').touch()"), "eval"),
        (Evil(exec, "open('TARGET', 'w')"), "exec"),
        (Evil(__import__("os").system, "touch TARGET"), "system"),
        (OrderedDict(a=1), "OrderedDict"),
        (np.float64(1.5), "scalar"),
        (np.random.default_rng(0), "numpy.random"),
        (Path("S2"), "pathlib"),
    ],
)
def test_refuses_every_other_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, value: object, named: str
) -> None:
    monkeypatch.chdir(tmp_path)
    path = write(tmp_path / "S2.pkl", pickle.dumps({"signal": value}, protocol=2))
    with pytest.raises(DataError, match=named) as error:
        read_pickle(path)
    assert "may be an attack" in str(error.value)
    assert not (tmp_path / "TARGET").exists()


@pytest.mark.parametrize(
    "content",
    [
        # numpy.ndarray((2**40,)): an array of a size of the pickle's own choice
        b"cnumpy\nndarray\n((L1099511627776L\nttR.",
        # _reconstruct(ndarray, (2**40,), 'b')
        b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(L1099511627776L\ntS'b'\ntR.",
        # dtype('O8'): an array of objects
        b"cnumpy\ndtype\n(S'O8'\ntR.",
        # BUILD on a stand-in: setting attributes where there are none
        b"cnumpy\nndarray\n}S'__call__'\nI1\nsb.",
        # an extension code and a persistent id
        b"\x80\x02\x82\x01.",
        b"Pelsewhere\n.",
    ],
)
def test_refuses_misuse_of_the_names_it_knows(tmp_path: Path, content: bytes) -> None:
    with pytest.raises(DataError):
        read_pickle(write(tmp_path / "S2.pkl", content))


def test_object_arrays_are_refused(tmp_path: Path) -> None:
    content = pickle.dumps(np.array([{}, []], dtype=object), protocol=2)
    with pytest.raises(DataError, match="O8"):
        read_pickle(write(tmp_path / "S2.pkl", content))


@pytest.mark.parametrize("keep", [0, 1, 40, 400, -1])
def test_a_file_cut_short_says_so(tmp_path: Path, keep: int) -> None:
    content = python2({"signal": {"ACC": np.zeros((50, 3))}})
    with pytest.raises(DataError, match="ends too early"):
        read_pickle(write(tmp_path / "S2.pkl", content[:keep]))


def test_what_is_no_pickle_says_so(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no readable pickle"):
        read_pickle(write(tmp_path / "S2.pkl", b"<!DOCTYPE html><html>not found</html>"))


def test_a_missing_file_says_so(tmp_path: Path) -> None:
    with pytest.raises(FileError, match="cannot read"):
        read_pickle(tmp_path / "S2.pkl")
