"""The file format that bundles, keys and ciphertexts share: a checked header, then sections.

    magic (8 bytes) | format version (u16) | reserved, 0 (u16) | header length (u32)
    | SHA-256 of the header (32 bytes) | header (JSON) | section | section | ...

All integers are little-endian. The header holds the kind of the file, facts about it (`meta`) and
the section table: for each section its name, stored length, digest (SHA-256; in messages CRC-32),
encoding ("raw" or "zlib"), decoded size and, for an array, dtype and shape. Lengths are checked
against the size of the file before anything is read, every digest before anything is parsed, and
there is no pickle. Digests find damage; they do not keep out somebody who rewrites a file, so
readers check its structure too.
"""

from __future__ import annotations

import hashlib
import struct
import zlib
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from .errors import ArtifactError
from .fields import Fields, Json, dump_header, parse_header
from .files import PathLikeStr, file_error, open_file
from .pieces import Bytes, Pieces, size_of
from .sections import DTYPES, Section, entry, read_table

FORMAT_VERSION = 2
"""What is written. Files of version 1 are read too: messages had SHA-256 then, as all else has."""

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
_PRELUDE = struct.Struct("<8sHHI32s")
_MAX_HEADER = 1 << 24

Source = Bytes | PathLikeStr
"""What readers take: the bytes of a file, or its path."""

Array = NDArray[Any]


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
    """The contents of a file whose digests have been verified. Arrays are read-only.

    What was read from bytes is views of them, which keep all of them in memory; arrays are not.
    """

    kind: str
    meta: Fields
    where: str
    blobs: Mapping[str, bytes | memoryview] = field(repr=False)
    arrays: Mapping[str, Array] = field(repr=False)

    def blob(self, name: str) -> bytes | memoryview:
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
    blobs: Mapping[str, Bytes | Pieces] | None = None,
    arrays: Mapping[str, Array] | None = None,
) -> bytes:
    """The bytes of a file of this kind. Arrays are compressed where that saves a tenth."""
    if kind not in KINDS:
        raise ValueError(f"unknown kind {kind!r}")
    table: list[Json] = []
    bodies: list[Bytes] = []
    for name, blob in (blobs or {}).items():
        pieces = blob if isinstance(blob, tuple) else (blob,)
        table.append(entry(kind, name, pieces, "raw", size_of(pieces)))
        bodies += pieces
    for name, array in (arrays or {}).items():
        little = np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("<"))
        dtype = little.dtype.str
        if dtype not in DTYPES:
            raise ValueError(f"section {name!r} has dtype {little.dtype}")
        raw = little.tobytes()
        body = _compressed(raw)
        encoding = "raw" if body is raw else "zlib"
        shape = list(array.shape)
        table.append(entry(kind, name, (body,), encoding, len(raw), dtype=dtype, shape=shape))
        bodies.append(body)
    header = dump_header({"kind": kind, "writer": "eer", "meta": meta, "sections": table})
    if len(header) > _MAX_HEADER:
        raise ValueError(f"the header of this {kind} would have {len(header)} bytes")
    prelude = _PRELUDE.pack(MAGIC, FORMAT_VERSION, 0, len(header), hashlib.sha256(header).digest())
    return b"".join((prelude, header, *bodies))


def _compressed(raw: bytes) -> bytes:
    body = zlib.compress(raw, 1)
    return body if len(body) < 0.9 * len(raw) else raw


def outline(source: Source, where: str | None = None) -> Outline:
    """The header of a file, without its sections. Raises ArtifactError, FileError."""
    with closing(_open(source, where)) as file:
        return _outline(file)


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
    with closing(_open(source, where)) as file:
        head = _outline(file)
        if head.kind not in kinds:
            raise _wrong_kind(head.kind, kinds, file.where)
        blobs: dict[str, bytes | memoryview] = {}
        arrays: dict[str, Array] = {}
        for section in head.sections:
            if only and section.name not in only.get(head.kind, (section.name,)):
                continue
            raw = _section(file, section)
            if section.dtype:
                # A copy: a small array shall not keep a whole bundle in memory.
                array = np.frombuffer(bytes(raw), section.dtype)
                arrays[section.name] = array.reshape(section.shape)
            else:
                blobs[section.name] = raw
    return Container(head.kind, head.meta, file.where, blobs, arrays)


@dataclass(frozen=True, slots=True)
class _Memory:
    """A file in memory."""

    data: memoryview
    where: str

    @property
    def size(self) -> int:
        return len(self.data)

    def read(self, offset: int, length: int) -> memoryview:
        return self.data[offset : offset + length]

    def close(self) -> None:
        """Nothing to be done: what was read stays."""


@dataclass(frozen=True, slots=True)
class _Disk:
    """A file on a disk, opened."""

    stream: BinaryIO
    size: int
    where: str

    def read(self, offset: int, length: int) -> bytes:
        try:
            self.stream.seek(offset)
            return self.stream.read(length)
        except OSError as problem:
            raise file_error("read", self.where, problem) from problem

    def close(self) -> None:
        self.stream.close()


def _open(source: Source, where: str | None) -> _Memory | _Disk:
    if isinstance(source, Bytes):
        return _Memory(_frozen(source), where or "data in memory")
    stream, size = open_file(source)
    return _Disk(stream, size, where or str(source))


def _frozen(data: Bytes) -> memoryview:
    """A view of `data`, or of a copy where somebody could change it after it was verified."""
    view = memoryview(data)
    if isinstance(view.obj, bytes) and view.c_contiguous:
        return view.cast("B")
    return memoryview(view.tobytes())


def _outline(file: _Memory | _Disk) -> Outline:
    size, where = file.size, file.where
    prelude = file.read(0, _PRELUDE.size)
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
    header = file.read(_PRELUDE.size, header_length)
    if hashlib.sha256(header).digest() != digest:
        raise _damaged("the header", where)
    fields = Fields(_parse(header, where), where)
    kind = fields.text("kind")
    if kind not in KINDS:
        raise fields.bad("kind", "a kind of file that this eer knows")
    end = _PRELUDE.size + header_length
    sections = read_table(kind, fields, end)
    end += sum(section.length for section in sections)
    if end > size:
        raise _truncated(size, end, where)
    if end < size:
        raise ArtifactError(
            f"{size - end} bytes follow the end of the file", where=where, hint=_COPY
        )
    return Outline(kind, fields.text("writer"), fields.object("meta"), sections, size)


def _parse(header: Bytes, where: str) -> Json:
    try:
        value = parse_header(header)
    except (ValueError, RecursionError) as problem:
        raise _damaged("the header", where) from problem
    if type(value) is not dict:
        raise _damaged("the header", where)
    return value


def _section(file: _Memory | _Disk, section: Section) -> bytes | memoryview:
    body = file.read(section.offset, section.length)
    if not section.matches((body,)):
        raise _damaged(f"section '{section.name}'", file.where)
    if section.encoding == "raw":
        return body
    inflater = zlib.decompressobj()
    try:
        raw = inflater.decompress(body, section.size + 1)
    except zlib.error as problem:
        raise _damaged(f"section '{section.name}'", file.where) from problem
    if len(raw) != section.size or not inflater.eof or inflater.unused_data:
        raise _damaged(f"section '{section.name}'", file.where)
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
        f"{part} is damaged or was tampered with: it does not match its digest or its format",
        where=where,
        hint=_COPY,
    )


def _wrong_kind(kind: str, wanted: Sequence[str], where: str) -> ArtifactError:
    names = " or ".join(KINDS[k] for k in wanted)
    hint = f"give {names} here"
    if kind == "secret-key":
        hint += "; a secret key never leaves the client: don't send this one to a server"
    return ArtifactError(f"this is {KINDS[kind]}, not {names}", where=where, hint=hint)
