"""The example's command: train, compile, answer every window encrypted, and say how it went."""

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

from .archive import find_data
from .dataset import load_windows
from .recipes import PERSONAL_KINDS, RECIPES
from .windows import TASKS, WINDOW

REPOSITORY = Path(__file__).resolve().parents[2]
README = Path(__file__).with_name("README.md")


def parser() -> argparse.ArgumentParser:
    """The command line."""
    command = argparse.ArgumentParser(
        prog="python -m examples.wesad",
        description="Leave-one-subject-out stress recognition on WESAD, under encryption.",
    )
    add = command.add_argument
    add_kinds(command, PERSONAL_KINDS)
    add("--classes", type=int, choices=sorted(TASKS), default=2, help="2: stress or not")
    add("--model", choices=("mlp", "cnn"), default="mlp", help="on features, or on raw windows")
    add(
        "--features",
        choices=("chest_wrist", "wrist"),
        default="chest_wrist",
        help="60 features or 42 (mlp only; the cnn takes raw wrist windows)",
    )
    add("--data", type=Path, help="WESAD's folder (default: EER_DATA, or ../shared/data)")
    add_options(command, Path("out/wesad"))
    return command


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; the exit code is 0, or the error's."""
    given = parser().parse_args(arguments)
    return exit_code(lambda console: _run(given, console))


def _run(given: argparse.Namespace, console: Console) -> None:
    check_options(given)
    folder = None if given.synthetic else find_data(given.data, REPOSITORY)
    if folder is None:
        console.print(f"{SYNTHETIC}. WESAD was not used.", style="bold yellow")
    command = " ".join(["python -m examples.wesad", *(sys.argv[1:])])
    with progress_line(console) as progress:
        line = progress.add_task("loading")
        kind = "raw" if given.model == "cnn" else given.features
        windows = load_windows(
            folder, kind, given.seed, lambda what: progress.update(line, description=what)
        )
        task, recipes = TASKS[given.classes], RECIPES[given.model]
        done = run(given, windows, task, recipes, PERSONAL_KINDS, WINDOW, progress, command)
    done.show(console)
    if given.readme:
        partial = given.quick or given.folds or given.engine == "none"
        if windows.synthetic or partial:
            raise UsageError(
                "the README's figures are of real data, of every subject, and encrypted",
                hint="leave out --readme, or --synthetic, --quick, --folds and --engine none",
            )
        put_block(README, f"{given.what} {given.model} {kind} {given.classes}", done.text())
