"""From a general network to a personal head: what a server prepares, and the steps in the clear.

The steps in the clear are the reference for the encrypted ones: the same module, in double
precision.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from copy import deepcopy
from dataclasses import dataclass, replace
from functools import cache

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from ..windows import Codes, Mask, Signal
from .head import (
    HeadStep,
    LessonValues,
    PersonalScores,
    PseudoLabels,
    Trunk,
    centred,
)
from .split import Split

Arrays = Mapping[str, NDArray[np.float64]]

Head = tuple[Tensor, Tensor]
"""Weight [k, m] and bias [k]."""

Believe = Callable[[Signal], tuple[Signal, Signal]]
"""From the general head's scores of windows without labels [w, k] to what they are taught as:
targets [w, k] and confidences [w, 1]."""


@dataclass(frozen=True, slots=True)
class Adaptation:
    """How a personal head is learned."""

    steps: int = 4
    rate: float = 2.0
    """Size of a step; 1 would correct windows that have nothing in common at once. It is made
    smaller for users whose windows have so much in common that it would overshoot."""
    inherited: float = 1.0
    """What the general head is multiplied by before the first step: how much of it remains, for
    the scores that learning aims at stay the same."""
    damping: float = 0.01
    """Added to the covariance, as a share of its mean diagonal, before it is inverted."""
    rows: int = 48
    """Windows in a step; fewer are filled up, of more a sample is taken."""
    share: float = 0.2
    """Part of each condition, its first, that is learned from."""
    few: int | None = None
    """Windows of each condition that keep their labels; None: all of the share, and no others."""
    rounds: int = 1
    """Times that pseudo-labels are made and `steps` steps learned from them: first from the general
    head's scores, then from those of the head as it has become."""
    trust: float = 3.0
    """Importance of all windows without labels together, against that of those with labels."""
    temperature: float = 0.35
    """What scores of root mean square 1 are divided by before the softmax that the sharpening
    cubic stands for."""


SPREAD = 20.0
"""Distance between the scores of the right class and of another that learning aims at."""

FEWER = 4.0
"""Steps from few labelled windows alone are so many times smaller: larger ones overfit."""

REACH = 2.0
"""Largest score of the general head, in root mean squares, that the sharpening cubic is good for;
beyond, it bends back."""


def supervised_only(settings: Adaptation) -> Adaptation:
    """The same with the labelled windows alone."""
    if settings.few is None:
        return settings
    return replace(settings, trust=0.0, rate=settings.rate / FEWER, rounds=1)


@dataclass(frozen=True, slots=True, eq=False)
class Start:
    """What the server has before the first step: modules in double precision."""

    scores: PersonalScores
    """With the general head, its scores centred."""
    values: LessonValues
    step: HeadStep

    @property
    def state(self) -> Head:
        """The head to start from."""
        head = self.scores.head
        return head.weight.detach(), head.bias.detach()


def prepare(model: nn.Module, training: Signal, settings: Adaptation) -> Start:
    """Cut a trained network before its last layer and make the step that fits it.

    `training` are the windows of the training subjects [w, ...]: their covariance tells which
    directions of the trunk's values vary anyway.
    """
    layers = deepcopy(model.get_submodule("layers")).double().eval()
    assert isinstance(layers, nn.Sequential)
    last = layers[-1]
    assert isinstance(last, nn.Linear)
    trunk = Trunk(layers[:-1], torch.zeros(last.in_features, dtype=torch.float64))
    with torch.no_grad():
        given = torch.as_tensor(training, dtype=torch.float64)
        last.weight.mul_(_evened_out(layers, trunk(given)))
        values = trunk(given)
        trunk.mean.copy_(values.mean(dim=0))
        values = values - trunk.mean
        head = centred(last)
        head.bias.add_(head.weight @ trunk.mean)
        precondition = _bias_rate(last.in_features) * _whitening(values, settings.damping)
        general = deepcopy(head)
        size = general(values).square().mean().sqrt()
        for part in general.parameters():
            part.div_(size)
        for part in head.parameters():
            part.mul_(settings.inherited)
    scores = PersonalScores(trunk, head).eval()
    values_of = LessonValues(trunk, precondition, general).eval()
    return Start(scores, values_of, step_for(last.in_features))


def step_for(size: int) -> HeadStep:
    """The step for `size` values: the same for every user and every trunk, with pseudo-labels and
    without, and whatever the settings."""
    return HeadStep(_bias_rate(size)).eval()


def _bias_rate(size: int) -> float:
    """The step for the bias that a `rate` of 1 stands for: the mean square of whitened values is
    `size`, whoever they are of, and the bias adds 1."""
    return 1 / (1 + size)


def pseudo_labels_for(classes: int, settings: Adaptation) -> PseudoLabels | None:
    """What makes pseudo-labels of so many classes, the same for every user; None without `few`."""
    if settings.few is None:
        return None
    cubic = SPREAD * _sharpening(classes, settings.temperature)
    return PseudoLabels(cubic, classes / (classes - 1) / SPREAD**2).eval()


def lesson(
    values: Signal,
    classes: Codes,
    chosen: Split,
    count: int,
    settings: Adaptation,
    believe: Believe,
) -> Arrays:
    """One user's inputs of the step, by name: what the client encrypts.

    `values` [w, 2 m + k] are what `LessonValues` makes of the user's windows, `classes` [w] their
    classes, `count` is the number of classes, `believe` makes the pseudo-labels.
    Labelled windows have as much importance together as a step is large, or share it with those
    without labels, which have theirs times their confidence. Those without are left out where the
    general head's scores are beyond REACH. All count less where a step would overshoot.
    """
    size = (values.shape[1] - count) // 2
    labelled = _sample(chosen.labelled, settings.rows)
    unlabelled = np.zeros(0, dtype=np.int64)
    total = 1.0
    if settings.few is not None:
        total += settings.trust
        believable = np.abs(values[:, 2 * size :]).max(axis=1) <= REACH
        unlabelled = _sample(chosen.unlabelled & believable, settings.rows - len(labelled))
    rows = np.concatenate([labelled, unlabelled])
    targets, importance = (np.zeros((settings.rows, n)) for n in (count, 1))
    targets[: len(labelled)] = SPREAD * (np.eye(count)[classes[labelled]] - 1 / count)
    importance[: len(labelled)] = settings.rate / len(labelled) / total
    if len(unlabelled):
        pseudo = slice(len(labelled), len(rows))
        targets[pseudo], confidence = believe(values[unlabelled, 2 * size :])
        weight = settings.rate * settings.trust / total
        importance[pseudo] = weight / len(unlabelled) * confidence
    # Windows of no importance fill up: the first one again, for it lies in the calibrated range.
    filled = np.concatenate([rows, np.repeat(rows[:1], settings.rows - len(rows))])
    own, directions, _ = np.split(values[filled], (size, 2 * size), axis=1)
    importance *= _held_back(own, directions, importance)
    return {"values": own, "directions": directions, "targets": targets, "importance": importance}


def _held_back(values: Signal, directions: Signal, importance: Signal) -> float:
    """What `importance` [n, 1] is to be multiplied by for no step to overshoot: 1 at most.

    A step multiplies the residuals by 1 - G diag(importance), where G = values directions^T and
    the step for the bias. It overshoots where that has an eigenvalue below 0.
    """
    root = np.sqrt(np.clip(importance, 0, None))
    curvature = values @ directions.T + _bias_rate(values.shape[1])
    largest = float(np.linalg.eigvalsh(root * curvature * root.T)[-1])
    return 1 / max(largest, 1.0)


def looked_at_again(values: Signal, scores: Signal) -> Signal:
    """`values` as `lesson` takes them for the next round: a personal head's scores [w, k] stand for
    the general one's, of root mean square 1 where a window has reached its target, and at most
    REACH."""
    count = scores.shape[1]
    size = SPREAD * np.sqrt(count - 1) / count
    return np.hstack([values[:, :-count], np.clip(scores / size, -REACH, REACH)])


def believer(classes: int, settings: Adaptation) -> Believe:
    """`Believe` in the clear."""
    made = pseudo_labels_for(classes, settings)

    def believe(general: Signal) -> tuple[Signal, Signal]:
        assert made is not None
        with torch.no_grad():
            targets, confidence = made(torch.as_tensor(general, dtype=torch.float64))
        return np.asarray(targets.numpy()), np.asarray(confidence.numpy())

    return believe


def trunk_values(start: Start, windows: Signal) -> Signal:
    """The trunk's values [w, m] of windows [w, ...], in the clear."""
    return _applied(start.scores.trunk, windows)


def lesson_values(start: Start, windows: Signal) -> Signal:
    """What a step needs of windows [w, ...], in the clear: [w, 2 m + k]."""
    return _applied(start.values, windows)


def _applied(module: nn.Module, windows: Signal) -> Signal:
    with torch.no_grad():
        found: Tensor = module(torch.as_tensor(windows, dtype=torch.float64))
    return np.asarray(found.numpy())


def learn(start: Start, head: Head, inputs: Arrays, steps: int) -> list[Head]:
    """The head after each step, in the clear."""
    given = [torch.as_tensor(array, dtype=torch.float64) for array in inputs.values()]
    heads = [head]
    with torch.no_grad():
        for _ in range(steps):
            heads.append(start.step(*heads[-1], *given))
    return heads[1:]


def head_scores(head: Head, values: Signal) -> Signal:
    """Scores [w, k] by a head, of the trunk's values [w, m]."""
    weight, bias = (part.numpy() for part in head)
    return np.asarray(values @ weight.T + bias)


def _evened_out(layers: nn.Sequential, values: Tensor) -> Tensor:
    """Give the trunk's values deviation 1 each, by the normalisation before the last square, and
    return what they were divided by [m]: noise is absolute under encryption, so values of one size
    lose least to it."""
    norms = [part for part in layers.modules() if isinstance(part, nn.BatchNorm1d)]
    if not norms:
        return torch.ones(values.shape[1], dtype=values.dtype)
    deviation = values.std(dim=0).clamp_min(1e-3)
    for part in (norms[-1].weight, norms[-1].bias):
        part.div_(deviation.sqrt())
    return deviation


def _whitening(values: Tensor, damping: float) -> Tensor:
    """The inverse covariance [m, m] of centred `values`, damped."""
    covariance = values.T @ values / len(values)
    damped = covariance + damping * covariance.diagonal().mean() * torch.eye(len(covariance))
    inverse: Tensor = torch.linalg.inv(damped)
    return inverse


@cache
def _sharpening(classes: int, temperature: float) -> Tensor:
    """Coefficients of u, u^2 and u^3, by least squares, to softmax(u / temperature) - 1 / k for
    scores u of root mean square 1 that are more or less sure of a class."""
    rng = torch.Generator().manual_seed(0)
    eye = torch.eye(classes, dtype=torch.float64) - 1 / classes
    sure = 1.6 * torch.rand((600, 1), generator=rng, dtype=torch.float64)
    noise = 0.3 * torch.randn((600, classes), generator=rng, dtype=torch.float64)
    u = classes**0.5 * sure * eye.repeat(600 // classes + 1, 1)[:600]
    u = u + noise - noise.mean(dim=1, keepdim=True)
    wanted = torch.softmax(u / temperature, dim=1) - 1 / classes
    powers = torch.stack([u.flatten() ** n for n in (1, 2, 3)], dim=1)
    found: Tensor = torch.linalg.lstsq(powers, wanted.flatten()[:, None]).solution
    return found[:, 0]


def _sample(mask: Mask, most: int) -> NDArray[np.int64]:
    """Rows of the mask, evenly spread where there are more than `most`."""
    rows = np.flatnonzero(mask)
    if len(rows) <= most:
        return rows
    return rows[np.linspace(0, len(rows) - 1, most).round().astype(np.int64)]
