"""Legality: which ops may stand in a tensor graph at each stage, and what must hold of them."""

from __future__ import annotations

from enum import Enum

import numpy as np
from scipy.sparse import csr_array

from eer.runtime.errors import InternalError
from eer.runtime.program import Slots

from .tensor import (
    Affine,
    Contraction,
    Core,
    Elementwise,
    Input,
    Node,
    Polynomial,
    Product,
    Readout,
    TensorGraph,
    TensorOp,
)


class Stage(Enum):
    """Stages of a tensor graph, in order."""

    IMPORTED = "imported"
    POLYNOMIAL = "polynomial"
    SCHEDULED = "scheduled"


LEGAL: dict[Stage, tuple[type[TensorOp], ...]] = {
    Stage.IMPORTED: (Input, Affine, Elementwise, Polynomial, Product),
    Stage.POLYNOMIAL: (Input, Affine, Polynomial, Product),
    Stage.SCHEDULED: (Input, Affine, Core, Product, Contraction, Readout),
}


def check(graph: TensorGraph, stage: Stage, after: str) -> None:
    """Raise InternalError where `graph` breaks a rule of `stage`; `after` is the pass to blame."""
    for number, node in enumerate(graph.nodes):
        problem = _problem(graph, number, node, stage)
        if problem is not None:
            raise InternalError(f"after {after}: n{number} {problem}", where=str(node.origin))
    for output in graph.outputs:
        if not 0 <= output.node < len(graph.nodes):
            raise InternalError(
                f"after {after}: output {output.name} reads a node that is not there"
            )
        if np.prod(output.shape, dtype=np.int64) != graph.nodes[output.node].size:
            raise InternalError(f"after {after}: output {output.name} has a wrong shape")


def _problem(graph: TensorGraph, number: int, node: Node, stage: Stage) -> str | None:
    if not isinstance(node.op, LEGAL[stage]):
        return f"is a {type(node.op).__name__}, which stage '{stage.value}' does not admit"
    if any(not 0 <= o < number for o in node.operands):
        return f"reads {node.operands}, not all of them earlier nodes"
    sizes = [graph.nodes[o].size for o in node.operands]
    match node.op:
        case Input(_):
            return "is an input with operands" if sizes else None
        case Affine(matrices, bias):
            return _affine_problem(node, sizes, matrices, bias)
        case Product():
            return None if sizes == [node.size] * 2 else f"multiplies {sizes} to {node.size}"
        case Contraction() as op:
            return _contraction_problem(node, sizes, op)
        case Readout() as op:
            return _readout_problem(node, sizes, op)
        case Polynomial(coefficients, center, radius, _):
            if not coefficients.shape[1] == len(center) == len(radius) == node.size:
                return "is a polynomial with coefficients for another size"
            if not (np.isfinite([*coefficients, center, radius]).all() and np.all(radius > 0)):
                return "is a polynomial with a bad coefficient, center or radius"
        case Core(plan) if len(plan.post_scale) != node.size:
            return "is the core of a polynomial of another size"
        case _:
            pass
    return None if sizes == [node.size] else f"maps {sizes} to {node.size}"


def _contraction_problem(node: Node, sizes: list[int], op: Contraction) -> str | None:
    indices = (op.left, op.right, op.owner)
    if len(sizes) != 2 + len(op.addends) or len({i.shape for i in indices}) != 1:
        return f"is a contraction of {len(sizes)} operands and {len(op.addends)} addends"
    limits = (*sizes[:2], node.size)
    if any(
        len(i) and not 0 <= i.min() <= i.max() < n for i, n in zip(indices, limits, strict=True)
    ):
        return f"is a contraction that reads or makes more than {limits} elements"
    shapes = [tuple(m.shape) for m in op.addends]
    if shapes != [(node.size, n) for n in sizes[2:]] or op.bias.shape != (node.size,):
        return f"is a contraction with addends of shapes {shapes} for {sizes[2:]}"
    return None if np.isfinite(op.bias).all() else "has a bias that is not finite"


def _readout_problem(node: Node, sizes: list[int], op: Readout) -> str | None:
    if op.size != node.size or any(sizes != [len(x)] for x in (op.real, op.imaginary, op.shift)):
        return f"is a readout of {len(op.real)} parts of {sizes} to {op.size} of {node.size}"
    read = np.concatenate([op.real, op.imaginary])
    if read.min() < -1 or read.max() >= op.size:
        return f"is a readout to outputs that are not among {op.size}"
    return None if np.isfinite(op.shift).all() else "has a shift that is not finite"


def _affine_problem(
    node: Node, sizes: list[int], matrices: tuple[csr_array, ...], bias: Slots
) -> str | None:
    shapes = [tuple(m.shape) for m in matrices]
    if shapes != [(node.size, n) for n in sizes] or bias.shape != (node.size,):
        return f"is an affine map of shapes {shapes} from {sizes} to {node.size}"
    if not all(np.isfinite(m.data).all() for m in matrices):
        return "has a weight that is not finite"
    return None if np.isfinite(bias).all() else "has a bias that is not finite"
