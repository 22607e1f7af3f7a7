"""Rehearse a graph on calibration rows, with some activations replaced by polynomials."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from scipy.sparse import csr_array

from ..ir.tensor import Affine, Elementwise, Input, Polynomial, TensorGraph, Vector
from .affine_forms import value_of
from .fit import Fitter
from .grain import Samples, make_fitter

DENSE_SHARE = 0.04
"""Above this share of nonzeros a dense product is faster than a sparse one."""

DENSE_ENTRIES = 1 << 24

Degrees = Mapping[int, int]
"""Degree by node number of an Elementwise; those that are not named stay exact."""

Key = tuple[tuple[int, int], ...]


@dataclass(slots=True, eq=False)
class Rehearsal:
    """Values of the graph's nodes on fixed rows, for any choice of degrees.

    Every activation is fitted on what reaches it from the polynomials before it, on the rows
    `fit_rows`, and its fit is judged on `held_rows`. Values that depend on the same choices are
    computed once, as long as they are used by the next run too.
    """

    graph: TensorGraph
    rows: Mapping[str, Vector]
    fit_rows: slice
    held_rows: slice
    margin: float
    grains: dict[int, str] = field(default_factory=dict)
    _matrices: dict[int, tuple[csr_array | Vector, ...]] = field(default_factory=dict)
    _above: list[frozenset[int]] = field(default_factory=list)
    _values: dict[tuple[int, Key], Vector] = field(default_factory=dict)
    _fitters: dict[tuple[int, Key], Fitter] = field(default_factory=dict)
    _exact: dict[tuple[int, Key], Vector] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for number, node in enumerate(self.graph.nodes):
            above = frozenset[int]().union(*(self._above[o] for o in node.operands))
            self._above.append(above | {number} if isinstance(node.op, Elementwise) else above)
            if isinstance(node.op, Affine) and number not in self._matrices:
                self._matrices[number] = tuple(_quick(m) for m in node.op.matrices)
        self.run({})
        self._exact = self._values

    def on_all(self, rows: Mapping[str, Vector]) -> Rehearsal:
        """The same graph, grains and margin, fitted and judged on all of `rows`."""
        everything = slice(None)
        return Rehearsal(
            self.graph,
            rows,
            everything,
            everything,
            self.margin,
            self.grains,
            self._matrices,
            _exact=self._exact if _same(rows, self.rows) else {},
        )

    def run(self, degrees: Degrees) -> dict[str, Vector]:
        """Outputs [windows, size] by name, with these activations replaced."""
        old, self._values = {**self._values, **self._exact}, {}
        with np.errstate(over="ignore", invalid="ignore"):
            for number in range(len(self.graph.nodes)):
                at = number, self._key(number, degrees)
                known = old.get(at)
                self._values[at] = self._compute(number, degrees) if known is None else known
        return {o.name: self.value(o.node, degrees) for o in self.graph.outputs}

    def value(self, number: int, degrees: Degrees) -> Vector:
        """The value of a node in the last run, which must have been of these degrees."""
        return self._values[number, self._key(number, degrees)]

    def fitter(self, number: int, degrees: Degrees) -> Fitter:
        """The fits of an Elementwise on the inputs that it has in the last run."""
        node = self.graph.nodes[number]
        op, source = node.op, node.operands[0]
        assert isinstance(op, Elementwise)
        at = number, self._key(source, degrees)
        if at not in self._fitters:
            x = self.value(source, degrees)
            samples = Samples(x[self.fit_rows], x[self.held_rows])
            fitter = make_fitter(
                op.function, samples, node.shape, self.margin, self.grains.get(number)
            )
            self.grains[number] = fitter.grain
            self._fitters[at] = fitter
        return self._fitters[at]

    def polynomial(self, number: int, degrees: Degrees) -> Polynomial:
        op = self.graph.nodes[number].op
        assert isinstance(op, Elementwise)
        return self.fitter(number, degrees).polynomial(degrees[number], op.name)

    def _key(self, number: int, degrees: Degrees) -> Key:
        return tuple((e, degrees[e]) for e in sorted(self._above[number]) if e in degrees)

    def _compute(self, number: int, degrees: Degrees) -> Vector:
        node = self.graph.nodes[number]
        args = [self.value(o, degrees) for o in node.operands]
        match node.op:
            case Input(name):
                return self.rows[name]
            case Affine(_, bias):
                count = len(args[0]) if args else len(next(iter(self.rows.values())))
                total = np.tile(bias, (count, 1))
                for matrix, x in zip(self._matrices[number], args, strict=True):
                    total += (matrix @ x.T).T
                return total
            case Elementwise(_, function) if number not in degrees:
                return function(args[0])
            case Elementwise():
                # Held-out rows may explode; the rows fitted on stay inside the interval.
                return value_of(self.polynomial(number, degrees), args[0])
            case Polynomial() as polynomial:
                return value_of(polynomial, args[0])
            case _:
                return args[0] * args[1]


def _same(a: Mapping[str, Vector], b: Mapping[str, Vector]) -> bool:
    return all(np.array_equal(a[name], b[name]) for name in a)


def _quick(matrix: csr_array) -> csr_array | Vector:
    rows, columns = matrix.shape
    entries = rows * columns
    if matrix.nnz > DENSE_SHARE * entries and entries <= DENSE_ENTRIES:
        return np.asarray(matrix.toarray(), dtype=np.float64)
    return matrix
