"""Windows through a real client and a real server, timed stage by stage."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import median
from time import perf_counter, process_time
from typing import Any

import numpy as np

from eer.runtime.bundle import Bundle
from eer.runtime.client import Client
from eer.runtime.engine import Engine
from eer.runtime.engines import open_engine
from eer.runtime.pool import ServerPool
from eer.runtime.server import HeldState, Server
from eer.runtime.server_bundle import server_to_bytes

from .clock import on_gpu
from .ir.tensor import Vector
from .memory import measure_server_peak
from .sizes import kept_inputs

FEWEST_TIMED = 3
"""Messages that the latency is a median of, where the data does not take as many."""

STAGES = ("encrypt", "run", "decrypt")

Progress = Callable[[int, int], None]
"""Called with the windows done and the windows in all."""


@dataclass(frozen=True, slots=True)
class Latency:
    """Milliseconds from one window to its decrypted answer: medians over messages.

    A message with one window takes as long as a full one. `cpu` counts all threads.
    """

    wall: Mapping[str, float]
    cpu: Mapping[str, float]

    @property
    def milliseconds(self) -> float:
        return self.wall["total"]


@dataclass(frozen=True, slots=True, eq=False)
class EncryptedRun:
    """Decrypted answers by name [windows, ...], and what it took; `bytes` are those of files.

    `server_peak` is the resident memory of a server process of its own, where the system tells and
    it is there that the server computes.
    """

    outputs: dict[str, Vector]
    latency: Latency
    windows_per_second: float
    keygen_seconds: float
    bytes: dict[str, int]
    server_peak: int | None


def run_encrypted(
    bundle: Bundle,
    engine: Engine,
    arrays: Mapping[str, Vector],
    progress: Progress,
    workers: int = 1,
) -> EncryptedRun:
    """All windows through a client and a server, timed stage by stage.

    With several `workers` only the messages that the latency needs go through a server in this
    process, and all others through a pool.
    """
    # Out of range or not: a verification wants to see what happens.
    client = Client(bundle.client, engine, range_check="off")
    start = perf_counter()
    keys = client.generate_keys()
    keygen = perf_counter() - start
    server = Server(bundle.server, keys.evaluation, open_engine(bundle.server.params, engine.name))
    messages: list[_Message] = []
    count = len(next(iter(arrays.values())))
    shared = frozenset(s.name for s in bundle.client.state_inputs)
    state, whole = None, {name: a[:1] for name, a in arrays.items()}
    if kept_inputs(bundle.client):
        state = client.encrypt_state({name: arrays[name][0] for name in shared})
        arrays = {name: a for name, a in arrays.items() if name not in shared}
    held = None if state is None else server.load_state(state)
    parts = list(_parts(arrays, client.batch, shared))
    alone = len(parts) if workers == 1 else FEWEST_TIMED + 1
    for part in parts[:alone]:
        messages.append(_message(client, server, held, part))
        progress(min(len(messages) * client.batch, count), count)
    answers = [m.outputs for m in messages]
    if parts[alone:]:
        with ServerPool(bundle.server, keys.evaluation, workers, engine.name, state=state) as pool:
            for answer in pool.run_all(client.encrypt(part) for part in parts[alone:]):
                answers.append(client.decrypt(answer).outputs)
                progress(min(len(answers) * client.batch, count), count)
    one = {n: a[:1] for n, a in arrays.items()}
    extra = FEWEST_TIMED + 1 - len(messages)
    timed = messages + [_message(client, server, held, one) for _ in range(extra)]
    # The first message warms up: libraries fill their pools of memory.
    latency = Latency(_medians([m.wall for m in timed[1:]]), _medians([m.cpu for m in timed[1:]]))
    outputs = {
        name: np.concatenate([np.asarray(found[name], np.float64) for found in answers])
        for name in answers[0]
    }
    sizes = {
        "evaluation_keys": len(keys.evaluation),
        "secret_key": len(keys.secret),
        "question": messages[0].question,
        "answer": messages[0].answer,
    }
    throughput = client.batch / (latency.milliseconds / 1e3)
    peak = None
    if not on_gpu(engine.name):
        peak = measure_server_peak(
            server_to_bytes(bundle.server), keys.evaluation, client.encrypt(whole), engine.name
        )
    return EncryptedRun(outputs, latency, throughput, keygen, sizes, peak)


def _parts(
    arrays: Mapping[str, Vector], size: int, shared: frozenset[str]
) -> Iterator[dict[str, Vector]]:
    """Messages of `size` windows; what is `shared` by windows once in each."""
    count = len(next(iter(arrays.values())))
    for start in range(0, count, size):
        yield {n: a[start : start + (1 if n in shared else size)] for n, a in arrays.items()}


@dataclass(frozen=True, slots=True, eq=False)
class _Message:
    """One message's way: milliseconds of each stage, bytes, and the decrypted answer."""

    wall: tuple[float, ...]
    cpu: tuple[float, ...]
    question: int
    answer: int
    outputs: Mapping[str, Any]


def _message(
    client: Client, server: Server, state: HeldState | None, part: Mapping[str, Vector]
) -> _Message:
    clocks = [(perf_counter(), process_time())]
    question = client.encrypt(part)
    clocks.append((perf_counter(), process_time()))
    answer = server.run(question, state=state)
    clocks.append((perf_counter(), process_time()))
    prediction = client.decrypt(answer)
    clocks.append((perf_counter(), process_time()))
    wall, cpu = (tuple(1e3 * (b[k] - a[k]) for a, b in pairwise(clocks)) for k in range(2))
    return _Message(wall, cpu, len(question), len(answer), prediction.outputs)


def _medians(rows: Sequence[tuple[float, ...]]) -> dict[str, float]:
    stages = {name: median(r[k] for r in rows) for k, name in enumerate(STAGES)}
    return {**stages, "total": median(sum(r) for r in rows)}
