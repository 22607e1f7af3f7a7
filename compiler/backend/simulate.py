"""Simulation: the program on the slot interpreter, exactly or with noise, watched slot by slot.

The real executor runs; only the engine is another. What outgrows the modulus are coefficients. One
is at most the mean of the slots' sizes, and so at most their root mean square; slots that hold
nothing of use count as well.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import inf, log2
from typing import Any

import numpy as np

from eer.runtime.engine import Evaluator
from eer.runtime.engines.clear import ClearEngine, NoiseModel
from eer.runtime.executor import Executor
from eer.runtime.model import ClientModel
from eer.runtime.packing import pack_windows, unpack_windows
from eer.runtime.params import CkksParams
from eer.runtime.program import Program, Slots, Vector

SPARE_BITS = 2
"""log2 of how much larger than in the simulation a value may be before it overflows."""

SLIGHT = 1 / 16
"""Bits that are not missed of those to spare: to have them takes a whole one of the modulus."""

OTHER_NOISE_BITS = ((8, 2), (64, 4))
"""(highest degree, log2 of how much larger another run's noise may make values), in idle slots
above all: with a polynomial of degree 28 the largest of 64 windows differs by more than three bits
between seven seeds."""


AT_ONCE = 1 << 15
"""Slots of all messages that are simulated at once: values stay in a processor's cache."""

UNCHANGED = ("prepare_plain", "level", "scale", "rotate", "rotate_many", "conjugate", "negate")
"""What leaves slots as large as they were, at the same level, or makes none."""


@dataclass(frozen=True, slots=True, eq=False)
class Simulation:
    """Outputs by name [windows, elements], and how full the modulus was: `excess` as a Simulator
    has it."""

    outputs: dict[str, Vector]
    excess: float

    def missing_bits(self, spare_bits: int = SPARE_BITS) -> float:
        return missing_bits(self.excess, spare_bits)


def missing_bits(excess: float, spare_bits: int) -> float:
    """By how many bits the modulus is too small, if so many are to be left; 0 where it is not,
    infinite where none is large enough."""
    return float(np.ceil(max(0.0, excess + spare_bits - SLIGHT)))


def simulate(
    client: ClientModel,
    program: Program,
    inputs: Mapping[str, Vector],
    noise_seed: int | None = None,
) -> Simulation:
    """Run `program` on windows [windows, elements] of each input, `client.batch` at a time."""
    simulator = Simulator(client, program, noise_seed)
    return Simulation(simulator.run(inputs), simulator.excess)


class Simulator:
    """A program on the slot interpreter, without noise or with that of a seed."""

    def __init__(
        self, client: ClientModel, program: Program, noise_seed: int | None = None
    ) -> None:
        noise = None
        if noise_seed is not None:
            noise = NoiseModel(noise_seed, imaginary=program.is_complex)
        self._client = client
        self._engine = ClearEngine(client.params, noise)
        steps = [r * client.batch for r in client.rotations]
        conjugation = client.conjugation_level
        self._key, blob = self._engine.generate_keys(steps, conjugation=conjugation)
        keys = self._engine.load_evaluation_keys(
            blob, self._key.key_id, tuple(steps), conjugation is not None
        )
        self._watched = _Watched(self._engine, self._engine.evaluator(keys), client.batch)
        self._executor = Executor(self._engine, self._watched, program, client.input_scale)

    @property
    def excess(self) -> float:
        """log2 of the largest root mean square of a window's slots so far, over what the modulus at
        its level holds; infinite where noise knows no bounds."""
        return self._watched.excess

    def run(self, inputs: Mapping[str, Vector]) -> dict[str, Vector]:
        """Outputs [windows, elements] by name for such windows of each input, `client.batch` to a
        message and as many messages at once as are quickest."""
        windows = len(next(iter(inputs.values())))
        together = self._client.batch * max(1, AT_ONCE // self._engine.slots)
        each = [
            self._run({name: rows[start : start + together] for name, rows in inputs.items()})
            for start in range(0, windows, together)
        ]
        return {name: np.concatenate([found[name] for found in each]) for name in each[0]}

    def _run(self, inputs: Mapping[str, Vector]) -> dict[str, Vector]:
        client, engine = self._client, self._engine
        windows = len(next(iter(inputs.values())))
        starts = range(0, windows, client.batch)
        messages = [
            list(_packed(client, {n: rows[k : k + client.batch] for n, rows in inputs.items()}))
            for k in starts
        ]
        ciphers = [
            engine.stacked([engine.encrypt(self._key, v, level, client.input_scale) for v in each])
            for each, level in zip(zip(*messages, strict=True), client.input_levels, strict=True)
        ]
        for cipher in ciphers:
            self._watched.note(cipher)
        answers = [engine.unstacked(cipher) for cipher in self._executor.run(ciphers)]
        decrypted = [
            [
                engine.decrypt(self._key, cipher, imaginary=number in client.complex_answers)
                for number, cipher in enumerate(answer)
            ]
            for answer in zip(*answers, strict=True)
        ]
        return {
            spec.name: np.concatenate(
                [
                    unpack_windows(own, spec, count, client.batch).reshape(count, -1)
                    for k, own in zip(starts, decrypted, strict=True)
                    for count in [min(client.batch, windows - k)]
                ]
            )
            for spec in client.outputs
        }


def _packed(client: ClientModel, inputs: Mapping[str, Vector]) -> Iterator[Slots]:
    """The slots of each input ciphertext."""
    for spec in client.inputs:
        for row, imaginary in spec.rows:
            yield pack_windows(inputs[spec.name], row, client.batch, imaginary)


class _Watched:
    """An evaluator that notes how much of the modulus each result takes."""

    def __init__(self, engine: ClearEngine, inner: Evaluator, batch: int) -> None:
        self._batch = batch
        self._engine = engine
        self._inner = inner
        self._capacity = _capacities(engine.params)
        self.excess = -inf

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._inner, name)
        if name in UNCHANGED:
            return method

        def call(*args: Any) -> Any:
            result = method(*args)
            for cipher in result if isinstance(result, list) else [result]:
                self.note(cipher)
            return result

        return call

    def note(self, cipher: Any) -> None:
        values = self._engine.slots_of(cipher)
        parts = values.view(np.float64)
        if self._batch == 1:
            # Not by BLAS: its threads would wait for each other at every value.
            squares = np.einsum("ms,ms->m", parts, parts)
        else:
            # Of real and imaginary parts, window by window.
            messages, slots = values.shape
            each = parts.reshape(messages, slots // self._batch, -1)
            sums = np.einsum("msb,msb->mb", each, each)
            squares = sums.reshape(messages, self._batch, -1).sum(axis=2)
        largest = float(squares.max()) * self._batch / values.shape[1]
        if largest == 0:
            return
        bits = log2(largest) / 2 + log2(self._inner.scale(cipher)) + 1
        self.excess = max(self.excess, bits - self._capacity[self._inner.level(cipher)])


def _capacities(params: CkksParams) -> Sequence[float]:
    """log2 of the modulus at each level."""
    return tuple(float(b) for b in np.cumsum(params.log_q))
