"""Emission: a plan becomes the flat program that engines run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce

from eer.runtime.program import Program, Slots, Vector

from ..ir.layout import Index, Layout
from ..ir.poly_plan import Difference, Dot, PolyPlan, Shift, Sum, Weighted
from ..ir.tensor import Affine, Contraction, Core, Input, Product, Readout, TensorGraph
from .builder import Builder, Value
from .contraction import ContractionPlan
from .decision import AffinePlan
from .levels import levels_used
from .plan import Plan
from .prefold import Prefold


@dataclass(frozen=True, slots=True, eq=False)
class EmittedInput:
    """An input ciphertext: its input node, and the packing [slots] of its slots' real and, where
    there is anything, imaginary parts."""

    node: int
    real: Index
    imaginary: Index | None


@dataclass(frozen=True, slots=True, eq=False)
class Emitted:
    """A program, and where its inputs come from: `values[n]` are the ciphertexts of node n."""

    program: Program
    inputs: tuple[EmittedInput, ...]
    values: dict[int, tuple[int, ...]]


def emit(graph: TensorGraph, plan: Plan) -> Emitted:
    """The program of `plan`."""
    wanted = _input_ciphers(graph, plan)
    inputs = [
        EmittedInput(w.node, row, second if second is not None and (second >= 0).any() else None)
        for w in wanted
        for row, second in zip(w.index, w.imaginary or (None,) * len(w.index), strict=True)
    ]
    input_depths = [w.depth for w in wanted for _ in w.index]
    builder = Builder(plan.slots, plan.rescaling, tuple(input_depths), plan.vectors)
    packed: dict[tuple[int, int | None], tuple[Value, ...]] = {}
    first = 0
    for w in wanted:
        numbers = range(first, first + len(w.index))
        packed[w.node if w.reader is None else w.reader, w.operand] = tuple(
            builder.input(n) for n in numbers
        )
        first += len(w.index)

    values: dict[int, tuple[Value, ...]] = {}
    for number, node in enumerate(graph.nodes):
        # Names only: source lines would tell the server the developer's paths.
        builder.label = ", ".join(node.origin.names) or f"n{number}"
        depth = plan.levels[number] + levels_used(node)
        if isinstance(node.op, Contraction):
            held = [packed.get((number, k), values.get(o, ())) for k, o in enumerate(node.operands)]
            chosen = plan.contractions[number]
            values[number] = _contraction(builder, chosen, held, depth, node.op.bias)
            continue
        # Operands at the depth at which this node reads them.
        reads = [
            tuple(builder.down(v, depth) for v in packed.get((number, k), values.get(o, ())))
            for k, o in enumerate(node.operands)
        ]
        match node.op:
            case Input(_):
                values[number] = packed.get((number, None), ())
            case Affine(_, bias):
                affine = plan.affine[number]
                sources = [
                    value
                    for k, operand in enumerate(reads)
                    for value in _prefolded(builder, operand, affine.prefolds.get(k))
                ]
                values[number] = _affine(builder, affine, sources, bias)
            case Core(scheme):
                layout = plan.layouts[number]
                values[number] = tuple(
                    _polynomial(builder, scheme, layout, k, value)
                    for k, value in enumerate(reads[0])
                )
            case Product():
                values[number] = tuple(
                    builder.dot_cipher([pair]) for pair in zip(*reads, strict=True)
                )
            case Readout(shift=shift):
                layout = plan.layouts[number]
                values[number] = tuple(
                    builder.add_plain(value, layout.place(shift, k))
                    for k, value in enumerate(reads[0])
                )
            case _:
                raise TypeError(f"{type(node.op).__name__} cannot be emitted")
    numbered = {n: tuple(v.number for v in held) for n, held in values.items()}
    outputs = tuple(dict.fromkeys(v for o in graph.outputs for v in numbered[o.node]))
    program = Program(
        plan.slots,
        tuple(plan.rescaling.level(d) for d in input_depths),
        tuple(builder.instructions),
        outputs,
        tuple(builder.plains),
        tuple(builder.labels),
    )
    return Emitted(program, tuple(inputs), numbered)


@dataclass(frozen=True, slots=True, eq=False)
class _Wanted:
    """Ciphertexts of one input: for operand `operand` of node `reader`, or (None) for all."""

    node: int
    reader: int | None
    operand: int | None
    index: Index
    depth: int
    imaginary: Sequence[Index] = ()


def _input_ciphers(graph: TensorGraph, plan: Plan) -> list[_Wanted]:
    """All input ciphertexts, those of one input next to each other, in the inputs' order."""
    wanted = [
        _Wanted(
            graph.nodes[number].operands[k],
            number,
            k,
            index,
            plan.levels[number] + 1,
            tuple(affine.imaginary.get(k, ())),
        )
        for number, affine in plan.affine.items()
        for k, index in affine.packed.items()
    ]
    for number, contraction in plan.contractions.items():
        operands = graph.nodes[number].operands
        depth = plan.levels[number] + 1
        wanted += [
            # Addends are scaled by their masks, whatever they come in at.
            _Wanted(operands[k], number, k, rows, plan.rescaling.entry(depth) if k < 2 else depth)
            for k, rows in contraction.packed.items()
        ]
    wanted += [
        _Wanted(n, None, None, plan.layouts[n].index, plan.levels[n])
        for n in graph.inputs
        if n in plan.layouts
    ]
    return sorted(wanted, key=lambda w: graph.inputs.index(w.node))


def _prefolded(
    builder: Builder, values: Sequence[Value], prefold: Prefold | None
) -> Sequence[Value]:
    if prefold is None:
        return values
    sums = [reduce(builder.add, (values[c] for c in ciphers)) for ciphers in prefold.sums]
    return [builder.folded(value, prefold.strides) for value in sums]


def _affine(
    builder: Builder, plan: AffinePlan, sources: list[Value], bias: Slots
) -> tuple[Value, ...]:
    results = []
    for cipher, part in enumerate(plan.ciphers):
        sums: dict[int, list[tuple[Value, Slots]]] = {}
        read = list(sources)
        for join in part.joins:
            read[join.first] = builder.joined(sources[join.first], sources[join.second], join.turn)
        for term, mask in zip(part.terms, part.masks(), strict=True):
            giant = part.split.giant(term.shift)
            turned = builder.rotate(read[term.source], part.split.baby(term.shift))
            sums.setdefault(giant, []).append((turned, mask))
        total: Value | None = None
        for giant, terms in sorted(sums.items()):
            inner = builder.rotate(builder.dot_plain(terms), giant)
            total = inner if total is None else builder.add(total, inner)
        assert total is not None
        total = builder.folded(total, plan.strides)
        if plan.conjugates:
            total = builder.add(total, builder.conjugate(total))
        results.append(builder.add_plain(total, plan.layout.place(bias, cipher)))
    return tuple(results)


def _contraction(
    builder: Builder,
    plan: ContractionPlan,
    operands: list[tuple[Value, ...]],
    depth: int,
    bias: Vector,
) -> tuple[Value, ...]:
    a, b = ([builder.settled(v, depth) for v in values] for values in operands[:2])
    results = []
    for cipher, pairs in enumerate(plan.pairs):
        turns = plan.turns[cipher] if plan.turns else (0,) * len(pairs)
        terms = []
        for (i, j), turn in zip(pairs, turns, strict=True):
            met = [a[i], b[j]]
            met[plan.computed] = builder.rotate(met[plan.computed], turn)
            terms.append((met[0], met[1]))
        total = builder.dot_cipher(terms)
        total = builder.folded(total, plan.strides)
        for k, masks in plan.masks.items():
            addend = builder.down(operands[k][cipher], depth)
            total = builder.add(total, builder.dot_plain([(addend, masks[cipher])], total))
        results.append(builder.add_plain(total, plan.layout.place(bias, cipher)))
    return tuple(results)


def _polynomial(
    builder: Builder, plan: PolyPlan, layout: Layout, cipher: int, value: Value
) -> Value:
    registers = [value]
    for step, latest in zip(plan.steps, plan.latest[1:], strict=True):
        match step:
            case Dot(pairs):
                new = builder.dot_cipher([(registers[a], registers[b]) for a, b in pairs])
            case Weighted(regs, coefficients):
                vectors = [layout.place(c, cipher) for c in coefficients]
                terms = zip((registers[r] for r in regs), vectors, strict=True)
                new = builder.late_dot_plain(list(terms), value.depth - latest)
            case Shift(reg, constants):
                new = builder.add_plain(registers[reg], layout.place(constants, cipher))
            case Sum(a, b):
                new = builder.add(registers[a], registers[b])
            case Difference(a, b):
                new = builder.sub(registers[a], registers[b])
        registers.append(new)
    return registers[-1]
