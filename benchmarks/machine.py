"""What a figure depends on beside the code: the machine, in general words, and the versions."""

from __future__ import annotations

import os
import platform
import subprocess
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from eer.compiler.timing.device import gpu_model

from .contestant import Json

PACKAGES = (
    "eer",
    "tenseal",
    "desilofhe",
    "desilofhe-cu130",
    "torch",
    "numpy",
    "onnx",
    "onnxruntime",
)


def describe() -> Json:
    """CPU, cores, memory, system, Python, packages and the date; no host names, no paths."""
    return {
        "date": datetime.now(UTC).date().isoformat(),
        "cpu": _cpu(),
        "cores": os.cpu_count(),
        "memory_gb": _memory_gb(),
        **({"gpu": gpu} if (gpu := gpu_model()) else {}),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "commit": _commit(),
        "packages": {name: found for name in PACKAGES if (found := _version(name)) is not None},
    }


def sentence(machine: Json) -> str:
    """One line for a heading."""
    gpu = f"{machine['gpu']}, " if "gpu" in machine else ""
    return (
        f"{machine['date']}, {gpu}{machine['cpu']}, {machine['cores']} cores, "
        f"{machine['memory_gb']} GB, {machine['system']}, Python {machine['python']}"
    )


def _cpu() -> str:
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or "unknown CPU"


def _commit() -> str | None:
    """The revision of eer that was measured, with a + where files differ from it."""
    where = Path(__file__).parent

    def git(*words: str) -> str:
        done = subprocess.run(["git", *words], cwd=where, capture_output=True, text=True)
        return done.stdout.strip() if done.returncode == 0 else ""

    try:
        revision = git("rev-parse", "--short", "HEAD")
        changed = git("status", "--porcelain", "--untracked-files=no", "../compiler", "../runtime")
    except OSError:  # there is no git
        return None
    return (revision + ("+" if changed else "")) or None


def _memory_gb() -> int:
    pages = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return round(pages / 2**30)


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
