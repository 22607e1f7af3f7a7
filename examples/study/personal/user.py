"""One held-out user: the windows to learn a head from and those to test it on, and learning in the
clear."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from torch import nn

from ..normalise import prepared
from ..training import Recipe, train
from ..windows import Codes, Signal, Task, Windows, held_out
from .learning import (
    Adaptation,
    Arrays,
    Believe,
    Head,
    Start,
    believer,
    head_scores,
    learn,
    lesson,
    lesson_values,
    looked_at_again,
    prepare,
    trunk_values,
)
from .split import Split, split


@dataclass(frozen=True, slots=True, eq=False)
class General:
    """A general network, and the windows of the subjects that it was trained on [w, ...]."""

    model: nn.Module
    training: Signal
    ready: Windows
    """Everybody's windows, normalised."""

    def start(self, settings: Adaptation) -> Start:
        return prepare(self.model, self.training, settings)


def trained_without(
    windows: Windows, subjects: tuple[str, ...], task: Task, recipe: Recipe, scale: str, seed: int
) -> General:
    """Train on the others' windows; nothing of `subjects` reaches training. `scale` is the
    normalisation."""
    classes = task.classes(windows)
    others, _ = held_out(windows, *subjects)
    training = others & (classes >= 0)
    ready = prepared(windows, scale, training)
    values = ready.values[training]
    model = train(recipe, values, classes[training], len(task.labels), seed)
    return General(model, values, ready)


@dataclass(frozen=True, slots=True, eq=False)
class User:
    """The windows of one subject, normalised, as a head's learning takes them."""

    learned_from: Signal
    """With labels and without [w, ...]."""
    classes: Codes
    """Of those [w], or -1."""
    chosen: Split
    """Of those."""
    later: Signal
    """Tested on [v, ...]."""
    wanted: Codes
    """Classes of those [v]."""
    count: int
    """Classes that there are."""

    @staticmethod
    def of(ready: Windows, subject: str, task: Task, window: float, settings: Adaptation) -> User:
        """`window` is how long one is, in seconds."""
        own = ready.select(ready.subject == subject)
        classes = task.classes(own)
        chosen = split(
            own,
            classes,
            window,
            share=settings.share,
            few=settings.few,
            parts=task.parts(own),
        )
        learned, later = chosen.learned, chosen.later
        return User(
            own.values[learned],
            classes[learned],
            chosen.of(learned),
            own.values[later],
            classes[later],
            len(task.labels),
        )

    def lesson(self, settings: Adaptation, values: Signal, believe: Believe) -> Arrays:
        """From what `LessonValues` makes of `learned_from` to the inputs of a step."""
        return lesson(values, self.classes, self.chosen, self.count, settings, believe)

    def learner(self, start: Start) -> Learner:
        """What `start` makes of the windows, in the clear."""
        return Learner(
            self,
            start,
            lesson_values(start, self.learned_from),
            trunk_values(start, self.learned_from),
            trunk_values(start, self.later),
        )


@dataclass(frozen=True, slots=True, eq=False)
class Learner:
    """A user who learns in the clear, from one start, by whatever settings fit it."""

    user: User
    start: Start
    lessons: Signal
    """Of `learned_from` [w, 2 m + k], as `LessonValues` makes them."""
    learned_from: Signal
    """The trunk's values [w, m]."""
    later: Signal
    """Likewise [v, m]."""

    def heads(self, settings: Adaptation) -> list[Head]:
        """The head before the first step and after each."""
        values, heads = self.lessons, [self.start.state]
        believe = believer(self.user.count, settings)
        for number in range(settings.rounds):
            if number:
                values = looked_at_again(values, head_scores(heads[-1], self.learned_from))
            inputs = self.user.lesson(settings, values, believe)
            heads += learn(self.start, heads[-1], inputs, settings.steps)
        return heads

    def answers(self, head: Head) -> Codes:
        """Classes [v] of the later windows."""
        return np.asarray(head_scores(head, self.later).argmax(axis=1))
