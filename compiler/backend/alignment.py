"""Alignment: what meets in a product lies in the same layout, and so does what it comes of."""

from __future__ import annotations

from collections.abc import Mapping

from ..ir.layout import Layout
from ..ir.tensor import Core, Product, TensorGraph


def alignment_groups(graph: TensorGraph) -> dict[int, int]:
    """Nodes whose values must share a layout: what meets in a product, and what it came from."""
    parent = list(range(len(graph.nodes)))

    def find(n: int) -> int:
        while parent[n] != n:
            n = parent[n]
        return n

    for number, node in enumerate(graph.nodes):
        if isinstance(node.op, Core | Product):
            for operand in node.operands:
                parent[find(operand)] = find(number)
    members = [find(n) for n in range(len(graph.nodes))]
    return {n: g for n, g in enumerate(members) if members.count(g) > 1}


def partner(number: int, layouts: Mapping[int, Layout], groups: Mapping[int, int]) -> Layout | None:
    """The layout that a node multiplied with this one (through polynomials) already has."""
    if number not in groups:
        return None
    for other, group in groups.items():
        if other != number and group == groups[number] and other in layouts:
            return layouts[other]
    return None
