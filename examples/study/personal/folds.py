"""One held-out subject: a general model, made personal in the clear and under encryption."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from ..metrics import accuracy
from ..normalise import prepared, with_bounds
from ..training import Recipe, train
from ..windows import Codes, Signal, Task, Windows, held_out
from .encrypted import (
    Costs,
    Learned,
    Pace,
    compile_programs,
    compile_scores,
    learn_encrypted,
    paces,
)
from .learning import (
    Adaptation,
    Arrays,
    Start,
    head_scores,
    learn,
    lesson,
    lesson_values,
    prepare,
    supervised_only,
    trunk_values,
)
from .split import Split, split


@dataclass(frozen=True, slots=True)
class PersonalProtocol:
    """What is run on every fold."""

    task: Task
    recipe: Recipe
    settings: Adaptation
    window: float
    """Seconds of a window: later ones must not overlap those that are learned from."""
    normalisation: str = "subject"
    seed: int = 0
    engine: str | None = "seal"
    """None: in the clear only."""
    batch: int = 16
    timed: int = 5
    timed_folds: int = 3


@dataclass(frozen=True, slots=True, eq=False)
class Encrypted:
    """What was found under encryption: classes [w] and the accuracy after each step [steps + 1]."""

    polynomial: Codes
    encrypted: Codes
    curve: NDArray[np.float64]
    costs: Costs
    general_pace: Pace | None
    personal_pace: Pace | None


@dataclass(frozen=True, slots=True, eq=False)
class PersonalFold:
    """Classes [w] of one subject's later windows."""

    subject: str
    wanted: Codes
    general: Codes
    supervised: Codes
    """By a head that learned in the clear, with the labelled windows alone."""
    plaintext: Codes
    """By the head that learned in the clear."""
    curve: NDArray[np.float64]
    """Accuracy in the clear after each step [steps + 1]."""
    labelled: int
    unlabelled: int
    answers: Encrypted | None


def run_personal_fold(
    windows: Windows,
    subject: str,
    protocol: PersonalProtocol,
    progress: Callable[[str], None] = lambda stage: None,
) -> PersonalFold:
    """Train without `subject`, then learn from the subject's first windows and ask about later
    ones.

    `windows` are those of every subject, as loaded. Nothing of the held-out subject reaches
    training or calibration.
    """
    settings, task = protocol.settings, protocol.task
    classes, count = task.classes(windows), len(task.labels)
    others, own = held_out(windows, subject)
    training = others & (classes >= 0)
    ready = prepared(windows, protocol.normalisation, training)
    progress("training")
    model = train(protocol.recipe, ready.values[training], classes[training], count, protocol.seed)
    start = prepare(model, ready.values[training], settings)
    chosen, lesson_of = _lessons(ready.select(own), classes[own], protocol)
    values = ready.select(own).values
    heads = learn(start, lesson_of(lesson_values(start, values)), settings.steps)
    later, wanted = values[chosen.later], classes[own][chosen.later]
    found = [head_scores(head, trunk_values(start, later)).argmax(axis=1) for head in heads]
    alone = supervised_only(settings)
    _, alone_of = _lessons(ready.select(own), classes[own], protocol, alone)
    least = prepare(model, ready.values[training], alone)
    head = learn(least, alone_of(lesson_values(least, values)), alone.steps)[-1]
    supervised = head_scores(head, trunk_values(least, later)).argmax(axis=1)
    answers = None
    if protocol.engine is not None:
        lessons = []
        for other in windows.subjects:
            mask = windows.subject == other
            if other != subject:
                _, theirs = _lessons(ready.select(mask), classes[mask], protocol)
                lessons.append(theirs(lesson_values(start, ready.values[mask])))
        timed = windows.subjects.index(subject) < protocol.timed_folds
        answers = _encrypted(
            start,
            protocol,
            protocol.engine,
            with_bounds(ready.values[training]),
            lessons,
            (values, chosen, wanted),
            lesson_of,
            protocol.timed if timed else 0,
            progress,
        )
    return PersonalFold(
        subject=subject,
        wanted=wanted,
        general=found[0],
        supervised=supervised,
        plaintext=found[-1],
        curve=np.array([accuracy(wanted, codes) for codes in found]),
        labelled=int(chosen.labelled.sum()),
        unlabelled=int(chosen.unlabelled.sum()) if settings.few is not None else 0,
        answers=answers,
    )


def _lessons(
    own: Windows, classes: Codes, protocol: PersonalProtocol, settings: Adaptation | None = None
) -> tuple[Split, Callable[[Signal], Arrays]]:
    """A subject's split, and what the step is given once the trunk's values are there."""
    used = settings or protocol.settings
    parts = protocol.task.parts(own)
    chosen = split(own, classes, protocol.window, share=used.share, few=used.few, parts=parts)
    count = len(protocol.task.labels)
    return chosen, partial(_lesson, classes=classes, chosen=chosen, count=count, settings=used)


def _lesson(
    values: Signal, classes: Codes, chosen: Split, count: int, settings: Adaptation
) -> Arrays:
    return lesson(values, classes, chosen, count, settings)


def _encrypted(
    start: Start,
    protocol: PersonalProtocol,
    engine: str,
    training: Signal,
    lessons: list[Arrays],
    user: tuple[Signal, Split, Codes],
    lesson_of: Callable[[Signal], Arrays],
    timed: int,
    progress: Callable[[str], None],
) -> Encrypted:
    labels, steps = protocol.task.labels, protocol.settings.steps
    values, chosen, wanted = user
    later = values[chosen.later]
    progress("compiling values, step and scores")
    programs = compile_programs(
        start, training, lessons, steps=steps, labels=labels, engine=engine, batch=protocol.batch
    )
    learned: Learned = learn_encrypted(programs, start, values, lesson_of, later, steps, progress)
    general_pace = personal_pace = None
    if timed:
        progress("timing one window alone")
        general, personal = (
            compile_scores(start, training, heads, labels=labels, engine=engine, batch=1)
            for heads in (None, programs.heads)
        )
        general_pace, personal_pace = paces(general, personal, learned.heads[-1], later[:timed])
    trunk = trunk_values(start, later)
    return Encrypted(
        polynomial=learned.polynomial.argmax(axis=1),
        encrypted=learned.encrypted.argmax(axis=1),
        curve=np.array(
            [accuracy(wanted, head_scores(head, trunk).argmax(axis=1)) for head in learned.heads]
        ),
        costs=learned.costs,
        general_pace=general_pace,
        personal_pace=personal_pace,
    )
