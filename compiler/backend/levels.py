"""Levels: each node as low as its users allow, since every operation is cheaper there."""

from __future__ import annotations

from ..ir.poly_plan import Dot
from ..ir.tensor import Affine, Core, Input, Node, Product, TensorGraph


def levels_used(node: Node) -> int:
    """Rescales between a node's operands and its result."""
    match node.op:
        case Input(_):
            return 0
        case Affine() | Product():
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


def cipher_steps(graph: TensorGraph) -> tuple[bool, ...]:
    """Entry d: whether ciphertexts are multiplied with each other from depth d to d - 1."""
    depths = assign_levels(graph)
    steps = [False] * (max(depths, default=0) + 1)
    for number, node in enumerate(graph.nodes):
        match node.op:
            case Product():
                steps[depths[number] + 1] = True
            case Core(plan):
                top = depths[number] + int(plan.depth)
                for step, below in zip(plan.steps, plan.depths[1:], strict=True):
                    if isinstance(step, Dot):
                        steps[top - below + 1] = True
            case _:
                pass
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
