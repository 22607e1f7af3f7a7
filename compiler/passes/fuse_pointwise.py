"""Fuse functions of one variable: the nonlinear half of `merge_affine`.

Exporters write SiLU as Sigmoid and Mul, GELU as Erf, Add and two Mul, a cubic as a chain of Mul.
Whatever computes y_e from x_e alone is found here as the cone between a node and the one node that
it depends on, and becomes a single Elementwise or, where all its ops are polynomials, Polynomial.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from ..ir.tensor import (
    Affine,
    Elementwise,
    Node,
    Origin,
    Polynomial,
    Product,
    TensorGraph,
    Vector,
)
from .affine_forms import is_diagonal, value_of
from .known_functions import function_name

MAX_PRODUCT_DEGREE = 8
"""Products are expanded up to this degree only: beyond, factors are cheaper than the expansion."""

MAX_SUM_DEGREE = 32

OUTPUT = -1
"""Stands for an output among a node's readers."""


def fuse_pointwise(graph: TensorGraph) -> TensorGraph:
    """Fuse every cone of elementwise ops over one node, where that costs no level or product more.

    Ops inside a cone must have no reader outside it, except polynomials under a product.
    """
    return _Fuser(graph).run().pruned()


@dataclass(frozen=True, slots=True)
class _Cone:
    """Node numbers, ascending, that compute the last of them from `base` alone."""

    base: int
    members: tuple[int, ...]


class _Fuser:
    """Rewrites nodes in place; numbers stay, what becomes unread is pruned at the end."""

    def __init__(self, graph: TensorGraph) -> None:
        self.graph = graph
        self.nodes = [_without_zeros(node) for node in graph.nodes]
        self.readers: list[set[int]] = [set() for _ in graph.nodes]
        for number, node in enumerate(self.nodes):
            for operand in node.operands:
                self.readers[operand].add(number)
        for output in graph.outputs:
            self.readers[output.node].add(OUTPUT)

    def run(self) -> TensorGraph:
        for number in range(len(self.nodes)):
            while (node := self.fused(number)) is not None:
                self.put(number, node)
        return replace(self.graph, nodes=tuple(self.nodes))

    def put(self, number: int, node: Node) -> None:
        old = self.nodes[number]
        self.nodes[number] = node
        for operand in node.operands:
            self.readers[operand].add(number)
        for operand in set(old.operands) - set(node.operands):
            self.forget(operand, number)

    def forget(self, number: int, reader: int) -> None:
        self.readers[number].discard(reader)
        if not self.readers[number]:
            for operand in self.nodes[number].operands:
                self.forget(operand, number)

    def fused(self, number: int) -> Node | None:
        """What node `number` becomes, or None if nothing is to be gained."""
        node = self.nodes[number]
        match node.op:
            case Elementwise() | Polynomial():
                cone = self.chain(number)
            case Product():
                cone = self.cone(number)
            case Affine() if len(set(node.operands)) > 1:
                cone = self.cone(number)
            case Affine():
                cone = self.scaled(number)
            case _:
                return None
        return None if cone is None else self.replacement(cone)

    def chain(self, number: int) -> _Cone | None:
        """A function of a scaled value, or of another function that nothing else reads."""
        (inner,) = self.nodes[number].operands
        below = self.nodes[inner]
        scaled = isinstance(below.op, Affine) and len(below.operands) == 1
        function = isinstance(below.op, Elementwise) and self.readers[inner] == {number}
        if not (scaled or function) or not _is_pointwise(below):
            return None
        return _Cone(below.operands[0], (inner, number))

    def scaled(self, number: int) -> _Cone | None:
        """A scaled function whose scaling no later Affine would take up."""
        node = self.nodes[number]
        if len(node.operands) != 1 or not _is_pointwise(node):
            return None
        inner = node.operands[0]
        below = self.nodes[inner]
        if not isinstance(below.op, Elementwise | Polynomial) or self.readers[inner] != {number}:
            return None
        if all(r != OUTPUT and isinstance(self.nodes[r].op, Affine) for r in self.readers[number]):
            return None
        return _Cone(below.operands[0], (inner, number))

    def cone(self, number: int) -> _Cone | None:
        """The cone from a product or sum down to the nearest node that it depends on alone."""
        node = self.nodes[number]
        if not _is_pointwise(node):
            return None
        members = [number]
        frontier = set(node.operands)
        while len(frontier) > 1:
            inner = max(frontier)
            if not self.enters(inner, members):
                return None
            members.append(inner)
            frontier = frontier - {inner} | set(self.nodes[inner].operands)
        if all(isinstance(self.nodes[m].op, Affine) for m in members):
            return None
        return _Cone(frontier.pop(), tuple(sorted(members)))

    def enters(self, inner: int, members: list[int]) -> bool:
        node = self.nodes[inner]
        if not node.operands or not _is_pointwise(node):
            return False  # Constants are folded first.
        if self.readers[inner] <= set(members):
            return True
        match node.op:
            case Affine():
                return len(node.operands) <= 1
            case Polynomial():
                return isinstance(self.nodes[members[0]].op, Product)
            case _:
                return False

    def replacement(self, cone: _Cone) -> Node | None:
        nodes = {m: self.nodes[m] for m in cone.members}
        top = nodes[cone.members[-1]]
        origin = Origin()
        for node in nodes.values():
            origin = origin | node.origin
        exact = not any(isinstance(n.op, Elementwise) for n in nodes.values())
        grown = exact and any(isinstance(n.op, Product) for n in nodes.values())
        if grown and not isinstance(self.nodes[cone.base].op, Affine):
            # A polynomial scales its argument: a level, where no Affine takes that up.
            return None
        op = _polynomial(cone, nodes) if exact else _elementwise(cone, nodes)
        return None if op is None else Node(op, (cone.base,), top.shape, origin)


def _without_zeros(node: Node) -> Node:
    """An Affine without the operands that a zero matrix takes no part of."""
    if not isinstance(node.op, Affine) or all(m.count_nonzero() for m in node.op.matrices):
        return node
    pairs = zip(node.op.matrices, node.operands, strict=True)
    used = [(m, o) for m, o in pairs if m.count_nonzero()]
    op = Affine(tuple(m for m, _ in used), node.op.bias)
    return replace(node, op=op, operands=tuple(o for _, o in used))


def _is_pointwise(node: Node) -> bool:
    """Whether y_e depends on element e of the operands only."""
    match node.op:
        case Elementwise() | Polynomial() | Product():
            return True
        case Affine(matrices, _):
            return all(is_diagonal(m) for m in matrices)
        case _:
            return False


def _function(cone: _Cone, nodes: dict[int, Node]) -> Callable[[Vector], Vector]:
    """The cone as a function of its base, on arrays [..., n]."""
    scales = {
        number: tuple(m.diagonal() for m in node.op.matrices)
        for number, node in nodes.items()
        if isinstance(node.op, Affine)
    }

    def evaluate(x: Vector) -> Vector:
        values = {cone.base: x}
        for number, node in nodes.items():
            args = [values[o] for o in node.operands]
            match node.op:
                case Affine(_, bias):
                    total = np.broadcast_to(bias, x.shape)
                    for scale, arg in zip(scales[number], args, strict=True):
                        total = total + scale * arg
                    values[number] = total
                case Elementwise(_, function):
                    values[number] = function(args[0])
                case Polynomial() as polynomial:
                    values[number] = value_of(polynomial, args[0])
                case _:
                    values[number] = args[0] * args[1]
        return values[cone.members[-1]]

    return evaluate


def _elementwise(cone: _Cone, nodes: dict[int, Node]) -> Elementwise:
    function = _function(cone, nodes)
    top = nodes[cone.members[-1]]
    names = dict.fromkeys(n.op.name for n in nodes.values() if isinstance(n.op, Elementwise))
    return Elementwise(function_name(function, top.size) or "·".join(names), function)


def _polynomial(cone: _Cone, nodes: dict[int, Node]) -> Polynomial | None:
    """The cone's exact polynomial, or None where its degree is too high to be worth expanding."""
    absorbed = _absorbed_scale(cone, nodes)
    if absorbed is not None:
        return absorbed
    degree = _degree(cone, nodes)
    product = any(isinstance(n.op, Product) for n in nodes.values())
    if degree > (MAX_PRODUCT_DEGREE if product else MAX_SUM_DEGREE):
        return None
    size = nodes[cone.members[-1]].size
    center, radius = np.zeros(size), np.ones(size)
    for node in nodes.values():
        if isinstance(node.op, Polynomial) and node.operands == (cone.base,):
            center, radius = node.op.center, node.op.radius
    t = np.cos(np.pi * (np.arange(degree + 1) + 0.5) / (degree + 1))
    values = _function(cone, nodes)(center + radius * t[:, None])
    basis = np.cos(np.arange(degree + 1)[:, None] * np.arccos(t)[None, :])
    coefficients = basis @ values * (2.0 / (degree + 1))
    coefficients[0] /= 2.0
    return Polynomial(_trimmed(coefficients), center, radius)


def _absorbed_scale(cone: _Cone, nodes: dict[int, Node]) -> Polynomial | None:
    """P(d x + b) or d P(x) + b, exactly: no interpolation where scaling is all that happens."""
    if len(cone.members) != 2:
        return None
    lower, upper = (nodes[m].op for m in cone.members)
    match lower, upper:
        case Affine((matrix,), bias), Polynomial(coefficients, center, radius, name):
            slope = matrix.diagonal()
            alive = slope != 0.0
            safe = np.where(alive, slope, 1.0)
            signs = np.where(safe < 0.0, -1.0, 1.0) ** np.arange(len(coefficients))[:, None]
            moved = np.where(alive, coefficients * signs, 0.0)
            still = value_of(Polynomial(coefficients, center, radius), bias)
            moved[0] = np.where(alive, moved[0], still)
            return Polynomial(moved, (center - bias) / safe, radius / np.abs(safe), name)
        case Polynomial(coefficients, center, radius, name), Affine((matrix,), bias):
            scaled = coefficients * matrix.diagonal()
            scaled[0] += bias
            return Polynomial(scaled, center, radius, name)
        case _:
            return None


def _degree(cone: _Cone, nodes: dict[int, Node]) -> int:
    degrees = {cone.base: 1}
    for number, node in nodes.items():
        reads = [degrees[o] for o in node.operands]
        match node.op:
            case Polynomial() as polynomial:
                degrees[number] = polynomial.degree * reads[0]
            case Product():
                degrees[number] = reads[0] + reads[1]
            case _:
                degrees[number] = max(reads, default=0)
    return degrees[cone.members[-1]]


def _trimmed(coefficients: Vector) -> Vector:
    """Without leading coefficients that are rounding of zero in every element."""
    size = np.abs(coefficients).max(axis=0)
    used = np.flatnonzero(np.any(np.abs(coefficients) > 1e-14 * size, axis=1))
    return coefficients[: int(used[-1]) + 1 if len(used) else 1]
