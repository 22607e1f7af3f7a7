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
from .costs import Costs, Pace
from .encrypted import (
    LessonOf,
    SharedPrograms,
    compile_programs,
    compile_scores,
    compile_shared,
    learn_encrypted,
    paces,
)
from .learning import (
    Adaptation,
    Start,
    believed,
    head_scores,
    learn,
    lesson,
    lesson_values,
    prepare,
    supervised_only,
    trunk_values,
)
from .split import split


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

    def shared_programs(self) -> SharedPrograms:
        """The programs that are the same for every fold."""
        size = self.recipe.hidden[-1] * self.recipe.members
        return compile_shared(
            size, len(self.task.labels), self.settings, self.engine or "", self.batch
        )


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
    shared: SharedPrograms | None = None,
) -> PersonalFold:
    """Train without `subject`, then learn from the subject's first windows and ask about later
    ones.

    `windows` are those of every subject, as loaded. Nothing of the held-out subject reaches
    training or calibration. `shared` is `protocol.shared_programs()`, where they are there already.
    """
    settings, task = protocol.settings, protocol.task
    classes, count = task.classes(windows), len(task.labels)
    others, own = held_out(windows, subject)
    training = others & (classes >= 0)
    ready = prepared(windows, protocol.normalisation, training)
    progress("training")
    model = train(protocol.recipe, ready.values[training], classes[training], count, protocol.seed)
    start = prepare(model, ready.values[training], settings)
    user, asked_of = ready.select(own), classes[own]
    chosen = split(
        user,
        asked_of,
        protocol.window,
        share=settings.share,
        few=settings.few,
        parts=task.parts(user),
    )
    learned, later, wanted = chosen.learned, user.values[chosen.later], asked_of[chosen.later]
    lesson_of = partial(
        lesson,
        classes=asked_of[learned],
        chosen=chosen.of(learned),
        count=count,
        settings=settings,
    )
    in_the_clear = lesson_of(
        lesson_values(start, user.values[learned]), believe=partial(believed, start)
    )
    heads = learn(start, in_the_clear, settings.steps)
    found = [head_scores(head, trunk_values(start, later)).argmax(axis=1) for head in heads]
    alone = supervised_only(settings)
    least = prepare(model, ready.values[training], alone)
    inputs = lesson_of(
        lesson_values(least, user.values[learned]), settings=alone, believe=partial(believed, least)
    )
    head = learn(least, inputs, alone.steps)[-1]
    supervised = head_scores(head, trunk_values(least, later)).argmax(axis=1)
    answers = None
    if protocol.engine is not None:
        timed = windows.subjects.index(subject) < protocol.timed_folds
        answers = _encrypted(
            start,
            shared or protocol.shared_programs(),
            protocol,
            with_bounds(ready.values[training]),
            (user.values[learned], later, wanted),
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


def _encrypted(
    start: Start,
    shared: SharedPrograms,
    protocol: PersonalProtocol,
    training: Signal,
    user: tuple[Signal, Signal, Codes],
    lesson_of: LessonOf,
    timed: int,
    progress: Callable[[str], None],
) -> Encrypted:
    """`user` has the windows to learn from, those to be asked about, and their classes."""
    labels, settings, engine = protocol.task.labels, protocol.settings, protocol.engine or ""
    learned_from, later, wanted = user
    progress("compiling values and scores")
    programs = compile_programs(
        start, shared, training, settings, labels=labels, engine=engine, batch=protocol.batch
    )
    learned = learn_encrypted(
        programs, start, learned_from, lesson_of, later, settings.steps, progress
    )
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
