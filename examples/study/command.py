"""What the studies' commands have in common: options, progress, resuming, and how a run ends."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

import torch
from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from eer.runtime.errors import EerError, FileError, UsageError

from .folds import FoldResult, Protocol, run_fold
from .recipe_choice import Trial, choose_recipes, winners
from .report import summary, table, title, write_json, write_plot
from .saved import fingerprint, save_fold, saved_fold
from .training import Recipe
from .windows import Windows

QUICK_FOLDS, QUICK_WINDOWS = 2, 32

Show = Callable[[str], None]
Fold = TypeVar("Fold")


def add_options(command: argparse.ArgumentParser, out: Path) -> None:
    """The options that every study's command has."""
    add = command.add_argument
    add("--synthetic", action="store_true", help="made-up recordings, even where there is data")
    add(
        "--normalise",
        choices=("subject", "training"),
        default="subject",
        help="by the subject's own unlabelled windows, or by the training subjects' statistics",
    )
    add("--engine", choices=("seal", "desilo", "none"), default="seal", help="none: plaintext only")
    add("--folds", type=int, help="only the first so many subjects are held out")
    add("--batch", type=int, default=16, help="windows side by side in one ciphertext")
    add("--resume", action="store_true", help="keep the folds that an earlier run left in --out")
    add("--quick", action="store_true", help="two folds, few windows")
    add("--readme", action="store_true", help="put the figures into this example's README.md")
    add("--seed", type=int, default=0)
    add("--out", type=Path, default=out, help="folder for figures and models")


def check_options(given: argparse.Namespace) -> None:
    """Raise UsageError for options that make no sense, and make the folder `--out`."""
    if given.batch < 1 or given.batch & (given.batch - 1):
        raise UsageError(f"--batch must be a power of two, got {given.batch}")
    if given.folds is not None and given.folds < 1:
        raise UsageError(f"--folds must be at least 1, got {given.folds}")
    try:
        given.out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise FileError(
            f"cannot make the folder: {error.strerror}", where=str(given.out)
        ) from error


def exit_code(run: Callable[[Console], None]) -> int:
    """Run it; the exit code is 0, or that of the error, which is shown in red."""
    torch.set_num_threads(1)
    try:
        run(Console())
    except EerError as error:
        Console(stderr=True).print(
            str(error), style="red", markup=False, highlight=False, soft_wrap=True
        )
        return error.exit_code
    except KeyboardInterrupt:
        Console(stderr=True).print("interrupted", style="red")
        return 130
    return 0


@contextmanager
def progress_line(console: Console) -> Iterator[Progress]:
    """A line that says what is being done, and for how long; gone when it is over."""
    with Progress(
        SpinnerColumn(),
        TextColumn("{task.description}"),
        TimeElapsedColumn(),
        console=console,
        transient=True,
    ) as progress:
        yield progress


def all_folds(
    given: argparse.Namespace, windows: Windows, protocol: Protocol, progress: Progress
) -> tuple[FoldResult, ...]:
    """Every fold that is asked for; with `--resume`, those that are there are not run again."""
    kept, mark = given.out / "folds", fingerprint(windows, protocol)
    recipes: dict[str, Recipe] = {}

    def run(subject: str, show: Show) -> FoldResult:
        if not recipes:
            trial = Trial(windows, protocol.task, protocol.normalisation, protocol.seed)
            tried, wanted = protocol.tried, folds_asked_for(given, windows)
            recipes.update(choose_recipes(trial, tried, wanted, given.out / "recipes", show))
        own = replace(protocol, recipe=recipes[subject])
        return run_fold(windows, subject, own, given.out, show)

    return each_fold(
        given,
        windows,
        progress,
        saved=lambda subject: saved_fold(kept, subject, mark),
        run=run,
        save=lambda fold: save_fold(kept, fold, mark),
    )


def each_fold(
    given: argparse.Namespace,
    windows: Windows,
    progress: Progress,
    *,
    saved: Callable[[str], Fold | None],
    run: Callable[[str, Show], Fold],
    save: Callable[[Fold], None],
) -> tuple[Fold, ...]:
    """The fold of every held-out subject that is asked for: `saved`, with `--resume`, or `run`
    and then saved."""
    subjects = folds_asked_for(given, windows)
    line = progress.add_task("", total=len(subjects))
    results = []
    for number, subject in enumerate(subjects, start=1):
        where = f"{subject} ({number} of {len(subjects)})"

        def show(stage: str, where: str = where) -> None:
            progress.update(line, description=f"{where}: {stage}")

        fold = saved(subject) if given.resume else None
        if fold is None:
            fold = run(subject, show)
            save(fold)
        results.append(fold)
        progress.advance(line)
        if not progress.console.is_terminal:
            progress.console.print(f"{where}: done", highlight=False)
    return tuple(results)


def folds_asked_for(given: argparse.Namespace, windows: Windows) -> tuple[str, ...]:
    """The subjects that are held out, one after the other."""
    wanted = given.folds or (QUICK_FOLDS if given.quick else len(windows.subjects))
    return windows.subjects[:wanted]


def report(
    console: Console,
    out: Path,
    windows: Windows,
    protocol: Protocol,
    folds: tuple[FoldResult, ...],
    command: str,
) -> None:
    """Print the table, and write `results.json` and `accuracy.png`; `command` made them."""
    console.print(title(windows, protocol), highlight=False)
    console.print(table(windows, protocol, folds))
    if protocol.engine is not None:
        console.print(summary(protocol, folds), highlight=False)
    if protocol.candidates:
        chosen = winners(protocol.tried, [fold.recipe for fold in folds])
        console.print(chosen.strip(), highlight=False)
    write_json(out / "results.json", windows, protocol, folds, command)
    write_plot(out / "accuracy.png", windows, protocol, folds)
    console.print(f"Figures and models are in {out}", highlight=False)
