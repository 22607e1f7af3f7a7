"""A contestant's process: `python -m benchmarks.worker MODULE compile|serve FOLDER`.

It talks to the harness in lines of JSON. What the libraries print goes to standard error, so that
standard output holds the answers alone. Needs no more than numpy beside the contestant's own.
"""

from __future__ import annotations

import json
import os
import resource
import sys
from importlib import import_module
from pathlib import Path
from time import perf_counter, process_time
from typing import Any, TextIO

from .contestant import Json, Settings, Stopwatch, load


def main(arguments: list[str]) -> int:
    """Compile, or answer windows until standard input ends; the exit code is 0, or 1."""
    module, mode, where = arguments
    answers = _own_stdout()
    folder = Path(where)
    _bind(Settings.load(folder))
    try:
        contestant = import_module(module)
        if mode == "compile":
            _compile(contestant, folder, answers)
        else:
            _serve(contestant, folder, answers)
    except MemoryError:
        _send(answers, {"error": "out of memory"})
        return 1
    except Exception as error:
        _send(answers, {"error": f"{type(error).__name__}: {error}"})
        return 1
    return 0


def peak_mb() -> float:
    """Largest resident memory of this process so far, in MB.

    Not ru_maxrss where it can be avoided: that begins with what the parent held when it forked.
    """
    status = Path("/proc/self/status")
    if status.exists():
        for line in status.read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024 / 1e6
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6


def _compile(contestant: Any, folder: Path, answers: TextIO) -> None:
    wall, cpu = perf_counter(), process_time()  # CPU time so far went into importing
    facts: Json = contestant.compile_task(folder)
    _send(
        answers,
        facts
        | {
            "compile_wall_s": perf_counter() - wall,
            "compile_cpu_s": process_time() - cpu,
            "import_cpu_s": cpu,
            "compile_peak_mb": peak_mb(),
        },
    )


def _serve(contestant: Any, folder: Path, answers: TextIO) -> None:
    data, settings = load(folder)
    task = contestant.open_task(folder)
    _send(answers, task.facts)
    for line in sys.stdin:
        first = int(json.loads(line)["first"])
        watch = Stopwatch()
        batch = task.facts.get("batch", settings.batch)
        scores = task.answer(data.inputs[first : first + batch], watch)
        reply = {"scores": scores.tolist(), "wall_ms": watch.wall, "cpu_ms": watch.cpu}
        _send(answers, reply | {"facts": task.facts, "peak_mb": peak_mb()})


def _bind(settings: Settings) -> None:
    if settings.core is not None and hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {settings.core})
    if settings.engine.endswith("-gpu"):
        return  # CUDA maps the GPU's memory and more
    limit = int(settings.memory_gb * 1e9)
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))


def _own_stdout() -> TextIO:
    """Standard output for ourselves; descriptor 1 becomes standard error for all others."""
    ours = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    return ours


def _send(answers: TextIO, reply: Json) -> None:
    answers.write(json.dumps(reply) + "\n")
    answers.flush()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
