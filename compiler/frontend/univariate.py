"""Which nodes of a graph are functions of a single other node, element by element."""

from __future__ import annotations

from dataclasses import dataclass
from math import inf

import numpy as np
from numpy.polynomial import chebyshev
from numpy.typing import NDArray
from scipy.sparse import csr_array

from ..ir.tensor import Affine, Elementwise, Node, Polynomial, Product, TensorGraph

Numbers = NDArray[np.float64]

# A purely polynomial expression is merged up to this degree.
MAX_DEGREE = 8

_DIVIDES = (
    "divides by an encrypted value",
    "divide by a constant (a batch norm, or a scale found in training), or multiply instead",
)
_ROOT = (
    "takes a root or a logarithm of an encrypted value",
    "use a bounded activation, or add a constant inside so that its argument stays positive",
)
_STEP = (
    "compares an encrypted value with a constant",
    "compare after decryption; inside the network use an activation such as torch.nn.ReLU",
)


def samples(size: int, reach: float = 30.0) -> Numbers:
    """Points from -reach to reach, 0 among them, for each of `size` elements: [points, size]."""
    half = min(max(1_000_000 // max(size, 1), 50), 3000)
    return np.repeat(np.linspace(-reach, reach, 2 * half + 1)[:, None], size, axis=1)


def diagonal(matrix: csr_array) -> Numbers | None:
    """The diagonal of a square matrix that has nothing else, or None."""
    rows, columns = matrix.shape
    if rows != columns or matrix.nnz > rows:
        return None
    owner = np.repeat(np.arange(rows), np.diff(matrix.indptr))
    if not np.array_equal(owner, matrix.indices):
        return None
    values = np.zeros(rows)
    np.add.at(values, owner, matrix.data)
    return values


def compact(values: Numbers) -> Numbers:
    """A vector whose entries are all the same as an array of one, which fits any size."""
    if values.size and (values == values[0]).all():
        return np.asarray(values[:1])
    return values


@dataclass(frozen=True, slots=True, eq=False)
class Mix:
    """sum of factors[k] * x_k + bias, element by element: an affine map with diagonal matrices."""

    factors: tuple[Numbers, ...]
    bias: Numbers


Step = tuple[Mix | Elementwise | Polynomial | Product, tuple[int, ...]]


@dataclass(frozen=True, slots=True, eq=False)
class Composite:
    """A function of one variable, as steps; operand 0 is the variable, k the result of step k."""

    steps: tuple[Step, ...]

    def __call__(self, x: Numbers) -> Numbers:
        values = [x]
        for op, operands in self.steps:
            args = [values[o] for o in operands]
            match op:
                case Mix(factors, bias):
                    total = np.zeros_like(x) + bias
                    for factor, arg in zip(factors, args, strict=True):
                        total = total + factor * arg
                    values.append(total)
                case Elementwise(_, function):
                    values.append(np.asarray(function(args[0])))
                case Polynomial(coefficients, center, radius):
                    t = (args[0] - compact(center)) / compact(radius)
                    same = (coefficients == coefficients[:, :1]).all()
                    table = coefficients[:, :1] if same else coefficients
                    values.append(np.asarray(chebyshev.chebval(t, table, tensor=False)))
                case Product():
                    values.append(args[0] * args[1])
        return values[-1]


@dataclass(frozen=True, slots=True, eq=False)
class Univariate:
    """For each node the earliest one that it is a function of, element by element, and its degree.

    A node that depends on several elements or on several nodes is its own root. The degree is
    that of a polynomial, infinite as soon as another function takes part.
    """

    graph: TensorGraph
    roots: tuple[int, ...]
    degrees: tuple[float, ...]

    @staticmethod
    def of(graph: TensorGraph) -> Univariate:
        roots: list[int] = []
        degrees: list[float] = []
        for number, node in enumerate(graph.nodes):
            root, degree = _grown(node, roots, degrees)
            if root is None or MAX_DEGREE < degree < inf:
                root, degree = number, 1.0
            roots.append(root)
            degrees.append(degree)
        return Univariate(graph, tuple(roots), tuple(degrees))

    def tops(self) -> list[int]:
        """Nodes whose value is needed by more than functions of the same root."""
        needed = {o.node for o in self.graph.outputs}
        for number, node in enumerate(self.graph.nodes):
            for operand in node.operands:
                if self.roots[number] != self.roots[operand]:
                    needed.add(operand)
        return [n for n in sorted(needed) if self.roots[n] != n]

    def region(self, root: int, top: int) -> list[int]:
        """The nodes between a root (left out) and a node, in topological order."""
        found: set[int] = set()
        waiting = [top]
        while waiting:
            number = waiting.pop()
            if number == root or number in found:
                continue
            found.add(number)
            waiting.extend(self.graph.nodes[number].operands)
        return sorted(found)

    def composite(self, root: int, region: list[int]) -> Composite:
        """The last node of the region as a function of the root."""
        places = {root: 0, **{number: k + 1 for k, number in enumerate(region)}}
        steps: list[Step] = []
        for number in region:
            node = self.graph.nodes[number]
            operands = tuple(places[o] for o in node.operands)
            steps.append((_step(node), operands))
        return Composite(tuple(steps))

    def violation(self, kind: str, number: int) -> tuple[str, str] | None:
        """Why a node is not "positive", "nonzero" or "fused" (reason and hint), if it is not."""
        if kind == "fused":
            return _STEP if number in self.tops() else None
        root, size = self.roots[number], self.graph.nodes[number].size
        values = samples(size)
        if root != number:
            with np.errstate(all="ignore"):
                values = self.composite(root, self.region(root, number))(values)
        positive = bool(np.isfinite(values).all() and (values > 0).all())
        negative = bool(np.isfinite(values).all() and (values < 0).all())
        if kind == "positive":
            return None if positive else _ROOT
        return None if positive or negative else _DIVIDES


def _grown(node: Node, roots: list[int], degrees: list[float]) -> tuple[int | None, float]:
    """The common root of a node's operands and its degree in it; None where there is none."""
    shared = {roots[o] for o in node.operands}
    if len(shared) != 1:
        return None, 1.0
    (root,) = shared
    own = [degrees[o] for o in node.operands]
    match node.op:
        case Affine(matrices, _):
            linear = all(diagonal(m) is not None for m in matrices)
            return (root if linear else None), max(own)
        case Elementwise():
            return root, inf
        case Polynomial():
            return root, node.op.degree * own[0]
        case Product():
            return root, sum(own)
        case _:
            return None, 1.0


def _step(node: Node) -> Mix | Elementwise | Polynomial | Product:
    match node.op:
        case Affine(matrices, bias):
            factors = [d for m in matrices if (d := diagonal(m)) is not None]
            return Mix(tuple(compact(f) for f in factors), compact(bias))
        case Elementwise() | Polynomial() | Product():
            return node.op
        case _:
            raise TypeError(f"{type(node.op).__name__} is not a function of one value")
