"""Files that exist in memory only, for libraries that save to and load from paths.

On Linux a path under /proc/self/fd names an anonymous memory file, so key material never reaches a
disk. Elsewhere a private temporary folder (mode 0700) stands in, and is removed at once.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from io import FileIO
from pathlib import Path

IN_MEMORY = hasattr(os, "memfd_create") and os.path.isdir("/proc/self/fd")
"""Whether this system has memory files with a path."""


def bytes_saved(save: Callable[[str], object], in_memory: bool = IN_MEMORY) -> bytes:
    """What `save(path)` writes to its path."""
    if in_memory:
        with _memory_file() as file:
            save(_path_of(file))
            return file.readall()
    with _temporary_path() as path:
        save(path)
        return Path(path).read_bytes()


def load_bytes(
    load: Callable[[str], object], data: bytes | memoryview, in_memory: bool = IN_MEMORY
) -> None:
    """Call `load(path)` with the path of a file that holds `data`."""
    if in_memory:
        with _memory_file() as file:
            view = memoryview(data)
            while view:
                view = view[file.write(view) :]
            load(_path_of(file))
        return
    with _temporary_path() as path:
        Path(path).write_bytes(data)
        load(path)


def _memory_file() -> FileIO:
    """An anonymous file, unbuffered: objects are read and written in one piece."""
    return FileIO(os.memfd_create("eer", os.MFD_CLOEXEC), "r+")


def _path_of(file: FileIO) -> str:
    return f"/proc/self/fd/{file.fileno()}"


@contextmanager
def _temporary_path() -> Iterator[str]:
    with tempfile.TemporaryDirectory(prefix="eer-") as folder:
        yield os.path.join(folder, "object")
