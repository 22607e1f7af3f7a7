"""One held-out user: the windows to learn a head from and those to test it on, and learning in the
clear."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

from torch import nn

from ..normalise import prepared
from ..training import Recipe, train
from ..windows import Codes, Signal, Task, Windows, held_out
from .learning import (
    Adaptation,
    Arrays,
    Believe,
    Start,
    believed,
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

    def learn(self, start: Start, settings: Adaptation) -> list[Codes]:
        """Classes of `later` before the first step and after each, all in the clear."""
        values, trunk = lesson_values(start, self.learned_from), trunk_values(start, self.later)
        own, heads = trunk_values(start, self.learned_from), [start.state]
        for number in range(settings.rounds):
            if number:
                values = looked_at_again(values, head_scores(heads[-1], own), settings)
            inputs = self.lesson(settings, values, partial(believed, start))
            heads += learn(start, heads[-1], inputs, settings.steps)
        return [head_scores(head, trunk).argmax(axis=1) for head in heads]
