"""Engine operations timed by ring and level, and the cost model's coefficients fitted to them.

Everything goes through the engine protocol, as a compiled program does. A protocol call is often
a sum of the operations that the cost model names (a `dot_plain` of one term is a product and a
rescale), so that each measurement is written as an expression of the model, and all coefficients
are found together by non-negative least squares on relative errors.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, fields
from functools import partial
from pathlib import Path
from statistics import median
from time import process_time
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.table import Table
from scipy.optimize import nnls

from eer.compiler.cost import CostModel
from eer.runtime.engine import Cipher, Engine, Evaluator, Plain, SecretKey
from eer.runtime.engines import desilo_literal, open_engine
from eer.runtime.errors import EngineError
from eer.runtime.params import CkksLiteral, CkksParams

from .contestant import Json

Expression = Callable[[CostModel], float]
"""What the cost model says that a measured call takes, in milliseconds."""

SEAL_CHAINS = {13: (5, 27), 14: (9, 36), 15: (16, 45)}
"""log2(N) -> levels and bits of the scale: what the compiler uses in that ring."""

DESILO_DEPTHS = {13: 1, 14: 6, 15: 12}
"""log2(N) -> levels."""

TERMS = 8
"""Summands of the longer of the two sums of products that are timed."""

BURST_MS = 8.0
"""A sample repeats its call for about so long: the clock of CPU time is coarse."""


@dataclass(frozen=True, slots=True)
class Call:
    """One call of the engine protocol at one level, and how the model writes it.

    `run` gets ciphertexts that no product has read before, as many as `reads`: an engine may keep
    what it computes for a product with its operand.
    """

    operation: str
    log_n: int
    level: int
    reads: int
    run: Callable[[Sequence[Cipher]], Any]
    expression: Expression
    fresh: Callable[[], Cipher]


@dataclass(frozen=True, slots=True)
class Measurement:
    """One call at one level: what it took, and how the model writes it."""

    operation: str
    log_n: int
    level: int
    milliseconds: float
    expression: Expression


@dataclass(frozen=True, slots=True)
class Fit:
    """Coefficients by name of CostModel's field, and what they leave unexplained."""

    engine: str
    version: str
    coefficients: dict[str, float]
    measurements: tuple[Measurement, ...]

    def model(self, log_n: int) -> CostModel:
        """The cost model with these coefficients."""
        return CostModel(log_n, **self.coefficients)

    def residuals(self) -> Iterator[tuple[Measurement, float]]:
        """Each measurement with its predicted milliseconds."""
        for m in self.measurements:
            yield m, m.expression(self.model(m.log_n))

    def to_json(self) -> dict[str, Any]:
        return {
            "engine": self.engine,
            "version": self.version,
            "coefficients": self.coefficients,
            "measurements": [
                {
                    "operation": m.operation,
                    "log_n": m.log_n,
                    "level": m.level,
                    "measured_ms": m.milliseconds,
                    "fitted_ms": predicted,
                }
                for m, predicted in self.residuals()
            ],
        }


def measure(engine_name: str, rings: tuple[int, ...], samples: int) -> Fit:
    """Time `engine_name` in `rings` (log2 of N), with medians over `samples`, and fit."""
    engines = [open_engine(parameters(engine_name, log_n)) for log_n in rings]
    calls = [call for engine in engines for call in _calls_of(engine)]
    # All rings in turn: the machine's speed drifts with what else runs on it.
    times = _interleaved(calls, samples)
    found = [
        Measurement(c.operation, c.log_n, c.level, ms, c.expression)
        for c, ms in zip(calls, times, strict=True)
    ]
    return Fit(engine_name, engines[0].version, fit(found), tuple(found))


def parameters(engine_name: str, log_n: int) -> CkksParams:
    """A chain that fills the ring, as the compiler would choose it."""
    if engine_name == "desilo":
        return desilo_literal(DESILO_DEPTHS[log_n], 1 << (log_n - 1)).check()
    levels, scale = SEAL_CHAINS[log_n]
    chain = (scale + 3.0, *(float(scale),) * levels)
    return CkksLiteral(engine_name, log_n, chain, (scale + 10.0,), float(scale)).check()


def fit(measurements: list[Measurement]) -> dict[str, float]:
    """Coefficients of CostModel, none of them negative, with the least relative errors.

    The model's formulas are linear in its coefficients, so that each column of the design matrix
    is the model with one of them at 1 and the others at 0.
    """
    names = [f.name for f in fields(CostModel) if f.name != "log_n"]
    zero = dict.fromkeys(names, 0.0)

    def column(name: str) -> list[float]:
        unit = zero | {name: 1.0}
        return [m.expression(CostModel(m.log_n, **unit)) for m in measurements]

    design: NDArray[np.float64] = np.array([column(n) for n in names]).T
    times = np.array([m.milliseconds for m in measurements])
    solution, _ = nnls(design / times[:, None], np.ones(len(times)))
    return {n: float(c) for n, c in zip(names, solution, strict=True)}


def table(fit: Fit) -> Table:
    """Coefficients, and for each operation and ring how far the model is off, over all levels."""
    out = Table(title=f"{fit.engine} {fit.version}")
    for name in ("coefficient", "value"):
        out.add_column(name)
    for name, value in fit.coefficients.items():
        out.add_row(name, f"{value:.4g}")
    out.add_section()
    out.add_row("operation, ring", "model against measured, lowest level … highest")
    groups: dict[tuple[str, int], list[tuple[Measurement, float]]] = {}
    for m, predicted in fit.residuals():
        groups.setdefault((m.operation, m.log_n), []).append((m, predicted))
    for (operation, log_n), found in sorted(groups.items()):
        off = " ".join(f"{p / m.milliseconds - 1:+.0%}" for m, p in found)
        first, last = found[0][0].milliseconds, found[-1][0].milliseconds
        out.add_row(f"{operation}, 2^{log_n}", f"{first:.3g} … {last:.3g} ms: {off}")
    return out


def write(path: Path, fit: Fit, machine: Json) -> None:
    """Everything as JSON."""
    path.write_text(json.dumps({"machine": machine} | fit.to_json(), indent=1) + "\n")


def _calls_of(engine: Engine) -> Iterator[Call]:
    key, blob = engine.generate_keys((1,))
    evaluator = engine.evaluator(engine.load_evaluation_keys(blob, key.key_id, (1,)))
    for level in range(engine.params.max_level + 1):
        yield from _calls_at(engine, evaluator, key, level)


def _calls_at(engine: Engine, ev: Evaluator, key: SecretKey, level: int) -> Iterator[Call]:
    scale = 2.0**engine.params.log_scale
    values = np.linspace(-1.0, 1.0, engine.slots)
    a, b = (engine.encrypt(key, values, level, scale) for _ in range(2))
    call = partial(_call, engine.params.log_n, level, partial(ev.add, a, b))
    if level == 0:
        answer = engine.save_cipher(a)
        yield call(
            "decrypt",
            0,
            lambda _: engine.decrypt(key, engine.load_cipher(answer)),
            lambda m: m.decrypt(),
        )
    yield call(
        "encrypt",
        0,
        lambda _: engine.load_cipher(engine.encrypt_bytes(key, values, level, scale)),
        lambda m: m.encrypt(level),
    )
    yield call("add", 2, lambda x: ev.add(x[0], x[1]), lambda m: m.add(level))
    bias = ev.prepare_plain(values, level, scale)
    yield call("add_plain", 1, lambda x: ev.add_plain(x[0], bias), lambda m: m.add(level))
    if _rotates(ev, a):
        yield call("rotate", 1, lambda x: ev.rotate(x[0], 1), lambda m: m.rotate(level))
    if level == 0:
        return
    plains = [ev.prepare_plain(values / (k + 1), level, scale) for k in range(TERMS)]
    for rescale in (True, False) if engine.capabilities.lazy_rescale else (True,):
        note = "" if rescale else ", not rescaled"
        product = ev.dot_plain([a], plains[:1], rescale)
        # A bias follows: an engine may leave the way back from its transform to the next reader.
        after = ev.prepare_plain(values, ev.level(product), ev.scale(product))
        for terms in (1, TERMS):
            yield call(
                f"dot_plain of {terms}{note}",
                terms,
                partial(_dot_plain, ev, plains[:terms], after, rescale),
                partial(_dot_plain_cost, terms, level, rescale),
            )
        for name, reads in (("square", 1), ("product", 2)):
            yield call(
                name + note,
                reads,
                partial(_product, ev, rescale),
                partial(_product_cost, level, rescale),
            )


def _call(
    log_n: int,
    level: int,
    fresh: Callable[[], Cipher],
    operation: str,
    reads: int,
    run: Callable[[Sequence[Cipher]], Any],
    expression: Expression,
) -> Call:
    return Call(operation, log_n, level, reads, run, expression, fresh)


def _dot_plain(
    ev: Evaluator, plains: Sequence[Plain], bias: Plain, rescale: bool, x: Sequence[Cipher]
) -> Cipher:
    return ev.add_plain(ev.dot_plain(x, plains, rescale), bias)


def _dot_plain_cost(terms: int, level: int, rescale: bool, m: CostModel) -> float:
    products = terms * m.multiply_plain(level) + (terms - 1) * m.add(level)
    return products + rescale * m.rescale(level) + m.add(level - rescale)


def _product(ev: Evaluator, rescale: bool, x: Sequence[Cipher]) -> Cipher:
    return ev.dot_cipher([(x[0], x[-1])], rescale)


def _product_cost(level: int, rescale: bool, m: CostModel) -> float:
    return m.multiply(level) + m.relinearise(level) + rescale * m.rescale(level)


def _rotates(evaluator: Evaluator, a: Cipher) -> bool:
    """Whether the engine can rotate at the level of `a`; DESILO cannot at the top of its chains."""
    try:
        evaluator.rotate(a, 1)
    except EngineError:
        return False
    return True


def _interleaved(calls: Sequence[Call], samples: int) -> list[float]:
    """Median CPU milliseconds of each call; every round makes all of them, in turn."""
    for call in calls:
        _timed(call, 1)
    repeats = [max(1, round(BURST_MS / max(_timed(call, 1), 1e-3))) for call in calls]
    rounds = [
        [_timed(call, n) for call, n in zip(calls, repeats, strict=True)] for _ in range(samples)
    ]
    return [median(times) for times in zip(*rounds, strict=True)]


def _timed(call: Call, repeats: int) -> float:
    """Milliseconds of one call, as a mean over `repeats` with operands of their own."""
    operands = [[call.fresh() for _ in range(call.reads)] for _ in range(repeats)]
    start = process_time()
    for x in operands:
        call.run(x)
    return 1e3 * (process_time() - start) / repeats
