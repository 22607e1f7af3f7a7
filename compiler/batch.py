"""How many windows share a ciphertext: as many as bring more windows per second, by prediction."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from math import log2
from typing import TypeVar

from eer.runtime.errors import ParameterError

from .backend.assemble import Lowered, Target
from .backend.planner import Search
from .backend.predict import predict
from .cost import CostModel

QUICK = Search(beam=3, keep=1, effort=2, larger=False)
"""How hard to look for plans while batches are compared. On a larger ring a batch has the slots of
a smaller one that was tried."""

WORTH = 1.15
"""Times the windows per second that twice the batch has to bring: for less, nobody waits nearly
twice as long for an answer."""

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

    @property
    def worth(self) -> float:
        """Windows per second, less what each doubling of the batch has to bring."""
        return self.windows_per_second / float(WORTH ** log2(self.batch))


def choose_batch(
    lower: Callable[[Target], tuple[Result, Lowered]], target: Target
) -> tuple[tuple[Result, Lowered], tuple[BatchTrial, ...]]:
    """Lower for the largest batch whose predicted windows per second are worth it (WORTH); all
    trials, in order.

    Batches are powers of two. The first that has no plan, or the second in a row that is not worth
    it, ends the search: a larger batch leaves each window fewer slots, never more.
    """
    trials: list[BatchTrial] = []
    batch, best = 1, 0
    while len(trials) - best <= BEYOND:
        try:
            _, lowered = lower(replace(target, batch=batch, search=QUICK))
        except ParameterError:
            if not trials:
                raise
            break
        trials.append(_trial(lowered, batch, target))
        if trials[-1].worth >= trials[best].worth:
            best = len(trials) - 1
        if lowered.client.is_step:
            break
        batch *= 2
    return lower(replace(target, batch=trials[best].batch)), tuple(trials)


def _trial(lowered: Lowered, batch: int, target: Target) -> BatchTrial:
    client = lowered.client
    cost = CostModel(client.params.log_n, target.costs)
    milliseconds = predict(lowered.server.program, cost).total
    throughput = 1e3 * client.most_windows / milliseconds
    return BatchTrial(batch, client.params.ring_dimension, milliseconds, throughput)
