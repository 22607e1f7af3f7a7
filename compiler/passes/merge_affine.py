"""Merge linear maps and fuse functions of one variable: fewer nodes, fewer levels, same values."""

from __future__ import annotations

from ..ir.tensor import Affine, Elementwise, Polynomial, Product, TensorGraph
from .affine_forms import compose_affine
from .fuse_pointwise import fuse_pointwise

_ELEMENTWISE_LEVELS = 3
"""Assumed for a function whose degree is not chosen yet."""


def merge_affine(graph: TensorGraph) -> TensorGraph:
    """Return an equivalent graph in which no Affine is read by Affines only.

    Promise: the same outputs up to rounding; the longest chain of ops is never longer.

    - Affine after Affine is one Affine with the product matrix; operands that share a source are
      added; identities, explicit zeros, zero matrices and constants disappear. `y = A x + x` ends
      as one matrix. An Affine that a non-affine op reads stays, and others read it, unless
      repeating its work in them takes a level off the whole graph.
    - An elementwise function of an elementwise function, and products and sums of functions of one
      node, become one function: `x * sigmoid(x)` one Elementwise, `x * x` one Polynomial.

    Limits: an output may end up being an Input or the same node as another output.
    """
    merged = _converged(graph, through=False)
    shallow = _converged(merged, through=True)
    return shallow if _levels(shallow) < _levels(merged) else merged


def _converged(graph: TensorGraph, *, through: bool) -> TensorGraph:
    for _ in range(len(graph.nodes) + 2):
        merged = compose_affine(fuse_pointwise(graph), through=through)
        if _signature(merged) == _signature(graph):
            return merged
        graph = merged
    return graph


def _signature(graph: TensorGraph) -> tuple[object, ...]:
    """Structure without values: the walk has converged when it stays the same."""
    return (tuple((type(n.op), n.operands) for n in graph.nodes), graph.outputs)


def _levels(graph: TensorGraph) -> int:
    """Levels on the longest path."""
    levels: list[int] = []
    for node in graph.nodes:
        below = max((levels[o] for o in node.operands), default=0)
        match node.op:
            case Affine() | Product():
                below += 1
            case Polynomial() as polynomial:
                below += max(1, (polynomial.degree - 1).bit_length())
            case Elementwise():
                below += _ELEMENTWISE_LEVELS
            case _:
                pass
        levels.append(below)
    return max((levels[o.node] for o in graph.outputs), default=0)
