"""The example's command: train, compile, answer every window encrypted, and say how it went."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import torch
from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from eer.runtime.errors import EerError, FileError, UsageError
from examples.study.folds import FoldResult, Protocol, run_fold
from examples.study.readme import put_block
from examples.study.report import SYNTHETIC, markdown, summary, table, title, write_json, write_plot
from examples.study.saved import fingerprint, save_fold, saved_fold
from examples.study.windows import Windows

from .archive import find_data
from .dataset import load_windows
from .recipes import recipe_for
from .windows import TASKS

REPOSITORY = Path(__file__).resolve().parents[2]
README = Path(__file__).with_name("README.md")
QUICK_FOLDS, QUICK_WINDOWS = 2, 32


def parser() -> argparse.ArgumentParser:
    """The command line."""
    command = argparse.ArgumentParser(
        prog="python -m examples.wesad",
        description="Leave-one-subject-out stress recognition on WESAD, under encryption.",
    )
    add = command.add_argument
    add("--classes", type=int, choices=sorted(TASKS), default=2, help="2: stress or not")
    add("--model", choices=("mlp", "cnn"), default="mlp", help="on features, or on raw windows")
    add(
        "--features",
        choices=("chest_wrist", "wrist"),
        default="chest_wrist",
        help="60 features or 42 (mlp only; the cnn takes raw wrist windows)",
    )
    add(
        "--normalise",
        choices=("subject", "training"),
        default="subject",
        help="by the subject's own unlabelled windows, or by the training subjects' statistics",
    )
    add("--data", type=Path, help="WESAD's folder (default: EER_DATA, or ../shared/data)")
    add("--synthetic", action="store_true", help="made-up recordings, even where there is data")
    add("--engine", choices=("seal", "desilo", "none"), default="seal", help="none: plaintext only")
    add("--folds", type=int, help="only the first so many subjects are held out")
    add("--batch", type=int, default=16, help="windows side by side in one ciphertext")
    add("--resume", action="store_true", help="keep the folds that an earlier run left in --out")
    add("--quick", action="store_true", help="two folds, few windows")
    add("--readme", action="store_true", help="put the figures into this example's README.md")
    add("--seed", type=int, default=0)
    add("--out", type=Path, default=Path("out/wesad"), help="folder for figures and models")
    return command


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; the exit code is 0, or the error's."""
    given = parser().parse_args(arguments)
    console = Console()
    torch.set_num_threads(1)
    try:
        _run(given, console)
    except EerError as error:
        Console(stderr=True).print(
            str(error), style="red", markup=False, highlight=False, soft_wrap=True
        )
        return error.exit_code
    except KeyboardInterrupt:
        Console(stderr=True).print("interrupted", style="red")
        return 130
    return 0


def _run(given: argparse.Namespace, console: Console) -> None:
    if given.batch < 1 or given.batch & (given.batch - 1):
        raise UsageError(f"--batch must be a power of two, got {given.batch}")
    if given.folds is not None and given.folds < 1:
        raise UsageError(f"--folds must be at least 1, got {given.folds}")
    folder = None if given.synthetic else find_data(given.data, REPOSITORY)
    protocol = Protocol(
        task=TASKS[given.classes],
        recipe=recipe_for(given.model),
        normalisation=given.normalise,
        seed=given.seed,
        engine=None if given.engine == "none" else given.engine,
        batch=given.batch,
        limit=QUICK_WINDOWS if given.quick else None,
    )
    try:
        given.out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise FileError(
            f"cannot make the folder: {error.strerror}", where=str(given.out)
        ) from error
    if folder is None:
        console.print(f"{SYNTHETIC}. WESAD was not used.", style="bold yellow")
    with Progress(
        SpinnerColumn(),
        TextColumn("{task.description}"),
        TimeElapsedColumn(),
        console=console,
        transient=True,
    ) as progress:
        line = progress.add_task("loading")
        kind = "raw" if given.model == "cnn" else given.features
        windows = load_windows(
            folder, kind, given.seed, lambda what: progress.update(line, description=what)
        )
        folds = _folds(given, windows, protocol, progress)
    console.print(title(windows, protocol), highlight=False)
    console.print(table(windows, protocol, folds))
    if protocol.engine is not None:
        console.print(summary(protocol, folds), highlight=False)
    command = " ".join(["python -m examples.wesad", *(sys.argv[1:])])
    write_json(given.out / "results.json", windows, protocol, folds, command)
    if given.readme:
        _renew_readme(kind, windows, protocol, folds, command)
    write_plot(given.out / "accuracy.png", windows, protocol, folds)
    console.print(f"Figures and models are in {given.out}", highlight=False)


def _renew_readme(
    kind: str, windows: Windows, protocol: Protocol, folds: tuple[FoldResult, ...], command: str
) -> None:
    if windows.synthetic or protocol.engine is None or len(folds) < len(windows.subjects):
        raise UsageError(
            "the README's figures are of real data, of every subject, and encrypted",
            hint="leave out --readme, or --synthetic, --quick, --folds and --engine none",
        )
    name = f"general {protocol.recipe.model} {kind} {len(protocol.task.labels)}"
    put_block(README, name, markdown(windows, protocol, folds, command))


def _folds(
    given: argparse.Namespace, windows: Windows, protocol: Protocol, progress: Progress
) -> tuple[FoldResult, ...]:
    wanted = given.folds or (QUICK_FOLDS if given.quick else len(windows.subjects))
    subjects = windows.subjects[:wanted]
    line = progress.add_task("", total=len(subjects))
    results = []
    kept, mark = given.out / "folds", fingerprint(windows, protocol)
    for number, subject in enumerate(subjects, start=1):
        where = f"{subject} ({number} of {len(subjects)})"

        def show(stage: str, where: str = where) -> None:
            progress.update(line, description=f"{where}: {stage}")

        fold = saved_fold(kept, subject, mark) if given.resume else None
        if fold is None:
            fold = run_fold(windows, subject, protocol, given.out, show)
            save_fold(kept, fold, mark)
        results.append(fold)
        progress.advance(line)
        if not progress.console.is_terminal:
            progress.console.print(f"{where}: done", highlight=False)
    return tuple(results)
