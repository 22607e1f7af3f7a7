"""Noise of every node: predicted by following variances through the program, and simulated.

Operations add independent noise to what their operands bring along; products pass an operand's
noise on times the other operand. This is first order, and blind to noises of one origin that meet
again, as within a polynomial. The variances of single operations are those of the slot
interpreter's noise model (runtime/engines/clear.py).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from math import log2

import numpy as np
from numpy.typing import NDArray

from eer.runtime.engine import Engine
from eer.runtime.engines.clear import ClearEngine, NoiseModel, sum_of_products
from eer.runtime.executor import Executor
from eer.runtime.model import ClientModel
from eer.runtime.packing import pack_windows
from eer.runtime.program import (
    Add,
    AddPlain,
    Conjugate,
    DotCipher,
    DotPlain,
    LevelDown,
    Negate,
    Program,
    Rotate,
    Slots,
    Sub,
    TimesI,
    Vector,
    infer_levels,
    infer_parts,
)
from eer.runtime.scales import Scales, assign_scales

from .agreement import DOUBLE_BITS

MESSAGES = 4
"""Messages that precision is averaged over."""

Where = Sequence[tuple[int, NDArray[np.bool_]]]
"""Values of a program, each with the plan slots [slots] that count."""


@dataclass(frozen=True, slots=True)
class Precision:
    """Bits: -log2 of the noise's root mean square over that of the values."""

    predicted: float
    simulated: float


@dataclass(frozen=True, slots=True, eq=False)
class _Noisy:
    """A value [slots] and the variance of its noise [slots], in real and imaginary parts alike.

    `conjugate_of` is the number of the value that this is the conjugate of.
    """

    value: Slots
    variance: Vector
    conjugate_of: int | None = None


@dataclass(frozen=True, slots=True, eq=False)
class _Plain:
    """A plaintext [slots], its squares, and the variance [] of what it errs by."""

    value: Slots
    squares: Vector
    variance: Vector


def precisions(
    client: ClientModel,
    program: Program,
    nodes: Mapping[int, Where],
    inputs: Mapping[str, Vector],
) -> dict[int, Precision]:
    """Precision of every node, on the first messages of windows [windows, elements] by input."""
    messages = pack_messages(client, inputs, MESSAGES)
    noisy = ClearEngine(client.params, NoiseModel(0, imaginary=program.is_complex))
    numbers = sorted({number for where in nodes.values() for number, _ in where})
    scales = assign_scales(program, noisy.moduli, client.input_scale)
    plains = _plains(client, program, noisy, scales)
    followed = [_follow(client, program, noisy, scales, plains, vectors) for vectors in messages]
    drawn = tapped(noisy, client, program, numbers, messages)

    def of(where: Where) -> Precision:
        signal = predicted = simulated = 0.0
        for number, plan_slots in where:
            used = np.repeat(plan_slots, client.batch)
            for k in range(len(messages)):
                # What a client decrypts is the real part.
                true = followed[k][number].value.real
                signal += float(np.sum(true[used] ** 2))
                predicted += float(np.sum(followed[k][number].variance[used]))
                error = drawn[k][number] - true
                simulated += float(np.sum(error[used] ** 2))
        return Precision(_bits(signal, predicted), _bits(signal, simulated))

    return {node: of(where) for node, where in nodes.items()}


def pack_messages(
    client: ClientModel, inputs: Mapping[str, Vector], most: int
) -> list[list[Slots]]:
    """Slots of the input ciphertexts of up to `most` messages."""
    windows = len(next(iter(inputs.values())))
    starts = range(0, windows, client.batch)[:most]
    return [
        [
            pack_windows(
                inputs[spec.name][start : start + client.batch], row, client.batch, imaginary
            )
            for spec in client.inputs
            for row, imaginary in spec.rows
        ]
        for start in starts
    ]


def tapped(
    engine: Engine,
    client: ClientModel,
    program: Program,
    numbers: Sequence[int],
    messages: Sequence[Sequence[Slots]],
) -> list[dict[int, Vector]]:
    """Slots of these values of each message as `engine` computes them, decrypted on the way."""
    steps = tuple(r * client.batch for r in client.rotations)
    conjugation = client.conjugation_level
    key, blob = engine.generate_keys(steps, conjugation=conjugation)
    keys = engine.load_evaluation_keys(blob, key.key_id, steps, conjugation is not None)
    evaluator = engine.evaluator(keys)
    opened = replace(program, outputs=tuple(numbers))
    executor = Executor(engine, evaluator, opened, client.input_scale)
    found: list[dict[int, Vector]] = []
    for vectors in messages:
        ciphers = [
            engine.encrypt(key, vector, level, client.input_scale)
            for vector, level in zip(vectors, client.input_levels, strict=True)
        ]
        results = executor.run(ciphers)
        found.append({n: engine.decrypt(key, c) for n, c in zip(numbers, results, strict=True)})
    return found


def _plains(
    client: ClientModel, program: Program, noise: ClearEngine, scales: Scales
) -> dict[int, list[_Plain]]:
    """The plaintexts of every instruction that reads any."""
    vectors = [np.repeat(plain, client.batch) for plain in program.plains]
    squares = [_squares(vector) for vector in vectors]
    variances = [noise.encoding_variance(vector) for vector in vectors]
    found: dict[int, list[_Plain]] = {}
    for number, ins in program:
        read = ins.plains if isinstance(ins, DotPlain) else ()
        read = (ins.plain,) if isinstance(ins, AddPlain) else read
        found[number] = [
            _Plain(vectors[which], squares[which], np.asarray(variances[which] / scale**2))
            for which, scale in zip(read, scales.plains.get(number, ()), strict=True)
        ]
    return found


def _follow(
    client: ClientModel,
    program: Program,
    noise: ClearEngine,
    scales: Scales,
    plains: Mapping[int, Sequence[_Plain]],
    vectors: Sequence[Slots],
) -> list[_Noisy]:
    """Every value of the program, without noise, and its noise's variance."""
    levels, parts = infer_levels(program), infer_parts(program)
    batch = client.batch
    fresh = noise.fresh_variance() / client.input_scale**2
    values = [_Noisy(v, np.full(len(v), fresh)) for v in vectors]

    @cache
    def squares(number: int) -> Vector:
        return _squares(values[number].value)

    def finished(number: int, total: _Noisy, variance: float | Vector) -> _Noisy:
        return replace(total, variance=total.variance + variance / scales.values[number] ** 2)

    for number, ins in program:
        match ins:
            case Rotate(src, step):
                a = values[src]
                turned = _Noisy(np.roll(a.value, -step * batch), np.roll(a.variance, -step * batch))
                made = finished(number, turned, noise.switch_variance(levels[src]))
            case Conjugate(src):
                a = values[src]
                turned = _Noisy(a.value.conj(), a.variance, conjugate_of=src)
                made = finished(number, turned, noise.switch_variance(levels[src]))
            case TimesI(src):
                made = _Noisy(1j * values[src].value, values[src].variance)
            case Add(a, b) if values[b].conjugate_of == a:
                # Real parts, which are the same noise twice, add up; imaginary parts cancel.
                made = _plus(values[a], values[b], 1.0)
                made = replace(made, variance=made.variance + 2 * values[a].variance)
            case Add(a, b):
                made = _plus(values[a], values[b], 1.0)
            case Sub(a, b):
                made = _plus(values[a], values[b], -1.0)
            case Negate(src):
                made = _Noisy(-values[src].value, values[src].variance)
            case AddPlain(src, _):
                a, (plain,) = values[src], plains[number]
                made = _Noisy(a.value + plain.value, a.variance + plain.variance)
            case DotPlain(srcs, _, rescale, _):
                own = plains[number]
                total = sum_of_products(
                    [(values[s].value, p.value) for s, p in zip(srcs, own, strict=True)]
                )
                variance = sum_of_products(
                    [(values[s].variance, p.squares) for s, p in zip(srcs, own, strict=True)]
                    + [(squares(s), p.variance) for s, p in zip(srcs, own, strict=True)]
                )
                dropped = rescale * noise.rescale_variance(parts[number])
                made = finished(number, _Noisy(total, variance), dropped)
            case DotCipher(pairs, rescale, relinearise):
                level = levels[pairs[0][0]]
                drop = noise.moduli[level] if rescale else 1.0
                switch = relinearise * noise.switch_variance(level) / drop**2
                total = sum_of_products([(values[m].value, values[n].value) for m, n in pairs])
                passed: list[tuple[Vector, Vector]] = []
                for m, n in pairs:
                    terms = [(squares(m), values[n].variance), (squares(n), values[m].variance)]
                    # The same noise twice, in a square, adds up.
                    passed += terms * (2 if m == n else 1)
                dropped = rescale * noise.rescale_variance(parts[number])
                made = finished(number, _Noisy(total, sum_of_products(passed)), switch + dropped)
            case LevelDown(src, _):
                made = values[src]
        values.append(made)
    return values


def _plus(a: _Noisy, b: _Noisy, sign: float) -> _Noisy:
    return _Noisy(a.value + sign * b.value, a.variance + b.variance)


def _squares(values: Slots) -> Vector:
    """Of their sizes."""
    squares: Vector = np.square(values.real)
    return squares + np.square(values.imag) if np.iscomplexobj(values) else squares


def _bits(signal: float, noise: float) -> float:
    if noise <= 0:
        return DOUBLE_BITS
    return min(DOUBLE_BITS, 0.5 * (log2(max(signal, 1e-300)) - log2(noise)))
