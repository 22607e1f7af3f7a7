"""What a server does: `eer run`."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import Annotated

import typer

from ..console import answer, human_size, progress
from ..engine import Engine
from ..errors import UsageError
from ..files import NewFile, make_folder, write_files
from ..model import ServerModel
from ..pool import ServerPool
from ..server import Server
from ..server_bundle import load_server
from .options import AsJson, EngineName, listed, open_announced


def run(
    model: Annotated[
        Path, typer.Argument(help="server.eer or model.eer.", metavar="SERVER", show_default=False)
    ],
    messages: Annotated[
        list[Path], typer.Argument(help="Ciphertexts that eer encrypt made.", show_default=False)
    ],
    keys: Annotated[
        Path,
        typer.Option("--keys", help="The client's evaluation keys.", show_default=False),
    ],
    out: Annotated[
        Path,
        typer.Option("-o", "--out", help="Where the answer goes; a folder for several messages."),
    ] = Path("result.ct"),
    workers: Annotated[
        int,
        typer.Option(
            "--workers",
            min=1,
            help="Processes that share the messages; as many as there are cores is a good choice.",
        ),
    ] = 1,
    engine: EngineName = None,
    as_json: AsJson = False,
) -> None:
    """Run the model on encrypted windows.

    The server can read neither the windows nor its own answer.
    """
    paths = answer_paths(messages, out)
    loaded = load_server(model)
    opened = open_announced(loaded.params, engine)
    if workers == 1:
        done = _alone(loaded, keys, opened, messages)
    else:
        done = _together(loaded, keys, opened, messages, workers)
    if len(messages) > 1:
        make_folder(out)
    write_files([NewFile(p, r) for p, r in zip(paths, done.answers, strict=True)])
    size = sum(len(r) for r in done.answers)
    answer(
        f"answer in {listed(paths)} ({human_size(size)}); {done}, "
        f"after {done.load_seconds:.1f} s to load keys and weights",
        {
            "files": [str(p) for p in paths],
            "bytes": size,
            "latency_ms": done.latency_ms,
            "messages_per_second": done.rate,
            "workers": workers,
            "load_seconds": done.load_seconds,
            "instructions": len(loaded.program.instructions),
        },
        as_json,
    )


@dataclass(frozen=True, slots=True)
class _Done:
    """Answers in the order of the messages, and how long it took; `latency_ms` is one message's."""

    answers: list[bytes]
    latency_ms: float
    seconds: float
    load_seconds: float

    @property
    def rate(self) -> float:
        return len(self.answers) / self.seconds

    def __str__(self) -> str:
        text = f"{self.latency_ms:.0f} ms a message"
        return text if len(self.answers) == 1 else f"{text}, {self.rate:.3g} messages a second"


def _alone(model: ServerModel, keys: Path, engine: Engine, messages: list[Path]) -> _Done:
    """One after the other, in this process."""
    clock = [time.perf_counter()]
    with progress("loading keys and weights"):
        server = Server(model, keys, engine)
    clock.append(time.perf_counter())
    answers: list[bytes] = []
    with progress("computing", server.steps * len(messages)) as done:
        for number, path in enumerate(messages):
            answers.append(server.run(path, after(number * server.steps, done)))
            clock.append(time.perf_counter())
    latency = median(1000 * (b - a) for a, b in pairwise(clock[1:]))
    return _Done(answers, latency, clock[-1] - clock[1], clock[1] - clock[0])


def _together(
    model: ServerModel, keys: Path, engine: Engine, messages: list[Path], workers: int
) -> _Done:
    """In several processes; the latency is a mean, of what a worker takes for its messages."""
    started = time.perf_counter()
    with progress("loading keys and weights"):
        pool = ServerPool(model, keys, workers, engine.name)
    with pool:
        loaded = time.perf_counter()
        answers: list[bytes] = []
        with progress("computing", len(messages)) as done:
            for result in pool.run_all(messages):
                answers.append(result)
                done(len(answers))
        seconds = time.perf_counter() - loaded
    busy = min(workers, len(messages))
    return _Done(answers, 1000 * seconds * busy / len(messages), seconds, loaded - started)


def after(before: int, done: Callable[[int], None]) -> Callable[[int], None]:
    """Progress of one message, counted over all of them."""
    return lambda step: done(before + step)


def answer_paths(messages: list[Path], out: Path) -> list[Path]:
    """Where the answer to each message goes. Raises UsageError where two would collide."""
    if len(messages) == 1:
        return [out / messages[0].name if out.is_dir() else out]
    names = [m.name for m in messages]
    if len(set(names)) < len(names):
        raise UsageError("two messages have the same file name", hint="rename one of them")
    paths = [out / name for name in names]
    if {p.resolve() for p in paths} & {m.resolve() for m in messages}:
        raise UsageError(
            f"answers in {out} would replace the messages", hint="name another folder with -o"
        )
    return paths
