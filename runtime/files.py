"""Reading and writing files: whole or not at all, and secret files never readable by others."""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import stat
from collections.abc import Sequence
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import BinaryIO

from .errors import FileError

PathLikeStr = str | PathLike[str]

_CHUNK = 1 << 22

_HINTS = {
    errno.ENOSPC: "free some space on that disk, or write somewhere else",
    errno.EDQUOT: "free some space on that disk, or write somewhere else",
    errno.EACCES: "choose a folder that you may write to, or change its permissions",
    errno.EPERM: "choose a folder that you may write to, or change its permissions",
    errno.EROFS: "the disk is mounted read-only: choose another folder",
    errno.ENOENT: "create the folder first, or correct the path",
    errno.ENOTDIR: "a part of the path is a file where a folder should be",
    errno.EISDIR: "name a file, not a folder",
    errno.ENAMETOOLONG: "choose a shorter name",
}


@dataclass(frozen=True, slots=True)
class NewFile:
    """A file to be written. `secret` files have mode 0600 from the moment they exist."""

    path: Path
    content: bytes
    secret: bool = False
    overwrite: bool = True


def file_error(action: str, path: PathLikeStr, problem: OSError) -> FileError:
    """The FileError for an OSError met while `action` ("read", "write") was under way."""
    reason = problem.strerror or str(problem) or type(problem).__name__
    hint = _HINTS.get(problem.errno) if problem.errno is not None else None
    if action == "read" and problem.errno in (errno.EACCES, errno.EPERM):
        hint = "ask the owner of the file for the right to read it"
    if action == "read" and problem.errno == errno.ENOENT:
        hint = "check the path"
    return FileError(f"cannot {action} {path}: {reason}", where=str(path), hint=hint)


def write_file(
    path: PathLikeStr, content: bytes, *, secret: bool = False, overwrite: bool = True
) -> None:
    """Write one file, whole or not at all. See `write_files`."""
    write_files([NewFile(Path(path), content, secret, overwrite)])


def write_files(files: Sequence[NewFile]) -> None:
    """Write all of `files`, or leave none of them behind.

    Each goes to a temporary file in its own folder first, is synced to the disk, and is renamed
    only once every one of them is complete. Whatever stops this, Ctrl-C included, removes the
    temporary files, and what had been renamed to a new name. Raises FileError for a path that
    cannot be written and for one that is there already where `overwrite` is false.
    """
    targets = [_target(file) for file in files]
    staged = [target.with_name(f".eer-{secrets.token_hex(8)}.tmp") for target in targets]
    new: dict[Path, tuple[int, int]] = {}
    current = str(files[0].path) if files else ""
    try:
        for file, temporary in zip(files, staged, strict=True):
            current = str(file.path)
            _write_new(temporary, file.content, 0o600 if file.secret else 0o666)
        for file, temporary, target in zip(files, staged, targets, strict=True):
            current = str(file.path)
            if not os.path.lexists(target):
                new[target] = _identity(temporary)
            _rename(temporary, target, overwrite=file.overwrite)
    except BaseException as problem:
        for leftover in staged:
            with contextlib.suppress(OSError):
                leftover.unlink()
        for target, identity in new.items():
            with contextlib.suppress(OSError):
                # Only our own file: somebody else may have taken the name meanwhile.
                if _identity(target) == identity:
                    target.unlink()
        if isinstance(problem, OSError):
            raise file_error("write", current, problem) from problem
        raise
    for folder in {target.parent for target in targets}:
        _sync_folder(folder)


def _target(file: NewFile) -> Path:
    """The path that will be renamed to: links followed, folders and devices refused."""
    target = Path(os.path.realpath(file.path))
    try:
        mode = target.stat().st_mode
    except FileNotFoundError:
        return target
    except OSError as problem:
        raise file_error("write", file.path, problem) from problem
    if stat.S_ISDIR(mode):
        raise FileError(
            f"cannot write {file.path}: it is a folder",
            where=str(file.path),
            hint="name a file, not a folder",
        )
    if not stat.S_ISREG(mode):
        raise FileError(
            f"cannot write {file.path}: it is not a regular file",
            where=str(file.path),
            hint="name a regular file; eer writes whole files, so it cannot write to a device",
        )
    if not file.overwrite:
        raise _exists(file.path)
    return target


def _identity(path: Path) -> tuple[int, int]:
    status = path.stat()
    return status.st_dev, status.st_ino


def _exists(path: Path) -> FileError:
    return FileError(
        f"{path} is there already and was left as it is",
        where=str(path),
        hint="choose another path, or ask for it to be replaced (--force on the command line)",
    )


def _write_new(path: Path, content: bytes, mode: int) -> None:
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL
    flags |= getattr(os, "O_BINARY", 0) | getattr(os, "O_CLOEXEC", 0)
    descriptor = os.open(path, flags, mode)
    try:
        view = memoryview(content)
        while view:
            view = view[os.write(descriptor, view[:_CHUNK]) :]
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _rename(temporary: Path, target: Path, *, overwrite: bool) -> None:
    if overwrite:
        os.replace(temporary, target)
        return
    try:
        # A hard link is refused where the name is taken, so nothing is ever replaced by a race.
        os.link(temporary, target)
    except FileExistsError:
        raise _exists(target) from None
    except OSError:
        # This file system has no hard links.
        if os.path.lexists(target):
            raise _exists(target) from None
        os.replace(temporary, target)
        return
    temporary.unlink()


def _sync_folder(folder: Path) -> None:
    """Make the renames last through a power cut, where the system can; never worth an error."""
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def open_file(path: PathLikeStr) -> tuple[BinaryIO, int]:
    """An open regular file and its size in bytes. Raises FileError."""
    try:
        # Opening a pipe would wait for a writer: look first.
        status = os.stat(path)
        if not stat.S_ISREG(status.st_mode):
            kind = "a folder" if stat.S_ISDIR(status.st_mode) else "not a regular file"
            raise FileError(f"cannot read {path}: it is {kind}", where=str(path))
        stream = open(path, "rb")  # noqa: SIM115 - the caller closes it
        return stream, os.fstat(stream.fileno()).st_size
    except OSError as problem:
        raise file_error("read", path, problem) from problem
    except ValueError as problem:
        raise FileError(f"cannot read {path!r}: {problem}", where=str(path)) from problem


def read_file(path: PathLikeStr) -> bytes:
    """All bytes of a regular file. Raises FileError."""
    stream, _ = open_file(path)
    with stream:
        try:
            return stream.read()
        except OSError as problem:
            raise file_error("read", path, problem) from problem


def make_folder(path: PathLikeStr) -> Path:
    """Create a folder and those above it where they are missing. Raises FileError."""
    folder = Path(path)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as problem:
        raise file_error("write", path, problem) from problem
    return folder
