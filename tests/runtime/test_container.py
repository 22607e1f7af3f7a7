"""The file format: what is written comes back, and whatever else is in a file is refused."""

from __future__ import annotations

import hashlib
import json
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eer.runtime.container import FORMAT_VERSION, MAGIC, outline, pack, unpack
from eer.runtime.errors import ArtifactError, FileError

ARRAYS = {
    "zeros": np.zeros((3, 100)),
    "noise": np.random.default_rng(1).normal(size=(4, 5)),
    "numbers": np.arange(-3, 4),
    "empty": np.zeros((0, 8)),
}
FILE = pack("client", {"a": [1, 2.5, "x"]}, {"blob": b"bytes", "nothing": b""}, ARRAYS)


def rewritten(header: dict[str, Any], bodies: bytes, version: int = FORMAT_VERSION) -> bytes:
    """A file with true hashes over whatever header is given."""
    text = json.dumps(header).encode()
    prelude = struct.pack("<8sHHI32s", MAGIC, version, 0, len(text), hashlib.sha256(text).digest())
    return prelude + text + bodies


def entry(body: bytes, **more: Any) -> dict[str, Any]:
    digest = hashlib.sha256(body).hexdigest()
    return {
        "name": "s",
        "length": len(body),
        "size": len(body),
        "sha256": digest,
        "encoding": "raw",
    } | more


def with_section(body: bytes, **more: Any) -> bytes:
    table = [entry(body, **more)]
    header = {"kind": "client", "writer": "eer", "meta": {}, "sections": table}
    return rewritten(header, body)


def test_round_trip() -> None:
    read = unpack(FILE, ("client",))
    assert read.meta.values == {"a": [1, 2.5, "x"]}
    assert read.blobs == {"blob": b"bytes", "nothing": b""}
    assert set(read.arrays) == set(ARRAYS)
    for name, array in ARRAYS.items():
        np.testing.assert_array_equal(read.arrays[name], array)
        assert read.arrays[name].dtype == array.dtype
        assert not read.arrays[name].flags.writeable


def test_zeros_are_compressed_and_noise_is_not() -> None:
    encodings = {s.name: s.encoding for s in outline(FILE).sections}
    assert encodings["zeros"] == "zlib"
    assert encodings["noise"] == "raw"


def test_same_contents_same_bytes() -> None:
    assert pack("client", {"a": [1, 2.5, "x"]}, {"blob": b"bytes", "nothing": b""}, ARRAYS) == FILE


@settings(max_examples=200, deadline=None)
@given(st.integers(0, len(FILE) - 1))
def test_every_truncation_is_refused(length: int) -> None:
    with pytest.raises(ArtifactError):
        unpack(FILE[:length], ("client",))


@settings(max_examples=400, deadline=None)
@given(st.integers(0, len(FILE) * 8 - 1))
def test_every_bit_flip_is_refused(bit: int) -> None:
    changed = bytearray(FILE)
    changed[bit // 8] ^= 1 << bit % 8
    with pytest.raises(ArtifactError):
        unpack(bytes(changed), ("client",))


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=200))
def test_bytes_that_are_not_ours(data: bytes) -> None:
    with pytest.raises(ArtifactError):
        unpack(data, ("client",))


def test_trailing_bytes() -> None:
    with pytest.raises(ArtifactError, match="3 bytes follow the end"):
        unpack(FILE + b"abc", ("client",))


def test_truncation_says_what_is_missing() -> None:
    with pytest.raises(ArtifactError, match="truncated") as caught:
        unpack(FILE[:-1], ("client",))
    assert f"{len(FILE) - 1} of at least {len(FILE)} bytes" in caught.value.reason
    assert caught.value.hint


def test_newer_version_says_upgrade() -> None:
    changed = bytearray(FILE)
    changed[8:10] = struct.pack("<H", FORMAT_VERSION + 1)
    with pytest.raises(ArtifactError, match=f"format version {FORMAT_VERSION + 1}") as caught:
        unpack(bytes(changed), ("client",))
    assert "upgrade eer" in str(caught.value)


def test_wrong_kind_names_both() -> None:
    with pytest.raises(ArtifactError, match=r"this is a client bundle.*not a server bundle"):
        unpack(FILE, ("server",))


def test_a_secret_key_in_a_wrong_place_is_called_out() -> None:
    with pytest.raises(ArtifactError) as caught:
        unpack(pack("secret-key", {}), ("evaluation-keys",))
    assert "never leaves the client" in str(caught.value)


def test_another_programs_file(tmp_path: Path) -> None:
    path = tmp_path / "x.npz"
    np.savez(path, x=np.zeros(3))
    with pytest.raises(ArtifactError, match="not a file of eer"):
        unpack(path, ("client",))


def test_missing_file_and_folder(tmp_path: Path) -> None:
    with pytest.raises(FileError, match="No such file"):
        unpack(tmp_path / "missing", ("client",))
    with pytest.raises(FileError, match="a folder"):
        unpack(tmp_path, ("client",))


def test_huge_claims_are_refused_before_anything_is_allocated() -> None:
    with pytest.raises(ArtifactError, match="truncated"):
        unpack(with_section(b"abc", length=1 << 50, size=1 << 50), ("client",))
    with pytest.raises(ArtifactError, match="'size'"):
        unpack(with_section(b"abc", size=1 << 50, encoding="zlib"), ("client",))
    huge = struct.pack("<8sHHI32s", MAGIC, 1, 0, 0xFFFFFFFF, b"\0" * 32)
    with pytest.raises(ArtifactError, match="header length"):
        unpack(huge, ("client",))


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"dtype": "|O", "shape": [1]}, "dtype"),
        ({"dtype": "<f8", "shape": [2]}, "shape"),
        ({"dtype": "<f8", "shape": [1, 1, 1, 1, 1, 1, 1, 1, 1]}, "shape"),
        ({"dtype": "<f8", "shape": [-1]}, "shape"),
        ({"dtype": "<f8", "shape": [True]}, "shape"),
        ({"dtype": "<f8"}, "shape"),
        ({"size": 7}, "size"),
        ({"length": -8}, "length"),
        ({"length": 8.0}, "length"),
        ({"encoding": "pickle"}, "encoding"),
        ({"name": 5}, "name"),
        ({"sha256": "xyz"}, "sha256"),
    ],
)
def test_a_section_table_that_lies(change: dict[str, Any], field: str) -> None:
    with pytest.raises(ArtifactError, match=f"'{field}'"):
        unpack(with_section(b"8 bytes!", **change), ("client",))


def test_compressed_sections_must_inflate_to_their_size() -> None:
    import zlib

    body = zlib.compress(bytes(1000))
    good = with_section(body, encoding="zlib", size=1000)
    assert unpack(good, ("client",)).blob("s") == bytes(1000)
    for size in (0, 999, 1001):
        with pytest.raises(ArtifactError):
            unpack(with_section(body, encoding="zlib", size=size), ("client",))
    with pytest.raises(ArtifactError):
        unpack(with_section(b"not zlib", encoding="zlib"), ("client",))


def test_headers_that_are_no_headers() -> None:
    bad: list[Any] = [[], 5, {"kind": "client"}, {"kind": "nonsense", "meta": {}, "sections": []}]
    for header in bad:
        with pytest.raises(ArtifactError):
            unpack(rewritten(header, b""), ("client",))
    for text in (b"[" * 100_000, b'{"kind": NaN}', b"\xff\xfe", b"1" * 5000):
        prelude = struct.pack("<8sHHI32s", MAGIC, 1, 0, len(text), hashlib.sha256(text).digest())
        with pytest.raises(ArtifactError):
            unpack(prelude + text, ("client",))


def test_two_sections_of_one_name() -> None:
    table = [entry(b""), entry(b"")]
    header = {"kind": "client", "writer": "eer", "meta": {}, "sections": table}
    with pytest.raises(ArtifactError, match="different names"):
        unpack(rewritten(header, b""), ("client",))


def test_object_arrays_cannot_be_written() -> None:
    with pytest.raises(ValueError, match="dtype"):
        pack("client", {}, arrays={"x": np.array([{}])})
