"""One trained network, compiled and asked about windows that are encrypted."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from time import process_time

import numpy as np

from eer.compiler import CompiledModel, Options, compile_model
from eer.runtime.client import Client
from eer.runtime.errors import ParameterError
from eer.runtime.server import Server

from .latency import Latency, ask, middle
from .windows import Signal

TOLERANCE = 5e-4
"""Share of labels that the compiler may let change: half of what the example may miss."""


@dataclass(frozen=True, slots=True)
class Sizes:
    """What the compiler chose, and what travels; bytes as they were sent."""

    engine: str
    ring_dimension: int
    levels: int
    log_scale: float
    log_qp: float
    security_bits: int
    rotation_keys: int
    evaluation_key_bytes: int
    question_bytes: int
    answer_bytes: int

    def to_json(self) -> dict[str, object]:
        return asdict(self)


@dataclass(frozen=True, slots=True, eq=False)
class Answers:
    """Scores [w, classes] of the same windows: by the polynomial model, and under encryption."""

    polynomial: Signal
    encrypted: Signal
    latency: Latency | None
    sizes: Sizes | None
    """Both of one window alone, medians; None where no window was timed alone."""
    batch: int
    """Windows side by side in one ciphertext: as asked for, or fewer where fewer fit."""
    windows_per_second: float
    """Of CPU time, in whole batches, encryption and decryption included."""


def ask_encrypted(
    onnx: Path,
    calibration: Signal,
    windows: Signal,
    *,
    labels: tuple[str, ...],
    engine: str,
    batch: int,
    timed: int,
) -> Answers:
    """Compile the network and answer every one of `windows` [w, ...] under encryption.

    It is compiled for up to `batch` windows side by side, which answers all of them; and, with
    `timed` above 0, for one window alone as well, the case whose latency counts, on which so many
    windows are timed. `calibration` are training windows.
    """
    latency, sizes = None, None
    if timed:
        alone = compile_model(onnx, calibration, _options(labels, engine, 1))
        latency, sizes = _time(alone, windows[:timed])
    together = _side_by_side(onnx, calibration, labels, engine, batch)
    client, server, _ = _roles(together)
    start = process_time()
    answers = [client.decrypt(server.run(message)) for message in client.encrypt_all(windows)]
    seconds = process_time() - start
    name = together.client.outputs[0].name
    return Answers(
        polynomial=together.plaintext(windows)[name],
        encrypted=np.concatenate([np.asarray(answer.outputs[name]) for answer in answers]),
        latency=latency,
        sizes=sizes,
        batch=together.client.batch,
        windows_per_second=len(windows) / seconds,
    )


def _side_by_side(
    onnx: Path, calibration: Signal, labels: tuple[str, ...], engine: str, batch: int
) -> CompiledModel:
    """Compiled for `batch` windows in one ciphertext, or for as many as there is a layout for."""
    while True:
        try:
            return compile_model(onnx, calibration, _options(labels, engine, batch))
        except ParameterError:
            if batch == 1:
                raise
            batch //= 2


def _options(labels: tuple[str, ...], engine: str, batch: int) -> Options:
    return Options(labels=labels, engine=engine, batch=batch, tolerance=TOLERANCE)


def _roles(compiled: CompiledModel) -> tuple[Client, Server, int]:
    """A client with new keys, its server, and the bytes of the keys that the server was sent."""
    client = Client(compiled.client)
    keys = client.generate_keys()
    return client, Server(compiled.server, keys.evaluation), len(keys.evaluation)


def _time(compiled: CompiledModel, windows: Signal) -> tuple[Latency, Sizes]:
    client, server, key_bytes = _roles(compiled)
    # The first window only warms up: the server encodes the weights when they are first used.
    asked = [ask(client, server, window) for window in (windows[0], *windows)][1:]
    params = compiled.client.params
    sizes = Sizes(
        engine=params.engine,
        ring_dimension=params.ring_dimension,
        levels=params.max_level,
        log_scale=params.log_scale,
        log_qp=params.log_qp,
        security_bits=params.security_bits,
        rotation_keys=len(compiled.client.rotations),
        evaluation_key_bytes=key_bytes,
        question_bytes=len(asked[-1].question),
        answer_bytes=len(asked[-1].answer),
    )
    return middle([one.latency for one in asked]), sizes
