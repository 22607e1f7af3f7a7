"""How long one window alone takes: as CPU time, and as wall time beside it.

Wall time depends on who else uses the machine; CPU time, of all threads together, hardly does.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from time import perf_counter, process_time

import numpy as np

from eer.runtime.client import Client
from eer.runtime.server import HeldState, Server

from .windows import Signal


@dataclass(frozen=True, slots=True)
class Stages:
    """Milliseconds of one window's way, from the client and back."""

    encrypt: float
    run: float
    decrypt: float

    @property
    def total(self) -> float:
        return self.encrypt + self.run + self.decrypt


@dataclass(frozen=True, slots=True)
class Latency:
    """The same windows by both clocks."""

    cpu: Stages
    wall: Stages

    def __str__(self) -> str:
        return f"{self.cpu.total:.0f} ms of CPU time, {self.wall.total:.0f} ms as wall time"

    @staticmethod
    def from_json(facts: Mapping[str, Mapping[str, float]]) -> Latency:
        return Latency(Stages(**facts["cpu"]), Stages(**facts["wall"]))


@dataclass(frozen=True, slots=True, eq=False)
class Asked:
    """One window's way: what travelled, and how long each stage took."""

    question: bytes
    answer: bytes
    latency: Latency


def ask(client: Client, server: Server, window: Signal, state: HeldState | None = None) -> Asked:
    """Ask about one `window` [...] alone, with a head of the user's own where `state` holds one."""
    clocks = [_clocks()]
    question = client.encrypt(window[None])
    clocks.append(_clocks())
    answer = server.run(question, state=state)
    clocks.append(_clocks())
    client.decrypt(answer)
    clocks.append(_clocks())
    cpu, wall = (1e3 * np.diff(clocks, axis=0)).T.tolist()
    return Asked(question, answer, Latency(Stages(*cpu), Stages(*wall)))


def middle(found: Sequence[Latency]) -> Latency:
    """The median of each stage, by each clock."""

    def of(rows: Sequence[Stages]) -> Stages:
        names = ("encrypt", "run", "decrypt")
        return Stages(*(median(getattr(row, name) for row in rows) for name in names))

    return Latency(of([one.cpu for one in found]), of([one.wall for one in found]))


def _clocks() -> tuple[float, float]:
    return process_time(), perf_counter()
