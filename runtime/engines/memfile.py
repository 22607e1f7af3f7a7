"""Files that exist in memory only, for libraries that save to and load from paths.

On Linux a path under /proc/self/fd names an anonymous memory file, so key material never reaches a
disk. Elsewhere a private temporary folder (mode 0700) stands in, and is removed at once.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

IN_MEMORY = hasattr(os, "memfd_create") and os.path.isdir("/proc/self/fd")
"""Whether this system has memory files with a path."""


def bytes_saved(save: Callable[[str], object], in_memory: bool = IN_MEMORY) -> bytes:
    """What `save(path)` writes to its path."""
    with _path(in_memory) as path:
        save(path)
        return Path(path).read_bytes()


def load_bytes(
    load: Callable[[str], object], data: bytes | memoryview, in_memory: bool = IN_MEMORY
) -> None:
    """Call `load(path)` with the path of a file that holds `data`."""
    with _path(in_memory) as path:
        Path(path).write_bytes(data)
        load(path)


@contextmanager
def _path(in_memory: bool) -> Iterator[str]:
    if in_memory:
        fd = os.memfd_create("eer", os.MFD_CLOEXEC)
        try:
            yield f"/proc/self/fd/{fd}"
        finally:
            os.close(fd)
        return
    with tempfile.TemporaryDirectory(prefix="eer-") as folder:
        yield os.path.join(folder, "object")
