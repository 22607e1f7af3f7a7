"""Products that are left with three polynomials, because the key switch would not pay.

A product whose result is neither rotated nor multiplied by a ciphertext on its way out can be
decrypted as it is. Rescaling errs by more there, for which schedules have to leave room
(`Schedule.three_part_scale`).
"""

from __future__ import annotations

from collections.abc import Callable, Set
from dataclasses import replace
from math import log2

from eer.runtime.params import CkksParams
from eer.runtime.program import (
    Add,
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
from eer.runtime.scales import assign_scales

from ..cost import CostModel
from ..ir.tensor import TensorGraph
from .emit import Emitted, emit
from .plan import Plan
from .schedule import Schedule


def emit_sparing(
    graph: TensorGraph, plan: Plan, schedule: Schedule, cost: CostModel
) -> tuple[Emitted, Schedule]:
    """The program of `plan`, without relinearisations that do not pay, and the schedule it is for:
    `schedule`, or what it becomes for outputs of three polynomials.

    On DESILO FHE, which decides on scales, they were tried and gain nothing: all are relinearised.
    """

    def emitted(used: Schedule) -> Emitted:
        return emit(graph, replace(plan, rescaling=used.rescaling))

    whole, least = emitted(schedule), schedule.three_part_scale
    if least is None or spare_relinearisations(whole.program, cost) is whole.program:
        return whole, schedule
    raised = schedule.for_three_parts()
    for used in (schedule, raised):
        if used is None:
            continue
        # The same instructions, at other scales perhaps.
        tried = whole if used is schedule else emitted(used)
        coarse = _coarse(tried.program, used.params, least)
        program = spare_relinearisations(tried.program, cost, coarse)
        if program is not tried.program:
            return replace(tried, program=program), used
    return whole, schedule


def _coarse(program: Program, params: CkksParams, least: float) -> set[int]:
    """Values whose scale is below 2^least: too low for a rescale of three polynomials."""
    scales = assign_scales(program, [2.0**b for b in params.log_q], 2.0**params.log_scale)
    return {number for number, scale in enumerate(scales.values) if log2(scale) < least}


def spare_relinearisations(
    program: Program, cost: CostModel, coarse: Set[int] = frozenset()
) -> Program:
    """`program` without the relinearisations whose time three polynomials do not take again; the
    same object where there are none.

    Products whose ways to the outputs meet are decided upon together. The values `coarse` must not
    be what a rescale of three polynomials leaves.
    """
    levels = infer_levels(program)
    spared: set[int] = set()
    for products, reached in _groups(program, coarse):
        saved = sum(cost.relinearise(_level_of(program, levels, n)) for n in products)
        if saved > _extra(program, levels, reached, cost):
            spared |= products
    if not spared:
        return program
    first = len(program.input_levels)
    instructions = list(program.instructions)
    for number in spared:
        product = instructions[number - first]
        assert isinstance(product, DotCipher)
        instructions[number - first] = replace(product, relinearise=False)
    return replace(program, instructions=tuple(instructions))


def _groups(program: Program, coarse: Set[int]) -> list[tuple[set[int], set[int]]]:
    """(products, values with three polynomials if these are not relinearised) of each group."""
    readers: dict[int, list[tuple[int, Instruction]]] = {}
    for number, ins in program:
        for value in set(operands(ins)):
            readers.setdefault(value, []).append((number, ins))
    groups: list[tuple[set[int], set[int]]] = []
    for number, ins in program:
        if not isinstance(ins, DotCipher):
            continue
        reached = _reached(number, ins, readers, coarse)
        if reached is None:
            continue
        products = {number}
        for other in [g for g in groups if g[1] & reached]:
            products |= other[0]
            reached |= other[1]
            groups.remove(other)
        groups.append((products, reached))
    return groups


def _reached(
    product: int,
    ins: DotCipher,
    readers: dict[int, list[tuple[int, Instruction]]],
    coarse: Set[int],
) -> set[int] | None:
    """All values that come of `product`; None where one must have two polynomials."""
    reached: set[int] = set()
    waiting: list[tuple[int, Instruction]] = [(product, ins)]
    while waiting:
        number, made_by = waiting.pop()
        if number in reached:
            continue
        if number != product and isinstance(made_by, Rotate | Conjugate | DotCipher):
            return None
        if isinstance(made_by, DotPlain | DotCipher) and made_by.rescale and number in coarse:
            return None
        reached.add(number)
        waiting += readers.get(number, [])
    return reached


def _level_of(program: Program, levels: tuple[int, ...], number: int) -> int:
    """The level of the operands of value `number`."""
    return levels[operands(program.instructions[number - len(program.input_levels)])[0]]


def _extra(program: Program, levels: tuple[int, ...], reached: set[int], cost: CostModel) -> float:
    """Milliseconds that a third polynomial in the values `reached` takes."""

    def third(operation: Callable[[int, int], float], level: int) -> float:
        return operation(level, 3) - operation(level, 2)

    total = 0.0
    for number, ins in program:
        if number not in reached:
            continue
        level = _level_of(program, levels, number)
        match ins:
            case DotPlain(srcs, _, rescale):
                total += len(reached.intersection(srcs)) * third(cost.multiply_plain, level)
                total += (len(srcs) - 1) * third(cost.accumulate, level)
                total += rescale * third(cost.rescale, level)
            case DotCipher(rescale=rescale):
                total += rescale * third(cost.rescale, level)
            case TimesI():
                total += third(cost.multiply_plain, level)
            case LevelDown():
                total += third(cost.level_down, level)
            case Add() | Sub() | Negate():
                total += third(cost.add, level)
    for output in reached.intersection(program.outputs):
        total += third(cost.save, levels[output]) + third(cost.receive, levels[output])
    return total
