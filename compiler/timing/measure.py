"""Measuring: every call in turn, over and over, and the median of what each took."""

from __future__ import annotations

import gc
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import median
from time import perf_counter, process_time

from eer.runtime.engine import Engine
from eer.runtime.engines import desilo_literal, open_engine
from eer.runtime.params import CkksLiteral, CkksParams

from ..clock import on_gpu
from .calls import Call, Expression, calls_of

SEAL_CHAINS = {12: (2, 23), 13: (4, 33), 14: (7, 45), 15: (10, 50)}
"""log2(N) -> levels and bits of the scale: as deep as programs in that ring get."""

DESILO_DEPTHS = {13: 1, 14: 6, 15: 12}
"""log2(N) -> levels."""

GPU_DEPTHS = DESILO_DEPTHS | {16: 20}
"""The same for a GPU, which larger rings fill better."""

LEVELS = 4
"""Levels that are timed in a ring, spread from the lowest to the highest."""

BURST_MS = 4.0
"""A sample repeats its call for about so long: the clock of CPU time is coarse, and a GPU is behind
the calls."""

MOST_REPEATS = 64
"""Each call has operands of its own, and memory has an end."""

FEWEST_ROUNDS = 3

CALIBRATION_SECONDS = 30.0
"""How long is usually enough."""

Progress = Callable[[float], None]
"""Called with the share of the work that is done."""


@dataclass(frozen=True, slots=True)
class Measurement:
    """One call at one level: what it took, and how the model writes it."""

    operation: str
    log_n: int
    level: int
    milliseconds: float
    expression: Expression


@dataclass(frozen=True, slots=True)
class Measured:
    """All calls of an engine's `version`."""

    engine: str
    version: str
    measurements: tuple[Measurement, ...]


def rings_of(engine: str) -> tuple[int, ...]:
    """log2 of the ring dimensions that are timed, which are those that serve there."""
    if engine == "seal":
        return tuple(SEAL_CHAINS)
    return tuple(GPU_DEPTHS if on_gpu(engine) else DESILO_DEPTHS)


def measure(
    engine: str,
    rings: Sequence[int],
    seconds: float,
    progress: Progress = lambda share: None,
) -> Measured:
    """Time `engine` in `rings` (log2 of N) for about so many seconds.

    Every round makes all calls, for the machine's speed drifts with what else runs on it; each
    call's time is its median over the rounds. There are three rounds at least. Raises EngineError
    where the engine is not installed.
    """
    begin = perf_counter()
    opened = [open_engine(parameters(engine, log_n), engine) for log_n in rings]
    calls = [call for e in opened for call in calls_of(e, _levels(e))]
    repeats = [_repeats(call) for call in calls]
    rounds: list[list[float]] = []
    spent = perf_counter() - begin
    while len(rounds) < FEWEST_ROUNDS or spent * (1 + 1 / len(rounds)) < seconds:
        rounds.append([])
        for call, count in zip(calls, repeats, strict=True):
            rounds[-1].append(_timed(call, count))
            spent = perf_counter() - begin
            part = len(rounds) - 1 + len(rounds[-1]) / len(calls)
            progress(min(1.0, max(spent / seconds, 0.0), part / FEWEST_ROUNDS))
    found = [
        Measurement(call.operation, call.log_n, call.level, median(times), call.expression)
        for call, *times in zip(calls, *rounds, strict=True)
    ]
    return Measured(engine, opened[0].version, tuple(found))


def parameters(engine: str, log_n: int) -> CkksParams:
    """A chain that fills the ring, as the compiler would choose it."""
    if engine != "seal":
        return desilo_literal(GPU_DEPTHS[log_n], 1 << (log_n - 1)).check()
    levels, scale = SEAL_CHAINS[log_n]
    chain = (scale + 3.0, *(float(scale),) * levels)
    return CkksLiteral(engine, log_n, chain, (scale + 6.0,), float(scale)).check()


def _levels(engine: Engine) -> list[int]:
    top = engine.params.max_level
    return sorted({round(k * top / (LEVELS - 1)) for k in range(LEVELS)})


def _repeats(call: Call) -> int:
    _timed(call, 1)
    return min(MOST_REPEATS, max(1, round(BURST_MS / max(_timed(call, 1), 1e-3))))


def _timed(call: Call, repeats: int) -> float:
    """Milliseconds of one call, as a mean over `repeats` with operands of their own: of CPU time,
    or of wall time until a device is done with all of them."""
    clock = perf_counter if call.engine.capabilities.asynchronous else process_time
    operands = [[call.fresh() for _ in range(call.reads)] for _ in range(repeats)]
    call.engine.synchronise()
    gc.disable()
    start = clock()
    for x in operands:
        call.run(x)
    call.engine.synchronise()
    elapsed = clock() - start
    gc.enable()
    return 1e3 * elapsed / repeats
