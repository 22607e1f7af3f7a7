"""The table of sections in a file's header, and the digests that guard them.

A section is guarded by its SHA-256. In messages, which are written once and read once, it is the
CRC-32 of zlib instead, which takes a third of the time and finds every burst of up to 32 bits, and
all other damage but for one case in 2^32. Neither keeps out somebody who rewrites a file.
"""

from __future__ import annotations

import hashlib
import math
import zlib
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from .fields import Fields, Json
from .pieces import Pieces, size_of

Guard = Literal["sha256", "crc32"]

CHECKSUMMED = frozenset({"ciphertext"})
"""Kinds of files whose sections have a CRC-32. Those of format version 1 have SHA-256 here too."""

DTYPES = ("<f8", "<i8", "<i4", "|u1")

_MAX_SECTIONS = 1 << 16
_MAX_DIMENSIONS = 8
_ZLIB_RATIO = 1040
"""Deflate expands a byte to at most 1032 bytes; a section that claims more is a bomb."""


@dataclass(frozen=True, slots=True)
class Section:
    """An entry of the section table, checked. `dtype` is empty for plain bytes."""

    name: str
    offset: int
    length: int
    guard: Guard
    digest: str
    encoding: str
    size: int
    dtype: str
    shape: tuple[int, ...]

    def matches(self, body: Pieces) -> bool:
        """Whether this is what was written."""
        return digest_of(self.guard, body) == self.digest


def digest_of(guard: Guard, body: Pieces) -> str:
    """In hexadecimal."""
    if guard == "crc32":
        checksum = 0
        for piece in body:
            checksum = zlib.crc32(piece, checksum)
        return f"{checksum:08x}"
    digest = hashlib.sha256()
    for piece in body:
        digest.update(piece)
    return digest.hexdigest()


def entry(kind: str, name: str, body: Pieces, encoding: str, size: int, **array: Any) -> Json:
    """What the table of a file of this kind says of a section with `body`."""
    guard: Guard = "crc32" if kind in CHECKSUMMED else "sha256"
    return {
        "name": name,
        "length": size_of(body),
        guard: digest_of(guard, body),
        "encoding": encoding,
        "size": size,
        **array,
    }


def read_table(kind: str, fields: Fields, offset: int) -> tuple[Section, ...]:
    """The sections, which begin at `offset`, of a file of this kind. Raises ArtifactError."""
    entries = fields.objects("sections")
    if len(entries) > _MAX_SECTIONS:
        raise fields.bad("sections", f"a list of at most {_MAX_SECTIONS} sections")
    sections: list[Section] = []
    for found in entries:
        section = _read_entry(kind, found, offset)
        sections.append(section)
        offset += section.length
    if len({s.name for s in sections}) != len(sections):
        raise fields.bad("sections", "a list of sections of different names")
    return tuple(sections)


def _read_entry(kind: str, found: Fields, offset: int) -> Section:
    length, size = found.integer("length"), found.integer("size")
    encoding = found.text("encoding")
    dtype = found.text("dtype") if "dtype" in found.values else ""
    shape = found.integers("shape") if dtype else ()
    if encoding not in ("raw", "zlib"):
        raise found.bad("encoding", "raw or zlib")
    if (encoding == "raw" and size != length) or size > length * _ZLIB_RATIO:
        raise found.bad("size", "possible for a section of this length")
    if dtype and dtype not in DTYPES:
        raise found.bad("dtype", f"one of {', '.join(DTYPES)}")
    if len(shape) > _MAX_DIMENSIONS:
        raise found.bad("shape", f"of at most {_MAX_DIMENSIONS} dimensions")
    if dtype and math.prod(shape) * np.dtype(dtype).itemsize != size:
        raise found.bad("shape", "of as many elements as the section holds")
    light = kind in CHECKSUMMED and "sha256" not in found.values
    guard: Guard = "crc32" if light else "sha256"
    name, digest = found.text("name"), found.digest(guard)
    return Section(name, offset, length, guard, digest, encoding, size, dtype, shape)
