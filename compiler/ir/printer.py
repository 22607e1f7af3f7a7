"""Text of graphs and programs, for people: one line for each node or instruction."""

from __future__ import annotations

from eer.runtime.program import DotCipher, DotPlain, Program, Rotate, infer_levels, operands

from .tensor import (
    Affine,
    Contraction,
    Core,
    Elementwise,
    Input,
    Polynomial,
    Product,
    Readout,
    TensorGraph,
)


def print_graph(graph: TensorGraph) -> str:
    """The graph as text; nodes are %number, shapes are without the batch axis."""
    lines = [f"graph {graph.name}"]
    for number, node in enumerate(graph.nodes):
        reads = ", ".join(f"%{o}" for o in node.operands)
        shape = "x".join(map(str, node.shape)) or "scalar"
        origin = f"  # {node.origin}" if node.origin.names else ""
        lines.append(f"  %{number}: {shape} = {_op(node.op)}({reads}){origin}")
    for output in graph.outputs:
        post = "" if output.post == "none" else f", client computes {output.post}"
        lines.append(f"  return {output.name} = %{output.node}{post}")
    return "\n".join(lines) + "\n"


def _op(op: object) -> str:
    match op:
        case Input(name):
            return f"input {name}"
        case Affine(matrices, _):
            shapes = " + ".join(f"{m.shape[0]}x{m.shape[1]}/{m.nnz}" for m in matrices)
            return f"affine[{shapes}]"
        case Elementwise(name, _):
            return f"elementwise[{name}]"
        case Polynomial() as p:
            return f"polynomial[{p.name}, degree {p.degree}]"
        case Core(plan):
            return f"core[depth {plan.depth}, {plan.products} products]"
        case Product():
            return "product"
        case Contraction() as c:
            return f"contraction[{len(c.owner)} pairs to {len(c.bias)}]"
        case Readout() as r:
            return f"readout[{len(r.real)} to {r.size}]"
    return type(op).__name__.lower()


def print_program(program: Program) -> str:
    """The program as text; every line ends with the level of the value it defines.

    A product that is not rescaled, or not relinearised, says so.
    """
    levels = infer_levels(program)
    lines = [f"program slots={program.slots} rotations={list(program.rotations)}"]
    lines += [f"  %{k} = input  @{level}" for k, level in enumerate(program.input_levels)]
    label = ""
    labels = program.labels or ("",) * len(program.instructions)
    for (number, ins), here in zip(program, labels, strict=True):
        if here != label:
            lines.append(f"  # {here}")
            label = here
        reads = ", ".join(f"%{r}" for r in dict.fromkeys(operands(ins)))
        detail = ""
        if isinstance(ins, Rotate):
            detail = f" by {ins.step}"
        elif isinstance(ins, DotPlain | DotCipher):
            bare = isinstance(ins, DotCipher) and not ins.relinearise
            lacks = ["relinearisation"] * bare + ["rescale"] * (not ins.rescale)
            detail = f" without {' or '.join(lacks)}" if lacks else ""
        lines.append(f"  %{number} = {type(ins).__name__}({reads}){detail}  @{levels[number]}")
    lines.append("  return " + ", ".join(f"%{o}" for o in program.outputs))
    return "\n".join(lines) + "\n"
