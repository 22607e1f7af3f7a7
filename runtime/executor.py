"""Runs a program on an engine: plaintexts encoded once at load, values freed at their last use."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from .engine import Cipher, Engine, Evaluator, Plain
from .errors import InternalError
from .program import (
    Add,
    AddPlain,
    Conjugate,
    DotCipher,
    DotPlain,
    Instruction,
    LevelDown,
    Negate,
    Program,
    Rotate,
    Sub,
    TimesI,
    infer_levels,
    operands,
)
from .scales import assign_scales

Call = Callable[[Mapping[int, Cipher]], list[Cipher]]
"""A step with all but the values filled in."""


@dataclass(frozen=True, slots=True)
class Step:
    """One call of the engine: the values it leaves, and those that nobody reads afterwards."""

    numbers: tuple[int, ...]
    instructions: tuple[Instruction, ...]
    last_reads: tuple[int, ...]


def schedule(program: Program) -> tuple[Step, ...]:
    """Group neighbouring rotations of one value (for hoisting) and folds, find every last read."""
    readers = Counter(r for _, ins in program for r in set(operands(ins)))
    readers.update(program.outputs)
    groups: list[list[tuple[int, Instruction]]] = []
    for number, ins in program:
        last = groups[-1] if groups else []
        previous = last[-1][1] if last else None
        again = isinstance(ins, Rotate) and isinstance(previous, Rotate) and previous.src == ins.src
        if again or (len(last) == 1 and _folds(last[0], ins) and readers[last[0][0]] == 1):
            last.append((number, ins))
        else:
            groups.append([(number, ins)])
    keep = set(program.outputs)
    steps: list[Step] = []
    for group in reversed(groups):
        # What a fold adds to its value is never seen outside the engine.
        left = group if isinstance(group[-1][1], Rotate) else group[-1:]
        defined = tuple(n for n, _ in left)
        reads = {r for _, ins in group for r in operands(ins)} - {group[0][0]}
        unread = tuple(n for n in defined if n not in keep)
        steps.append(Step(defined, tuple(i for _, i in group), (*(reads - keep), *unread)))
        keep |= reads
    return tuple(reversed(steps))


def _folds(switch: tuple[int, Instruction], ins: Instruction) -> bool:
    """Whether `ins` adds a value to this rotation or conjugate of itself."""
    number, turned = switch
    return (
        isinstance(turned, Rotate | Conjugate)
        and isinstance(ins, Add)
        and sorted((ins.a, ins.b)) == sorted((number, turned.src))
    )


class Executor:
    """A program bound to an engine and to one user's evaluation keys.

    `batch` is the number of windows that share a ciphertext: the engine's slots over the program's.
    """

    def __init__(
        self, engine: Engine, evaluator: Evaluator, program: Program, input_scale: float
    ) -> None:
        if engine.slots % program.slots:
            raise InternalError(f"{program.slots} slots do not divide the engine's {engine.slots}")
        self.program = program
        self.batch = engine.slots // program.slots
        self._evaluator = evaluator
        plains = self._encode(engine, input_scale)
        self._calls = [(step, self._bound(step, plains)) for step in schedule(program)]

    def _encode(self, engine: Engine, input_scale: float) -> dict[int, tuple[Plain, ...]]:
        program = self.program
        levels = infer_levels(program)
        scales = assign_scales(program, engine.moduli, input_scale)
        cache: dict[tuple[int, int, float], Plain] = {}

        def encode(plain: int, level: int, scale: float, summand: bool) -> Plain:
            key = (plain, level, scale)
            if key not in cache:
                vector = program.plains[plain]
                if self.batch > 1:
                    vector = np.repeat(vector, self.batch)
                cache[key] = self._evaluator.prepare_plain(vector, level, scale, summand)
            return cache[key]

        encoded: dict[int, tuple[Plain, ...]] = {}
        for number, ins in program:
            if isinstance(ins, AddPlain):
                (scale,) = scales.plains[number]
                encoded[number] = (encode(ins.plain, levels[ins.src], scale, True),)
            elif isinstance(ins, DotPlain):
                level = levels[ins.srcs[0]]
                encoded[number] = tuple(
                    encode(p, level, s, False)
                    for p, s in zip(ins.plains, scales.plains[number], strict=True)
                )
        return encoded

    def run(
        self, inputs: Sequence[Cipher], on_step: Callable[[int], None] | None = None
    ) -> list[Cipher]:
        """Outputs for the input ciphertexts.

        `on_step(done)` is called after every call of the engine, with the instructions done so far.
        """
        if len(inputs) != len(self.program.input_levels):
            raise InternalError(
                f"{len(inputs)} input ciphertexts given, {len(self.program.input_levels)} expected"
            )
        values: dict[int, Cipher] = dict(enumerate(inputs))
        done = 0
        for step, call in self._calls:
            values.update(zip(step.numbers, call(values), strict=True))
            for number in step.last_reads:
                values.pop(number, None)
            done += len(step.instructions)
            if on_step is not None:
                on_step(done)
        return [values[o] for o in self.program.outputs]

    def _bound(self, step: Step, plains: Mapping[int, tuple[Plain, ...]]) -> Call:
        """What is known beforehand is looked up here: between calls of a library, whose data have
        driven all else from the caches, a line of Python takes several times as long as usual."""
        ev = self._evaluator
        number, ins = step.numbers[0], step.instructions[0]
        folds = isinstance(step.instructions[-1], Add)
        match ins:
            case Rotate(src, turn) if folds:
                stride = turn * self.batch
                return lambda values: [ev.rotate_add(values[src], stride)]
            case Rotate(src, _):
                steps = [r.step * self.batch for r in step.instructions if isinstance(r, Rotate)]
                if len(steps) > 1:
                    return lambda values: ev.rotate_many(values[src], steps)
                return lambda values: [ev.rotate(values[src], steps[0])]
            case Conjugate(src) if folds:
                return lambda values: [ev.conjugate_add(values[src])]
            case Conjugate(src):
                return lambda values: [ev.conjugate(values[src])]
            case TimesI(src):
                return lambda values: [ev.times_i(values[src])]
            case Add(a, b):
                return lambda values: [ev.add(values[a], values[b])]
            case Sub(a, b):
                return lambda values: [ev.sub(values[a], values[b])]
            case Negate(src):
                return lambda values: [ev.negate(values[src])]
            case AddPlain(src, _):
                (summand,) = plains[number]
                return lambda values: [ev.add_plain(values[src], summand)]
            case DotPlain(srcs=srcs, rescale=rescale):
                factors = plains[number]
                return lambda values: [ev.dot_plain([values[s] for s in srcs], factors, rescale)]
            case DotCipher(pairs, rescale, relinearise):
                return lambda values: [
                    ev.dot_cipher([(values[a], values[b]) for a, b in pairs], rescale, relinearise)
                ]
            case LevelDown(src, level):
                return lambda values: [ev.level_down(values[src], level)]
