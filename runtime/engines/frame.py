"""The frame around every serialised object of an engine: what it is, and whose it is.

Layout: magic, uint16 header length, header (JSON), payload. The header names kind, engine space,
key, level, scale and parts, and the payload's length; all of it is checked before the payload is
handed to a library, which validates what it loads. That the content is undamaged is for
the file around the frame to tell (`runtime.container`): a second digest of the same bytes would
take some hundredths of a small model's time.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Sequence
from dataclasses import dataclass

from ..errors import ArtifactError, KeyMismatchError
from ..fields import dump_header, parse_header
from ..pieces import Bytes, Pieces, joined, size_of

MAGIC = b"EERENG01"
_HEADER_LIMIT = 4096


@dataclass(frozen=True, slots=True)
class Frame:
    """What a serialised object says of itself."""

    kind: str
    space: str
    key_id: str
    level: int
    scale: float
    parts: int = 2
    """Polynomials of a ciphertext."""


def seal_frame(frame: Frame, *payload: Bytes) -> Pieces:
    """The payload, in the pieces that it came in, after its `frame`."""
    header = {
        "kind": frame.kind,
        "space": frame.space,
        "key": frame.key_id,
        "level": frame.level,
        "scale": frame.scale.hex(),
        "parts": frame.parts,
        "size": size_of(payload),
    }
    text = dump_header(header)
    return b"".join((MAGIC, struct.pack("<H", len(text)), text)), *payload


def open_frame(data: Pieces, kind: str, space: str) -> tuple[Frame, memoryview]:
    """The frame and payload of `data`.

    Raises ArtifactError where the bytes are cut short or not of this `kind`, KeyMismatchError where
    they were made by another engine or with other parameters.
    """
    view = memoryview(joined(data))
    start = len(MAGIC) + 2
    if len(view) < start or bytes(view[: len(MAGIC)]) != MAGIC:
        raise _damaged(kind, "it does not begin as such objects do")
    (length,) = struct.unpack("<H", view[len(MAGIC) : start])
    if length > _HEADER_LIMIT or len(view) < start + length:
        raise _damaged(kind, "its header is cut short")
    try:
        header = parse_header(view[start : start + length])
        found = Frame(
            kind=_text(header["kind"]),
            space=_text(header["space"]),
            key_id=_text(header["key"]),
            level=_whole(header["level"]),
            scale=float.fromhex(_text(header["scale"])),
            parts=_whole(header.get("parts", 2)),
        )
        size = _whole(header["size"])
    except (ValueError, KeyError, TypeError, OverflowError, RecursionError) as error:
        raise _damaged(kind, "its header cannot be read") from error
    payload = view[start + length :]
    if len(payload) != size:
        raise _damaged(kind, f"{size} bytes were announced and {len(payload)} are there")
    if found.kind != kind:
        raise ArtifactError(f"a {kind} was expected and this is a {found.kind}")
    if found.space != space:
        raise KeyMismatchError(
            f"this {kind} belongs to {found.space}, and the engine in use is {space}",
            hint="use keys, ciphertexts and model of one compilation",
        )
    if not (math.isfinite(found.scale) and found.scale >= 0 and found.level >= 0):
        raise _damaged(kind, "its level or scale is out of range")
    return found, payload


def join_parts(parts: Sequence[Bytes]) -> bytes:
    """Several byte strings as one; `split_parts` undoes it."""
    return b"".join((part_table(parts), *parts))


def part_table(parts: Sequence[Bytes]) -> bytes:
    """What `join_parts` puts before the parts."""
    return struct.pack(f"<I{len(parts)}Q", len(parts), *(len(p) for p in parts))


def split_parts(data: memoryview, kind: str, count: int) -> list[memoryview]:
    """The `count` byte strings that `join_parts` joined; ArtifactError where there are others."""
    head = 4 + 8 * count
    if len(data) < head or struct.unpack_from("<I", data)[0] != count:
        raise _damaged(kind, f"it does not hold the {count} parts expected")
    sizes = struct.unpack_from(f"<{count}Q", data, 4)
    if head + sum(sizes) != len(data):
        raise _damaged(kind, "its parts do not add up")
    parts: list[memoryview] = []
    for size in sizes:
        parts.append(data[head : head + size])
        head += size
    return parts


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError("not a string")
    return value


def _whole(value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        raise TypeError("not a whole number")
    return value


def _damaged(kind: str, how: str) -> ArtifactError:
    return ArtifactError(
        f"this {kind} is damaged or not ours: {how}", hint="make it again, or copy it again"
    )
