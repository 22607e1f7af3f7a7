"""Parameters: schedules for an engine and a ring, the cheapest first, within the security table."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from math import floor

from eer.runtime.engines import desilo_literal
from eer.runtime.errors import ParameterError, UsageError
from eer.runtime.params import MAX_LOG_QP_128, SECURITY_BITS, CkksLiteral
from eer.runtime.program_codec import SCALE_UNITS

from .cheapest import cheapest
from .prices import Prices
from .schedule import QUICK_BASE, Rescaling, Schedule
from .walks import LEAST_PRECISION, MARGINS, PRECISIONS, Road, Walk

SEAL_RINGS = (12, 13, 14, 15)
DESILO_RINGS = (13, 14, 15, 16)
DESILO_DEEPEST = 36

_Precise = Sequence[tuple[float, Walk] | None]
"""The most precise walk for each of MARGINS, with its precision."""


def rings(engine: str, security: int = SECURITY_BITS) -> tuple[int, ...]:
    """log2 of the dimensions of the rings that there are for `engine`, the smallest first.

    Raises ParameterError for less than 128 bits of security, UsageError for an engine that nothing
    is compiled for.
    """
    if security != SECURITY_BITS:
        raise ParameterError(
            f"{security}-bit security was asked for; eer compiles for {SECURITY_BITS} bits only",
            hint=f"leave the security option out, or set it to {SECURITY_BITS}",
        )
    match engine:
        case "seal":
            return SEAL_RINGS
        case "desilo":
            return DESILO_RINGS
        case _:
            raise UsageError(
                f"nothing is compiled for engine '{engine}'", hint="use 'seal' or 'desilo'"
            )


def deepest(engine: str) -> int:
    """Products in a row that the largest parameters of `engine` allow, about."""
    if engine == "desilo":
        return DESILO_DEEPEST
    log_n = SEAL_RINGS[-1]
    return floor(MAX_LOG_QP_128[log_n] / (log_n + LEAST_PRECISION)) - 3


def schedules(engine: str, road: Road, prices: Prices) -> tuple[Schedule, ...]:
    """Schedules for `engine`, the cheapest by `prices` first."""
    if engine == "desilo":
        return tuple(s for s in _desilo_schedules(road.depth) if s.params.log_n == road.log_n)
    return tuple(seal_schedules(road, prices))


def drivable(engine: str, road: Road, prices: Prices) -> bool:
    """Whether there is a schedule."""
    if engine == "desilo":
        return bool(schedules(engine, road, prices))
    return any(walk is not None for walks in _putting_off(road, prices) for walk in walks)


def seal_schedules(road: Road, prices: Prices) -> list[Schedule]:
    """Schedules that fit 128-bit security: for every precision the cheapest way of putting rescales
    off, at the highest precision that it has room for, and a rescale after every product."""
    found = [s for walks in _putting_off(road, prices) for s in _schedules(road, walks)]
    return sorted(found, key=lambda s: (prices.total(s.rescaling), -s.precision))


def _putting_off(road: Road, prices: Prices) -> Iterator[_Precise]:
    """The walks of every way of putting rescales off that is worth it."""
    eager = (False, *(True,) * road.depth)
    walks = {eager: _walks(road, eager)}
    yield walks[eager]
    for number, margin in enumerate(MARGINS):
        reached = 0.0
        for precision in PRECISIONS[road.highest(margin) >= PRECISIONS].tolist():
            if precision <= reached:
                continue
            pattern = cheapest(road, precision, prices, margin)
            if pattern is None:
                continue
            if pattern not in walks:
                walks[pattern] = _walks(road, pattern)
                yield walks[pattern]
            best = walks[pattern][number]
            reached = precision if best is None else best[0]


def rescaling_as(road: Road, rescales: tuple[bool, ...]) -> list[Schedule]:
    """The most precise schedules with rescales where `rescales` says so, for each margin."""
    return _schedules(road, _walks(road, rescales))


def _walks(road: Road, rescales: tuple[bool, ...]) -> _Precise:
    return [road.most_precise(rescales, margin) for margin in MARGINS]


def _schedules(road: Road, walks: _Precise) -> list[Schedule]:
    made = [_schedule(road, *walk) for walk in walks if walk is not None]
    # With more room for key switching or less the best is often the same.
    return list({(s.params, s.rescaling): s for s in made}.values())


def _schedule(road: Road, precision: float, walk: Walk) -> Schedule:
    scales = tuple(round(s * SCALE_UNITS) / SCALE_UNITS for s in walk.log_scales)
    params = CkksLiteral(
        engine="seal",
        log_n=road.log_n,
        log_q=tuple(float(b) for b in walk.chain),
        log_p=(float(walk.special),),
        log_scale=scales[-1],
    ).check()
    rescaling = Rescaling(tuple(b > 0 for b in walk.drops), scales, walk.drops)
    made = Schedule(params, rescaling, precision)
    return made.raised(max(0, QUICK_BASE - walk.base)) or made


def _desilo_schedules(depth: int) -> Iterator[Schedule]:
    """The smallest rings first; on each, first without rotations at the top level.

    The library chooses its primes and rescales with every product.
    """
    found: dict[tuple[int, bool], Schedule] = {}
    for rotates in (False, True):
        for log_slots in range(12, 16):
            if depth <= DESILO_DEEPEST - rotates:
                params = desilo_literal(depth, 1 << log_slots, rotates).check()
                precision = params.log_scale - params.log_n
                made = Schedule(params, Rescaling.eager(depth), precision)
                key = (params.log_n, rotates)
                found.setdefault(key, replace(made, rotates_at_top=rotates))
    for _, schedule in sorted(found.items(), key=lambda x: x[0]):
        yield schedule
