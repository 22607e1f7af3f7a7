"""How the commands talk: errors and exit codes, results for people and for scripts, progress.

`eer` and `eer-compile` both run through `run_app`. Results go to stdout, all else to stderr.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
import traceback
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from types import FrameType
from typing import Any

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from .errors import (
    ArtifactError,
    DataError,
    EerError,
    EerWarning,
    EngineError,
    FileError,
    InternalError,
    ModelError,
    ParameterError,
    UsageError,
)
from .fields import Json

INTERRUPTED = 130
"""Exit code after Ctrl-C."""

EXIT_CODES: tuple[tuple[int, str], ...] = (
    (0, "success"),
    (UsageError.exit_code, "wrong options or arguments"),
    (ModelError.exit_code, "the model cannot be read or compiled"),
    (DataError.exit_code, "data of the wrong shape, type or range"),
    (ArtifactError.exit_code, "a damaged, foreign or mismatched bundle, key or ciphertext"),
    (ParameterError.exit_code, "no secure parameters fit"),
    (EngineError.exit_code, "the engine is missing or failed"),
    (FileError.exit_code, "a path cannot be read or written"),
    (InternalError.exit_code, "a bug of eer"),
    (INTERRUPTED, "interrupted by Ctrl-C"),
)

EPILOG = (
    "Exit codes: "
    + "; ".join(f"{code} {meaning}" for code, meaning in EXIT_CODES)
    + ". With --debug (or EER_DEBUG=1) a bug shows its traceback."
)
"""For the `epilog` of a typer app."""


def run_app(app: typer.Typer, name: str, argv: Sequence[str] | None = None) -> int:
    """Run a command line and return its exit code.

    Errors become a message on stderr or, with --json among the arguments, one JSON object with
    code, reason, where, hint and exit_code on stdout. `--debug` is taken anywhere.
    """
    arguments, debug = _take_debug(sys.argv[1:] if argv is None else argv)
    as_json = "--json" in arguments
    with _terminated_cleanly(), warnings.catch_warnings():
        warnings.simplefilter("always", EerWarning)
        warnings.showwarning = _show_warning
        try:
            command = typer.main.get_command(app)
            result = command.main(arguments, prog_name=name, standalone_mode=False)
        except (KeyboardInterrupt, typer.Abort):
            return _interrupted(as_json)
        except Exception as problem:
            return _failed(problem, name, as_json, debug)
    if result == INTERRUPTED:
        return _interrupted(as_json)
    return result if isinstance(result, int) else 0


def _take_debug(argv: Sequence[str]) -> tuple[list[str], bool]:
    end = argv.index("--") if "--" in argv else len(argv)
    kept = [a for a in argv[:end] if a != "--debug"] + list(argv[end:])
    return kept, len(kept) < len(argv) or os.environ.get("EER_DEBUG", "") not in ("", "0")


@contextmanager
def _terminated_cleanly() -> Iterator[None]:
    """Let a polite kill unwind the stack, so that temporary files are removed."""

    def stop(signum: int, frame: FrameType | None) -> None:
        raise SystemExit(128 + signum)

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    previous = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, previous)


def _show_warning(message: Warning | str, category: type[Warning], *_: Any, **__: Any) -> None:
    warn(str(message))


def _interrupted(as_json: bool) -> int:
    reason = "interrupted, nothing was written"
    if as_json:
        emit(_error_json("interrupted", reason, None, None, INTERRUPTED))
    else:
        typer.echo(reason, err=True)
    return INTERRUPTED


def _failed(problem: Exception, name: str, as_json: bool, debug: bool) -> int:
    if type(problem).__name__ == "NoArgsIsHelpError":
        typer.echo(str(getattr(problem, "format_message", str)()), err=True)
        return UsageError.exit_code
    error = _as_eer_error(problem, name)
    if debug and (isinstance(error, InternalError) or error is not problem):
        traceback.print_exception(problem, file=sys.stderr)
    if as_json:
        emit(_error_json(error.code, error.reason, error.where, error.hint, error.exit_code))
    else:
        typer.echo(str(error), err=True)
    return error.exit_code


def _as_eer_error(problem: Exception, name: str) -> EerError:
    if isinstance(problem, EerError):
        return problem
    # Typer's own complaints about the command line; their base class moves between its versions.
    describe = getattr(problem, "format_message", None)
    if callable(describe) and hasattr(problem, "exit_code"):
        context = getattr(problem, "ctx", None)
        path = getattr(context, "command_path", name)
        return UsageError(str(describe()), hint=f"see {path} --help")
    if isinstance(problem, MemoryError):
        return EngineError(
            "the machine ran out of memory",
            hint="close other programs, use a machine with more memory, or a smaller model",
        )
    return InternalError(
        f"{type(problem).__name__}: {problem}",
        hint="this is a bug of eer: please report it, with the output of the same command "
        "with --debug",
    )


def _error_json(
    code: str, reason: str, where: str | None, hint: str | None, exit_code: int
) -> Json:
    return {
        "code": code,
        "reason": reason,
        "where": where,
        "hint": hint,
        "exit_code": exit_code,
    }


def emit(data: Json) -> None:
    """Print one JSON object on one line of stdout."""
    typer.echo(json.dumps(data, allow_nan=False))


def answer(text: str, data: Json, as_json: bool) -> None:
    """Print a command's result: `data` for scripts, `text` for people."""
    if as_json:
        emit(data)
    else:
        typer.echo(text)


def warn(text: str) -> None:
    """Print a warning on stderr."""
    typer.echo(f"warning: {text}", err=True)


@contextmanager
def progress(description: str, total: int | None = None) -> Iterator[Callable[[int], None]]:
    """A bar on stderr, where that is a terminal; call what it yields with the steps done so far.

    Without a `total` it only shows that something goes on.
    """
    if not sys.stderr.isatty():
        yield lambda done: None
        return
    bar = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        TimeElapsedColumn(),
        console=Console(stderr=True),
        transient=True,
    )
    with bar:
        task = bar.add_task(description, total=total)
        yield lambda done: bar.update(task, completed=done)


def human_size(count: int) -> str:
    """Bytes as people read them: 51.3 MB."""
    if count < 1000:
        return f"{count} bytes"
    if count < 1_000_000:
        return f"{count / 1e3:.1f} kB"
    return f"{count / 1e6:.1f} MB" if count < 1_000_000_000 else f"{count / 1e9:.2f} GB"
