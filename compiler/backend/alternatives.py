"""Alternatives: graphs that compute the same, lowered in the order of what they promise."""

from __future__ import annotations

from collections.abc import Iterator

from eer.runtime.errors import ParameterError

from ..ir.tensor import TensorGraph
from .assemble import Lowered, Sample, Target
from .contract import contract
from .lower import lower


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
    """The first alternative of `graph` that can be lowered, and its model.

    Raises what `lower` raises for the first where none can.
    """
    first: ParameterError | None = None
    for alternative in alternatives(graph):
        try:
            return alternative, lower(alternative, sample, target)
        except ParameterError as problem:
            first = first or problem
    assert first is not None
    raise first
