"""Absorption: the scales and shifts around polynomials move into the neighbouring affine maps.

Promise: the graph computes the same outputs and holds Input, Affine, Core and Product only; every
polynomial costs the levels of its core and not one more, wherever an affine map stands before and
after it.
Limits: where none stands (a product of two activations, an activation as the output), a diagonal
affine map is inserted, at the cost of one level.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from scipy.sparse import csr_array, diags_array

from ..ir.tensor import Affine, Core, Input, Node, Polynomial, Product, TensorGraph, Vector
from .poly_schemes import plan_polynomial


@dataclass(frozen=True, slots=True, eq=False)
class _Held:
    """A value as it is held: value = scale * node + shift, elementwise."""

    node: int
    scale: Vector
    shift: Vector

    @property
    def plain(self) -> bool:
        return bool(np.all(self.scale == 1) and np.all(self.shift == 0))


def absorb(graph: TensorGraph) -> TensorGraph:
    """Replace every Polynomial by its Core and absorb what surrounds it."""
    nodes: list[Node] = []
    held: dict[int, _Held] = {}

    def push(node: Node) -> int:
        nodes.append(node)
        return len(nodes) - 1

    def exact(number: int) -> int:
        """The node that holds the value of old node `number` itself."""
        value = held[number]
        if value.plain:
            return value.node
        old = graph.nodes[number]
        node = push(
            Node(
                Affine((_diagonal(value.scale),), value.shift),
                (value.node,),
                old.shape,
                old.origin,
            )
        )
        held[number] = _plain(node, old.size)
        return node

    def normalised(number: int, scale: Vector, shift: Vector) -> Node:
        """scale * value + shift, as rows of the affine map that makes the value if there is one."""
        old = graph.nodes[number]
        if not isinstance(old.op, Affine):
            x = held[number]
            op = Affine((_diagonal(scale * x.scale),), scale * x.shift + shift)
            return Node(op, (x.node,), old.shape, old.origin)
        op = _read_held(old.op.matrices, old.op.bias, [held[o] for o in old.operands])
        rows = tuple(csr_array(_diagonal(scale) @ m) for m in op.matrices)
        operands = tuple(held[o].node for o in old.operands)
        return replace(old, op=Affine(rows, scale * op.bias + shift), operands=operands)

    for number, node in enumerate(graph.nodes):
        match node.op:
            case Input(_):
                held[number] = _plain(push(node), node.size)
            case Affine(matrices, bias):
                op = _read_held(matrices, bias, [held[o] for o in node.operands])
                operands = tuple(held[o].node for o in node.operands)
                held[number] = _plain(push(replace(node, op=op, operands=operands)), node.size)
            case Product():
                a, b = (held[o] for o in node.operands)
                if np.any(a.shift) or np.any(b.shift):
                    operands = tuple(exact(o) for o in node.operands)
                    held[number] = _plain(push(replace(node, operands=operands)), node.size)
                else:
                    new = push(replace(node, operands=(a.node, b.node)))
                    held[number] = _Held(new, a.scale * b.scale, np.zeros(node.size))
            case Polynomial():
                plan = plan_polynomial(node.op)
                x = held[node.operands[0]]
                inner_scale = plan.pre_scale * x.scale
                inner_shift = plan.pre_scale * x.shift + plan.pre_shift
                if plan.depth == 0:
                    held[number] = _Held(
                        x.node,
                        plan.post_scale * inner_scale,
                        plan.post_scale * inner_shift + plan.post_shift,
                    )
                    continue
                inner = x.node
                if not (np.all(inner_scale == 1) and np.all(inner_shift == 0)):
                    inner = push(normalised(node.operands[0], plan.pre_scale, plan.pre_shift))
                core = push(Node(Core(plan), (inner,), node.shape, node.origin))
                held[number] = _Held(core, plan.post_scale, plan.post_shift)
            case _:
                raise TypeError(f"{type(node.op).__name__} must be replaced before absorption")
    outputs = tuple(replace(o, node=exact(o.node)) for o in graph.outputs)
    return TensorGraph(graph.name, tuple(nodes), outputs).pruned()


def _plain(node: int, size: int) -> _Held:
    return _Held(node, np.ones(size), np.zeros(size))


def _diagonal(scale: Vector) -> csr_array:
    return csr_array(diags_array(scale))


def _read_held(matrices: tuple[csr_array, ...], bias: Vector, operands: list[_Held]) -> Affine:
    """The affine map of the values, as a map of what is held."""
    bias = bias + sum(m @ h.shift for m, h in zip(matrices, operands, strict=True))
    scaled = tuple(
        csr_array(m @ _diagonal(h.scale)) for m, h in zip(matrices, operands, strict=True)
    )
    return Affine(scaled, bias)
