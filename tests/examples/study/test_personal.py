"""Personal heads: what is learned from, the steps against autograd, and what is kept of a run."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from eer.runtime.errors import DataError
from examples.study.latency import Latency, Stages
from examples.study.personal.costs import Costs, StepCost
from examples.study.personal.folds import Encrypted, PersonalFold
from examples.study.personal.head import HeadStep, centred
from examples.study.personal.learning import (
    REACH,
    SPREAD,
    Adaptation,
    believer,
    head_scores,
    learn,
    lesson,
    lesson_values,
    looked_at_again,
    prepare,
    pseudo_labels_for,
    supervised_only,
    trunk_values,
)
from examples.study.personal.report import by_subject, p_value
from examples.study.personal.saved import save_personal_fold, saved_personal_fold
from examples.study.personal.split import split
from examples.study.training import Recipe, scores, train
from examples.study.windows import Codes, Signal, Windows

N, M, K = 6, 5, 3


def session(lengths: dict[int, int], rng: np.random.Generator) -> tuple[Windows, Codes]:
    """Windows of 60 s every 10 s, one condition after the other; condition 4 has no class."""
    label = np.concatenate([np.full(n, condition) for condition, n in lengths.items()])
    start = np.concatenate(
        [10 * np.arange(n) + 10_000 * condition for condition, n in lengths.items()]
    )
    order = rng.permutation(len(label))
    label, start = label[order], start[order]
    values = rng.normal(size=(len(label), 2))
    subject = np.full(len(label), "S2")
    windows = Windows(("a", "b"), values, label, subject, start, "made up")
    return windows, np.where(label == 4, -1, label - 1)


class TestSplit:
    @given(
        lengths=st.lists(st.integers(20, 60), min_size=2, max_size=3),
        share=st.floats(0.1, 0.4),
        few=st.none() | st.integers(1, 5),
    )
    def test_later_windows_overlap_none_that_is_learned_from(
        self, lengths: list[int], share: float, few: int | None
    ) -> None:
        made = dict(enumerate(lengths, start=1)) | {4: 7}
        windows, classes = session(made, np.random.default_rng(0))
        found = split(windows, classes, 60, share=share, few=few)
        learned = found.labelled | found.unlabelled
        assert not (learned & found.later).any()
        assert not (found.labelled & found.unlabelled).any()
        assert (classes[found.labelled] >= 0).all()
        assert (classes[found.later] >= 0).all()
        first = windows.start[learned & (classes >= 0)]
        apart = np.abs(windows.start[found.later][:, None] - first)
        assert apart.min() >= 60
        for condition, count in enumerate(lengths, start=1):
            own = windows.label == condition
            assert (learned & own).sum() == int(np.ceil(share * count))
            # The first ones, in time.
            assert windows.start[learned & own].max() < windows.start[own & ~learned].min()
            if few is not None:
                assert (found.labelled & own).sum() == min(few, int(np.ceil(share * count)))
        assert (found.unlabelled & (classes < 0)).any() == (few is not None)

    def test_a_recording_too_short_is_an_error(self) -> None:
        windows, classes = session({1: 6, 2: 6}, np.random.default_rng(0))
        with pytest.raises(DataError, match="no window is left"):
            split(windows, classes, 60)


def arrays(seed: int) -> dict[str, Tensor]:
    torch.manual_seed(seed)
    given = {"weight": (K, M), "bias": (K,), "values": (N, M), "targets": (N, K)}
    found = {name: torch.randn(shape, dtype=torch.float64) for name, shape in given.items()}
    found["importance"] = torch.rand((N, 1), dtype=torch.float64)
    found["root"] = torch.randn((M, M), dtype=torch.float64)
    return found


@pytest.mark.parametrize("seed", range(3))
def test_a_step_is_preconditioned_descent_by_autograd(seed: int) -> None:
    a = arrays(seed)
    weight, bias = a["weight"].requires_grad_(), a["bias"].requires_grad_()
    found = a["values"] @ weight.T + bias
    loss = 0.5 * (a["importance"] * (found - a["targets"]) ** 2).sum()
    slope = torch.autograd.grad(loss, (weight, bias))
    precondition = 0.1 * a["root"] @ a["root"].T
    step = HeadStep(0.3)
    with torch.no_grad():
        directions = a["values"] @ precondition
        moved = step(weight, bias, a["values"], directions, a["targets"], a["importance"])
        torch.testing.assert_close(moved[0], weight - slope[0] @ precondition)
        torch.testing.assert_close(moved[1], bias - 0.3 * slope[1])


@pytest.mark.parametrize("classes", [2, 3])
def test_pseudo_labels_stand_for_a_softmax(classes: int) -> None:
    settings = Adaptation(few=3)
    made = pseudo_labels_for(classes, settings)
    assert made is not None
    rng = np.random.default_rng(0)
    # Scores that are more or less sure of class 0, of root mean square 1.
    sure = np.linspace(0.2, 1.4, 30)[:, None] * (np.eye(classes)[0] - 1 / classes) * classes**0.5
    scores = torch.as_tensor(sure + rng.normal(0, 0.02, sure.shape))
    scores -= scores.mean(1, keepdim=True)
    targets, confidence = made(scores)
    softmax = torch.softmax(scores / settings.temperature, 1)
    assert (targets / SPREAD + 1 / classes - softmax).abs().max() < 0.15
    assert confidence.shape == (30, 1)
    assert (confidence >= 0).all()
    # From hardly any to all of it, and never much more.
    assert confidence[0] < 0.4 < 0.9 < confidence.max() < 1.3
    assert pseudo_labels_for(classes, Adaptation()) is None


@pytest.mark.parametrize("classes", [2, 3])
def test_later_rounds_take_the_personal_head_for_the_general_one(classes: int) -> None:
    values = np.arange(3.0 * (4 + classes)).reshape(3, -1)
    targets = SPREAD * (np.eye(classes)[[0, 1, 0]] - 1 / classes)
    found = looked_at_again(values, targets)
    np.testing.assert_array_equal(found[:, :4], values[:, :4])
    np.testing.assert_allclose((found[:, 4:] ** 2).mean(axis=1), 1.0)
    # What has gone beyond its target still teaches.
    assert np.abs(looked_at_again(values, 100 * targets)[:, 4:]).max() == REACH


def test_centred_scores_name_the_same_classes() -> None:
    torch.manual_seed(0)
    head, values = nn.Linear(M, K), torch.randn(20, M)
    with torch.no_grad():
        found, wanted = centred(head)(values), head(values)
    torch.testing.assert_close(found, wanted - wanted.mean(1, keepdim=True))


def people(shift: float) -> tuple[Signal, Codes]:
    """600 windows whose class is the sign of a sum; for one user it is shifted."""
    rng = np.random.default_rng(0)
    values = rng.normal(size=(600, 4))
    return values, (values.sum(axis=1) > shift).astype(np.int64)


@pytest.fixture(scope="module")
def model() -> nn.Module:
    values, classes = people(0.0)
    return train(Recipe(hidden=(12,), epochs=15, batch=100), values, classes, 2, seed=0)


def test_the_start_is_the_general_model(model: nn.Module) -> None:
    values, _ = people(0.0)
    start = prepare(model, values, Adaptation())
    found = head_scores(start.state, trunk_values(start, values))
    difference = np.diff(scores(model, values), axis=1)
    np.testing.assert_allclose(np.diff(found, axis=1), difference, rtol=1e-4, atol=1e-4)
    trunk = trunk_values(start, values)
    assert np.abs(trunk.mean(axis=0)).max() < 1e-9
    np.testing.assert_allclose(trunk.std(axis=0, ddof=1), 1.0)
    less = prepare(model, values, Adaptation(inherited=0.5))
    np.testing.assert_allclose(head_scores(less.state, trunk), 0.5 * found)
    np.testing.assert_allclose(lesson_values(less, values), lesson_values(start, values))


@pytest.mark.parametrize("few", [None, 12])
def test_a_user_who_differs_is_learned(model: nn.Module, few: int | None) -> None:
    settings = Adaptation(few=few, rows=120)
    start = prepare(model, people(0.0)[0], settings)
    values, classes = people(1.0)
    label, start_of = classes + 1, 60 * np.arange(600)
    subject = np.full(600, "S2")
    windows = Windows(tuple("abcd"), values, label, subject, start_of, "made up")
    chosen = split(windows, classes, 60, few=few)
    trunk = trunk_values(start, values)
    found = lesson_values(start, values)
    inputs = lesson(found, classes, chosen, 2, settings, believer(2, settings))
    assert {array.shape[0] for array in inputs.values()} == {settings.rows}
    weighed = inputs["importance"].sum()
    # Windows without labels count by their confidence.
    careful = lesson(found, classes, chosen, 2, replace(settings, rate=0.1), believer(2, settings))
    weighed = careful["importance"].sum() / 0.1
    assert weighed == pytest.approx(1.0) if few is None else 0.5 < weighed <= 1.1
    heads = [start.state, *learn(start, start.state, inputs, settings.steps)]
    right = [
        (head_scores(head, trunk[chosen.later]).argmax(1) == classes[chosen.later]).mean()
        for head in (heads[0], heads[-1])
    ]
    assert right[1] > right[0] + 0.02


@pytest.mark.parametrize("rate", [0.1, 2.0, 50.0])
def test_no_step_overshoots(model: nn.Module, rate: float) -> None:
    """However large a step is asked for, the loss falls with each."""
    values, classes = people(1.0)
    settings = Adaptation(few=None, rate=rate, rows=20)
    start = prepare(model, values, settings)
    windows = Windows(
        *(tuple("abcd"), 8 * values, classes + 1, np.full(600, "S2"), 60 * np.arange(600), "made")
    )
    chosen = split(windows, classes, 60)
    found = lesson_values(start, 8 * values)
    inputs = lesson(found, classes, chosen, 2, settings, believer(2, settings))
    losses = []
    for weight, bias in [start.state, *learn(start, start.state, inputs, 6)]:
        residual = inputs["values"] @ weight.numpy().T + bias.numpy() - inputs["targets"]
        losses.append(float((inputs["importance"] * residual**2).sum()))
    assert (np.diff(losses) < 0).all()


def test_without_trust_windows_without_labels_count_for_nothing(model: nn.Module) -> None:
    settings = supervised_only(Adaptation(few=5))
    values, classes = people(1.0)
    start = prepare(model, people(0.0)[0], settings)
    rng = np.random.default_rng(0)
    windows, classes = session({1: 60, 2: 60}, rng)
    windows = windows.with_values(np.tile(windows.values, 2)[:, :2])
    chosen = split(windows, classes, 60, few=5)
    found = lesson_values(start, values[: len(classes)])
    changed = np.where(chosen.unlabelled[:, None], 3 * found, found)
    believe = believer(2, settings)
    one, other = (
        learn(start, start.state, lesson(t, classes, chosen, 2, settings, believe), 2)[-1]
        for t in (found, changed)
    )
    torch.testing.assert_close(one, other)
    assert supervised_only(Adaptation()) == Adaptation()


LATENCY = Latency(Stages(1.0, 2.0, 3.0), Stages(1.5, 2.5, 3.5))


def a_fold(encrypted: bool) -> PersonalFold:
    answers = None
    if encrypted:
        cost = StepCost(1.0, 0.5, 10, 20, 1e-4)
        answers = Encrypted(
            np.array([0, 1]),
            np.array([0, 0]),
            np.array([0.5, 1.0]),
            Costs(2.0, 0.5, (cost, cost), 8192, 3, 214.0, 1000),
            LATENCY,
            None,
        )
    wanted, general, supervised, plaintext = map(np.array, ([0, 1], [1, 1], [1, 0], [0, 1]))
    curve = np.array([0.5, 1.0])
    recipe, settings = Recipe(hidden=(7,), dropout=(0.1, 0.2)), Adaptation(few=2)
    alone = supervised_only(settings)
    return PersonalFold(
        *("S2", wanted, general, supervised, plaintext, curve, 2, 3),
        *(recipe, settings, alone, answers),
    )


@pytest.mark.parametrize("encrypted", [False, True])
def test_a_fold_is_kept_as_it_is(tmp_path: Path, encrypted: bool) -> None:
    fold = a_fold(encrypted)
    save_personal_fold(tmp_path, fold, "mark")
    assert saved_personal_fold(tmp_path, "S2", "another") is None
    assert saved_personal_fold(tmp_path, "S3", "mark") is None
    found = saved_personal_fold(tmp_path, "S2", "mark")
    assert found is not None
    for name in ("wanted", "general", "supervised", "plaintext", "curve"):
        np.testing.assert_array_equal(getattr(found, name), getattr(fold, name))
    assert (found.labelled, found.unlabelled, found.recipe) == (2, 3, fold.recipe)
    assert (found.settings, found.alone) == (fold.settings, fold.alone)
    if fold.answers is None:
        assert found.answers is None
    else:
        assert found.answers is not None
        assert found.answers.costs == fold.answers.costs
        assert found.answers.costs.update_seconds == 5.5
        assert found.answers.general_latency == LATENCY
        assert found.answers.personal_latency is None
        np.testing.assert_array_equal(found.answers.encrypted, fold.answers.encrypted)
    (tmp_path / "S2.npz").write_bytes(b"PK")
    with pytest.raises(DataError, match="cannot be read"):
        saved_personal_fold(tmp_path, "S2", "mark")


def test_ways_are_compared_subject_by_subject() -> None:
    fold = a_fold(encrypted=True)
    assert by_subject((fold,), "general") == [0.5]
    assert by_subject((fold,), "plaintext") == [1.0]
    assert p_value((fold,) * 15, "plaintext", "general") < 1e-3
    assert p_value((fold,) * 15, "plaintext", "polynomial") == 1.0
