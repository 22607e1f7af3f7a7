"""The pipeline: passes in order, each checked against the stage it promises, each observable."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from time import perf_counter
from typing import Protocol

from eer.runtime.files import write_file

from .ir.printer import print_graph
from .ir.stages import Stage, check
from .ir.tensor import TensorGraph


@dataclass(frozen=True, slots=True)
class Pass:
    """A named graph -> graph function and the stage that it leaves the graph in."""

    name: str
    after: Stage
    run: Callable[[TensorGraph], TensorGraph]


class Instrument(Protocol):
    """Watches a pipeline: called with the pass that ran, its result and its seconds."""

    def __call__(self, name: str, text: Callable[[], str], seconds: float) -> None: ...


@dataclass(slots=True)
class DumpIr:
    """Writes what every pass returned to `folder`, numbered in order."""

    folder: Path
    _count: int = 0

    def __call__(self, name: str, text: Callable[[], str], seconds: float) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        write_file(self.folder / f"{self._count:02d}-{name}.txt", text().encode())
        self._count += 1


@dataclass(slots=True)
class Timer:
    """Keeps the seconds of every pass."""

    seconds: dict[str, float] = field(default_factory=dict)

    def __call__(self, name: str, text: Callable[[], str], seconds: float) -> None:
        self.seconds[name] = self.seconds.get(name, 0.0) + seconds


def run_passes(
    graph: TensorGraph, passes: Iterable[Pass], instruments: Iterable[Instrument]
) -> TensorGraph:
    """Run `passes` in order; each result is checked, then shown to every instrument."""
    instruments = tuple(instruments)
    for step in passes:
        start = perf_counter()
        result = step.run(graph)
        check(result, step.after, step.name)
        seconds = perf_counter() - start
        for instrument in instruments:
            instrument(step.name, lambda g=result: print_graph(g), seconds)  # type: ignore[misc]
        graph = result
    return graph
