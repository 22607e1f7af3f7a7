"""What takes part in a benchmark, eer as well as a peer. Needs numpy only.

A contestant is a module with `open_task(folder)`, and where the tool can be split so another one
with `compile_task(folder)`, each run in a process of its own by `benchmarks.worker`. Both import
what they need at their head: importing is not part of what is timed. The folder holds TASK_FILE
(TaskData), SETTINGS_FILE (Settings), and what `compile_task` leaves there for `open_task`.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from time import perf_counter, process_time
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from .data import Array, TaskData

Json = dict[str, Any]

TASK_FILE = "task.npz"
SETTINGS_FILE = "settings.json"
ONNX_FILE = "model.onnx"
"""Where this is in the folder, it is compiled in place of one of the benchmark's own networks."""
POLYNOMIAL_FILE = "polynomial.npy"
"""Scores [windows, classes] of what was compiled, in plain: what encryption alone costs shows."""


@dataclass(frozen=True, slots=True)
class Settings:
    """How a contestant is to be run.

    `engine` and `tolerance` (a share of labels) are for eer; `parameters` for peers, which leave
    ring, scale and levels to their user. `batch` is the windows of a message, or cases.AUTO.
    `memory_gb` caps the address space, `core` is the CPU that the process is bound to.
    """

    engine: str
    tolerance: float
    batch: int
    parameters: Json
    memory_gb: float
    core: int | None

    def save(self, folder: Path) -> None:
        (folder / SETTINGS_FILE).write_text(json.dumps(asdict(self)))

    @classmethod
    def load(cls, folder: Path) -> Settings:
        return cls(**json.loads((folder / SETTINGS_FILE).read_text()))


@dataclass(slots=True)
class Stopwatch:
    """Milliseconds by stage, on the wall's clock and of the process's CPU time."""

    wall: dict[str, float] = field(default_factory=dict)
    cpu: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        wall, cpu = perf_counter(), process_time()
        yield
        self.cpu[name] = self.cpu.get(name, 0.0) + 1e3 * (process_time() - cpu)
        self.wall[name] = self.wall.get(name, 0.0) + 1e3 * (perf_counter() - wall)


class OpenTask(Protocol):
    """A compiled network with its keys made, ready for windows.

    `facts` go into the result as they are (columns.py has those that are shown); an answer may
    add to them. "batch" among them is the windows of a message, where the settings leave it open.
    """

    facts: Json

    def answer(self, windows: Array, watch: Stopwatch) -> NDArray[np.float64]:
        """Scores [windows, classes] by way of encryption: stages "encrypt", "run", "decrypt"."""


def load(folder: Path) -> tuple[TaskData, Settings]:
    """What the harness put into the folder."""
    return TaskData.load(folder / TASK_FILE), Settings.load(folder)
