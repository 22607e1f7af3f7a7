"""What a server does: `eer run`."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Annotated

import typer

from ..console import answer, human_size, progress
from ..errors import UsageError
from ..files import NewFile, make_folder, write_files
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
    engine: EngineName = None,
    as_json: AsJson = False,
) -> None:
    """Run the model on encrypted windows.

    The server can read neither the windows nor its own answer.
    """
    paths = _answer_paths(messages, out)
    loaded = load_server(model)
    started = time.perf_counter()
    with progress("loading keys and weights"):
        server = Server(loaded, keys, open_announced(loaded.params, engine))
    load_seconds = time.perf_counter() - started
    results: list[bytes] = []
    latencies: list[float] = []
    steps = server.steps
    with progress("computing", steps * len(messages)) as done:
        for number, path in enumerate(messages):
            started = time.perf_counter()
            results.append(server.run(path, _after(number * steps, done)))
            latencies.append(1000 * (time.perf_counter() - started))
    if len(messages) > 1:
        make_folder(out)
    write_files([NewFile(p, r) for p, r in zip(paths, results, strict=True)])
    size = sum(len(r) for r in results)
    answer(
        f"answer in {listed(paths)} ({human_size(size)}); {median(latencies):.0f} ms a message, "
        f"after {load_seconds:.1f} s to load keys and weights",
        {
            "files": [str(p) for p in paths],
            "bytes": size,
            "latency_ms": median(latencies),
            "load_seconds": load_seconds,
            "instructions": steps,
        },
        as_json,
    )


def _after(before: int, done: Callable[[int], None]) -> Callable[[int], None]:
    """Progress of one message, counted over all of them."""
    return lambda step: done(before + step)


def _answer_paths(messages: list[Path], out: Path) -> list[Path]:
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
