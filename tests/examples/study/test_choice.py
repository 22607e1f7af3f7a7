"""Settings by inner folds: they owe nothing to the subject that is tested, and are kept."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from eer.runtime.errors import DataError
from examples.study.personal import choice
from examples.study.personal.choice import candidates, choose
from examples.study.personal.folds import PersonalProtocol
from examples.study.personal.learning import Adaptation
from examples.study.training import Recipe
from examples.study.windows import Task, Windows

TASK = Task("A study", ("calm", "stress"), ((1,), (2,)))
SETTINGS = Adaptation(few=2, rows=16, steps=2)
PROTOCOL = PersonalProtocol(
    TASK, Recipe(hidden=(6,), epochs=4, batch=40), SETTINGS, 60, "training", engine=None
)


def people(count: int) -> Windows:
    """So many people with 30 windows of each condition, each shifted in a way of its own."""
    rng = np.random.default_rng(0)
    label = np.tile(np.repeat([1, 2], 30), count)
    subject = np.repeat([f"S{number}" for number in range(2, count + 2)], 60)
    shift = np.repeat(rng.normal(0, 0.6, (count, 4)), 60, axis=0)
    values = rng.normal(size=(60 * count, 4)) + (label[:, None] - 1.5) * [1.5, -1.5, 0.0, 0.0]
    start = np.tile(60 * np.arange(60), count)
    return Windows(tuple("abcd"), values + shift, label, subject, start, "made up", synthetic=True)


def test_what_is_given_is_the_first_candidate() -> None:
    given = Adaptation(few=3, trust=1.0, alone=1.0)
    for tried in candidates(given):
        assert tried[0] == given
        assert len(set(tried)) == len(tried)
    # One step serves them all: it depends on none of what is chosen.
    every, alone = candidates(given)
    both = (*every, *alone)
    assert {replace(s, trust=0.0, temperature=1.0, rounds=1, alone=0.0) for s in both} == {
        replace(given, trust=0.0, temperature=1.0, alone=0.0)
    }


def test_a_choice_owes_nothing_to_its_own_subject(tmp_path: Path) -> None:
    windows = people(4)
    found = choose(windows, PROTOCOL, ("S3", "S4"), tmp_path / "one")
    assert list(found) == ["S3", "S4"]
    assert len(list((tmp_path / "one").iterdir())) == 5  # of 6 pairs, those with one of the two
    own = windows.subject == "S3"
    turned = replace(windows, label=np.where(own, 3 - windows.label, windows.label))
    folder = tmp_path / "other"
    assert choose(turned, PROTOCOL, ("S3",), folder)["S3"] == found["S3"]


def test_inner_folds_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    windows = people(3)
    found = choose(windows, PROTOCOL, windows.subjects, tmp_path)

    class TrainedAgainError(Exception):
        pass

    def fail(*_: object) -> None:
        raise TrainedAgainError

    monkeypatch.setattr(choice, "trained_without", fail)
    assert choose(windows, PROTOCOL, windows.subjects, tmp_path) == found
    with pytest.raises(TrainedAgainError):
        choose(windows, replace(PROTOCOL, seed=1), windows.subjects, tmp_path)


def test_two_subjects_are_too_few(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="at least three subjects"):
        choose(people(2), PROTOCOL, ("S2",), tmp_path)
