"""What an engine computes on, by name: costs are kept for it, and hold for it alone."""

from __future__ import annotations

import platform
from ctypes import CDLL, byref, c_int, create_string_buffer
from pathlib import Path

from ..clock import on_gpu


def device_of(engine: str) -> str:
    """The CPU's name, after the GPU's where `engine` computes there: launching kernels on the one
    takes about as long as they do on the other."""
    return f"{gpu_model() or 'no GPU'}, {cpu_model()}" if on_gpu(engine) else cpu_model()


def cpu_model() -> str:
    """The CPU's name, as the system gives it."""
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine() or "unknown"


def gpu_model() -> str | None:
    """The first NVIDIA GPU's name, as its driver gives it; None where there is none."""
    try:
        driver = CDLL("libcuda.so.1")
    except OSError:
        return None
    device, name = c_int(), create_string_buffer(128)
    failed = (
        driver.cuInit(0)
        or driver.cuDeviceGet(byref(device), 0)
        or driver.cuDeviceGetName(name, len(name), device)
    )
    return None if failed else name.value.decode(errors="replace")
