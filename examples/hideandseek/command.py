"""The example's command: features, training, every window answered encrypted, and the figures."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from eer.runtime.errors import UsageError
from examples.study.command import add_options, check_options, exit_code, progress_line
from examples.study.readme import put_block
from examples.study.report import SYNTHETIC
from examples.study.runs import add_kinds, run

from .dataset import find_data, load_observations
from .features import WINDOW
from .recipes import MLP, PERSONAL_KINDS
from .synthetic import WORKERS
from .tables import save_table
from .targets import TARGETS

REPOSITORY = Path(__file__).resolve().parents[2]
README = Path(__file__).with_name("README.md")
QUICK_WORKERS, QUICK_LENGTH = 6, 0.3
"""Of the made-up calls: how many workers, and which share of a call's length."""


def parser() -> argparse.ArgumentParser:
    """The command line."""
    command = argparse.ArgumentParser(
        prog="python -m examples.hideandseek",
        description="Leave-one-worker-out recognition of emotional workload, under encryption.",
    )
    add = command.add_argument
    add_kinds(command, PERSONAL_KINDS)
    add("--target", choices=tuple(TARGETS), default="given2", help="what is recognised")
    add("--data", type=Path, help="the release's folder, or a table of features (.csv, .npz)")
    add("--skip-incomplete", action="store_true", help="leave out calls that lack a sensor")
    add("--save-table", type=Path, help="write the features to this .npz, for --data")
    add_options(command, Path("out/hideandseek"))
    return command


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; the exit code is 0, or the error's."""
    given = parser().parse_args(arguments)
    return exit_code(lambda console: _run(given, console))


def _run(given: argparse.Namespace, console: Console) -> None:
    check_options(given)
    source = None if given.synthetic else find_data(given.data, REPOSITORY)
    command = " ".join(["python -m examples.hideandseek", *sys.argv[1:]])
    if source is None:
        console.print(f"{SYNTHETIC}. The study's recordings were not used.", style="bold yellow")
    with progress_line(console) as progress:
        line = progress.add_task("loading")
        observations = load_observations(
            source,
            seed=given.seed,
            workers=WORKERS[:QUICK_WORKERS] if given.quick else WORKERS,
            length=QUICK_LENGTH if given.quick else 1.0,
            skip=(lambda what: console.print(what, style="yellow", highlight=False))
            if given.skip_incomplete
            else None,
            progress=lambda what: progress.update(line, description=what),
        )
        if given.save_table:
            save_table(observations, given.save_table)
        windows = observations.windows(given.target)
        task = TARGETS[given.target]
        done = run(given, windows, task, (MLP,), PERSONAL_KINDS, WINDOW, progress, command)
    done.show(console)
    if given.readme:
        if given.quick or given.engine == "none":
            raise UsageError(
                "the README's figures are of whole calls, and encrypted",
                hint="leave out --readme, or --quick and --engine none",
            )
        kind = "synthetic" if windows.synthetic else "study"
        put_block(README, f"{given.what} {given.target} {kind}", done.text())
