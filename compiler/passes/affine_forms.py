"""Compose affine maps: the linear half of `merge_affine`.

Every value is carried as a form, sum_k M_k @ (node k) + bias, over nodes that have to exist.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
from scipy.sparse import csr_array, diags_array, eye_array

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

_CACHED = 1 << 13
"""Values that are evaluated at once: a few arrays of them fit a processor's nearest cache."""


@dataclass(frozen=True, slots=True, eq=False)
class Form:
    """sum over (node, matrix [m, size of node]) of matrix @ node, plus bias [m]."""

    terms: dict[int, csr_array]
    bias: Vector
    origin: Origin = field(default_factory=Origin)

    @property
    def constant(self) -> bool:
        return not self.terms

    @property
    def selects(self) -> bool:
        """At most one nonzero a row: composing with it makes no user's matrix denser."""
        rows = np.zeros(len(self.bias), dtype=np.int64)
        for matrix in self.terms.values():
            rows += np.diff(matrix.indptr)
        return bool(np.all(rows <= 1))

    def alias(self) -> int | None:
        """The node whose value this is, unchanged, if there is one."""
        if len(self.terms) != 1 or np.any(self.bias):
            return None
        ((number, matrix),) = self.terms.items()
        return number if is_identity(matrix) else None


def diagonal(values: Vector) -> csr_array:
    """Diagonal matrix [n, n] without explicit zeros."""
    return clean(csr_array(diags_array(values)))


def identity(size: int) -> csr_array:
    return csr_array(eye_array(size))


def clean(matrix: csr_array) -> csr_array:
    """A canonical copy: sorted, no duplicates, no explicit zeros."""
    result = csr_array(matrix, dtype=np.float64, copy=True)
    result.sum_duplicates()
    result.eliminate_zeros()
    return result


def is_diagonal(matrix: csr_array) -> bool:
    rows, columns = matrix.shape
    return rows == columns and bool(np.array_equal(*matrix.nonzero()))


def is_identity(matrix: csr_array) -> bool:
    return (
        matrix.nnz == matrix.shape[0] and bool(np.all(matrix.data == 1.0)) and is_diagonal(matrix)
    )


def compose_affine(graph: TensorGraph, *, through: bool = False) -> TensorGraph:
    """Merge every Affine into the Affines that read it; fold constants; drop identities and zeros.

    An Affine that a non-affine op reads stays a node, and Affines read that node rather than
    repeat its work, unless it only selects and scales (then composing costs nothing). With
    `through` they repeat it: more work, but a level less where that path is the longest.
    """
    return _Composer(graph, through).run().pruned()


class _Composer:
    """Builds the new graph in one walk; `forms[i]` is what old node i became."""

    def __init__(self, graph: TensorGraph, through: bool) -> None:
        self.graph = graph
        self.through = through
        self.nodes: list[Node] = []
        self.forms: list[Form] = []
        self.made: dict[int, int] = {}
        self.kept = {
            operand
            for node in graph.nodes
            if not isinstance(node.op, Affine)
            for operand in node.operands
        }

    def run(self) -> TensorGraph:
        for number, node in enumerate(self.graph.nodes):
            form = self.visit(node)
            self.forms.append(form)
            stays = number in self.kept and not self.through and not form.constant
            if stays and not form.selects:
                self.forms[number] = self.reference(self.materialise(number))
        outputs = tuple(replace(o, node=self.materialise(o.node)) for o in self.graph.outputs)
        return TensorGraph(self.graph.name, tuple(self.nodes), outputs)

    def visit(self, node: Node) -> Form:
        reads = [self.forms[o] for o in node.operands]
        match node.op:
            case Affine(matrices, bias):
                return self.composed(matrices, reads, bias, node.origin)
            case Elementwise(_, function) if reads[0].constant:
                return self.constant(function(reads[0].bias[None, :])[0], node.origin)
            case Polynomial() as polynomial if reads[0].constant:
                return self.constant(value_of(polynomial, reads[0].bias), node.origin)
            case Polynomial(coefficients, center, radius) if len(coefficients) <= 2:
                slope = coefficients[1] / radius if len(coefficients) == 2 else 0.0 * radius
                bias = coefficients[0] - slope * center
                return self.composed((diagonal(slope),), reads, bias, node.origin)
            case Product() if reads[0].constant or reads[1].constant:
                factor, other = reads if reads[0].constant else reads[::-1]
                matrix = diagonal(factor.bias)
                return self.composed((matrix,), [other], np.zeros(node.size), node.origin)
            case _:
                operands = tuple(self.materialise(o) for o in node.operands)
                return self.reference(self.add(Node(node.op, operands, node.shape, node.origin)))

    def composed(
        self, matrices: tuple[csr_array, ...], reads: list[Form], bias: Vector, origin: Origin
    ) -> Form:
        """sum_k matrices[k] @ reads[k] + bias, as one form."""
        terms: dict[int, csr_array] = {}
        total = np.array(bias, dtype=np.float64)
        for matrix, read in zip(matrices, reads, strict=True):
            total = total + matrix @ read.bias
            origin = read.origin | origin
            for source, inner in read.terms.items():
                product = matrix if is_identity(inner) else csr_array(matrix @ inner)
                terms[source] = terms[source] + product if source in terms else product
        cleaned = {source: clean(matrix) for source, matrix in terms.items()}
        return Form({s: m for s, m in cleaned.items() if m.nnz}, total, origin)

    def constant(self, value: Vector, origin: Origin) -> Form:
        return Form({}, np.asarray(value, dtype=np.float64), origin)

    def reference(self, number: int) -> Form:
        size = self.nodes[number].size
        return Form({number: identity(size)}, np.zeros(size))

    def add(self, node: Node) -> int:
        self.nodes.append(node)
        return len(self.nodes) - 1

    def materialise(self, old: int) -> int:
        """New number of a node that has old node's value; made at most once."""
        form = self.forms[old]
        number = form.alias()
        if number is not None:
            return number
        if old not in self.made:
            op = Affine(tuple(form.terms.values()), form.bias)
            shape = self.graph.nodes[old].shape
            self.made[old] = self.add(Node(op, tuple(form.terms), shape, form.origin))
        return self.made[old]


def value_of(polynomial: Polynomial, x: Vector) -> Vector:
    """The polynomial's value at x [..., n]: Clenshaw's recurrence, few rows at a time."""
    flat = x.reshape(-1, x.shape[-1])
    result = np.empty_like(flat)
    step = max(1, _CACHED // max(1, flat.shape[1]))
    coefficients = polynomial.chebyshev
    for start in range(0, len(flat), step):
        t = (flat[start : start + step] - polynomial.center) / polynomial.radius
        last, before = np.broadcast_to(coefficients[-1], t.shape).copy(), np.zeros_like(t)
        twice, following = 2.0 * t, np.empty_like(t)
        for c in coefficients[-2:0:-1]:
            np.multiply(twice, last, out=following)
            following -= before
            following += c
            following, last, before = before, following, last
        if len(coefficients) > 1:
            last *= t
            last -= before
            last += coefficients[0]
        result[start : start + step] = last
    return result.reshape(x.shape)
