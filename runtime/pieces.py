"""Serialised objects in pieces: joined once, where a file is made of them, and not before."""

from __future__ import annotations

Bytes = bytes | bytearray | memoryview
"""Bytes as libraries and files give them; nobody writes into them afterwards."""

Pieces = tuple[Bytes, ...]
"""One after the other."""


def joined(pieces: Pieces) -> Bytes:
    """All of them in one piece: a single one as it is, without a copy."""
    return pieces[0] if len(pieces) == 1 else b"".join(pieces)


def size_of(pieces: Pieces) -> int:
    """Bytes in all of them."""
    return sum(len(piece) for piece in pieces)
