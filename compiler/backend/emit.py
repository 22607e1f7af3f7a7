"""Emission: a plan becomes the flat program that engines run."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from eer.runtime.program import (
    Add,
    AddPlain,
    DotCipher,
    DotPlain,
    Instruction,
    LevelDown,
    Program,
    Rotate,
    Sub,
    Vector,
)

from ..ir.layout import Index, Layout
from ..ir.poly_plan import Difference, Dot, PolyPlan, Shift, Sum, Weighted
from ..ir.tensor import Affine, Core, Input, Product, TensorGraph
from .decision import AffinePlan
from .planner import Plan


@dataclass(frozen=True, slots=True, eq=False)
class Emitted:
    """A program, and where its inputs come from: `inputs[k]` is (input node, packing [slots]) of
    input ciphertext k. `layouts[n]` is node n's layout, `values[n]` its ciphertexts."""

    program: Program
    inputs: tuple[tuple[int, Index], ...]
    values: dict[int, tuple[int, ...]]


@dataclass(slots=True)
class Builder:
    """Collects instructions over numbered values; rotations and level drops are shared."""

    slots: int
    input_levels: list[int]
    instructions: list[Instruction] = field(default_factory=list)
    labels: list[str] = field(default_factory=list)
    levels: list[int] = field(default_factory=list)
    label: str = ""
    _plains: dict[bytes, int] = field(default_factory=dict)
    plains: list[Vector] = field(default_factory=list)
    _shared: dict[Instruction, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.levels = list(self.input_levels)

    def plain(self, values: Vector) -> int:
        """The number of a plaintext vector; equal vectors share one."""
        key = values.tobytes()
        if key not in self._plains:
            self._plains[key] = len(self.plains)
            self.plains.append(values)
        return self._plains[key]

    def _emit(self, instruction: Instruction, level: int) -> int:
        if instruction in self._shared:
            return self._shared[instruction]
        self.instructions.append(instruction)
        self.labels.append(self.label)
        self.levels.append(level)
        number = len(self.levels) - 1
        self._shared[instruction] = number
        return number

    def down(self, src: int, level: int) -> int:
        if self.levels[src] == level:
            return src
        return self._emit(LevelDown(src, level), level)

    def aligned(self, *values: int) -> tuple[int, ...]:
        """The same values at the lowest of their levels."""
        level = min(self.levels[v] for v in values)
        return tuple(self.down(v, level) for v in values)

    def rotate(self, src: int, step: int) -> int:
        step %= self.slots
        return self._emit(Rotate(src, step), self.levels[src]) if step else src

    def add(self, a: int, b: int) -> int:
        a, b = self.aligned(a, b)
        return self._emit(Add(a, b), self.levels[a])

    def sub(self, a: int, b: int) -> int:
        a, b = self.aligned(a, b)
        return self._emit(Sub(a, b), self.levels[a])

    def folded(self, src: int, strides: tuple[int, ...]) -> int:
        for stride in strides:
            src = self.add(src, self.rotate(src, stride))
        return src

    def add_plain(self, src: int, values: Vector) -> int:
        if not values.any():
            return src
        return self._emit(AddPlain(src, self.plain(values)), self.levels[src])

    def dot_plain(self, srcs: list[int], values: list[Vector]) -> int:
        kept = [(s, v) for s, v in zip(srcs, values, strict=True) if v.any()]
        srcs = list(self.aligned(*(s for s, _ in kept)))
        plains = tuple(self.plain(v) for _, v in kept)
        return self._emit(DotPlain(tuple(srcs), plains), self.levels[srcs[0]] - 1)

    def dot_cipher(self, pairs: list[tuple[int, int]]) -> int:
        flat = self.aligned(*(v for pair in pairs for v in pair))
        matched = tuple(zip(flat[::2], flat[1::2], strict=True))
        return self._emit(DotCipher(matched), self.levels[flat[0]] - 1)


def emit(graph: TensorGraph, plan: Plan) -> Emitted:
    """The program of `plan`. Every value of a node comes out at the node's level."""
    wanted = _input_ciphers(graph, plan)
    inputs = [(w.node, row) for w in wanted for row in w.index]
    input_levels = [w.level for w in wanted for _ in w.index]
    packed: dict[tuple[int, int | None], tuple[int, ...]] = {}
    first = 0
    for w in wanted:
        packed[w.node if w.reader is None else w.reader, w.operand] = tuple(
            range(first, first + len(w.index))
        )
        first += len(w.index)

    builder = Builder(plan.slots, input_levels)
    values: dict[int, tuple[int, ...]] = {}
    for number, node in enumerate(graph.nodes):
        builder.label = str(node.origin) if node.origin.names else f"n{number}"
        match node.op:
            case Input(_) if (number, None) in packed:
                values[number] = packed[number, None]
            case Input(_):
                continue
            case Affine(_, bias):
                level = plan.levels[number] + 1
                sources = [
                    builder.folded(
                        builder.down(value, level), plan.affine[number].prefolds.get(k, ())
                    )
                    for k, operand in enumerate(node.operands)
                    for value in packed.get((number, k), values.get(operand, ()))
                ]
                values[number] = _affine(builder, plan.affine[number], sources, bias)
            case Core(scheme):
                layout = plan.layouts[number]
                values[number] = tuple(
                    _polynomial(builder, scheme, layout, k, value)
                    for k, value in enumerate(values[node.operands[0]])
                )
            case Product():
                a, b = (values[o] for o in node.operands)
                values[number] = tuple(
                    builder.dot_cipher([pair]) for pair in zip(a, b, strict=True)
                )
            case _:
                raise TypeError(f"{type(node.op).__name__} cannot be emitted")
        values[number] = tuple(builder.down(v, plan.levels[number]) for v in values[number])
    outputs = tuple(dict.fromkeys(v for o in graph.outputs for v in values[o.node]))
    program = Program(
        plan.slots,
        tuple(input_levels),
        tuple(builder.instructions),
        outputs,
        tuple(builder.plains),
        tuple(builder.labels),
    )
    return Emitted(program, tuple(inputs), values)


@dataclass(frozen=True, slots=True, eq=False)
class _Wanted:
    """Ciphertexts of one input: for operand `operand` of node `reader`, or (None) for all."""

    node: int
    reader: int | None
    operand: int | None
    index: Index
    level: int


def _input_ciphers(graph: TensorGraph, plan: Plan) -> list[_Wanted]:
    """All input ciphertexts, those of one input next to each other, in the inputs' order."""
    wanted = [
        _Wanted(graph.nodes[number].operands[k], number, k, index, plan.levels[number] + 1)
        for number, affine in plan.affine.items()
        for k, index in affine.packed.items()
    ]
    wanted += [
        _Wanted(n, None, None, plan.layouts[n].index, plan.levels[n])
        for n in graph.inputs
        if n in plan.layouts
    ]
    return sorted(wanted, key=lambda w: graph.inputs.index(w.node))


def _affine(
    builder: Builder, plan: AffinePlan, sources: list[int], bias: Vector
) -> tuple[int, ...]:
    results = []
    for cipher, part in enumerate(plan.ciphers):
        sums: dict[int, list[tuple[int, Vector]]] = {}
        for term in part.terms:
            giant = part.split.giant(term.shift)
            turned = builder.rotate(sources[term.source], part.split.baby(term.shift))
            sums.setdefault(giant, []).append((turned, np.roll(term.mask, giant)))
        total: int | None = None
        for giant, terms in sorted(sums.items()):
            inner = builder.dot_plain([v for v, _ in terms], [m for _, m in terms])
            inner = builder.rotate(inner, giant)
            total = inner if total is None else builder.add(total, inner)
        assert total is not None
        total = builder.folded(total, plan.strides)
        results.append(builder.add_plain(total, plan.layout.place(bias, cipher)))
    return tuple(results)


def _polynomial(builder: Builder, plan: PolyPlan, layout: Layout, cipher: int, value: int) -> int:
    registers = [value]
    for step in plan.steps:
        match step:
            case Dot(pairs):
                new = builder.dot_cipher([(registers[a], registers[b]) for a, b in pairs])
            case Weighted(regs, coefficients):
                new = builder.dot_plain(
                    [registers[r] for r in regs],
                    [layout.place(c, cipher) for c in coefficients],
                )
            case Shift(reg, constants):
                new = builder.add_plain(registers[reg], layout.place(constants, cipher))
            case Sum(a, b):
                new = builder.add(registers[a], registers[b])
            case Difference(a, b):
                new = builder.sub(registers[a], registers[b])
        registers.append(new)
    return registers[-1]
