"""The graph under construction: the only mutable thing of an import."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from math import prod

import numpy as np
from scipy.sparse import csr_array

from ..ir.tensor import Affine, Elementwise, Input, Node, Origin, Polynomial, Product, TensorOp
from ..ir.tensor import Vector as Vector
from .problems import Unsupported
from .value import Array, Batch, Shape, Value, Window

# Beyond this a matrix no longer fits comfortably into memory, nor its product into any slots.
MAX_ENTRIES = 50_000_000


def selection(source: Array, size: int, weights: Array | float = 1.0) -> csr_array:
    """The matrix whose row r is weights[r] at column source[r], or empty where source[r] is -1."""
    index = np.asarray(source, dtype=np.int64)
    kept = index >= 0
    data = np.broadcast_to(np.asarray(weights, dtype=np.float64), index.shape)[kept]
    ends = np.concatenate(([0], np.cumsum(kept)))
    columns = index[kept].astype(np.int32)
    return csr_array((data, columns, ends.astype(np.int32)), shape=(len(index), size))


def check_entries(count: int) -> None:
    """Refuse a matrix too large to build, before building it."""
    if count > MAX_ENTRIES:
        raise Unsupported(
            f"is a linear map of {count:,} coefficients; at most {MAX_ENTRIES:,} are possible",
            "use a smaller layer: fewer inputs (downsample), fewer channels, or a larger stride",
        )


def summing(target: Array, size: int, weight: float = 1.0) -> csr_array:
    """The matrix [size, n] that adds weight * x[i] to row target[i]."""
    index = np.asarray(target, dtype=np.int32)
    columns = np.arange(len(index), dtype=np.int32)
    data = np.full(len(index), weight)
    return csr_array((data, (index, columns)), shape=(size, len(index)))


def is_identity(matrix: csr_array) -> bool:
    rows, columns = matrix.shape
    return bool(
        rows == columns
        and matrix.nnz == rows
        and np.array_equal(matrix.indices, np.arange(rows))
        and np.array_equal(matrix.indptr, np.arange(rows + 1))
        and (matrix.data == 1).all()
    )


@dataclass(slots=True)
class Builder:
    """Nodes so far. Every method appends what it must and returns the value it made.

    `windows` is the batch size that the ONNX shapes are taken with; `symbolic` says that the file
    leaves it open.
    """

    windows: int
    symbolic: bool
    nodes: list[Node] = field(default_factory=list)

    def add(
        self,
        op: TensorOp,
        operands: tuple[int, ...],
        shape: Shape,
        batch: Batch | None,
        origin: Origin,
    ) -> Value:
        value = Value(len(self.nodes), shape, batch)
        self.nodes.append(Node(op, operands, value.window_shape, origin))
        return value

    def input(self, name: str, shape: Shape, batch: Batch | None) -> Value:
        return self.add(Input(name), (), shape, batch, Origin((name,), ("Input",)))

    def affine(
        self,
        terms: Sequence[tuple[Value, csr_array]],
        bias: Array | None,
        shape: Shape,
        batch: Batch | None,
        origin: Origin,
    ) -> Value:
        """sum of matrix @ value, plus bias; nothing is appended for the identity."""
        size = prod(shape)
        offset = np.zeros(size) if bias is None else np.asarray(bias, dtype=np.float64)
        matrices: dict[int, csr_array] = {}
        for value, matrix in terms:
            known = matrices.get(value.node)
            matrices[value.node] = matrix if known is None else csr_array(known + matrix)
        for matrix in matrices.values():
            _tidy(matrix)
        if not np.isfinite(offset).all() or not all(
            np.isfinite(m.data).all() for m in matrices.values()
        ):
            raise Unsupported(
                "has coefficients that are not finite (NaN, infinity, or a division by zero)",
                "look for NaN in the weights and for masks made of infinities",
            )
        if len(matrices) == 1 and not offset.any():
            ((node, matrix),) = matrices.items()
            if is_identity(matrix):
                return Value(node, shape, batch)
        op = Affine(tuple(matrices.values()), offset)
        return self.add(op, tuple(matrices), shape, batch, origin)

    def elementwise(
        self, name: str, function: Callable[[Vector], Vector], x: Value, origin: Origin
    ) -> Value:
        return self.add(Elementwise(name, function), (x.node,), x.shape, x.batch, origin)

    def product(self, x: Value, y: Value, origin: Origin) -> Value:
        """x * y, both of the same shape."""
        batch = x.batch or y.batch
        return self.add(Product(), (x.node, y.node), x.shape, batch, origin)

    def polynomial(self, coefficients: Vector, x: Value, name: str, origin: Origin) -> Value:
        """Chebyshev coefficients [degree + 1] on [-1, 1], the same for every element of x."""
        table = np.repeat(coefficients[:, None], x.size, axis=1)
        op = Polynomial(table, np.zeros(x.size), np.ones(x.size), name)
        return self.add(op, (x.node,), x.shape, x.batch, origin)

    def rearranged(self, x: Value, index: Array, window: Window, origin: Origin) -> Value:
        """The elements `index` (-1 for zero) of x, in the shape of the window."""
        matrix = selection(index, x.size)
        return self.affine([(x, matrix)], None, window.shape, window.batch, origin)


def _tidy(matrix: csr_array) -> None:
    matrix.sum_duplicates()
    matrix.eliminate_zeros()
    matrix.sort_indices()
    matrix.indices = matrix.indices.astype(np.int32, copy=False)
    matrix.indptr = matrix.indptr.astype(np.int32, copy=False)
