"""The four targets, and windows that no fold learns from when it is tested on them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from examples.hideandseek.columns import FEATURES
from examples.hideandseek.features import WINDOW, call_features
from examples.hideandseek.observations import APART, Observations, observed
from examples.hideandseek.synthetic import synthetic_calls
from examples.hideandseek.targets import TARGETS, labels_of
from examples.study.folds import Protocol, run_fold
from examples.study.personal.split import split
from examples.study.training import Recipe, train
from examples.study.windows import Codes, Signal


def classes(target: str, session: Codes, rating: Signal, worker: list[str]) -> list[int]:
    labels = labels_of(target, session, rating, np.array(worker))
    np.testing.assert_array_equal(labels // 10, session)
    return [int(code) for code in labels % 10]


def test_what_was_given_is_known_from_the_session() -> None:
    session, rating = np.array([1, 2, 3, 1]), np.zeros(4)
    assert classes("given2", session, rating, ["P1"] * 4) == [0, 1, 1, 0]
    assert classes("given3", session, rating, ["P1"] * 4) == [0, 1, 2, 0]


def test_what_was_perceived_counts_against_the_workers_own_ratings() -> None:
    rating = np.array([0.0, 2, 4, 10, 12, 14])
    session, worker = np.array([1, 2, 3, 1, 2, 3]), ["P1"] * 3 + ["P2"] * 3
    # At the mean counts as above it.
    assert classes("perceived2", session, rating, worker) == [0, 1, 1, 0, 1, 1]
    assert classes("perceived3", session, rating, worker) == [0, 1, 2, 0, 1, 2]


def test_thirds_are_cut_at_the_33rd_and_66th_percentile() -> None:
    rating = np.random.default_rng(0).permutation(300).astype(float)
    found = np.array(classes("perceived3", np.ones(300, dtype=np.int64), rating, ["P1"] * 300))
    for code, (low, high) in enumerate(((0, 33), (33, 66), (66, 100))):
        within = rating[found == code]
        assert within.min() >= np.percentile(rating, low)
        assert within.max() <= np.percentile(rating, high)
    # 33 and 66 of 100 between 300 ratings lie at 98.67 and 197.34.
    assert np.bincount(found).tolist() == [99, 99, 102]


@pytest.mark.parametrize("target", TARGETS)
def test_windows_carry_the_targets_classes(observations: Observations, target: str) -> None:
    windows = observations.windows(target)
    task = TARGETS[target]
    found = task.classes(windows)
    assert set(found.tolist()) == set(range(len(task.labels)))
    assert windows.names == FEATURES
    assert windows.synthetic
    assert windows.subjects == ("P1", "P3", "P20")
    for subject in windows.subjects:
        start = windows.start[windows.subject == subject]
        # Windows of one call are a second apart, those of two calls never near.
        assert set(np.diff(start)[np.diff(start) != 1] > APART // 2) == {True}


@pytest.mark.parametrize("normalisation", ["subject", "training"])
def test_training_never_sees_the_held_out_worker(
    observations: Observations,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    normalisation: str,
) -> None:
    seen: list[tuple[Signal, Codes]] = []

    def note(recipe: Recipe, values: Signal, codes: Codes, count: int, seed: int) -> object:
        seen.append((values, codes))
        return train(recipe, values, codes, count, seed)

    monkeypatch.setattr("examples.study.folds.train", note)
    recipe = Recipe(hidden=(4,), epochs=1, batch=40)
    protocol = Protocol(TARGETS["perceived2"], recipe, normalisation, engine=None)
    own = observations.worker == "P3"
    changed = replace(
        observations,
        values=np.where(own[:, None], 5 - 2 * observations.values, observations.values),
        suppression=np.where(own, 20 - observations.suppression, observations.suppression),
    )
    for held in (observations, changed):
        run_fold(held.windows("perceived2"), "P3", protocol, tmp_path)
    (values, codes), (values_after, codes_after) = seen
    assert len(values) == int((~own).sum())
    np.testing.assert_array_equal(values, values_after)
    np.testing.assert_array_equal(codes, codes_after)


def test_what_a_window_lacks_is_its_own_workers_median() -> None:
    parts = [(c, call_features(c)) for c in synthetic_calls(5, (1, 3), length=0.1)]
    first = parts[0][1]
    values = first.values.copy()
    values[0, 7] = np.nan
    parts[0] = (parts[0][0], replace(first, values=values))
    found = observed(parts, "test")
    own = np.concatenate([part.values[:, 7] for call, part in parts if call.worker == "P1"])
    assert found.values[0, 7] == np.nanmedian(own)
    assert np.isfinite(found.values).all()


@pytest.mark.parametrize("target", TARGETS)
def test_a_personal_head_learns_from_the_first_of_each_call(
    observations: Observations, target: str
) -> None:
    task, whole = TARGETS[target], observations.windows(target)
    own = whole.select(whole.subject == "P3")
    found = split(own, task.classes(own), WINDOW, share=0.2, parts=task.parts(own))
    session = observations.session[observations.worker == "P3"]
    np.testing.assert_array_equal(task.parts(own), session)
    for call in (1, 2, 3):
        start = own.start[session == call] - own.start[session == call].min()
        learned = start[found.labelled[session == call]]
        tested = start[found.later[session == call]]
        assert learned.tolist() == list(range(len(learned)))
        assert len(learned) == int(np.ceil(0.2 * len(start)))
        assert tested.tolist() == list(range(len(learned) - 1 + WINDOW, len(start)))
