"""A recipe for each held-out subject, chosen by inner folds over the others.

Each candidate is trained without the held-out subject and another one, and scored on that other
one. Where two candidates are equally right on the average, the earlier one is taken.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

import numpy as np

from .inner_folds import Found, kept, pairs
from .metrics import accuracy
from .normalise import prepared
from .saved import fingerprint
from .training import Recipe, scores, train
from .windows import Task, Windows, held_out

PARTNERS = 3
"""A held-out subject's recipe is scored on the so many next to it on either side."""


def winners(candidates: Sequence[Recipe], chosen: Sequence[Recipe]) -> str:
    """How often each of several candidates was chosen: a sentence; empty where there was no choice.
    Recipes are told apart by what is not as in the first one."""
    if len(candidates) < 2:
        return ""
    first, parts = asdict(candidates[0]), []
    for recipe in candidates:
        if count := list(chosen).count(recipe):
            own = {n: v for n, v in asdict(recipe).items() if v != first[n]}
            what = ", ".join(f"{n} {v}" for n, v in own.items()) or "the first"
            parts.append(f"{what}: {count}")
    return f" Recipes chosen for each subject by inner folds over the others ({'; '.join(parts)})."


@dataclass(frozen=True, slots=True)
class Trial:
    """What candidates are tried on."""

    windows: Windows
    """Of every subject, as loaded."""
    task: Task
    normalisation: str
    seed: int

    def scored(self, pair: tuple[str, str], recipe: Recipe) -> Found:
        """Accuracies [2] for the fold of either of the pair, on the other one's windows."""
        windows, classes = self.windows, self.task.classes(self.windows)
        others, _ = held_out(windows, *pair)
        training = others & (classes >= 0)
        values = prepared(windows, self.normalisation, training).values
        model = train(recipe, values[training], classes[training], len(self.task.labels), self.seed)
        tests = ((windows.subject == subject) & (classes >= 0) for subject in pair[::-1])
        found = ((classes[t], scores(model, values[t]).argmax(axis=1)) for t in tests)
        return np.array([accuracy(wanted, answered) for wanted, answered in found])


def choose_recipes(
    trial: Trial,
    candidates: Sequence[Recipe],
    subjects: tuple[str, ...],
    folder: Path,
    progress: Callable[[str], None] = lambda what: None,
) -> Mapping[str, Recipe]:
    """The recipe for each of `subjects` when it is held out.

    What an inner fold found is kept in `folder`, and not run again.
    """
    if len(candidates) == 1:
        return dict.fromkeys(subjects, candidates[0])
    found: dict[str, list[Found]] = {subject: [] for subject in subjects}
    around = list(pairs(trial.windows, PARTNERS, subjects))
    marks = [
        fingerprint(trial.windows, (trial.task, trial.normalisation, trial.seed, recipe))
        for recipe in candidates
    ]
    for number, pair in enumerate(around, start=1):
        progress(f"choosing a recipe, {number} of {len(around)}: without {' and '.join(pair)}")
        both = np.array(
            [
                kept(
                    folder / f"{'-'.join(pair)}-{place}.npz",
                    mark,
                    partial(trial.scored, pair, recipe),
                )
                for place, (mark, recipe) in enumerate(zip(marks, candidates, strict=True))
            ]
        )
        for fold, row in zip(pair, both.T, strict=True):
            if fold in found:
                found[fold].append(row)
    return {
        subject: candidates[int(np.mean(rows, axis=0).argmax())] for subject, rows in found.items()
    }
