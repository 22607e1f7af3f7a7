"""The networks learn, repeatably; what is exported is what was trained."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from torch import nn

from eer.compiler.frontend import export_torch
from eer.runtime.errors import UsageError
from examples.study.models import Square
from examples.study.training import RANGE, Recipe, scores, train
from examples.study.windows import Codes, Signal

RECIPES = {
    "linear": Recipe(hidden=(), epochs=25, batch=25),
    "mlp": Recipe(hidden=(16,), epochs=25, batch=25),
    "deep": Recipe(hidden=(16, 8), epochs=25, batch=25),
    "cnn": Recipe("cnn", hidden=(8, 8), epochs=5, batch=25),
}

CNN = Recipe("cnn", hidden=(6,), epochs=2, batch=25)


def problem(recipe: Recipe, *, linear: bool = True) -> tuple[Signal, Codes]:
    """300 windows; the class shows in a mean, or else in a spread that no linear map sees."""
    rng = np.random.default_rng(0)
    classes = rng.integers(0, 2, 300)
    values = rng.normal(0, 1, (300, 4, 120) if recipe.model == "cnn" else (300, 6))
    far = classes.reshape(-1, *[1] * (values.ndim - 1))
    return (values + 2.0 * far if linear else values * (1 + 1.5 * far)), classes


@pytest.mark.parametrize("name", RECIPES)
def test_training_learns_and_repeats(name: str) -> None:
    recipe = RECIPES[name]
    values, classes = problem(recipe)
    first = train(recipe, values[:200], classes[:200], 2, seed=1)
    again = train(recipe, values[:200], classes[:200], 2, seed=1)
    other = train(recipe, values[:200], classes[:200], 2, seed=2)
    found = scores(first, values[200:])
    np.testing.assert_array_equal(found, scores(again, values[200:]))
    assert (found != scores(other, values[200:])).any()
    assert (found.argmax(axis=1) == classes[200:]).mean() > 0.95


@pytest.mark.parametrize(("name", "low", "high"), [("linear", 0.3, 0.7), ("mlp", 0.8, 1.0)])
def test_squares_see_what_a_linear_model_cannot(name: str, low: float, high: float) -> None:
    recipe = RECIPES[name]
    values, classes = problem(recipe, linear=False)
    model = train(recipe, values[:200], classes[:200], 2, seed=0)
    assert low <= (scores(model, values[200:]).argmax(axis=1) == classes[200:]).mean() <= high


@pytest.mark.parametrize(("name", "classes"), [("linear", 2), ("mlp", 3), ("deep", 2), ("cnn", 3)])
def test_the_exported_model_is_the_trained_one(tmp_path: Path, name: str, classes: int) -> None:
    recipe = RECIPES[name]
    values, labels = problem(recipe)
    model = train(recipe, values, labels, classes, seed=0)
    path = tmp_path / "model.onnx"
    example = torch.as_tensor(values[:2], dtype=torch.float32)
    onnx.save(export_torch(model, example, input_names=["window"]), str(path))
    session = onnxruntime.InferenceSession(str(path))
    for count in (1, 7):
        found = session.run(None, {"window": values[:count].astype(np.float32)})[0]
        assert found.shape == (count, classes)
        np.testing.assert_allclose(found, scores(model, values[:count]), rtol=1e-4, atol=1e-4)


def test_the_range_penalty_holds_arguments_back() -> None:
    values, classes = problem(RECIPES["mlp"])
    values[::10] *= 6  # outliers, which leave the range
    free, held = (
        _excess(
            train(replace(RECIPES["mlp"], range_penalty=penalty), values, classes, 2, 0), values
        )
        for penalty in (0.0, 10.0)
    )
    assert free > 0.01
    assert held < 0.5 * free


def _excess(model: nn.Module, values: Signal) -> float:
    """Mean square of what the squares' arguments exceed their range by."""
    seen: list[float] = []

    def note(_: nn.Module, given: tuple[torch.Tensor]) -> None:
        seen.append(float(torch.relu(given[0].abs() - RANGE).square().mean()))

    squares = [part for part in model.modules() if isinstance(part, Square)]
    handles = [square.register_forward_pre_hook(note) for square in squares]
    scores(model, values)
    for handle in handles:
        handle.remove()
    return sum(seen)


def test_a_trained_model_carries_no_hooks() -> None:
    values, classes = problem(RECIPES["mlp"])
    model = train(RECIPES["mlp"], values, classes, 2, seed=0)
    assert not any(part._forward_pre_hooks for part in model.modules())


@pytest.mark.parametrize("name", ["mlp", "cnn"])
def test_merged_members_answer_with_the_mean_of_their_scores(name: str) -> None:
    recipe = {"mlp": Recipe(hidden=(6,), epochs=3, batch=25), "cnn": CNN}[name]
    values, classes = problem(recipe)
    # Members of one recipe have the seeds that three trainings in a row would have.
    apart = [train(recipe, values, classes, 2, seed) for seed in (3, 4, 5)]
    whole = train(replace(recipe, members=3), values, classes, 2, seed=1)
    mean = np.mean([scores(model, values) for model in apart], axis=0)
    np.testing.assert_allclose(scores(whole, values), mean, rtol=1e-4, atol=1e-5)
    assert not np.allclose(scores(apart[0], values), mean, atol=1e-3)


def test_deep_networks_are_not_merged() -> None:
    with pytest.raises(UsageError, match="2 hidden layers"):
        Recipe(hidden=(8, 8), members=2)
