"""Recipes by inner folds: they owe nothing to the subject that is tested, and are kept."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from eer.runtime.errors import DataError
from examples.study import recipe_choice
from examples.study.recipe_choice import Trial, choose_recipes, winners
from examples.study.training import Recipe
from tests.examples.study.test_choice import TASK, TrainedAgainError, no_training, people

# The last one learns nothing.
RECIPES = (
    Recipe(hidden=(6,), epochs=4, batch=40),
    Recipe(hidden=(3,), members=2, epochs=4, batch=40),
    Recipe(hidden=(6,), epochs=1, batch=40, learning_rate=1e-9),
)


def trial(count: int) -> Trial:
    return Trial(people(count), TASK, "training", 0)


def test_a_choice_owes_nothing_to_its_own_subject(tmp_path: Path) -> None:
    tried = trial(4)
    windows = tried.windows
    found = choose_recipes(tried, RECIPES, ("S3", "S4"), tmp_path / "one")
    assert list(found) == ["S3", "S4"]
    assert RECIPES[2] not in found.values()
    # Of 6 pairs, those with one of the two, for each of the candidates.
    assert len(list((tmp_path / "one").iterdir())) == 5 * len(RECIPES)
    own = windows.subject == "S3"
    turned = replace(windows, label=np.where(own, 3 - windows.label, windows.label))
    other = replace(tried, windows=turned)
    assert choose_recipes(other, RECIPES, ("S3",), tmp_path / "other")["S3"] == found["S3"]


def test_inner_folds_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tried = trial(3)
    subjects = tried.windows.subjects
    found = choose_recipes(tried, RECIPES, subjects, tmp_path)

    monkeypatch.setattr(recipe_choice, "train", no_training)
    assert choose_recipes(tried, RECIPES, subjects, tmp_path) == found
    with pytest.raises(TrainedAgainError):
        choose_recipes(replace(tried, seed=1), RECIPES, subjects, tmp_path)
    # One candidate is no choice: nothing is trained, and two subjects will do.
    assert set(choose_recipes(trial(2), RECIPES[:1], ("S2",), tmp_path).values()) == {RECIPES[0]}
    with pytest.raises(DataError, match="at least three subjects"):
        choose_recipes(trial(2), RECIPES, ("S2",), tmp_path)


def test_winners_are_told_by_how_they_differ() -> None:
    chosen = [RECIPES[0], RECIPES[1], RECIPES[0]]
    assert winners(RECIPES, chosen) == (
        " Recipes chosen for each subject by inner folds over the others "
        "(the first: 2; hidden (3,), members 2: 1)."
    )
    assert winners(RECIPES[:1], chosen) == ""
