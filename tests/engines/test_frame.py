"""The frame around serialised objects: nothing damaged, foreign or oversized gets through."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from eer.runtime.engines.frame import (
    Frame,
    join_parts,
    open_frame,
    seal_frame,
    split_parts,
)
from eer.runtime.engines.memfile import bytes_saved, load_bytes
from eer.runtime.errors import ArtifactError, KeyMismatchError
from eer.runtime.pieces import joined

FRAME = Frame("thing", "seal:0011", "k1", 3, 2.0**27 / 3)


def test_what_goes_in_comes_out() -> None:
    frame, payload = open_frame(seal_frame(FRAME, b"content"), "thing", "seal:0011")
    assert frame == FRAME
    assert bytes(payload) == b"content"


def test_every_change_to_the_frame_is_found() -> None:
    """Damage to the content is for the container to find."""
    data = joined(seal_frame(FRAME, b"content"))
    for place in range(len(data) - len(b"content")):
        changed = bytearray(data)
        changed[place] ^= 0x01
        try:
            frame, payload = open_frame((bytes(changed),), "thing", "seal:0011")
        except (ArtifactError, KeyMismatchError):
            continue
        # The key, level and scale are the claims of whoever made it; the engine checks them.
        assert bytes(payload) == b"content"
        assert frame.kind == "thing"


@pytest.mark.parametrize("cut", range(0, 60, 7))
def test_every_truncation_is_found(cut: int) -> None:
    data = joined(seal_frame(FRAME, b"content"))
    with pytest.raises(ArtifactError):
        open_frame((data[:cut],), "thing", "seal:0011")
    with pytest.raises(ArtifactError):
        open_frame((data[: len(data) - 1],), "thing", "seal:0011")


def test_other_kinds_and_spaces_are_named() -> None:
    data = seal_frame(FRAME, b"content")
    with pytest.raises(ArtifactError, match="a key was expected and this is a thing"):
        open_frame(data, "key", "seal:0011")
    with pytest.raises(KeyMismatchError, match="seal:0011"):
        open_frame(data, "thing", "seal:2233")


@pytest.mark.parametrize("header", [b"[]", b"{}", b"\xff", b"[" * 3000, b'{"kind": 1}'])
def test_headers_that_are_no_headers(header: bytes) -> None:
    data = (b"EERENG01" + len(header).to_bytes(2, "little") + header,)
    with pytest.raises(ArtifactError, match="header"):
        open_frame(data, "thing", "seal:0011")


@pytest.mark.parametrize("scale", [float("nan"), float("inf"), -1.0])
def test_scales_that_are_no_scales(scale: float) -> None:
    data = seal_frame(Frame("thing", "seal:0011", "k1", 3, scale), b"content")
    with pytest.raises(ArtifactError, match="scale"):
        open_frame(data, "thing", "seal:0011")


def test_parts_are_split_as_they_were_joined() -> None:
    parts = [b"", b"a", b"bcd"]
    whole = memoryview(join_parts(parts))
    assert [bytes(p) for p in split_parts(whole, "thing", 3)] == parts
    for count in (0, 2, 4):
        with pytest.raises(ArtifactError):
            split_parts(whole, "thing", count)
    for cut in (0, 3, 10, len(whole) - 1):
        with pytest.raises(ArtifactError):
            split_parts(whole[:cut], "thing", 3)


def test_sizes_that_overflow_are_found() -> None:
    huge = (2**64 - 1).to_bytes(8, "little")
    data = memoryview((1).to_bytes(4, "little") + huge + b"x")
    with pytest.raises(ArtifactError):
        split_parts(data, "thing", 1)


@pytest.mark.parametrize("in_memory", [True, False])
def test_libraries_that_want_paths_get_private_ones(in_memory: bool) -> None:
    if in_memory and not hasattr(os, "memfd_create"):
        pytest.skip("needs memory files")
    seen: list[str] = []

    def save(path: str) -> None:
        seen.append(path)
        if not in_memory:
            assert os.stat(os.path.dirname(path)).st_mode & 0o777 == 0o700
        Path(path).write_bytes(b"secret")

    assert bytes_saved(save, in_memory) == b"secret"
    read: list[bytes] = []
    load_bytes(lambda path: read.append(Path(path).read_bytes()), b"secret", in_memory)
    assert read == [b"secret"]
    assert not os.path.exists(seen[0])
    assert seen[0].startswith("/proc/self/fd/") == in_memory
