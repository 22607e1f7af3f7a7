"""One user's head, learned and asked under encryption: client and server in one process.

The server has the trunk in plaintext and the head as ciphertexts. Between two steps the client
makes fresh ciphertexts of the head, and before the first of what the trunk makes of the windows to
learn from: it sees values of its own windows, not the weights that made them. What windows without
labels are taught as is made before the steps, from the general head's scores of them or, in a later
round, from the personal one's, and is refreshed likewise. Labels leave the client as ciphertexts
only; the server sees no label, and none of those it makes.
"""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter

import numpy as np
import torch
from torch import nn

from eer.compiler import CompiledModel, Options, compile_model
from eer.runtime.personal import PersonalModel
from eer.runtime.personalise import StepReport, personalise

from ..encrypted import TOLERANCE
from ..latency import Latency, ask, middle
from ..windows import Signal
from .costs import Costs, StepCost
from .head import BIAS, STATE, WEIGHT
from .learning import (
    Adaptation,
    Arrays,
    Believe,
    Head,
    Start,
    learn,
    looked_at_again,
    pseudo_labels_for,
    step_for,
)
from .made_up import made_up_inputs, made_up_scores
from .party import Party

HEAD_TOLERANCE = 5e-3
"""The same for an encrypted head, whose made-up examples are no network's: noise may be a quarter
of this share of the scores, where those of two classes are to lie SPREAD apart."""

SAMPLES = 64
"""Made-up inputs that a step, and pseudo-labels, are compiled with."""

REACH = 2.0
"""How far outside the made-up range a step's inputs may lie, in widths of it: a step has no
interval of approximation to leave, and what lies far out only has to fit the modulus."""

LessonOf = Callable[[Signal, Believe], Arrays]
"""From what `LessonValues` makes of a user's windows [w, 2 m + k] to the inputs of a step."""


@dataclass(frozen=True, slots=True, eq=False)
class Programs:
    """What is compiled for one general model; nothing in it is of the user."""

    values: CompiledModel
    pseudo_labels: CompiledModel | None
    """None where every window that is learned from has a label."""
    step: CompiledModel
    scores: CompiledModel
    """With the head encrypted; `batch` windows in one message."""
    heads: Arrays
    """Examples of heads [samples, ...] by name, made up."""


@dataclass(frozen=True, slots=True, eq=False)
class Learned:
    """What came of it."""

    heads: list[Head]
    """The head before the first step and after each, as the client decrypted it."""
    polynomial: Signal
    """Scores [w, k] by the compiled programs in exact arithmetic, learning included."""
    encrypted: Signal
    """Scores [w, k] of encrypted windows by the encrypted head."""
    costs: Costs


def compile_step(size: int, classes: int, rows: int, engine: str) -> CompiledModel:
    """The step: one program for all users and all trunks with so many values, and all settings with
    so many `rows`."""
    return compile_model(
        _single(step_for(size)),
        made_up_inputs(size, classes, rows, SAMPLES),
        options=Options(engine=engine, state=STATE, effort="low"),
    )


def compile_programs(
    start: Start,
    step: CompiledModel,
    windows: Signal,
    settings: Adaptation,
    *,
    labels: tuple[str, ...],
    engine: str,
    batch: int,
) -> Programs:
    """Compile what depends on one general model, or on its user's settings, to go with the `step`;
    `windows` [w, ...] are training windows."""
    values = compile_model(
        _single(start.values),
        {"window": windows},
        options=Options(engine=engine, batch=batch, tolerance=TOLERANCE),
    )
    classes, size = start.scores.head.weight.shape
    pseudo_labels, sharpener = None, pseudo_labels_for(classes, settings)
    if sharpener is not None:
        pseudo_labels = compile_model(
            _single(sharpener),
            {"general": made_up_scores(classes, SAMPLES)},
            options=Options(engine=engine, batch=batch),
        )
    made_up = made_up_inputs(size, classes, settings.rows, SAMPLES)
    heads = {name: made_up[name] for name in (WEIGHT, BIAS)}
    scores = compile_scores(start, windows, heads, labels=labels, engine=engine, batch=batch)
    return Programs(values, pseudo_labels, step, scores, heads)


def compile_scores(
    start: Start,
    windows: Signal,
    heads: Arrays | None,
    *,
    labels: tuple[str, ...],
    engine: str,
    batch: int,
) -> CompiledModel:
    """Scores of windows: by an encrypted head, given examples of `heads`, or by the general one."""
    calibration: dict[str, Signal] = {"window": windows}
    if heads is not None:
        turns = np.arange(len(windows))
        calibration |= {name: array[turns % len(array)] for name, array in heads.items()}
    options = Options(
        engine=engine,
        batch=batch,
        labels=labels,
        tolerance=TOLERANCE if heads is None else HEAD_TOLERANCE,
        encrypt_weights=() if heads is None else (WEIGHT, BIAS),
    )
    return compile_model(_single(start.scores), calibration, options=options)


def learn_encrypted(
    programs: Programs,
    start: Start,
    learned_from: Signal,
    lesson_of: LessonOf,
    asked: Signal,
    settings: Adaptation,
    progress: Callable[[str], None] = lambda what: None,
) -> Learned:
    """Teach a head with `learned_from` [w, ...] and ask it about `asked` [w, ...]."""
    progress("making keys")
    values, scores = Party.of(programs.values), Party.of(programs.scores)
    step = Party.of(programs.step, REACH)
    sharpener = None if programs.pseudo_labels is None else Party.of(programs.pseudo_labels)
    parties = [party for party in (values, sharpener, step, scores) if party is not None]
    progress("the trunk's values")
    begun = perf_counter()
    (found,) = values.answers(learned_from)
    values_seconds, pseudo_seconds = perf_counter() - begun, 0.0

    def believe(general: Signal) -> tuple[Signal, Signal]:
        nonlocal pseudo_seconds
        assert sharpener is not None
        progress("pseudo-labels")
        begun = perf_counter()
        targets, confidence = sharpener.answers(general)
        pseudo_seconds += perf_counter() - begun
        return targets, confidence

    expected, reports = [start.state], list[StepReport]()
    with TemporaryDirectory(prefix="eer-personal-") as folder:
        personal = PersonalModel.create(
            Path(folder) / "user",
            step.client.initial_state(_named(start.state), (scores.client,)),
            step=step.server,
            inference=scores.server,
        )
        for number in range(settings.rounds):
            if number:
                begun = perf_counter()
                (own,) = scores.answers(learned_from, personal.run)
                found = looked_at_again(found, own)
                pseudo_seconds += perf_counter() - begun
            inputs = lesson_of(found, believe)
            expected.extend(learn(start, expected[-1], inputs, settings.steps))
            reports += personalise(
                step.client,
                personal,
                (inputs,),
                len(expected) - 1,
                others=(scores.client,),
                expected=lambda done: _named(expected[done]),
                progress=lambda report: progress(f"step {report.step}"),
            )
        progress(f"asking about {len(asked)} encrypted windows")
        (encrypted,) = scores.answers(asked, personal.run)
    params = programs.step.client.params
    costs = Costs(
        values_seconds=values_seconds,
        pseudo_seconds=pseudo_seconds,
        steps=tuple(
            StepCost(r.server_seconds, r.client_seconds, r.bytes_up, r.bytes_down, r.error or 0.0)
            for r in reports
        ),
        ring_dimension=params.ring_dimension,
        levels=params.max_level,
        log_qp=params.log_qp,
        key_bytes=sum(party.key_bytes for party in parties),
    )
    heads = [start.state]
    heads += [(torch.as_tensor(r.state[WEIGHT]), torch.as_tensor(r.state[BIAS])) for r in reports]
    polynomial = _exact(programs, start, lesson_of, learned_from, asked, settings)
    return Learned(heads, polynomial, encrypted, costs)


def latencies(
    general: CompiledModel, personal: CompiledModel, head: Head, windows: Signal
) -> tuple[Latency, Latency]:
    """How fast the general and the personal model answer one window alone, taken in turns."""
    one, other = Party.of(general), Party.of(personal)
    own = other.server.load_state(other.client.encrypt_state(_named(head)))
    found: tuple[list[Latency], list[Latency]] = ([], [])
    # The first window only warms up: the server encodes the weights when they are first used.
    for window in (windows[0], *windows):
        found[0].append(ask(one.client, one.server, window).latency)
        found[1].append(ask(other.client, other.server, window, own).latency)
    return middle(found[0][1:]), middle(found[1][1:])


def _exact(
    programs: Programs,
    start: Start,
    lesson_of: LessonOf,
    learned_from: Signal,
    asked: Signal,
    settings: Adaptation,
) -> Signal:
    """The same on the compiled graphs, without encryption: scores [w, k]."""

    def believe(general: Signal) -> tuple[Signal, Signal]:
        assert programs.pseudo_labels is not None
        targets, confidence = programs.pseudo_labels.plaintext({"general": general}).values()
        return targets, confidence

    (values,) = programs.values.plaintext({"window": learned_from}).values()
    state = _named(start.state)

    def scores(windows: Signal) -> Signal:
        (found,) = programs.scores.plaintext({"window": windows} | state).values()
        return found

    for number in range(settings.rounds):
        if number:
            values = looked_at_again(values, scores(learned_from))
        inputs = {name: a[np.newaxis] for name, a in lesson_of(values, believe).items()}
        for _ in range(settings.steps):
            found = programs.step.plaintext(state | inputs)
            state = {name: found[output][0] for output, name in STATE.items()}
    return scores(asked)


def _named(head: Head) -> dict[str, Signal]:
    return {WEIGHT: np.asarray(head[0].numpy()), BIAS: np.asarray(head[1].numpy())}


def _single(module: nn.Module) -> nn.Module:
    """A copy in single precision, as files of networks have it."""
    return deepcopy(module).float().eval()
