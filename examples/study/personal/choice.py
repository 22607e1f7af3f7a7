"""Settings chosen for each held-out subject by inner folds, so that they owe nothing to it.

Two subjects at a time are held out of training. What a head of the one makes of its later windows
counts for the fold that holds out the other, whose own windows were in neither training nor
scoring. All of it is in the clear. What is chosen is the size of a step, how much of the general
head remains, and how its covariance is damped; of pseudo-labels, how much they count, how far they
are sharpened, and how often they are made anew. For labelled windows alone it is chosen apart, so
that what semi-supervised learning is compared with is at its best too; where that is better on the
average over the inner folds than with any weight for others, these get none.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from itertools import chain, product
from pathlib import Path

import numpy as np

from ..inner_folds import Found, kept, pairs
from ..metrics import accuracy
from ..saved import fingerprint
from ..training import Recipe
from ..windows import Windows
from .folds import PersonalProtocol
from .learning import Adaptation, supervised_only
from .user import General, Learner, User, trained_without

RATES = (0.5, 1.0, 2.0, 3.0)
INHERITED = (0.5, 1.0, 2.0)
DAMPINGS = (0.003, 0.01, 0.03, 0.1)
TRUSTS = (0.3, 1.0, 3.0)
TEMPERATURES = (0.2, 0.35)
ROUNDS = (1, 2, 3)

PARTNERS = 7
"""A subject is paired with the so many next to it on either side, round the circle."""


@dataclass(frozen=True, slots=True)
class Choice:
    """What one held-out subject's head is learned by: from all windows, and from the labelled ones
    alone."""

    settings: Adaptation
    alone: Adaptation


def candidates(settings: Adaptation) -> tuple[tuple[Adaptation, ...], tuple[Adaptation, ...]]:
    """What is tried for all windows, and for the labelled ones alone: first what is given, which
    wins where others are no better. The second is empty where all windows have labels."""

    def labelled(given: Adaptation) -> Iterator[Adaptation]:
        for rate, inherited, damping in product(RATES, INHERITED, DAMPINGS):
            yield replace(given, rate=rate, inherited=inherited, damping=damping)

    if settings.few is None:
        return tuple(dict.fromkeys((settings, *labelled(settings)))), ()
    every = (
        replace(settings, rate=rate, inherited=inherited, trust=trust, temperature=t, rounds=n)
        for trust, t, n in product(TRUSTS, TEMPERATURES, ROUNDS)
        for rate, inherited in product(RATES[1:], INHERITED)
    )
    alone = supervised_only(settings)
    return (
        tuple(dict.fromkeys((settings, *every))),
        tuple(dict.fromkeys((alone, *labelled(alone)))),
    )


def choose(
    windows: Windows,
    protocol: PersonalProtocol,
    recipes: Mapping[str, Recipe],
    folder: Path,
    progress: Callable[[str], None] = lambda what: None,
) -> Mapping[str, Choice]:
    """The settings for each subject of `recipes` when it is held out; that is its fold's recipe.

    What an inner fold found is kept in `folder`, and not run again.
    """
    every, alone = candidates(protocol.settings)
    found: dict[str, list[Found]] = {subject: [] for subject in recipes}
    around = list(pairs(windows, PARTNERS, tuple(recipes)))
    for number, pair in enumerate(around, start=1):
        progress(f"choosing settings, {number} of {len(around)}: without {' and '.join(pair)}")
        trained: dict[Recipe, General] = {}
        for fold, scored in (pair, pair[::-1]):
            if fold not in recipes:
                continue
            own = replace(protocol, recipe=recipes[fold], candidates=(), engine=None)
            found[fold].append(
                kept(
                    folder / f"{fold}-{scored}.npz",
                    fingerprint(windows, (own, every, alone)),
                    partial(_judged, windows, pair, scored, own, trained),
                )
            )
    chosen = {}
    for subject, scores in found.items():
        mean = np.mean(scores, axis=0)
        best = (*every, *alone)[int(mean.argmax())]
        other = alone[int(mean[len(every) :].argmax())] if alone else best
        chosen[subject] = Choice(best, other)
    return chosen


def _judged(
    windows: Windows,
    pair: tuple[str, str],
    scored: str,
    protocol: PersonalProtocol,
    trained: dict[Recipe, General],
) -> Found:
    """Accuracies [candidates] on the later windows of `scored`, who is of the pair; `trained` are
    the networks that there are already without the two."""
    recipe = protocol.recipe
    if recipe not in trained:
        trained[recipe] = trained_without(
            windows, pair, protocol.task, recipe, protocol.normalisation, protocol.seed
        )
    general = trained[recipe]
    user = User.of(general.ready, scored, protocol.task, protocol.window, protocol.settings)
    learners: dict[tuple[float, float], Learner] = {}
    found = []
    for settings in chain(*candidates(protocol.settings)):
        start = settings.damping, settings.inherited
        if start not in learners:
            learners[start] = user.learner(general.start(settings))
        learner = learners[start]
        found.append(accuracy(user.wanted, learner.answers(learner.heads(settings)[-1])))
    return np.array(found)
