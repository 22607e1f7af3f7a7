"""The file format: what is written comes back, and whatever else is in a file is refused."""

from __future__ import annotations

import hashlib
import json
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eer.runtime.container import FORMAT_VERSION, KINDS, MAGIC, outline, pack, unpack
from eer.runtime.errors import ArtifactError, FileError

ARRAYS = {
    "zeros": np.zeros((3, 100)),
    "noise": np.random.default_rng(1).normal(size=(4, 5)),
    "numbers": np.arange(-3, 4),
    "empty": np.zeros((0, 8)),
}
FILE = pack("client", {"a": [1, 2.5, "x"]}, {"blob": b"bytes", "nothing": b""}, ARRAYS)
MESSAGE = pack("ciphertext", {"a": [1, 2.5, "x"]}, {"blob": b"bytes", "nothing": b""}, ARRAYS)


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


def with_section(body: bytes, kind: str = "client", version: int = 2, **more: Any) -> bytes:
    return with_entry(entry(body, **more), body, kind, version)


def with_entry(found: dict[str, Any], body: bytes, kind: str, version: int = 2) -> bytes:
    header = {"kind": kind, "writer": "eer", "meta": {}, "sections": [found]}
    return rewritten(header, body, version)


def checksummed(body: bytes, **more: Any) -> dict[str, Any]:
    """An entry with a CRC-32 in place of the SHA-256."""
    found = entry(body) | {"crc32": f"{zlib.crc32(body):08x}"}
    del found["sha256"]
    return found | more


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


@pytest.mark.parametrize(("data", "kind"), [(FILE, "client"), (MESSAGE, "ciphertext")])
@settings(max_examples=200, deadline=None)
@given(share=st.floats(0, 1, exclude_max=True))
def test_every_truncation_is_refused(data: bytes, kind: str, share: float) -> None:
    with pytest.raises(ArtifactError):
        unpack(data[: int(share * len(data))], (kind,))


@pytest.mark.parametrize(("data", "kind"), [(FILE, "client"), (MESSAGE, "ciphertext")])
@settings(max_examples=400, deadline=None)
@given(share=st.floats(0, 1, exclude_max=True), bit=st.integers(0, 7))
def test_every_bit_flip_is_refused(data: bytes, kind: str, share: float, bit: int) -> None:
    changed = bytearray(data)
    changed[int(share * len(data))] ^= 1 << bit
    with pytest.raises(ArtifactError):
        unpack(bytes(changed), (kind,))


@settings(max_examples=200, deadline=None)
@given(share=st.floats(0, 1), burst=st.binary(min_size=1, max_size=300))
def test_damage_to_a_ciphertext_is_found(share: float, burst: bytes) -> None:
    body = bytes(range(256)) * 8
    (section,) = outline(whole := pack("ciphertext", {}, {"cipher0": body})).sections
    changed = bytearray(whole)
    start = section.offset + int(share * (section.length - len(burst)))
    changed[start : start + len(burst)] = burst
    if changed == whole:
        return
    with pytest.raises(ArtifactError, match="section 'cipher0' is damaged"):
        unpack(bytes(changed), ("ciphertext",))


@pytest.mark.parametrize("kind", list(KINDS))
def test_messages_have_checksums_and_all_else_insists_on_hashes(kind: str) -> None:
    (written,) = outline(pack(kind, {}, {"s": b"bytes"})).sections
    light = with_entry(checksummed(b"bytes"), b"bytes", kind)
    if kind == "ciphertext":
        assert written.guard == "crc32"
        assert unpack(light, (kind,)).blob("s") == b"bytes"
        return
    assert written.guard == "sha256"
    with pytest.raises(ArtifactError, match="'sha256'"):
        unpack(light, (kind,))
    # Nor does a true checksum make up for a hash that is not.
    both = checksummed(b"bytes", sha256="0" * 64)
    with pytest.raises(ArtifactError, match="section 's' is damaged"):
        unpack(with_entry(both, b"bytes", kind), (kind,))


@pytest.mark.parametrize("kind", ["client", "ciphertext"])
def test_files_of_version_1_have_hashes_and_are_read(kind: str) -> None:
    assert unpack(with_section(b"bytes", kind, version=1), (kind,)).blob("s") == b"bytes"
    with pytest.raises(ArtifactError, match="section 's' is damaged"):
        unpack(with_section(b"bytes", kind, version=1, sha256="0" * 64), (kind,))


def test_pieces_are_joined() -> None:
    pieces = (b"by", bytearray(b""), memoryview(b"tes"))
    for kind in ("client", "ciphertext"):
        assert pack(kind, {}, {"s": pieces}) == pack(kind, {}, {"s": b"bytes"})


def test_what_lies_in_bytes_is_not_copied() -> None:
    blob = unpack(FILE, ("client",)).blob("blob")
    assert isinstance(blob, memoryview)
    assert blob.obj is FILE
    nested = unpack(memoryview(FILE), ("client",)).blob("blob")
    assert isinstance(nested, memoryview)
    assert nested.obj is FILE


@pytest.mark.parametrize("view", [bytearray, lambda x: memoryview(bytearray(x)).toreadonly()])
def test_what_others_can_write_to_is_copied_before_it_is_verified(view: Any) -> None:
    changing = view(FILE)
    read = unpack(changing, ("client",))
    memory = changing if isinstance(changing, bytearray) else changing.obj
    memory[:] = bytes(len(memory))
    assert read.blob("blob") == b"bytes"


def test_arrays_do_not_keep_the_file() -> None:
    held: Any = unpack(FILE, ("client",)).arrays["noise"]
    while not isinstance(held, bytes):
        held = held.base
    assert len(held) == ARRAYS["noise"].nbytes


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


@pytest.mark.parametrize("digest", ["xyz", "", 5, None, "0" * 65])
def test_checksums_that_are_none(digest: Any) -> None:
    with pytest.raises(ArtifactError, match="'crc32'"):
        unpack(with_entry(checksummed(b"x", crc32=digest), b"x", "ciphertext"), ("ciphertext",))


def test_compressed_sections_must_inflate_to_their_size() -> None:
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
