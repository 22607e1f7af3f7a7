"""One held-out subject: a general model, made personal in the clear and under encryption."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from eer.compiler import CompiledModel

from ..latency import Latency
from ..metrics import accuracy
from ..normalise import with_bounds
from ..training import Recipe
from ..windows import Codes, Task, Windows
from .costs import Costs
from .encrypted import compile_programs, compile_scores, compile_step, latencies, learn_encrypted
from .learning import Adaptation, head_scores, supervised_only, trunk_values
from .user import General, User, trained_without


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
    timed: int = 15
    timed_folds: int = 3
    alone: Adaptation | None = None
    """How a head is learned from the labelled windows alone, to compare with; None: as
    `supervised_only` says."""
    inner: bool = False
    """Settings are chosen for each fold, by inner folds: others than `settings` as well."""
    candidates: tuple[Recipe, ...] = ()
    """Recipes of the same layers that each fold's own is chosen from, likewise; none: `recipe`
    serves every fold."""

    @property
    def tried(self) -> tuple[Recipe, ...]:
        """Recipes that there are to choose from: one, or several."""
        return self.candidates or (self.recipe,)

    def compiled_step(self) -> CompiledModel:
        """The step's program, which is the same for every fold."""
        size, rows = self.recipe.widths[-1], self.settings.rows
        return compile_step(size, len(self.task.labels), rows, self.engine or "")


@dataclass(frozen=True, slots=True, eq=False)
class Encrypted:
    """What was found under encryption: classes [w], and the accuracy before the first step and
    after each [1 + steps], those of all rounds."""

    polynomial: Codes
    encrypted: Codes
    curve: NDArray[np.float64]
    costs: Costs
    general_latency: Latency | None
    personal_latency: Latency | None


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
    """Accuracy in the clear, likewise [1 + steps]."""
    labelled: int
    unlabelled: int
    recipe: Recipe
    settings: Adaptation
    alone: Adaptation
    answers: Encrypted | None


def run_personal_fold(
    windows: Windows,
    subject: str,
    protocol: PersonalProtocol,
    progress: Callable[[str], None] = lambda stage: None,
    step: CompiledModel | None = None,
) -> PersonalFold:
    """Train without `subject`, then learn from the subject's first windows and ask about later
    ones.

    `windows` are those of every subject, as loaded. Nothing of the held-out subject reaches
    training or calibration. `step` is `protocol.compiled_step()`, where there is one already.
    """
    settings, task = protocol.settings, protocol.task
    progress("training")
    general = trained_without(
        windows, (subject,), task, protocol.recipe, protocol.normalisation, protocol.seed
    )
    user = User.of(general.ready, subject, task, protocol.window, settings)
    learner = user.learner(general.start(settings))
    found = [learner.answers(head) for head in learner.heads(settings)]
    alone = protocol.alone or supervised_only(settings)
    learner = user.learner(general.start(alone))
    supervised = learner.answers(learner.heads(alone)[-1])
    answers = None
    if protocol.engine is not None:
        timed = windows.subjects.index(subject) < protocol.timed_folds
        answers = _encrypted(
            general,
            step or protocol.compiled_step(),
            protocol,
            user,
            protocol.timed if timed else 0,
            progress,
        )
    return PersonalFold(
        subject=subject,
        wanted=user.wanted,
        general=found[0],
        supervised=supervised,
        plaintext=found[-1],
        curve=np.array([accuracy(user.wanted, codes) for codes in found]),
        labelled=int(user.chosen.labelled.sum()),
        unlabelled=int(user.chosen.unlabelled.sum()) if settings.few is not None else 0,
        recipe=protocol.recipe,
        settings=settings,
        alone=alone,
        answers=answers,
    )


def _encrypted(
    general: General,
    step: CompiledModel,
    protocol: PersonalProtocol,
    user: User,
    timed: int,
    progress: Callable[[str], None],
) -> Encrypted:
    """Learned and asked under encryption; of `timed` windows alone it says how long they take."""
    labels, settings, engine = protocol.task.labels, protocol.settings, protocol.engine or ""
    start, training = general.start(settings), with_bounds(general.training)
    progress("compiling values and scores")
    programs = compile_programs(
        start, step, training, settings, labels=labels, engine=engine, batch=protocol.batch
    )
    learned = learn_encrypted(
        programs,
        start,
        user.learned_from,
        partial(user.lesson, settings),
        user.later,
        settings,
        progress,
    )
    general_latency = personal_latency = None
    if timed:
        progress("timing one window alone")
        everybodys, own = (
            compile_scores(start, training, heads, labels=labels, engine=engine, batch=1)
            for heads in (None, programs.heads)
        )
        general_latency, personal_latency = latencies(
            everybodys, own, learned.heads[-1], user.later[:timed]
        )
    trunk = trunk_values(start, user.later)
    return Encrypted(
        polynomial=learned.polynomial.argmax(axis=1),
        encrypted=learned.encrypted.argmax(axis=1),
        curve=np.array(
            [
                accuracy(user.wanted, head_scores(head, trunk).argmax(axis=1))
                for head in learned.heads
            ]
        ),
        costs=learned.costs,
        general_latency=general_latency,
        personal_latency=personal_latency,
    )
