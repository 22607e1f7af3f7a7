"""What a pool and its processes say to each other: bytes with a tag in front, and no pickle."""

from __future__ import annotations

import json
import os
from os import fspath

from . import errors
from .container import Source
from .errors import EerError, InternalError
from .pieces import Bytes

_PATH, _BYTES, _ERROR = b"p", b"b", b"e"


def source_to_bytes(source: Source) -> bytes:
    """A file's bytes, or its absolute path."""
    if isinstance(source, Bytes):
        return _BYTES + source
    return _PATH + os.fsencode(os.path.abspath(fspath(source)))


def read_source(data: bytes) -> Source:
    """What `source_to_bytes` was given."""
    return os.fsdecode(data[1:]) if data[:1] == _PATH else memoryview(data)[1:]


def answer_to_bytes(answer: bytes) -> bytes:
    return _BYTES + answer


def problem_to_bytes(problem: Exception) -> bytes:
    """An error on its way to the process that asked."""
    if not isinstance(problem, EerError):
        problem = InternalError(f"a worker process met {type(problem).__name__}: {problem}")
    fields = (type(problem).__name__, problem.reason, problem.where, problem.hint)
    return _ERROR + json.dumps(fields).encode()


def read_answer(data: bytes) -> bytes:
    """An answer's bytes; raises the error that came in its place."""
    if data[:1] != _ERROR:
        return data[1:]
    name, reason, where, hint = json.loads(data[1:])
    kind: type[EerError] = getattr(errors, name)
    raise kind(reason, where=where, hint=hint)
