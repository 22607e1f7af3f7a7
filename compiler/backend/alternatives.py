"""Alternatives: graphs that compute the same, lowered in the order of what they promise."""

from __future__ import annotations

from collections.abc import Iterator
from math import inf

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
        moved = _rooted(alternative, sample, target)
        # Roots are quicker nearly always: after them, little is looked at of the weights as given.
        limit = inf if moved is None else _milliseconds(moved[1], target)
        try:
            as_given = lower(alternative, sample, target, limit)
        except ParameterError as problem:
            first = first or problem
            as_given = None
        if as_given is not None and _milliseconds(as_given, target) <= limit:
            return alternative, as_given
        if moved is not None:
            return moved
    assert first is not None
    raise first


def _rooted(
    graph: TensorGraph, sample: Sample, target: Target
) -> tuple[TensorGraph, Lowered] | None:
    """The graph with its last weights as roots, and its model; None where there is none."""
    form = rooted(graph)
    if form is None:
        return None
    try:
        made = lower(form, sample, target)
    except ParameterError:
        return None
    return None if made is None else (form, made)


def _milliseconds(lowered: Lowered, target: Target) -> float:
    cost = CostModel(lowered.client.params.log_n, target.costs)
    return predict(lowered.server.program, cost).total
