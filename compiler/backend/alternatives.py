"""Alternatives: graphs that compute the same, lowered in the order of what they promise."""

from __future__ import annotations

from collections.abc import Iterator

from eer.runtime.errors import ParameterError

from ..cost import CostModel
from ..ir.tensor import TensorGraph
from .assemble import Lowered, Sample, Target
from .contract import contract
from .lower import lower
from .predict import predict
from .roots import rooted


def alternatives(graph: TensorGraph) -> Iterator[TensorGraph]:
    """A scheduled graph with its products contracted, with fewer levels first."""
    boldly = contract(graph, computed=True)
    yield boldly
    plainly = contract(graph, computed=False)
    if plainly is not graph:
        yield plainly


def lower_alternatives(
    graph: TensorGraph, sample: Sample, target: Target
) -> tuple[TensorGraph, Lowered]:
    """The first alternative of `graph` that can be lowered, and its model: with its last weights
    as roots where that is faster.

    Raises what `lower` raises for the first where none can, its weights as they were.
    """
    first: ParameterError | None = None
    for alternative in alternatives(graph):
        found: list[tuple[TensorGraph, Lowered]] = []
        for form in (alternative, rooted(alternative)):
            if form is None:
                continue
            try:
                found.append((form, lower(form, sample, target)))
            except ParameterError as problem:
                first = first or problem
        if found:
            return min(found, key=lambda made: _milliseconds(made[1], target))
    assert first is not None
    raise first


def _milliseconds(lowered: Lowered, target: Target) -> float:
    cost = CostModel(lowered.client.params.log_n, target.costs)
    return predict(lowered.server.program, cost).total
