"""Figures of one contestant on one case."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from statistics import median
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eer.compiler.clock import on_gpu

from .contestant import Json

STAGES = ("encrypt", "run", "decrypt")


@dataclass(frozen=True, slots=True)
class Timing:
    """Milliseconds of one message: of the wall's clock, and of CPU time."""

    wall: dict[str, float]
    cpu: dict[str, float]


@dataclass(frozen=True, slots=True)
class Row:
    """One contestant on one case.

    `cpu_ms` and `wall_ms` are medians over the messages, by stage and in "total"; `facts` is what
    the contestant tells of itself: parameters, key sizes, compile time, counts of operations.
    `max_error` and `labels` compare with PyTorch's answers, `polynomial_error` compares the
    encrypted answers with the polynomial model where there is one. `speedup` is the time of a peer
    over that of eer (on the engine `against`), message by message in the same session: of CPU time,
    or of wall time where that engine computes on a GPU.
    `failure` says why there are no figures.
    """

    case: str
    contestant: str
    version: str
    windows: int
    batch: int
    cpu_ms: dict[str, float] = field(default_factory=dict)
    wall_ms: dict[str, float] = field(default_factory=dict)
    max_error: float | None = None
    polynomial_error: float | None = None
    labels: int | None = None
    peak_mb: float | None = None
    facts: Json = field(default_factory=dict)
    speedup: float | None = None
    against: str | None = None
    failure: str | None = None
    machine: Json = field(default_factory=dict)

    @property
    def is_ours(self) -> bool:
        return self.contestant.startswith("eer/")

    @property
    def on_gpu(self) -> bool:
        return self.is_ours and on_gpu(self.contestant.removeprefix("eer/"))

    @property
    def total_cpu_ms(self) -> float | None:
        return self.cpu_ms.get("total")

    @property
    def total_ms(self) -> float | None:
        """Of CPU time on one core, or of wall time where a GPU computes."""
        return self.wall_ms.get("total") if self.on_gpu else self.total_cpu_ms

    @property
    def windows_per_second(self) -> float | None:
        """By `total_ms`."""
        total = self.total_ms
        return None if total is None else 1e3 * self.batch / total

    @property
    def prediction_error(self) -> float | None:
        """How far the compiler's prediction of `total_ms` is off, relative to measured."""
        predicted, measured = self.facts.get("predicted_ms"), self.total_ms
        if predicted is None or measured is None:
            return None
        return float(predicted) / measured - 1

    def to_json(self) -> Json:
        return asdict(self)

    @classmethod
    def from_json(cls, data: Json) -> Row:
        return cls(**data)


def medians(timings: Sequence[Timing]) -> tuple[dict[str, float], dict[str, float]]:
    """(CPU, wall) milliseconds by stage and in "total": each its own median."""

    def of(rows: list[dict[str, float]]) -> dict[str, float]:
        found = {stage: median(row[stage] for row in rows) for stage in STAGES}
        return found | {"total": median(sum(row.values()) for row in rows)}

    return of([t.cpu for t in timings]), of([t.wall for t in timings])


def speedup(ours: Sequence[Timing], theirs: Sequence[Timing], wall: bool = False) -> float:
    """Median over the messages of their time over ours: of CPU time, or of `wall` time."""

    def total(timing: Timing) -> float:
        return sum((timing.wall if wall else timing.cpu).values())

    return median(total(b) / total(a) for a, b in zip(ours, theirs, strict=True))


def same_labels(a: NDArray[Any], b: NDArray[Any]) -> int:
    """Windows of [windows, classes] for which both choose the same class."""
    return int(np.sum(np.argmax(a, axis=1) == np.argmax(b, axis=1)))


def largest(a: NDArray[Any], b: NDArray[Any]) -> float:
    return float(np.abs(a - b).max())
