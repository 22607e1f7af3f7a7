"""Simulation: the program on the slot interpreter, exactly or with noise, watched slot by slot.

The real executor runs; only the engine is another. Slots that hold nothing of use count as well:
one that outgrows the modulus would spoil all the others.
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

OTHER_NOISE_BITS = 2
"""log2 of how much larger another run's noise may make a value, in an idle slot above all: with a
polynomial of degree 28 the largest of 64 windows differs by two bits between eight seeds."""


@dataclass(frozen=True, slots=True, eq=False)
class Simulation:
    """Outputs by name [windows, elements], and how full the modulus was.

    `excess` is log2 of the largest value over what the modulus at its level holds, infinite where
    noise knows no bounds.
    """

    outputs: dict[str, Vector]
    excess: float

    def missing_bits(self, spare_bits: int = SPARE_BITS) -> float:
        """By how many bits the modulus is too small, if so many are to be left; 0 where it is not,
        infinite where none is large enough."""
        return float(np.ceil(max(0.0, self.excess + spare_bits)))


def simulate(
    client: ClientModel,
    program: Program,
    inputs: Mapping[str, Vector],
    noise_seed: int | None = None,
    spare_bits: float = -inf,
) -> Simulation:
    """Run `program` on windows [windows, elements] of each input, `client.batch` at a time.

    It ends as soon as one leaves the modulus less than `spare_bits` of room: outputs are then those
    of the windows so far.
    """
    noise = None
    if noise_seed is not None:
        noise = NoiseModel(noise_seed, imaginary=program.is_complex)
    engine = ClearEngine(client.params, noise)
    steps = [r * client.batch for r in client.rotations]
    conjugation = client.conjugation_level
    key, blob = engine.generate_keys(steps, conjugation=conjugation)
    keys = engine.load_evaluation_keys(blob, key.key_id, tuple(steps), conjugation is not None)
    watched = _Watched(engine, engine.evaluator(keys))
    executor = Executor(engine, watched, program, client.input_scale)
    windows = len(next(iter(inputs.values())))
    parts: dict[str, list[Vector]] = {o.name: [] for o in client.outputs}
    stop = 0
    while stop < windows and watched.excess + spare_bits <= 0:
        start, stop = stop, min(stop + client.batch, windows)
        ciphers = [
            engine.encrypt(key, vector, level, client.input_scale)
            for vector, level in zip(
                _packed(client, inputs, start, stop), client.input_levels, strict=True
            )
        ]
        decrypted = [engine.decrypt(key, c) for c in executor.run(ciphers)]
        for spec in client.outputs:
            parts[spec.name].append(unpack_windows(decrypted, spec, stop - start, client.batch))
    outputs = {name: np.concatenate(found).reshape(stop, -1) for name, found in parts.items()}
    return Simulation(outputs, watched.excess)


def _packed(
    client: ClientModel, inputs: Mapping[str, Vector], start: int, stop: int
) -> Iterator[Slots]:
    """The slots of each input ciphertext for windows `start` to `stop`."""
    for spec in client.inputs:
        for row, imaginary in spec.rows:
            yield pack_windows(inputs[spec.name][start:stop], row, client.batch, imaginary)


class _Watched:
    """An evaluator that notes how much of the modulus each result takes."""

    def __init__(self, engine: ClearEngine, inner: Evaluator) -> None:
        self._engine = engine
        self._inner = inner
        self._capacity = _capacities(engine.params)
        self.excess = -inf

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._inner, name)
        if name in ("prepare_plain", "level", "scale"):
            return method

        def call(*args: Any) -> Any:
            result = method(*args)
            for cipher in result if isinstance(result, list) else [result]:
                self._note(cipher)
            return result

        return call

    def _note(self, cipher: Any) -> None:
        values = self._engine.slots_of(cipher)
        room = self._capacity[self._inner.level(cipher)] - log2(self._inner.scale(cipher)) - 1
        # Absolute values of complex numbers take as long as all else: hardly any are needed.
        parts = values.view(np.float64)
        component = max(float(parts.max()), -float(parts.min()))
        if component == 0 or log2(component) + 0.5 - room <= self.excess:
            return
        self.excess = max(self.excess, log2(float(np.abs(values).max())) - room)


def _capacities(params: CkksParams) -> Sequence[float]:
    """log2 of the modulus at each level."""
    return tuple(float(b) for b in np.cumsum(params.log_q))
