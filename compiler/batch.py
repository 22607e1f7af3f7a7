"""How many windows share a ciphertext: the most windows per second, by prediction."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TypeVar

from eer.runtime.errors import ParameterError

from .backend.assemble import Lowered, Target
from .backend.planner import Search
from .backend.predict import predict
from .cost import CostModel

QUICK = Search(beam=3, keep=1, effort=2)
"""How hard to look for plans while batches are compared."""

BEYOND = 2
"""Batches that are tried after one that brought no gain, before the search ends."""

Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class BatchTrial:
    """What a batch was predicted to give; milliseconds are those of a whole message."""

    batch: int
    ring_dimension: int
    milliseconds: float
    windows_per_second: float


def choose_batch(
    lower: Callable[[Target], tuple[Result, Lowered]], target: Target
) -> tuple[tuple[Result, Lowered], tuple[BatchTrial, ...]]:
    """Lower for the batch with the most predicted windows per second; all trials, in order.

    Batches are powers of two. The first that has no plan, or the second in a row that brings
    nothing, ends the search: a larger batch leaves each window fewer slots, never more.
    """
    trials: list[BatchTrial] = []
    batch, best = 1, 1
    while sum(t.batch > best for t in trials) < BEYOND:
        try:
            _, lowered = lower(replace(target, batch=batch, search=QUICK))
        except ParameterError:
            if not trials:
                raise
            break
        trials.append(_trial(lowered, batch, target))
        best = max(trials, key=lambda t: t.windows_per_second).batch
        if lowered.client.is_step:
            break
        batch *= 2
    return lower(replace(target, batch=best)), tuple(trials)


def _trial(lowered: Lowered, batch: int, target: Target) -> BatchTrial:
    client = lowered.client
    cost = CostModel(client.params.log_n, target.costs)
    milliseconds = predict(lowered.server.program, cost).total
    throughput = 1e3 * client.most_windows / milliseconds
    return BatchTrial(batch, client.params.ring_dimension, milliseconds, throughput)
