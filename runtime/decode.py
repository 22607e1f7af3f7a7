"""From decrypted scores to probabilities and labels."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from .errors import UsageError
from .model import OutputSpec
from .program import Vector
from .release import DIGITS, MAX_DIGITS, Arrays, Release, ReleasePolicy, check_policy, rounded

Classes = NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class Prediction:
    """What a model says about some windows, by the names of its outputs.

    `outputs[name]` is float64 [windows, *shape], as the original model returns it (an argmax lacks
    its axis and is int64). Where an output is a choice between classes, `classes[name]` holds
    their numbers, `labels[name]` their names (or numbers as text), and `probabilities[name]` the
    probabilities: the model's own where it ends in softmax, log-softmax or sigmoid, else the
    softmax of its scores, which is what they mean to a model trained with cross entropy. `states`
    names outputs that are the next state of a personal model; no policy releases them.

    All this is for the client's own eyes. What is sent on goes through `release`.
    """

    windows: int
    outputs: Mapping[str, Vector | Classes]
    probabilities: Mapping[str, Vector] = field(default_factory=dict)
    classes: Mapping[str, Classes] = field(default_factory=dict)
    labels: Mapping[str, NDArray[np.str_]] = field(default_factory=dict)

    states: frozenset[str] = frozenset()

    def release(
        self,
        policy: ReleasePolicy = "labels",
        *,
        digits: int | None = None,
        accept_key_risk: bool = False,
    ) -> Release:
        """What may leave the client.

        "labels": the classes that were chosen, and their names. "rounded": those, and
        probabilities (or, where there are no classes, the values) with `digits` decimal places.
        "raw": everything as it was decrypted, which together with the ciphertexts can give away
        the secret key (see `runtime/release.py`), so that it has to be asked for with
        `accept_key_risk=True`. Raises UsageError.
        """
        check_policy(policy)
        if digits is not None and (policy != "rounded" or not 0 <= digits <= MAX_DIGITS):
            raise UsageError(
                f"digits is {digits} for the release policy '{policy}'",
                hint=f"give 0 to {MAX_DIGITS} digits, for rounded values only",
            )
        open_names = [n for n in self.outputs if n not in self.states]
        choices: dict[str, Arrays] = {
            "labels": {n: self.labels[n] for n in open_names if n in self.labels},
            "classes": {n: self.classes[n] for n in open_names if n in self.classes},
        }
        if policy == "labels":
            if not choices["classes"]:
                raise UsageError(
                    "no output is a choice between classes, so there are no labels to release",
                    hint="release rounded values",
                )
            return Release(policy, self.windows, choices)
        if policy == "rounded":
            places = DIGITS if digits is None else digits
            shares = {n: rounded(self.probabilities[n], places) for n in choices["classes"]}
            values = {n: rounded(self.outputs[n], places) for n in open_names if n not in shares}
            content: dict[str, Arrays] = {**choices, "probabilities": shares, "outputs": values}
            return Release(policy, self.windows, content)
        if not accept_key_risk:
            raise UsageError(
                "raw values were to be released: together with the ciphertexts they can give away "
                "the secret key (ia.cr/2020/1533)",
                hint="release labels or rounded values; if whoever gets them never sees a "
                "ciphertext, say accept_key_risk=True",
            )
        everything: dict[str, Arrays] = {
            "outputs": {n: self.outputs[n] for n in open_names},
            "probabilities": {n: self.probabilities[n] for n in choices["classes"]},
        }
        return Release(policy, self.windows, {**everything, **choices})


def softmax(scores: Vector, axis: int) -> Vector:
    """exp(x) / sum(exp(x)) along `axis`, without overflow."""
    result: Vector = np.exp(log_softmax(scores, axis))
    return result


def log_softmax(scores: Vector, axis: int) -> Vector:
    """log(softmax(x)) along `axis`, without overflow."""
    shifted = scores - scores.max(axis=axis, keepdims=True)
    result: Vector = shifted - np.log(np.exp(shifted).sum(axis=axis, keepdims=True))
    return result


def sigmoid(scores: Vector) -> Vector:
    """1 / (1 + exp(-x)), without overflow."""
    small = np.exp(-np.abs(scores))
    return np.where(scores >= 0, 1.0, small) / (1.0 + small)


def decode(scores: Mapping[str, Vector], specs: tuple[OutputSpec, ...], windows: int) -> Prediction:
    """Apply each output's `post` to its decrypted values [windows, *shape]."""
    outputs: dict[str, Vector | Classes] = {}
    probabilities: dict[str, Vector] = {}
    classes: dict[str, Classes] = {}
    for spec in specs:
        raw = scores[spec.name]
        axis = spec.axis + 1 if spec.axis >= 0 else spec.axis
        outputs[spec.name] = _post(raw, spec, axis)
        if spec.post == "sigmoid" or _is_binary_score(spec):
            probabilities[spec.name] = sigmoid(raw)
            classes[spec.name] = _sigmoid_classes(raw, spec, axis)
        elif spec.shape and (spec.post != "none" or spec.labels):
            probabilities[spec.name] = softmax(raw, axis)
            classes[spec.name] = _largest(raw, axis)
    labels = {s.name: _names(classes[s.name], s) for s in specs if s.name in classes}
    states = frozenset(s.name for s in specs if s.state)
    return Prediction(windows, outputs, probabilities, classes, labels, states)


def _post(raw: Vector, spec: OutputSpec, axis: int) -> Vector | Classes:
    match spec.post:
        case "softmax":
            return softmax(raw, axis)
        case "log_softmax":
            return log_softmax(raw, axis)
        case "sigmoid":
            return sigmoid(raw)
        case "argmax":
            return _largest(raw, axis)
        case _:
            return raw


def _sigmoid_classes(raw: Vector, spec: OutputSpec, axis: int) -> Classes:
    """Each element a yes or no of its own, but the largest wins where there is a label for each."""
    if spec.shape and spec.shape[spec.axis] == len(spec.labels) > 1:
        return _largest(raw, axis)
    return (raw >= 0).astype(np.int64)


def _is_binary_score(spec: OutputSpec) -> bool:
    """One score for two named classes: what a model trained with a binary loss returns."""
    return spec.post == "none" and spec.shape == (1,) and len(spec.labels) == 2


def _largest(raw: Vector, axis: int) -> Classes:
    result: Classes = np.argmax(raw, axis=axis).astype(np.int64)
    return result


def _names(classes: Classes, spec: OutputSpec) -> NDArray[np.str_]:
    count = int(classes.max(initial=0)) + 1
    names = [spec.labels[i] if i < len(spec.labels) else str(i) for i in range(count)]
    return np.asarray(names, np.str_)[classes]
