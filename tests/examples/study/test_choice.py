"""Settings by inner folds: they owe nothing to the subject that is tested, and are kept."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import NoReturn

import numpy as np
import pytest

from eer.runtime.errors import DataError
from examples.study.personal import choice
from examples.study.personal.choice import candidates, choose
from examples.study.personal.folds import PersonalProtocol
from examples.study.personal.learning import Adaptation, supervised_only
from examples.study.training import Recipe
from examples.study.windows import Task, Windows

TASK = Task("A study", ("calm", "stress"), ((1,), (2,)))
SETTINGS = Adaptation(few=2, rows=16, steps=2)
PROTOCOL = PersonalProtocol(
    TASK, Recipe(hidden=(6,), epochs=4, batch=40), SETTINGS, 60, "training", engine=None
)


def recipes(*subjects: str) -> dict[str, Recipe]:
    """The same recipe for all."""
    return dict.fromkeys(subjects, PROTOCOL.recipe)


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
    given = Adaptation(few=3, trust=5.0, damping=0.02)
    every, alone = candidates(given)
    assert (every[0], alone[0]) == (given, supervised_only(given))
    assert {tried.trust for tried in alone} == {0.0}
    labelled, none = candidates(replace(given, few=None))
    assert none == ()
    for tried in (every, alone, labelled):
        assert len(set(tried)) == len(tried)
        # One step serves them all: it has so many rows, whatever else there is.
        assert {(s.rows, s.steps, s.share, s.few) for s in tried} == {(48, 4, 0.2, tried[0].few)}


@pytest.mark.parametrize("few", [None, 2])
def test_a_choice_owes_nothing_to_its_own_subject(tmp_path: Path, few: int | None) -> None:
    windows = people(4)
    protocol = replace(PROTOCOL, settings=replace(SETTINGS, few=few))
    found = choose(windows, protocol, recipes("S3", "S4"), tmp_path / "one")
    assert list(found) == ["S3", "S4"]
    # Of 12 turns, those that hold out one of the two.
    assert len(list((tmp_path / "one").iterdir())) == 6
    own = windows.subject == "S3"
    turned = replace(windows, label=np.where(own, 3 - windows.label, windows.label))
    folder = tmp_path / "other"
    assert choose(turned, protocol, recipes("S3"), folder)["S3"] == found["S3"]


def test_a_folds_network_is_trained_by_its_own_recipe(tmp_path: Path) -> None:
    windows, other = people(3), replace(PROTOCOL.recipe, epochs=1)
    apart = recipes("S2", "S3") | {"S4": other}
    found = choose(windows, PROTOCOL, apart, tmp_path)
    alone = choose(windows, replace(PROTOCOL, recipe=other), {"S4": other}, tmp_path / "alone")
    assert found["S4"] == alone["S4"]
    assert _scores(tmp_path / "S4-S2.npz") == _scores(tmp_path / "alone" / "S4-S2.npz")


def _scores(path: Path) -> list[float]:
    with np.load(path) as file:
        return list(file["found"])


class TrainedAgainError(Exception):
    """Something was trained that is kept on disk."""


def no_training(*_: object) -> NoReturn:
    raise TrainedAgainError


def test_inner_folds_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    windows = people(3)
    every = recipes(*windows.subjects)
    found = choose(windows, PROTOCOL, every, tmp_path)

    monkeypatch.setattr(choice, "trained_without", no_training)
    assert choose(windows, PROTOCOL, every, tmp_path) == found
    with pytest.raises(TrainedAgainError):
        choose(windows, replace(PROTOCOL, seed=1), every, tmp_path)
    (tmp_path / "S2-S3.npz").write_bytes(b"PK")
    with pytest.raises(DataError, match="cannot be read"):
        choose(windows, PROTOCOL, every, tmp_path)


@pytest.mark.parametrize("labelled_better", [True, False])
def test_windows_without_labels_get_no_weight_where_that_is_better(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, labelled_better: bool
) -> None:
    every, alone = candidates(SETTINGS)
    scores = np.linspace(0, 1, len(every) + len(alone))
    monkeypatch.setattr(
        choice, "_judged", lambda *_: scores if labelled_better else scores[::-1].copy()
    )
    found = choose(people(3), PROTOCOL, recipes("S2"), tmp_path)["S2"]
    assert found.settings == (alone[-1] if labelled_better else every[0])
    assert found.alone == (alone[-1] if labelled_better else alone[0])


def test_two_subjects_are_too_few(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="at least three subjects"):
        choose(people(2), PROTOCOL, recipes("S2"), tmp_path)
