"""Prediction: what a compiled program will take, from its instructions and the cost model.

The planner compares plans by estimates of its own; this goes through the finished program as the
executor does, call by call.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

from eer.runtime.executor import schedule
from eer.runtime.program import (
    Add,
    AddPlain,
    Conjugate,
    DotCipher,
    DotPlain,
    LevelDown,
    Program,
    Rotate,
    TimesI,
    infer_levels,
    infer_parts,
)

from ..cost import CostModel


@dataclass(frozen=True, slots=True)
class Prediction:
    """Milliseconds of CPU time for one message.

    `instructions` are those of each instruction on its own; `load` is the reading of a message by
    the server, `save` the writing of its answer. `prepare` is what the server spends on encoding
    weights, once.
    """

    encrypt: float
    load: float
    instructions: tuple[float, ...]
    save: float
    decrypt: float
    prepare: float

    @property
    def run(self) -> float:
        """What the server spends on a message."""
        return self.load + sum(self.instructions) + self.save

    @property
    def total(self) -> float:
        return self.encrypt + self.run + self.decrypt


def predict(program: Program, cost: CostModel, kept: Collection[int] = ()) -> Prediction:
    """What one message through `program` takes, whatever the windows in it.

    It brings all inputs but those that are `kept` by the server.
    """
    return predict_at(program, cost, infer_levels(program), kept)


def predict_at(
    program: Program, cost: CostModel, levels: Sequence[int], kept: Collection[int] = ()
) -> Prediction:
    """The same if values had these levels; what is prepared goes by the program's own."""
    parts = infer_parts(program)
    costs = dict(_instructions(program, levels, parts, cost))
    inputs = [levels[n] for n in range(len(program.input_levels)) if n not in kept]
    return Prediction(
        encrypt=sum(cost.send(level) for level in inputs),
        load=sum(cost.load(level) for level in inputs),
        instructions=tuple(costs[number] for number, _ in program),
        save=sum(cost.save(levels[o], parts[o]) for o in program.outputs),
        decrypt=sum(cost.receive(levels[o], parts[o]) for o in program.outputs),
        prepare=sum(cost.encode(level) for _, level in encoded_plains(program)),
    )


def encoded_plains(program: Program) -> set[tuple[int, int]]:
    """Every plaintext vector with each level at which it is encoded."""
    levels = infer_levels(program)
    found: set[tuple[int, int]] = set()
    for _, ins in program:
        if isinstance(ins, AddPlain):
            found.add((ins.plain, levels[ins.src]))
        elif isinstance(ins, DotPlain):
            found |= {(p, levels[ins.srcs[0]]) for p in ins.plains}
    return found


def _instructions(
    program: Program, levels: Sequence[int], parts: tuple[int, ...], cost: CostModel
) -> Iterator[tuple[int, float]]:
    """(value number, milliseconds) of every instruction."""
    factors: set[int] = set()

    def operands(values: set[int], level: int) -> float:
        """An engine prepares a value for products once."""
        new = values - factors
        factors.update(values)
        return len(new) * cost.operand(level)

    for step in schedule(program):
        number, ins = step.numbers[0], step.instructions[0]
        match ins:
            case Rotate(src=src) | Conjugate(src) if isinstance(step.instructions[-1], Add):
                # A fold. What it adds has a number that is not among those that the step leaves.
                yield number - 1, cost.rotate(levels[src])
                yield number, cost.accumulate(levels[src])
            case Rotate(src, _):
                together = cost.rotate_many(levels[src], len(step.numbers))
                yield from ((n, together / len(step.numbers)) for n in step.numbers)
            case Conjugate(src):
                yield number, cost.conjugate(levels[src])
            case TimesI(src):
                level = levels[src]
                yield number, operands({src}, level) + cost.multiply_plain(level, parts[src])
            case AddPlain(src, _):
                yield number, cost.add_plain(levels[src])
            case DotPlain(srcs, _, rescale, _):
                level, most = levels[srcs[0]], parts[number]
                products = sum(cost.multiply_plain(level, parts[s]) for s in srcs)
                products += (len(srcs) - 1) * cost.accumulate(level, most)
                products += rescale * cost.rescale(level, most)
                yield number, products + operands(set(srcs), level)
            case DotCipher(pairs, rescale, relinearise):
                level = levels[pairs[0][0]]
                total = operands({v for pair in pairs for v in pair}, level)
                for a, b in pairs:
                    total += cost.square(level) if a == b else cost.multiply(level)
                total += (len(pairs) - 1) * cost.accumulate(level)
                total += relinearise * cost.relinearise(level)
                yield number, total + rescale * cost.rescale(level, parts[number])
            case LevelDown(src, _):
                yield number, cost.level_down(levels[src], parts[src])
            case _:
                yield number, cost.add(levels[number], parts[number])
