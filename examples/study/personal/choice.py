"""Settings chosen for each held-out subject by inner folds, so that they owe nothing to it.

Two subjects at a time are held out of training. What a head of the one makes of its later windows
counts for the fold that holds out the other, whose own windows were in neither training nor
scoring. All of it is in the clear. What is chosen is how much windows without labels count, how far
their scores are sharpened, and how often that is done anew; and the size of a step from the
labelled windows alone, so that what semi-supervised learning is compared with is at its best too.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from itertools import product
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from eer.runtime.errors import DataError

from ..metrics import accuracy
from ..saved import fingerprint
from ..windows import Windows
from .folds import PersonalProtocol
from .learning import Adaptation, pseudo_labels_for, supervised_only
from .user import User, trained_without

TRUSTS = (0.5, 1.0, 2.0, 3.0, 6.0)
TEMPERATURES = (0.2, 0.35, 0.6, 1.0)
ROUNDS = (1, 2, 3)
ALONE = (0.25, 0.5, 1.0, 2.0)

PARTNERS = 7
"""A subject is paired with the so many next to it on either side, round the circle."""


def candidates(settings: Adaptation) -> tuple[tuple[Adaptation, ...], tuple[Adaptation, ...]]:
    """What is tried for all windows, and for the labelled ones alone: first what is given, which
    wins where others are no better."""
    pseudo = [
        replace(settings, trust=trust, temperature=temperature, rounds=rounds)
        for trust, temperature, rounds in product(TRUSTS, TEMPERATURES, ROUNDS)
    ]
    alone = [replace(settings, alone=size) for size in ALONE]
    return tuple(dict.fromkeys((settings, *pseudo))), tuple(dict.fromkeys((settings, *alone)))


def choose(
    windows: Windows,
    protocol: PersonalProtocol,
    subjects: tuple[str, ...],
    folder: Path,
    progress: Callable[[str], None] = lambda what: None,
) -> Mapping[str, Adaptation]:
    """The settings for each of `subjects` when it is held out.

    What an inner fold found is kept in `folder`, and not run again.
    """
    if len(windows.subjects) < 3:
        raise DataError(
            "inner folds take at least three subjects",
            where=windows.source,
            hint="put the other subjects' recordings beside these, or give --fixed",
        )
    found: dict[str, list[NDArray[np.float64]]] = {subject: [] for subject in subjects}
    mark = fingerprint(windows, (replace(protocol, engine=None), candidates(protocol.settings)))
    pairs = [pair for pair in _pairs(windows.subjects) if set(pair) & set(subjects)]
    for number, pair in enumerate(pairs, start=1):
        progress(f"choosing settings, {number} of {len(pairs)}: {' and '.join(pair)}")
        for fold, scores in zip(pair, _judged(windows, pair, protocol, folder, mark), strict=True):
            if fold in found:
                found[fold].append(scores)
    every, alone = candidates(protocol.settings)
    chosen = {}
    for subject, scores in found.items():
        mean = np.mean(scores, axis=0)
        best = every[int(mean[: len(every)].argmax())]
        chosen[subject] = replace(best, alone=alone[int(mean[len(every) :].argmax())].alone)
    return chosen


def _judged(
    windows: Windows, pair: tuple[str, str], protocol: PersonalProtocol, folder: Path, mark: str
) -> NDArray[np.float64]:
    """Accuracies of all candidates [2, candidates] for the fold of either of the pair, on the
    other's later windows: from `folder`, or computed and kept there."""
    path = folder / f"{'-'.join(pair)}.npz"
    if path.exists():
        with np.load(path, allow_pickle=False) as kept:
            if str(kept["mark"]) == mark:
                return np.asarray(kept["scores"])
    general = trained_without(
        windows, pair, protocol.task, protocol.recipe, protocol.normalisation, protocol.seed
    )
    every, alone = candidates(protocol.settings)
    tried = [*every, *map(supervised_only, alone)]
    # Only the size of a step is in what is prepared; pseudo-labels are put in below.
    starts = {size: general.start(replace(alone[0], rate=size)) for size in {t.rate for t in tried}}
    scores = []
    for scored in pair[::-1]:
        user = User.of(general.ready, scored, protocol.task, protocol.window, protocol.settings)
        row = []
        for settings in tried:
            pseudo_labels = pseudo_labels_for(user.count, settings)
            start = replace(starts[settings.rate], pseudo_labels=pseudo_labels)
            row.append(accuracy(user.wanted, user.learn(start, settings)[-1]))
        scores.append(row)
    result = np.array(scores)
    folder.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_suffix(".part")
    with unfinished.open("wb") as file:
        np.savez(file, scores=result, mark=np.array(mark))
    unfinished.replace(path)
    return result


def _pairs(subjects: tuple[str, ...]) -> Iterator[tuple[str, str]]:
    """Each pair of subjects that are at most `PARTNERS` apart, once."""
    count = len(subjects)
    for first in range(count):
        for second in range(first + 1, count):
            if min(second - first, count - second + first) <= PARTNERS:
                yield subjects[first], subjects[second]
