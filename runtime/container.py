"""The file format that bundles, keys and ciphertexts share: a checked header, then sections.

    magic (8 bytes) | format version (u16) | reserved, 0 (u16) | header length (u32)
    | SHA-256 of the header (32 bytes) | header (JSON) | section | section | ...

All integers are little-endian. The header holds the kind of the file, facts about it (`meta`) and
the section table: for each section its name, stored length, SHA-256, encoding ("raw" or "zlib"),
decoded size and, for an array, dtype and shape. Lengths are checked against the size of the file
before anything is read, every hash before anything is parsed, and there is no pickle. The hashes
find damage; they do not keep out somebody who rewrites a file, so readers check its structure too.
"""

from __future__ import annotations

import hashlib
import io
import json
import math
import struct
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from .errors import ArtifactError
from .fields import Fields, Json
from .files import PathLikeStr, file_error, open_file

FORMAT_VERSION = 1
MAGIC = b"\x89EER1\r\n\x1a"
KINDS = {
    "model": "a compiled model (model.eer)",
    "client": "a client bundle (client.eer)",
    "server": "a server bundle (server.eer)",
    "secret-key": "a secret key",
    "evaluation-keys": "a set of evaluation keys",
    "ciphertext": "a ciphertext",
    "state-update": "a state for a personal model",
    "personal": "the index of a personal model",
    "personal-state": "a version of a personal model",
    "personal-step": "an unfinished step of a personal model",
}
DTYPES = ("<f8", "<i8", "<i4", "|u1")

_PRELUDE = struct.Struct("<8sHHI32s")
_MAX_HEADER = 1 << 24
_MAX_SECTIONS = 1 << 16
_MAX_DIMENSIONS = 8
_ZLIB_RATIO = 1040
"""Deflate expands a byte to at most 1032 bytes; a section that claims more is a bomb."""

Source = bytes | PathLikeStr
"""What readers take: the bytes of a file, or its path."""

Array = NDArray[Any]


@dataclass(frozen=True, slots=True)
class Section:
    """An entry of the section table, checked. `dtype` is empty for plain bytes."""

    name: str
    offset: int
    length: int
    sha256: str
    encoding: str
    size: int
    dtype: str
    shape: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Outline:
    """The checked header of a file: what it is and what is in it."""

    kind: str
    writer: str
    meta: Fields
    sections: tuple[Section, ...]
    size: int


@dataclass(frozen=True, slots=True, eq=False)
class Container:
    """The contents of a file whose hashes have been verified. Arrays are read-only."""

    kind: str
    meta: Fields
    where: str
    blobs: Mapping[str, bytes] = field(repr=False)
    arrays: Mapping[str, Array] = field(repr=False)

    def blob(self, name: str) -> bytes:
        if name not in self.blobs:
            raise ArtifactError(f"section '{name}' is missing", where=self.where, hint=_AGAIN)
        return self.blobs[name]

    def array(self, name: str, dtype: str, dimensions: int) -> Array:
        array = self.arrays.get(name)
        if array is None or array.dtype != np.dtype(dtype) or array.ndim != dimensions:
            raise ArtifactError(
                f"section '{name}' is missing, or is no {dimensions}-dimensional {dtype} array",
                where=self.where,
                hint=_AGAIN,
            )
        return array


_AGAIN = "the file was not written by eer, or was changed: make it again"


def pack(
    kind: str,
    meta: Json,
    blobs: Mapping[str, bytes] | None = None,
    arrays: Mapping[str, Array] | None = None,
) -> bytes:
    """The bytes of a file of this kind. Arrays are compressed where that saves a tenth."""
    if kind not in KINDS:
        raise ValueError(f"unknown kind {kind!r}")
    table: list[Json] = []
    bodies: list[bytes] = []

    def put(name: str, raw: bytes, body: bytes, **more: Any) -> None:
        encoding = "raw" if body is raw else "zlib"
        digest = hashlib.sha256(body).hexdigest()
        table.append(
            {"name": name, "length": len(body), "sha256": digest, "encoding": encoding}
            | {"size": len(raw)}
            | more
        )
        bodies.append(body)

    for name, blob in (blobs or {}).items():
        put(name, blob, blob)
    for name, array in (arrays or {}).items():
        little = np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("<"))
        if little.dtype.str not in DTYPES:
            raise ValueError(f"section {name!r} has dtype {little.dtype}")
        raw = little.tobytes()
        put(name, raw, _compressed(raw), dtype=little.dtype.str, shape=list(array.shape))
    header = json.dumps(
        {"kind": kind, "writer": "eer", "meta": meta, "sections": table},
        allow_nan=False,
        separators=(",", ":"),
    ).encode()
    if len(header) > _MAX_HEADER:
        raise ValueError(f"the header of this {kind} would have {len(header)} bytes")
    prelude = _PRELUDE.pack(MAGIC, FORMAT_VERSION, 0, len(header), hashlib.sha256(header).digest())
    return b"".join((prelude, header, *bodies))


def _compressed(raw: bytes) -> bytes:
    body = zlib.compress(raw, 1)
    return body if len(body) < 0.9 * len(raw) else raw


def outline(source: Source, where: str | None = None) -> Outline:
    """The header of a file, without its sections. Raises ArtifactError, FileError."""
    stream, size, where = _open(source, where)
    with stream:
        return _guarded_outline(stream, size, where)


def unpack(
    source: Source,
    kinds: Sequence[str],
    *,
    where: str | None = None,
    only: Mapping[str, Sequence[str]] | None = None,
) -> Container:
    """The contents of a file that must be of one of `kinds`.

    Of a kind named in `only`, no sections but those named are read and verified. Raises
    ArtifactError for whatever is wrong with the contents, FileError for an unreadable path.
    """
    stream, size, where = _open(source, where)
    with stream:
        head = _guarded_outline(stream, size, where)
        if head.kind not in kinds:
            raise _wrong_kind(head.kind, kinds, where)
        blobs: dict[str, bytes] = {}
        arrays: dict[str, Array] = {}
        for section in head.sections:
            if only and section.name not in only.get(head.kind, (section.name,)):
                continue
            raw = _section(stream, section, where)
            if section.dtype:
                arrays[section.name] = np.frombuffer(raw, section.dtype).reshape(section.shape)
            else:
                blobs[section.name] = raw
    return Container(head.kind, head.meta, where, blobs, arrays)


def _open(source: Source, where: str | None) -> tuple[BinaryIO, int, str]:
    if isinstance(source, bytes | bytearray | memoryview):
        return io.BytesIO(source), len(source), where or "data in memory"
    stream, size = open_file(source)
    return stream, size, where or str(source)


def _guarded_outline(stream: BinaryIO, size: int, where: str) -> Outline:
    try:
        return _outline(stream, size, where)
    except OSError as problem:
        raise file_error("read", where, problem) from problem


def _outline(stream: BinaryIO, size: int, where: str) -> Outline:
    prelude = stream.read(_PRELUDE.size)
    if prelude[: len(MAGIC)] != MAGIC[: len(prelude)] or not prelude:
        raise ArtifactError(
            "this is not a file of eer",
            where=where,
            hint="expected a bundle, key or ciphertext written by eer-compile or eer",
        )
    if len(prelude) < _PRELUDE.size:
        raise _truncated(size, _PRELUDE.size, where)
    _, version, reserved, header_length, digest = _PRELUDE.unpack(prelude)
    if version > FORMAT_VERSION:
        raise ArtifactError(
            f"the file has format version {version}; this eer reads up to {FORMAT_VERSION}",
            where=where,
            hint="upgrade eer (pip install --upgrade eer)",
        )
    if version < 1 or reserved:
        raise _damaged("the start of the file", where)
    if header_length > _MAX_HEADER:
        raise _damaged("the header length", where)
    if _PRELUDE.size + header_length > size:
        raise _truncated(size, _PRELUDE.size + header_length, where)
    header = stream.read(header_length)
    if hashlib.sha256(header).digest() != digest:
        raise _damaged("the header", where)
    fields = Fields(_parse(header, where), where)
    sections = _table(fields, _PRELUDE.size + header_length)
    end = sections[-1].offset + sections[-1].length if sections else stream.tell()
    if end > size:
        raise _truncated(size, end, where)
    if end < size:
        raise ArtifactError(
            f"{size - end} bytes follow the end of the file", where=where, hint=_COPY
        )
    kind = fields.text("kind")
    if kind not in KINDS:
        raise fields.bad("kind", "a kind of file that this eer knows")
    return Outline(kind, fields.text("writer"), fields.object("meta"), sections, size)


def _parse(header: bytes, where: str) -> Json:
    def refuse(constant: str) -> float:
        raise ValueError(constant)

    try:
        value = json.loads(header.decode("utf-8"), parse_constant=refuse)
    except (ValueError, RecursionError) as problem:
        raise _damaged("the header", where) from problem
    if type(value) is not dict:
        raise _damaged("the header", where)
    return value


def _table(fields: Fields, offset: int) -> tuple[Section, ...]:
    entries = fields.objects("sections")
    if len(entries) > _MAX_SECTIONS:
        raise fields.bad("sections", f"a list of at most {_MAX_SECTIONS} sections")
    sections: list[Section] = []
    for entry in entries:
        length, size = entry.integer("length"), entry.integer("size")
        encoding = entry.text("encoding")
        dtype = entry.text("dtype") if "dtype" in entry.values else ""
        shape = entry.integers("shape") if dtype else ()
        if encoding not in ("raw", "zlib"):
            raise entry.bad("encoding", "raw or zlib")
        if (encoding == "raw" and size != length) or size > length * _ZLIB_RATIO:
            raise entry.bad("size", "possible for a section of this length")
        if dtype and dtype not in DTYPES:
            raise entry.bad("dtype", f"one of {', '.join(DTYPES)}")
        if len(shape) > _MAX_DIMENSIONS:
            raise entry.bad("shape", f"of at most {_MAX_DIMENSIONS} dimensions")
        if dtype and math.prod(shape) * np.dtype(dtype).itemsize != size:
            raise entry.bad("shape", "of as many elements as the section holds")
        name, digest = entry.text("name"), entry.digest("sha256")
        sections.append(Section(name, offset, length, digest, encoding, size, dtype, shape))
        offset += length
    if len({s.name for s in sections}) != len(sections):
        raise fields.bad("sections", "a list of sections of different names")
    return tuple(sections)


def _section(stream: BinaryIO, section: Section, where: str) -> bytes:
    try:
        stream.seek(section.offset)
        body = stream.read(section.length)
    except OSError as problem:
        raise file_error("read", where, problem) from problem
    if hashlib.sha256(body).hexdigest() != section.sha256:
        raise _damaged(f"section '{section.name}'", where)
    if section.encoding == "raw":
        return body
    inflater = zlib.decompressobj()
    try:
        raw = inflater.decompress(body, section.size + 1)
    except zlib.error as problem:
        raise _damaged(f"section '{section.name}'", where) from problem
    if len(raw) != section.size or not inflater.eof or inflater.unused_data:
        raise _damaged(f"section '{section.name}'", where)
    return raw


_COPY = "copy or make the file again"


def _truncated(size: int, wanted: int, where: str) -> ArtifactError:
    return ArtifactError(
        f"the file is truncated: {size} of at least {wanted} bytes are there",
        where=where,
        hint=_COPY,
    )


def _damaged(part: str, where: str) -> ArtifactError:
    return ArtifactError(
        f"{part} is damaged or was tampered with: it does not match its SHA-256 or its format",
        where=where,
        hint=_COPY,
    )


def _wrong_kind(kind: str, wanted: Sequence[str], where: str) -> ArtifactError:
    names = " or ".join(KINDS[k] for k in wanted)
    hint = f"give {names} here"
    if kind == "secret-key":
        hint += "; a secret key never leaves the client: don't send this one to a server"
    return ArtifactError(f"this is {KINDS[kind]}, not {names}", where=where, hint=hint)
