"""Contraction: products of which the client packs an operand need no arrangement of it.

Promise: the graph computes the same outputs; a Product of an Input, however it is selected,
repeated or transposed before the product and summed after it, is one Contraction and takes one
level. Which elements meet is kept as indices, so that the planner may pack the input to match
wherever the other operand lies.
Limits: a sum whose weights differ within a row stays an affine map after the Contraction.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
from scipy.sparse import csr_array

from ..ir.layout import Index
from ..ir.poly_plan import Dot, Shift
from ..ir.tensor import Affine, Contraction, Core, Input, Node, Product, TensorGraph, Vector

_SQUARE = Dot(((0, 0),))


@dataclass(frozen=True, slots=True, eq=False)
class _Side:
    """One operand of a product: factor * node[index], elementwise."""

    node: int
    index: Index
    factor: float = 1.0


def contract(graph: TensorGraph, *, computed: bool) -> TensorGraph:
    """Replace the products of inputs by Contractions.

    With `computed`, operands that are computed are read where they lie as well, selected or
    repeated without an affine map of their own, if the planner finds how.
    """
    if not any(isinstance(n.op, Product) for n in graph.nodes):
        return graph
    return _Contractor(graph, computed).run().pruned()


@dataclass(slots=True)
class _Contractor:
    """Builds the new graph in one walk; `made[i]` is what old node i became."""

    graph: TensorGraph
    computed: bool
    nodes: list[Node] = field(default_factory=list)
    made: dict[int, int] = field(default_factory=dict)
    distinct: dict[int, tuple[int, Index]] = field(default_factory=dict)
    scaled: dict[tuple[int, float], int] = field(default_factory=dict)

    def run(self) -> TensorGraph:
        for number, node in enumerate(self.graph.nodes):
            absorbed = self._absorbed(number)
            if absorbed is not None:
                self.made[number] = self._sum(absorbed, number)
            elif isinstance(node.op, Product):
                self.made[number] = self._product(number)
            else:
                operands = tuple(self.made[o] for o in node.operands)
                self.made[number] = self._add(replace(node, operands=operands))
        outputs = tuple(replace(o, node=self.made[o.node]) for o in self.graph.outputs)
        return TensorGraph(self.graph.name, tuple(self.nodes), outputs)

    def _add(self, node: Node) -> int:
        self.nodes.append(node)
        return len(self.nodes) - 1

    def _absorbed(self, number: int) -> int | None:
        """The product that the affine map `number` sums, where nothing else reads it."""
        node = self.graph.nodes[number]
        if not isinstance(node.op, Affine):
            return None
        outputs = {o.node for o in self.graph.outputs}
        for operand, matrix in zip(node.operands, node.op.matrices, strict=True):
            alone = operand not in outputs and self.graph.users(operand) == (number,)
            product = self.graph.nodes[operand]
            if not isinstance(product.op, Product) or not alone:
                continue
            if _row_weights(matrix) is not None and self._sides(operand) is not None:
                return operand
        return None

    def _product(self, number: int) -> int:
        node = self.graph.nodes[number]
        users = self.graph.users(number)
        if len(users) == 1 and self._absorbed(users[0]) == number:
            return -1  # Made together with the sum.
        sides = self._sides(number)
        if sides is None:
            operands = tuple(self.made[o] for o in node.operands)
            return self._add(replace(node, operands=operands))
        a, b = sides
        all_of_it = np.arange(node.size)
        return self._scaled_after(
            self._contraction(a, b, all_of_it, node, (), np.zeros(node.size)),
            np.full(node.size, a.factor * b.factor),
        )

    def _sum(self, product: int, number: int) -> int:
        """The affine map `number` over a product and perhaps other operands."""
        node, pairs_of = self.graph.nodes[number], self._sides(product)
        assert isinstance(node.op, Affine)
        assert pairs_of is not None
        a, b = pairs_of
        operands = list(zip(node.operands, node.op.matrices, strict=True))
        matrix = next(m for o, m in operands if o == product)
        others = [(o, m) for o, m in operands if o != product]
        weights = _row_weights(matrix)
        assert weights is not None
        weights = weights * a.factor * b.factor
        owner = np.repeat(np.arange(node.size), np.diff(matrix.indptr))
        pairs = matrix.indices.astype(np.int64)
        used = weights[np.diff(matrix.indptr) > 0]
        uniform = float(used[0])
        if (used == uniform).all() and uniform != 1.0:
            moved = self._pushed(a, uniform), self._pushed(b, uniform)
            if moved[0] is not None:
                a, weights = moved[0], weights / uniform
            elif moved[1] is not None:
                b, weights = moved[1], weights / uniform
        a, b = replace(a, index=a.index[pairs]), replace(b, index=b.index[pairs])
        plain = bool((weights[np.diff(matrix.indptr) > 0] == 1.0).all())
        if plain and all(self._is_addend(o, m) for o, m in others):
            addends = tuple((self.made[o], m) for o, m in others)
            return self._contraction(a, b, owner, node, addends, node.op.bias)
        bare = self._contraction(a, b, owner, node, (), np.zeros(node.size))
        terms = [(bare, _diagonal(weights)), *((self.made[o], m) for o, m in others)]
        op = Affine(tuple(m for _, m in terms), node.op.bias)
        return self._add(replace(node, op=op, operands=tuple(o for o, _ in terms)))

    def _contraction(
        self,
        a: _Side,
        b: _Side,
        owner: Index,
        node: Node,
        addends: tuple[tuple[int, csr_array], ...],
        bias: Vector,
    ) -> int:
        op = Contraction(a.index, b.index, owner, tuple(m for _, m in addends), bias)
        operands = (a.node, b.node, *(o for o, _ in addends))
        return self._add(replace(node, op=op, operands=operands))

    def _scaled_after(self, number: int, weights: Vector) -> int:
        if (weights == 1.0).all():
            return number
        node = self.nodes[number]
        op = Affine((_diagonal(weights),), np.zeros(node.size))
        return self._add(replace(node, op=op, operands=(number,)))

    def _is_addend(self, operand: int, matrix: csr_array) -> bool:
        """Whether the client can pack it to lie as the sum does."""
        is_input = isinstance(self.graph.nodes[operand].op, Input)
        return is_input and bool((np.diff(matrix.indptr) <= 1).all())

    def _sides(self, product: int) -> tuple[_Side, _Side] | None:
        """Both operands, or None where the product is better left as it is."""
        a, b = (self._side(o) for o in self.graph.nodes[product].operands)
        free = [isinstance(self.nodes[s.node].op, Input) for s in (a, b)]
        moved = any(not np.array_equal(s.index, np.arange(len(s.index))) for s in (a, b))
        return (a, b) if any(free) or (self.computed and moved) else None

    def _side(self, number: int) -> _Side:
        """An operand of a product, without what only selects."""
        node = self.graph.nodes[number]
        everything = np.arange(node.size)
        if not isinstance(node.op, Affine) or not node.operands:
            return _Side(self.made[number], everything)
        selected = _selection(node.op)
        if selected is not None:
            source = node.operands[0]
            if self.computed or isinstance(self.graph.nodes[source].op, Input):
                return _Side(self.made[source], *selected)
        if not self.computed:
            return _Side(self.made[number], everything)
        if number not in self.distinct:
            squared = self._squared(node)
            if squared is not None:
                self.distinct[number] = squared
        if number not in self.distinct:
            first, index = _distinct_rows(node.op)
            if len(first) == node.size:
                self.distinct[number] = self.made[number], everything
            else:
                rows = tuple(csr_array(m[first]) for m in node.op.matrices)
                fewer = replace(
                    node,
                    op=Affine(rows, node.op.bias[first]),
                    operands=tuple(self.made[o] for o in node.operands),
                    shape=(len(first),),
                )
                self.distinct[number] = self._add(fewer), index
        return _Side(*self.distinct[number])

    def _squared(self, node: Node) -> tuple[int, Index] | None:
        """weights * x[index] + bias of a square x, with square roots of the weights before the
        square and the bias after it, at no level; None where the map is not of that form."""
        op = node.op
        assert isinstance(op, Affine)
        source = self.made[node.operands[0]]
        core = self.nodes[source]
        if len(op.matrices) != 1 or not isinstance(core.op, Core):
            return None
        (matrix,) = op.matrices
        before, steps = self.nodes[core.operands[0]], core.op.plan.steps
        if steps[:1] != (_SQUARE,) or len(steps) > 1 or not isinstance(before.op, Affine):
            return None
        if not (np.diff(matrix.indptr) == 1).all():
            return None
        index = matrix.indices.astype(np.int64)
        weights, shifts = np.ones(core.size), np.zeros(core.size)
        weights[index], shifts[index] = matrix.data, op.bias
        same = (weights[index] == matrix.data).all() and (shifts[index] == op.bias).all()
        if not same or not (weights > 0.0).all():
            return None
        roots = np.sqrt(weights)
        rows = tuple(csr_array(_diagonal(roots) @ m) for m in before.op.matrices)
        argument = self._add(replace(before, op=Affine(rows, roots * before.op.bias)))
        moved = (*steps, Shift(1, shifts)) if shifts.any() else steps
        plan = replace(core.op.plan, steps=moved)
        return self._add(replace(core, op=Core(plan), operands=(argument,))), index

    def _pushed(self, side: _Side, factor: float) -> _Side | None:
        """The side times `factor`, where an affine map makes it and takes that up."""
        node = self.nodes[side.node]
        if not isinstance(node.op, Affine):
            return self._pushed_square(side, factor)
        key = side.node, factor
        if key not in self.scaled:
            rows = tuple(csr_array(m * factor) for m in node.op.matrices)
            self.scaled[key] = self._add(replace(node, op=Affine(rows, node.op.bias * factor)))
        return replace(side, node=self.scaled[key])

    def _pushed_square(self, side: _Side, factor: float) -> _Side | None:
        """The same through a square."""
        node = self.nodes[side.node]
        plain = isinstance(node.op, Core) and node.op.plan.steps == (_SQUARE,)
        if factor < 0.0 or not plain:
            return None
        argument = self._pushed(_Side(node.operands[0], side.index), float(np.sqrt(factor)))
        if argument is None:
            return None
        return replace(side, node=self._add(replace(node, operands=(argument.node,))))


def _selection(op: Affine) -> tuple[Index, float] | None:
    """(index, factor) where the map is factor * x[index]."""
    if len(op.matrices) != 1 or op.bias.any():
        return None
    (matrix,) = op.matrices
    if not (np.diff(matrix.indptr) == 1).all() or (matrix.data != matrix.data[0]).any():
        return None
    return matrix.indices.astype(np.int64), float(matrix.data[0])


def _row_weights(matrix: csr_array) -> Vector | None:
    """The weight that a row gives all its elements (1 where it has none), if each has one."""
    counts = np.diff(matrix.indptr)
    if not len(matrix.data) or not matrix.data.all():
        return None
    weights = np.ones(matrix.shape[0])
    weights[counts > 0] = matrix.data[matrix.indptr[:-1][counts > 0]]
    return weights if np.array_equal(np.repeat(weights, counts), matrix.data) else None


def _distinct_rows(op: Affine) -> tuple[Index, Index]:
    """(first row of each kind, kind of each row): rows alike in all matrices and in the bias."""
    kinds: dict[bytes, int] = {}
    first: list[int] = []
    index = np.empty(len(op.bias), dtype=np.int64)
    for row, bias in enumerate(op.bias):
        parts = [bias.tobytes()]
        for matrix in op.matrices:
            part = slice(matrix.indptr[row], matrix.indptr[row + 1])
            parts += [matrix.indices[part].tobytes(), matrix.data[part].tobytes()]
        key = b"|".join(parts)
        if key not in kinds:
            kinds[key] = len(first)
            first.append(row)
        index[row] = kinds[key]
    return np.array(first, dtype=np.int64), index


def _diagonal(values: Vector) -> csr_array:
    size = len(values)
    ends = np.arange(size + 1, dtype=np.int32)
    return csr_array((values, np.arange(size, dtype=np.int32), ends), shape=(size, size))
