"""A head learned and asked under encryption is the one learned in the clear."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from examples.study.personal.choice import INHERITED, RATES, TRUSTS
from examples.study.personal.encrypted import REACH
from examples.study.personal.folds import PersonalProtocol, run_personal_fold
from examples.study.personal.head import BIAS, WEIGHT
from examples.study.personal.learning import (
    SPREAD,
    Adaptation,
    believer,
    learn,
    lesson,
    lesson_values,
    prepare,
)
from examples.study.personal.made_up import made_up_inputs
from examples.study.personal.plots import write_plots
from examples.study.personal.report import markdown, summary, table, write_json
from examples.study.personal.split import split
from examples.study.training import Recipe, train
from examples.study.windows import Task, Windows

SMALL = Recipe(hidden=(6,), epochs=10, batch=40)
TASK = Task("A study", ("calm", "stress"), ((1,), (2,)))


def people() -> Windows:
    """Three people with 40 windows of each condition; the last one's features are shifted."""
    rng = np.random.default_rng(0)
    parts = []
    for number in range(3):
        label = np.repeat([1, 2], 40)
        values = rng.normal(size=(80, 4)) + (label[:, None] - 1.5) * [1.5, -1.5, 0.0, 0.0]
        values[:, :2] += [0.9, 0.0] if number == 2 else [0.0, 0.0]
        parts.append((label, values, np.full(80, f"S{number + 2}")))
    label, values, subject = (np.concatenate(found) for found in zip(*parts, strict=True))
    start = np.tile(60 * np.arange(80), 3)
    return Windows(tuple("abcd"), values, label, subject, start, "made up", synthetic=True)


@pytest.mark.parametrize("few", [None, 2])
def test_learned_encrypted_as_in_the_clear(tmp_path: Path, few: int | None) -> None:
    settings = Adaptation(steps=2, rows=16, few=few, rounds=1 if few is None else 2)
    # By the training subjects' scale: their own would hide what is personal.
    protocol = PersonalProtocol(TASK, SMALL, settings, 60, "training", batch=8, timed=1)
    fold = run_personal_fold(people(), "S4", protocol)
    assert fold.answers is not None
    answers = fold.answers
    assert (fold.labelled, fold.unlabelled) == ((16, 0) if few is None else (4, 12))
    assert len(fold.wanted) == 64
    # The same head, but for noise: after each step, and in all answers.
    assert len(answers.costs.steps) == len(fold.curve) - 1 == 2 * settings.rounds
    assert all(0 < step.error < 1e-2 * SPREAD for step in answers.costs.steps)
    np.testing.assert_allclose(answers.curve, fold.curve, atol=0.05)
    assert (answers.polynomial == fold.plaintext).mean() > 0.98
    assert (answers.encrypted == fold.plaintext).mean() > 0.95
    assert answers.costs.ring_dimension >= 4096
    assert answers.general_latency is not None
    assert answers.personal_latency is not None
    assert "ms" in summary(protocol, (fold,))
    windows = people()
    assert "SYNTHETIC" in str(table(windows, protocol, (fold,)).title)
    text = markdown(windows, protocol, (fold,), "the command")
    assert "the command" in text
    assert f"| S4 | {'16' if few is None else '4 + 12'} | 64 |" in text
    write_json(tmp_path / "results.json", windows, protocol, (fold,), "the command")
    assert (tmp_path / "results.json").stat().st_size > 500
    pictures = write_plots(tmp_path, windows, protocol, (fold,))
    assert [picture.name for picture in pictures] == ["subjects.png", "learning.png", "latency.png"]
    assert all(picture.read_bytes().startswith(b"\x89PNG") for picture in pictures)


@pytest.mark.parametrize("few", [None, 3])
@pytest.mark.parametrize("most", [False, True])
def test_made_up_inputs_cover_real_ones(few: int | None, most: bool) -> None:
    """A client refuses what lies outside the range that a step was compiled with."""
    windows, settings = people(), Adaptation(rows=16, few=few)
    if most:  # what is chosen from has no larger steps, and none that rest on fewer windows
        settings = replace(settings, rate=max(RATES), inherited=max(INHERITED), trust=min(TRUSTS))
    classes = windows.label - 1
    model = train(SMALL, windows.values, classes, 2, seed=0)
    start = prepare(model, windows.values, settings)
    user = windows.select(windows.subject == "S4")
    asked_of = user.label - 1
    chosen = split(user, asked_of, 60, few=few)
    found = lesson_values(start, user.values)
    inputs = lesson(found, asked_of, chosen, 2, settings, believer(2, settings))
    made_up = made_up_inputs(6, 2, settings.rows, 64)
    assert list(made_up) == [WEIGHT, BIAS, *inputs]
    heads = zip((WEIGHT, BIAS), learn(start, start.state, inputs, 4)[-1], strict=True)
    for name, array in [*inputs.items(), *((name, part.numpy()) for name, part in heads)]:
        found = made_up[name]
        assert found.shape[1:] == array.shape
        low, high = found.min(axis=0), found.max(axis=0)
        reach = REACH * (high - low)
        assert ((array >= low - reach) & (array <= high + reach)).all(), name
