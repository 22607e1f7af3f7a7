"""Lowering: a scheduled graph to both halves of a model, on the cheapest parameters that do."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from heapq import heapify, heappop, heappush
from math import inf, log2

import numpy as np

from eer.runtime.errors import ParameterError

from ..ir.interpret import evaluate
from ..ir.tensor import Core, TensorGraph, Vector
from .assemble import Lowered, Sample, Target
from .levels import assign_levels, steps_of
from .parameters import deepest, rescaling_as, rings
from .plans import HEADROOM, UNSURE_BITS, Known, Plans
from .refusals import refuse_constant_outputs, too_deep
from .schedule import Schedule
from .simulate import OTHER_NOISE_BITS, SPARE_BITS
from .walks import Road

UNSURE_SHARE = 0.25
"""Share of the bits between two schedules' precisions by which one may be more precise than the
noise of the other says, beside UNSURE_BITS: what one adds to the noise may be what another does
not."""

Noise = dict[str, Vector]
"""By how much outputs are off [windows, elements], by name: of as many windows as there are."""

Seen = tuple[Schedule, Noise]
"""A schedule, and the noise with it."""


def lower(graph: TensorGraph, sample: Sample, target: Target, limit: float = inf) -> Lowered | None:
    """The model on the smallest ring whose simulated noise `target` accepts, or on a larger one if
    its values take several ciphertexts and it is quicker there; None where it is clear that it
    takes more than `limit` milliseconds: where that is so on a ring, no larger one is looked at.

    Idle slots are given room for other noise than the simulated one; where no ring has that room,
    what the simulation itself calls for. Raises ParameterError where no ring is deep, large or
    precise enough, ModelError where an output does not depend on the inputs, InternalError where
    the program does not compute what the graph does.
    """
    refuse_constant_outputs(graph)
    values = evaluate(graph, sample.inputs)
    plans = Plans(graph, target, sample, steps_of(graph), values, limit)
    try:
        return _lower(plans, SPARE_BITS + _other_noise(graph))
    except ParameterError:
        if max(assign_levels(graph)) > deepest(target.engine):
            raise
        return _lower(plans, SPARE_BITS)


def _lower(plans: Plans, spare_bits: int) -> Lowered | None:
    """The model on the smallest ring that has a schedule which the target accepts, or on a larger
    one that is quicker; None where what might do on a ring is slower than the limit."""
    graph, target = plans.graph, plans.target
    refused: ParameterError | None = None
    for log_n in rings(target.engine, target.security):
        try:
            made = _on_ring(plans, log_n, spare_bits, tidy=False)
            if made is None and not plans.slower and plans.untidy(log_n):
                made = _on_ring(plans, log_n, spare_bits, tidy=True)
        except ParameterError as problem:
            refused = problem
            continue
        if made is not None:
            return _on_larger(plans, log_n, made, spare_bits)
        if plans.slower:
            return None
    depth = len(plans.steps) - 1
    if refused is not None and depth <= deepest(target.engine):
        raise refused
    raise too_deep(graph, depth, target.engine)


def _on_larger(plans: Plans, log_n: int, made: Lowered, spare_bits: int) -> Lowered:
    """The quicker of a model on the ring 2^log_n and one on the next larger ring, which is looked
    at where values take several ciphertexts that might be one there."""
    target, own = plans.target, plans.milliseconds(made)
    if log_n + 1 not in rings(target.engine, target.security):
        return made
    if not target.search.larger or not plans.crowded(log_n):
        return made
    limit, plans.limit = plans.limit, own
    try:
        larger = _on_ring(plans, log_n + 1, spare_bits, tidy=False)
    except ParameterError:
        larger = None
    plans.limit, plans.slower = limit, False
    if larger is None or plans.milliseconds(larger) >= own:
        return made
    return _on_larger(plans, log_n + 1, larger, spare_bits)


def _on_ring(plans: Plans, log_n: int, spare_bits: int, *, tidy: bool) -> Lowered | None:
    """The model with the cheapest schedule on the ring 2^log_n that the target accepts, of a plan
    that is made to be tidy or not.

    The most precise is tried first: what noise it makes says which of the others are worth trying.
    Raises ParameterError where there is no plan.
    """
    headroom = HEADROOM
    known = plans.on_ring(log_n, headroom, tidy=tidy)
    if known is None:
        return None
    offered = list(plans.offered(log_n, headroom, known))
    while offered:
        # Prices leave out what it takes to match scales: they are what a program takes at least.
        plans.slower = min(known.prices.total(s.rescaling) for s in offered) > plans.limit
        if plans.slower:
            return None
        precise = max(offered, key=lambda s: s.precision)
        lowered = plans.assembled(known.plan, precise)
        tried = plans.tried(precise, lowered, spare_bits, whole=False)
        if tried.noise is not None and not tried.missing:
            road, first = plans.road(log_n, headroom, known), (precise, tried.noise)
            return _cheapest(plans, road, known, offered, first, spare_bits)
        # DESILO chooses its own primes: there is no headroom to add, only other parameters.
        if 0 < tried.missing < inf and precise.params.engine == "seal":
            headroom += int(tried.missing)
            offered = list(plans.offered(log_n, headroom, known))
        else:
            offered.remove(precise)
    return None


def _cheapest(
    plans: Plans,
    road: Road,
    known: Known,
    offered: Sequence[Schedule],
    first: Seen,
    spare_bits: int,
) -> Lowered | None:
    """The quickest model with a schedule of `offered` that the target accepts."""
    accepts, sample = plans.target.accepts, plans.sample
    waiting: list[tuple[float, int, Lowered | None]]
    candidates = [(s, road) for s in offered]
    met = {(s.params, s.rescaling) for s in offered}
    seen, more = [first], 0
    waiting = [(known.prices.total(s.rescaling), k, None) for k, s in enumerate(offered)]
    heapify(waiting)

    def also(price: float, candidate: Schedule, own: Road) -> None:
        """Wait for the most precise that rescales where `candidate` does, on another road."""
        others = rescaling_as(own, candidate.rescaling.rescales)
        best = max(others, key=lambda s: s.precision, default=None)
        if best is not None and (best.params, best.rescaling) not in met:
            met.add((best.params, best.rescaling))
            heappush(waiting, (price, len(candidates), None))
            candidates.append((best, own))

    def with_fine_end(price: float, candidate: Schedule, own: Road, noise: Noise) -> None:
        """The same for a finer end, if half of `noise` would do."""
        if candidate.params.engine == "seal" and accepts(_outputs(sample, noise, 0.5)):
            also(price, candidate, replace(own, fine_end=True))

    while waiting:
        price, k, lowered = heappop(waiting)
        plans.slower = price > plans.limit
        if plans.slower:
            return None
        candidate, own = candidates[k]
        expected = _at_best(candidate, seen)
        # Of a finer end that does not tell.
        if not own.fine_end and not accepts(_outputs(sample, expected)):
            with_fine_end(price, candidate, own, expected)
            continue
        if lowered is None:
            lowered = plans.assembled(known.plan, candidate)
            heappush(waiting, (plans.milliseconds(lowered), k, lowered))
            continue
        tried = plans.tried(candidate, lowered, spare_bits, whole=True)
        if tried.noise is not None:
            seen.append((candidate, tried.noise))
        if tried.made is not None and (checked := plans.checked(tried.made, spare_bits)):
            return checked
        if 0 < tried.missing < inf and candidate.params.engine == "seal":
            # What outgrows the modulus is not the same at all scales: where noise does, it grows
            # with the precision that headroom costs, and once was not enough.
            more = max(more, int(own.headroom > road.headroom))
            headroom = own.headroom + int(tried.missing) + more
            also(price, candidate, replace(own, headroom=headroom))
        elif tried.noise is not None and not own.fine_end:
            with_fine_end(price, candidate, own, tried.noise)
    return None


def _outputs(sample: Sample, noise: Noise, share: float = 1.0) -> dict[str, Vector]:
    """Outputs of the sample with this share of `noise`; that of few windows is taken again for
    others."""
    return {
        name: exact + np.resize(noise[name], exact.shape) * share
        for name, exact in sample.outputs.items()
    }


def _at_best(candidate: Schedule, seen: Sequence[Seen]) -> Noise:
    """No more noise than `candidate` makes, going by what others made, on some windows at least.

    Noise grows with what precision falls by or, where values leave the interval of a polynomial, by
    far more. So it goes by the least precise of those that are no less precise than `candidate`;
    by a less precise one where that is nearer, and noise has not grown by more on the way there.
    """
    schedule, noise = above = _above(candidate, seen)
    below = [s for s in seen if s[0].precision < candidate.precision]
    if below:
        finest = max(below, key=lambda s: (s[0].precision, -_size(s[1])))
        if _steady(finest, above):
            schedule, noise = min(above, finest, key=lambda s: _apart(s[0], candidate))
    apart = schedule.precision - candidate.precision
    factor = 2.0 ** (apart - UNSURE_SHARE * abs(apart) - UNSURE_BITS)
    return {name: errors * factor for name, errors in noise.items()}


def _above(candidate: Schedule, seen: Sequence[Seen]) -> Seen:
    """The least precise of those that are no less precise than `candidate`, if there is one; the
    least noisy of several."""
    above = [s for s in seen if s[0].precision >= candidate.precision]
    return min(above or seen[:1], key=lambda s: (s[0].precision, _size(s[1])))


def _apart(a: Schedule, b: Schedule) -> float:
    return abs(a.precision - b.precision)


def _steady(coarse: Seen, fine: Seen) -> bool:
    """Whether the noise of one schedule is that of a finer one and what precision lacks, about."""
    grown = log2(_size(coarse[1]) / max(_size(fine[1]), 1e-300))
    return grown <= _apart(coarse[0], fine[0]) + UNSURE_BITS


def _size(noise: dict[str, Vector]) -> float:
    """Of all outputs together, the root mean square."""
    return float(np.sqrt(np.mean([np.mean(np.square(values)) for values in noise.values()])))


def _other_noise(graph: TensorGraph) -> int:
    degrees = [node.op.plan.degree for node in graph.nodes if isinstance(node.op, Core)]
    highest = max(degrees, default=1)
    return next(bits for most, bits in OTHER_NOISE_BITS if highest <= most)
