"""How the recipes were chosen: subjects held out in pairs, so no choice rests on a test subject.

`python -m examples.wesad.tune --model mlp --classes 3` trains every candidate without two
subjects at a time. What a network scores on one of the two counts for the fold that holds out the
other: that fold's own subject was in neither training nor scoring. Each fold so has its own
ranking of the candidates, and the table says how many folds each candidate wins. Last comes the
accuracy when each fold is trained with its own winner: it owes nothing to the held-out subjects,
while a recipe that is best on the average over the folds owes them a little.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from examples.study.metrics import accuracy
from examples.study.normalise import prepared
from examples.study.training import Recipe, scores, train
from examples.study.windows import Task, Windows, held_out

from .archive import find_data
from .dataset import load_windows
from .recipes import CNN, MLP
from .windows import TASKS

DISTANCES = (1, 3, 5)
"""Subject i is paired with the subjects these many places further on, round the circle."""

CANDIDATES: Mapping[str, tuple[Recipe, ...]] = {
    "mlp": (
        replace(MLP, members=1, hidden=(32,)),
        replace(MLP, members=1),
        replace(MLP, members=1, dropout=(0.5, 0.3)),
        replace(MLP, members=1, smoothing=0.1),
        replace(MLP, members=1, weight_decay=0.2),
        replace(MLP, members=4),
        replace(MLP, members=4, dropout=(0.5, 0.3)),
    ),
    "cnn": (
        replace(CNN, hidden=(32,)),
        CNN,
        replace(CNN, dropout=(0.0, 0.5)),
        replace(CNN, hidden=(16, 32)),
    ),
}


def inner_scores(windows: Windows, task: Task, recipe: Recipe) -> NDArray[np.float64]:
    """For each subject as the held-out one: mean accuracy on its partners, unseen in training.

    `windows` are on one scale already, each subject by its own statistics.
    """
    classes, subjects = task.classes(windows), windows.subjects
    found: dict[str, list[float]] = {subject: [] for subject in subjects}
    for pair in _pairs(subjects):
        training, _ = held_out(windows, *pair)
        training &= classes >= 0
        model = train(recipe, windows.values[training], classes[training], len(task.labels), 0)
        for fold, scored in (pair, pair[::-1]):
            test = (windows.subject == scored) & (classes >= 0)
            answers = scores(model, windows.values[test]).argmax(axis=1)
            found[fold].append(accuracy(classes[test], answers))
    return np.array([np.mean(found[subject]) for subject in subjects])


def nested_accuracy(
    windows: Windows, task: Task, recipes: Sequence[Recipe], winners: Sequence[int]
) -> float:
    """Pooled accuracy when the fold of subject number i is trained with `recipes[winners[i]]`."""
    classes = task.classes(windows)
    right = []
    for subject, winner in zip(windows.subjects, winners, strict=True):
        training, test = held_out(windows, subject)
        training, test = training & (classes >= 0), test & (classes >= 0)
        model = train(
            recipes[winner], windows.values[training], classes[training], len(task.labels), 0
        )
        right.append(scores(model, windows.values[test]).argmax(axis=1) == classes[test])
    return float(np.concatenate(right).mean())


def _pairs(subjects: tuple[str, ...]) -> Iterator[tuple[str, str]]:
    count = len(subjects)
    seen: set[frozenset[int]] = set()
    for distance in DISTANCES:
        for first in range(count):
            pair = frozenset((first, (first + distance) % count))
            if len(pair) == 2 and pair not in seen:
                seen.add(pair)
                yield subjects[first], subjects[(first + distance) % count]


def main() -> None:
    """Print the candidates' inner scores."""
    command = argparse.ArgumentParser(prog="python -m examples.wesad.tune", description=__doc__)
    command.add_argument("--classes", type=int, choices=sorted(TASKS), default=2)
    command.add_argument("--model", choices=sorted(CANDIDATES), default="mlp")
    command.add_argument("--features", choices=("chest_wrist", "wrist"), default="chest_wrist")
    command.add_argument("--data", type=Path)
    given = command.parse_args()
    console = Console()
    kind = "raw" if given.model == "cnn" else given.features
    raw = load_windows(find_data(given.data, Path(__file__).resolve().parents[2]), kind)
    task = TASKS[given.classes]
    windows = prepared(raw, "subject", task.classes(raw) >= 0)
    recipes = CANDIDATES[given.model]
    found = []
    for recipe in recipes:
        found.append(inner_scores(windows, task, recipe))
        console.print(f"{recipe}: {found[-1].mean():.4f}", highlight=False)
    winners = np.argmax(found, axis=0)
    mark = "SYNTHETIC, " if windows.synthetic else ""
    settings = ("hidden", "dropout", "weight_decay", "smoothing", "members")
    table = Table(*settings, title=f"{mark}{windows.source}")
    table.add_column("inner accuracy", justify="right")
    table.add_column("folds won", justify="right")
    for number, (recipe, inner) in enumerate(zip(recipes, found, strict=True)):
        wins = int((winners == number).sum())
        chosen = (str(getattr(recipe, setting)) for setting in settings)
        table.add_row(*chosen, f"{inner.mean():.4f}", str(wins))
    console.print(table)
    nested = nested_accuracy(windows, task, recipes, winners.tolist())
    console.print(f"each fold trained with its own winner: {nested:.4f}", highlight=False)


if __name__ == "__main__":
    main()
