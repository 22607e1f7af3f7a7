"""Prices: what the ciphertexts' level at each depth makes of a plan's time."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from eer.runtime.program import DotCipher, DotPlain, Program, infer_levels, operands

from ..cost import CostModel
from ..ir.tensor import Vector
from .predict import predict_at
from .schedule import Rescaling, Step

ROTATIONS = 6
"""Of a map, before a plan is known."""


@dataclass(frozen=True, slots=True, eq=False)
class Prices:
    """Milliseconds by depth and level.

    `table[d, l]` is the time of what has operands at depth d, while these have level l; what
    rescales there takes `rescales[d, l]` for it, if it does.
    """

    table: Vector
    rescales: Vector

    @classmethod
    def guessed(cls, steps: tuple[Step, ...], cost: CostModel) -> Prices:
        """Before there is a plan: a few rotations to a map, a key switch to a product."""
        depths = range(len(steps))
        table = np.zeros((len(steps), len(steps)))
        for depth in depths[1:]:
            for level in depths:
                if steps[depth] is Step.PLAIN:
                    table[depth - 1, level] += ROTATIONS * cost.rotate(level)
                else:
                    table[depth, level] += cost.multiply(level) + cost.relinearise(level)
        each = [cost.rescale(level) for level in depths]
        return cls(table, np.tile(each, (len(steps), 1)))

    @classmethod
    def of(cls, program: Program, cost: CostModel) -> Prices:
        """Those of a program that rescales after every product: its levels are depths."""
        depths = infer_levels(program)
        count = max(depths) + 1
        first = len(program.input_levels)
        read = [*depths[:first], *(depths[operands(ins)[0]] for _, ins in program)]
        rescaled = np.zeros(count)
        for number, ins in program:
            if isinstance(ins, DotPlain | DotCipher):
                rescaled[read[number]] += 1
        each = np.array([cost.rescale(level) for level in range(count)])
        table = -rescaled[:, None] * each[None, :]
        for level in range(count):
            ends = predict_at(program, cost, [level] * len(depths))
            for number in range(first):
                table[depths[number], level] += (ends.encrypt + ends.load) / first
            for number, milliseconds in enumerate(ends.instructions, start=first):
                table[read[number], level] += milliseconds
            for output in program.outputs:
                table[depths[output], level] += (ends.save + ends.decrypt) / len(program.outputs)
        return cls(table, rescaled[:, None] * each[None, :])

    def at(self, depth: int, level: int, rescaled: bool) -> float:
        """What has operands at `depth`, of `level`."""
        total = self.table[depth, level] + rescaled * self.rescales[depth, level]
        return float(total)

    def total(self, rescaling: Rescaling) -> float:
        depths = range(rescaling.depth + 1)
        return sum(self.at(d, rescaling.level(d), rescaling.rescales[d]) for d in depths)
