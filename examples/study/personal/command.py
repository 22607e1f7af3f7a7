"""What the studies' commands do for personal heads: every fold, and what is shown at the end."""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

from rich.console import Console
from rich.progress import Progress

from eer.compiler import CompiledModel

from ..command import Show, each_fold, folds_asked_for
from ..recipe_choice import Trial, choose_recipes, winners
from ..saved import fingerprint
from ..training import Recipe
from ..windows import Windows
from .choice import Choice, choose
from .folds import PersonalFold, PersonalProtocol, run_personal_fold
from .plots import write_plots
from .report import summary, table, title, write_json
from .saved import save_personal_fold, saved_personal_fold


def personal_folds(
    given: argparse.Namespace, windows: Windows, protocol: PersonalProtocol, progress: Progress
) -> tuple[PersonalFold, ...]:
    """Every fold that is asked for; with `--resume`, those that are there are not run again."""
    kept, mark = given.out / "folds", fingerprint(windows, protocol)
    recipes: dict[str, Recipe] = {}
    choices: dict[str, Choice] = {}
    step: list[CompiledModel] = []

    def run(subject: str, show: Show) -> PersonalFold:
        if not recipes:
            trial = Trial(windows, protocol.task, protocol.normalisation, protocol.seed)
            wanted = folds_asked_for(given, windows)
            folder = given.out / "recipes"
            recipes.update(choose_recipes(trial, protocol.tried, wanted, folder, show))
        if protocol.inner and not choices:
            choices.update(choose(windows, protocol, recipes, given.out / "choice", show))
        if protocol.engine is not None and not step:
            show("compiling the step")
            step.append(protocol.compiled_step())
        own = replace(protocol, recipe=recipes[subject])
        if protocol.inner:
            choice = choices[subject]
            own = replace(own, settings=choice.settings, alone=choice.alone)
        return run_personal_fold(windows, subject, own, show, step[0] if step else None)

    return each_fold(
        given,
        windows,
        progress,
        saved=lambda subject: saved_personal_fold(kept, subject, mark),
        run=run,
        save=lambda fold: save_personal_fold(kept, fold, mark),
    )


def personal_report(
    console: Console,
    out: Path,
    windows: Windows,
    protocol: PersonalProtocol,
    folds: tuple[PersonalFold, ...],
    command: str,
) -> None:
    """Print the table, and write `results.json` and the plots; `command` made them."""
    console.print(title(windows, protocol), highlight=False)
    console.print(table(windows, protocol, folds))
    console.print(summary(protocol, folds), highlight=False)
    if protocol.candidates:
        chosen = winners(protocol.tried, [fold.recipe for fold in folds])
        console.print(chosen.strip(), highlight=False)
    write_json(out / "results.json", windows, protocol, folds, command)
    write_plots(out, windows, protocol, folds)
    console.print(f"Figures are in {out}", highlight=False)
