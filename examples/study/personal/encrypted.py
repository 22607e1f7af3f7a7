"""One user's head, learned and asked under encryption: client and server in one process.

The server has the trunk in plaintext and the head as ciphertexts. Between two steps the client
makes fresh ciphertexts of the head, and before the first of what the trunk makes of the windows to
learn from: it sees values of its own windows, not the weights that made them. Labels leave it as
ciphertexts only, and pseudo-labels are never decrypted.
"""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from time import perf_counter

import numpy as np
import torch
from torch import Tensor, nn

from eer.compiler import CompiledModel, Options, compile_model
from eer.runtime.client import Client
from eer.runtime.inputs import RANGE_SHARE
from eer.runtime.personal import PersonalModel
from eer.runtime.personalise import personalise
from eer.runtime.server import Server

from ..encrypted import TOLERANCE
from ..windows import Signal
from .head import BIAS, STATE, WEIGHT
from .learning import Adaptation, Arrays, Start, learn, made_up_inputs, step_for

SAMPLES = 64
"""Made-up inputs that a step is compiled with."""

REACH = 2.0
"""How far outside the made-up range a step's inputs may lie, in widths of it: a step has no
interval of approximation to leave, and what lies far out only has to fit the modulus."""

LessonOf = Callable[[Signal], Arrays]
"""From the trunk's values of a user's windows [w, m] to the inputs of a step."""


@dataclass(frozen=True, slots=True, eq=False)
class Programs:
    """What is compiled for one general model; nothing in it is of the user."""

    values: CompiledModel
    step: CompiledModel
    scores: CompiledModel
    """With the head encrypted; `batch` windows in one message."""
    heads: Arrays
    """Examples of heads [samples, ...] by name, made up."""


@dataclass(frozen=True, slots=True)
class StepCost:
    """One step: seconds at the server and at the client, and bytes that travelled."""

    server: float
    client: float
    up: int
    down: int
    error: float
    """Largest difference of the head from the same step's in the clear."""


@dataclass(frozen=True, slots=True)
class Costs:
    """What learning under encryption took."""

    values_seconds: float
    """The trunk's values of all windows to learn from, encryption and decryption included."""
    steps: tuple[StepCost, ...]
    ring_dimension: int
    levels: int
    log_qp: float
    key_bytes: int
    """Evaluation keys of the three programs together, sent once."""

    @property
    def update_seconds(self) -> float:
        """A whole update: the values and all steps."""
        return self.values_seconds + sum(step.server + step.client for step in self.steps)

    def to_json(self) -> dict[str, object]:
        return asdict(self) | {"update_seconds": self.update_seconds}


@dataclass(frozen=True, slots=True, eq=False)
class Learned:
    """What came of it."""

    heads: list[tuple[Tensor, Tensor]]
    """The head before the first step and after each, as the client decrypted it."""
    polynomial: Signal
    """Scores [w, k] by the compiled programs in exact arithmetic, learning included."""
    encrypted: Signal
    """Scores [w, k] of encrypted windows by the encrypted head."""
    costs: Costs


@dataclass(frozen=True, slots=True)
class Pace:
    """Milliseconds for one window alone, medians: encryption, server, decryption."""

    encrypt: float
    run: float
    decrypt: float

    @property
    def total(self) -> float:
        return self.encrypt + self.run + self.decrypt


def compile_step(size: int, classes: int, settings: Adaptation, engine: str) -> CompiledModel:
    """The step: one program for all users and all trunks with so many values."""
    return compile_model(
        _single(step_for(size, classes, settings)),
        made_up_inputs(size, classes, settings, SAMPLES),
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
    """Compile values and scores for one general model; `windows` [w, ...] are training windows."""
    values = compile_model(
        _single(start.values),
        {"window": windows},
        options=Options(engine=engine, batch=batch, tolerance=TOLERANCE),
    )
    weight = start.scores.head.weight
    made_up = made_up_inputs(weight.shape[1], weight.shape[0], settings, SAMPLES)
    heads = {name: made_up[name] for name in (WEIGHT, BIAS)}
    scores = compile_scores(start, windows, heads, labels=labels, engine=engine, batch=batch)
    return Programs(values, step, scores, heads)


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
        tolerance=TOLERANCE,
        encrypt_weights=() if heads is None else (WEIGHT, BIAS),
    )
    return compile_model(_single(start.scores), calibration, options=options)


def learn_encrypted(
    programs: Programs,
    start: Start,
    learned_from: Signal,
    lesson_of: LessonOf,
    asked: Signal,
    steps: int,
    progress: Callable[[str], None] = lambda what: None,
) -> Learned:
    """Teach a head with `learned_from` [w, ...] and ask it about `asked` [w, ...]."""
    progress("making keys")
    three = (programs.values, programs.step, programs.scores)
    first, step, scores = (
        Client(program.client, range_share=share)
        for program, share in zip(three, (RANGE_SHARE, REACH, RANGE_SHARE), strict=True)
    )
    keys = [client.generate_keys().evaluation for client in (first, step, scores)]
    servers = [Server(program.server, key) for program, key in zip(three, keys, strict=True)]
    progress("the trunk's values")
    begun = perf_counter()
    values = _answers(first, servers[0].run, learned_from)
    values_seconds = perf_counter() - begun
    inputs = lesson_of(values)
    expected = learn(start, inputs, steps)
    with TemporaryDirectory(prefix="eer-personal-") as folder:
        personal = PersonalModel.create(
            Path(folder) / "user",
            step.initial_state(_named(start.state), (scores,)),
            step=servers[1],
            inference=servers[2],
        )
        reports = personalise(
            step,
            personal,
            (inputs,),
            steps,
            others=(scores,),
            expected=lambda number: _named(expected[number]),
            progress=lambda report: progress(f"step {report.step} of {steps}"),
        )
        progress(f"asking about {len(asked)} encrypted windows")
        encrypted = _answers(scores, personal.run, asked)
    params = programs.step.client.params
    costs = Costs(
        values_seconds=values_seconds,
        steps=tuple(
            StepCost(r.server_seconds, r.client_seconds, r.bytes_up, r.bytes_down, r.error or 0.0)
            for r in reports
        ),
        ring_dimension=params.ring_dimension,
        levels=params.max_level,
        log_qp=params.log_qp,
        key_bytes=sum(map(len, keys)),
    )
    heads = [start.state]
    heads += [(torch.as_tensor(r.state[WEIGHT]), torch.as_tensor(r.state[BIAS])) for r in reports]
    polynomial = _exact(programs, start, lesson_of, learned_from, asked, steps)
    return Learned(heads, polynomial, encrypted, costs)


def paces(
    general: CompiledModel, personal: CompiledModel, head: tuple[Tensor, Tensor], windows: Signal
) -> tuple[Pace, Pace]:
    """How fast the general and the personal model answer one window alone, taken in turns."""
    clients = [Client(model.client) for model in (general, personal)]
    servers = [
        Server(model.server, client.generate_keys().evaluation)
        for model, client in zip((general, personal), clients, strict=True)
    ]
    state = servers[1].load_state(clients[1].encrypt_state(_named(head)))
    times: tuple[list[tuple[float, ...]], ...] = ([], [])
    # The first window only warms up: the server encodes the weights when they are first used.
    for window in (windows[0], *windows):
        for number, (client, server) in enumerate(zip(clients, servers, strict=True)):
            at = [perf_counter()]
            question = client.encrypt({"window": window[np.newaxis]})
            at.append(perf_counter())
            answer = server.run(question, state=state) if number else server.run(question)
            at.append(perf_counter())
            client.decrypt(answer)
            at.append(perf_counter())
            times[number].append(tuple(np.diff(at)))
    found = [
        Pace(*(1e3 * median(stage) for stage in zip(*taken[1:], strict=True))) for taken in times
    ]
    return found[0], found[1]


def _exact(
    programs: Programs,
    start: Start,
    lesson_of: LessonOf,
    learned_from: Signal,
    asked: Signal,
    steps: int,
) -> Signal:
    """The same on the compiled graphs, without encryption: scores [w, k]."""
    values = next(iter(programs.values.plaintext({"window": learned_from}).values()))
    inputs, state = lesson_of(values), _named(start.state)
    for _ in range(steps):
        found = programs.step.plaintext(state | {n: a[np.newaxis] for n, a in inputs.items()})
        state = {name: found[output][0] for output, name in STATE.items()}
    scores = programs.scores.plaintext({"window": asked} | state)
    return next(iter(scores.values()))


def _answers(client: Client, run: Callable[[bytes], bytes], windows: Signal) -> Signal:
    """The only output's values [w, ...] of all windows, encrypted on the way."""
    name = client.model.outputs[0].name
    answers = [client.decrypt(run(m)) for m in client.encrypt_all({"window": windows})]
    return np.concatenate([np.asarray(answer.outputs[name]) for answer in answers])


def _named(head: tuple[Tensor, Tensor]) -> dict[str, Signal]:
    return {WEIGHT: np.asarray(head[0].numpy()), BIAS: np.asarray(head[1].numpy())}


def _single(module: nn.Module) -> nn.Module:
    """A copy in single precision, as files of networks have it."""
    return deepcopy(module).float().eval()
