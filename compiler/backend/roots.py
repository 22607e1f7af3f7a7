"""Roots: the last layer's weights move into the squares before it, at one product less in depth.

A classifier that ends in squares and a linear layer computes sum_e w[e] x_e^2. With z_e = c[e] x_e
and c[e]^2 = w[e] that is the sum of z_e^2, and the map before the squares makes z as readily as x.
Roots of negative weights are imaginary, and slots are complex: with c[e]^2 = v[e] + i w[e] one slot
serves two outputs, the real and the imaginary part of what the client adds up (`Readout`). Where a
chain of squares makes a polynomial of degree 4 or 8 it is fourth or eighth roots (`square_chains`).
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array, diags_array, vstack

from ..ir.poly_plan import PolyPlan
from ..ir.tensor import Affine, Core, Node, Readout, TensorGraph
from .square_chains import Chain, chain_of

MOST_COPIES = 3
"""Copies of what is squared, one for every two outputs: with more of them the map that makes them
outgrows what a level saves."""


def rooted(graph: TensorGraph) -> TensorGraph | None:
    """A scheduled graph with the weights of last layers as roots, None where that is nowhere."""
    nodes = list(graph.nodes)
    states = {o.node for o in graph.outputs if o.state}
    for number in {o.node for o in graph.outputs} - states:
        if not graph.users(number):
            _move(graph, nodes, number)
    if nodes == list(graph.nodes):
        return None
    return replace(graph, nodes=tuple(nodes))


def _move(graph: TensorGraph, nodes: list[Node], last: int) -> None:
    """Move the weights of node `last` up, if all that it reads are squares of an affine map."""
    layer = graph.nodes[last]
    if not isinstance(layer.op, Affine) or len(layer.operands) != 1:
        return
    (square,) = layer.operands
    core = graph.nodes[square]
    chain = chain_of(core.op.plan) if isinstance(core.op, Core) else None
    if not isinstance(core.op, Core) or chain is None:
        return
    (first,) = core.operands
    made = graph.nodes[first]
    copies = -(-layer.size // 2)
    alone = graph.users(square) == (last,) and graph.users(first) == (square,)
    shown = {o.node for o in graph.outputs} & {first, square}
    if not isinstance(made.op, Affine) or not alone or shown or copies > MOST_COPIES:
        return
    size = made.size
    weights = np.zeros((2 * copies, size))
    weights[: layer.size] = layer.op.matrices[0].toarray()
    led = weights * chain.lead
    roots = np.power(led[0::2] + 1j * led[1::2], 1 / chain.degree)
    owner = np.full((2 * copies, size), -1)
    owner[: layer.size] = np.where(weights[: layer.size] != 0, np.arange(layer.size)[:, None], -1)
    bias = np.zeros(2 * copies)
    bias[: layer.size] = layer.op.bias + (led @ chain.constant)[: layer.size]
    shift = np.zeros((copies, size), dtype=np.complex128)
    # The client reads no more than it has to: a bias stands where a weight does.
    for k in range(layer.size):
        used = np.flatnonzero(weights[k])
        if not len(used):
            return
        shift[k // 2, used[0]] += bias[k] * (1j if k % 2 else 1.0)
    flat = roots.reshape(-1)
    matrices = tuple(_rows(m, roots) for m in made.op.matrices)
    origin = made.origin | layer.origin
    shape = (copies * made.shape[0], *made.shape[1:]) if made.shape else (copies,)
    nodes[first] = replace(
        made,
        op=Affine(matrices, flat * np.tile(made.op.bias + chain.start, copies)),
        shape=shape,
        origin=origin,
    )
    nodes[square] = replace(core, op=Core(_scaled(core.op.plan, chain, roots)), shape=shape)
    readout = Readout(
        owner[0::2].reshape(-1), owner[1::2].reshape(-1), shift.reshape(-1), layer.size
    )
    nodes[last] = replace(layer, op=readout, origin=origin)


def _scaled(plan: PolyPlan, chain: Chain, roots: NDArray[np.complex128]) -> PolyPlan:
    """The chain of roots * t in place of a plan's steps; pre and post are in the maps around it."""
    one, zero = np.ones(roots.size), np.zeros(roots.size)
    steps = chain.steps(roots)
    return PolyPlan(plan.degree, one, zero, one, zero, steps, plan.growth, plan.condition)


def _rows(matrix: csr_array, roots: NDArray[np.complex128]) -> csr_array:
    """The rows of `matrix` times the roots [copies, rows], copy by copy."""
    found = csr_array(vstack([diags_array(r) @ matrix for r in roots], format="csr"))
    found.eliminate_zeros()
    found.sort_indices()
    return found
