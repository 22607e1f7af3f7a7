"""Levels: each node as low as its users allow, since every operation is cheaper there."""

from __future__ import annotations

from ..ir.tensor import (
    Affine,
    Contraction,
    Core,
    Input,
    Node,
    Product,
    Readout,
    TensorGraph,
)
from .schedule import Step


def levels_used(node: Node) -> int:
    """Rescales between a node's operands and its result."""
    match node.op:
        case Input(_) | Readout():
            return 0
        case Affine() | Product() | Contraction():
            return 1
        case Core(plan):
            return int(plan.depth)
        case _:
            raise TypeError(f"{type(node.op).__name__} has no cost in levels; replace it first")


def assign_levels(graph: TensorGraph) -> tuple[int, ...]:
    """Level of each node's result: the longest way, in rescales, from it to an output."""
    levels = [0] * len(graph.nodes)
    for number in range(len(graph.nodes) - 1, -1, -1):
        node = graph.nodes[number]
        for operand in node.operands:
            levels[operand] = max(levels[operand], levels[number] + levels_used(node))
    return tuple(levels)


def steps_of(graph: TensorGraph) -> tuple[Step, ...]:
    """Entry d: what happens from depth d to d - 1, all branches together."""
    depths = assign_levels(graph)
    steps = [Step.PLAIN] * (max(depths, default=0) + 1)
    for number, node in enumerate(graph.nodes):
        below = depths[number] + 1
        ciphers = range(0)
        if isinstance(node.op, Product | Contraction | Core):
            ciphers = range(below, below + levels_used(node))
        for depth in ciphers:
            if steps[depth] is Step.PLAIN:
                steps[depth] = Step.CIPHER
        # A value that a product reads further down has to keep up with the scales there; what the
        # client packs for it comes in there.
        for user in graph.users(number):
            reads = depths[user] + levels_used(graph.nodes[user])
            packed = isinstance(node.op, Input) and isinstance(graph.nodes[user].op, Contraction)
            if not packed and not isinstance(graph.nodes[user].op, Affine):
                for depth in range(reads + 1, depths[number] + 1):
                    steps[depth] = Step.KEPT
    return tuple(steps)


def deepest_path(graph: TensorGraph) -> tuple[int, ...]:
    """Numbers of the nodes on one longest way from an input to an output."""
    levels = assign_levels(graph)
    if not graph.inputs:
        return ()
    at = max(graph.inputs, key=lambda n: levels[n])
    path = [at]
    while users := [
        u for u in graph.users(at) if levels[u] + levels_used(graph.nodes[u]) == levels[at]
    ]:
        at = users[0]
        path.append(at)
    return tuple(path)
