"""The two kinds of run: one model for everybody, or a head of each subject's own."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from rich.console import Console
from rich.progress import Progress

from .command import QUICK_WINDOWS, all_folds, report
from .folds import Protocol
from .personal.command import personal_folds, personal_report
from .personal.folds import PersonalProtocol
from .personal.learning import Adaptation
from .personal.report import markdown as personal_markdown
from .report import markdown
from .training import Recipe
from .windows import Task, Windows

QUICK_TIMED = 1
"""Folds that are timed in a quick run of personal heads."""


@dataclass(frozen=True, slots=True)
class Run:
    """A finished run: how it is shown, and its text for the README."""

    show: Callable[[Console], None]
    text: Callable[[], str]


def add_kinds(command: argparse.ArgumentParser, kinds: Iterable[str]) -> None:
    """The argument that says which kind of run it is."""
    command.add_argument(
        "what",
        nargs="?",
        choices=("general", *kinds),
        default="general",
        help="one model for everybody; or a head of each subject's own, learned encrypted from "
        "labelled windows (personalise), or from a few of them and others (semi-supervised)",
    )
    command.add_argument(
        "--fixed",
        action="store_true",
        help="the first recipe and its settings for everybody (as with --quick), not those chosen "
        "for each fold by inner folds over the other subjects",
    )


def run(
    given: argparse.Namespace,
    windows: Windows,
    task: Task,
    recipes: tuple[Recipe, ...],
    kinds: Mapping[str, Adaptation],
    window: float,
    progress: Progress,
    command: str,
) -> Run:
    """Every fold that is asked for, of the kind that is; a window lasts `window` seconds."""
    if given.what == "general":
        return _general(given, windows, task, recipes, progress, command)
    settings = kinds[given.what]
    return _personal(given, windows, task, recipes, settings, window, progress, command)


def _general(
    given: argparse.Namespace,
    windows: Windows,
    task: Task,
    recipes: tuple[Recipe, ...],
    progress: Progress,
    command: str,
) -> Run:
    protocol = Protocol(
        task=task,
        recipe=recipes[0],
        normalisation=given.normalise,
        seed=given.seed,
        engine=_engine(given),
        batch=given.batch,
        limit=QUICK_WINDOWS if given.quick else None,
        candidates=_candidates(given, recipes),
    )
    folds = all_folds(given, windows, protocol, progress)
    return Run(
        lambda console: report(console, given.out, windows, protocol, folds, command),
        lambda: markdown(windows, protocol, folds, command),
    )


def _personal(
    given: argparse.Namespace,
    windows: Windows,
    task: Task,
    recipes: tuple[Recipe, ...],
    settings: Adaptation,
    window: float,
    progress: Progress,
    command: str,
) -> Run:
    protocol = PersonalProtocol(
        task=task,
        recipe=recipes[0],
        settings=settings,
        window=window,
        inner=not _fixed(given),
        normalisation=given.normalise,
        seed=given.seed,
        engine=_engine(given),
        batch=given.batch,
        timed_folds=QUICK_TIMED if given.quick else 3,
        candidates=_candidates(given, recipes),
    )
    folds = personal_folds(given, windows, protocol, progress)
    return Run(
        lambda console: personal_report(console, given.out, windows, protocol, folds, command),
        lambda: personal_markdown(windows, protocol, folds, command),
    )


def _engine(given: argparse.Namespace) -> str | None:
    return None if given.engine == "none" else str(given.engine)


def _fixed(given: argparse.Namespace) -> bool:
    return bool(given.fixed or given.quick)


def _candidates(given: argparse.Namespace, recipes: tuple[Recipe, ...]) -> tuple[Recipe, ...]:
    return recipes if len(recipes) > 1 and not _fixed(given) else ()
