"""The folder of a personal model: versions written whole or not at all, one writer at a time.

    personal.eer       the index: which version is current, and which came before
    version-0007.eer   a version
    pending.eer        the answer of a step that waits for its refresh
    lock               held by whoever writes

A new version is written and synced under a name of its own before the index is replaced; until
then, and whatever happens, the index names the version before.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from .errors import ArtifactError, FileError, UsageError
from .files import file_error, make_folder, read_file, write_file
from .personal_files import (
    Index,
    Part,
    Pending,
    RefreshPolicy,
    Version,
    VersionInfo,
    index_to_bytes,
    pending_to_bytes,
    read_index,
    read_pending,
    read_version,
    version_to_bytes,
)

INDEX, PENDING, LOCK = "personal.eer", "pending.eer", "lock"


@dataclass(frozen=True, slots=True)
class StateStore:
    """A personal model's folder."""

    folder: Path

    @staticmethod
    def create(
        folder: Path,
        parts: tuple[Part, ...],
        first: Version,
        history: int,
        refresh: RefreshPolicy,
    ) -> StateStore:
        """A new folder with its first version. Raises FileError where there is one already."""
        store = StateStore(make_folder(folder))
        with store.writing():
            if os.path.lexists(store.folder / INDEX):
                raise FileError(
                    f"{folder} holds a personal model already and was left as it is",
                    where=str(folder),
                    hint="choose another folder, or delete that one",
                )
            info = store._write_version(first)
            index = Index(parts, refresh, history, first.version + 1, (info,))
            store._write_index(index)
        return store

    def index(self) -> Index:
        """The index as it stands. Raises ArtifactError, FileError."""
        return read_index(self.folder / INDEX)

    def load(self, index: Index, info: VersionInfo) -> Version:
        """A version, verified against the index; its size is checked before it is read."""
        path = self._path(info.version)
        try:
            size = path.stat().st_size
        except OSError as problem:
            raise file_error("read", path, problem) from problem
        if size != info.size:
            raise ArtifactError(
                f"version {info.version} has {size} bytes where the index names {info.size}",
                where=str(path),
                hint="the file was truncated or changed: go back to the version before "
                "(eer personal rollback)",
            )
        return read_version(read_file(path), str(path), info, index.parts)

    def pending(self, index: Index) -> Pending | None:
        """The step that waits for its refresh; one of another version no longer counts."""
        path = self.folder / PENDING
        if not os.path.lexists(path):
            return None
        pending = read_pending(path)
        return pending if pending.base == index.current.version else None

    def write_pending(self, pending: Pending) -> None:
        """Keep a step's answer; the caller holds the lock."""
        write_file(self.folder / PENDING, pending_to_bytes(pending))

    def drop_pending(self) -> None:
        """Forget the step that waits; the caller holds the lock."""
        self._remove(self.folder / PENDING)

    def commit(self, index: Index, version: Version) -> Index:
        """Make `version` the current one; the caller holds the lock and has just read `index`."""
        info = self._write_version(version)
        versions = (*index.versions, info)[-index.history :]
        new = replace(index, next_version=version.version + 1, versions=versions)
        self._write_index(new)
        self.drop_pending()
        self._sweep(new)
        return new

    def rollback(self, index: Index) -> Index:
        """Make the version before the current one; the caller holds the lock."""
        if len(index.versions) < 2:
            raise UsageError(
                "there is no version before this one",
                where=str(self.folder),
                hint="the history is empty: start anew from a state that the client makes",
            )
        new = replace(index, versions=index.versions[:-1])
        self._write_index(new)
        self.drop_pending()
        self._sweep(new)
        return new

    @contextlib.contextmanager
    def writing(self) -> Iterator[None]:
        """Hold the folder's lock; the system lets go of it when a process dies."""
        path = self.folder / LOCK
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | getattr(os, "O_CLOEXEC", 0), 0o666)
        except OSError as problem:
            raise file_error("write", path, problem) from problem
        try:
            if sys.platform != "win32":
                import fcntl

                fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)

    def _path(self, version: int) -> Path:
        return self.folder / f"version-{version:04d}.eer"

    def _write_version(self, version: Version) -> VersionInfo:
        data = version_to_bytes(version)
        write_file(self._path(version.version), data)
        digest = hashlib.sha256(data).hexdigest()
        return VersionInfo(version.version, version.step, len(data), digest)

    def _write_index(self, index: Index) -> None:
        write_file(self.folder / INDEX, index_to_bytes(index))

    def _sweep(self, index: Index) -> None:
        """Remove what no index will name again: old versions, and what a crash left behind."""
        kept = {self._path(v.version).name for v in index.versions}
        for pattern in ("version-*.eer", ".eer-*.tmp"):
            for path in self.folder.glob(pattern):
                if path.name not in kept:
                    self._remove(path)

    @staticmethod
    def _remove(path: Path) -> None:
        """What cannot be removed is swept up next time."""
        with contextlib.suppress(OSError):
            path.unlink()
