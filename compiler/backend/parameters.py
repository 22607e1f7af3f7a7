"""Parameters: schedules for an engine, the cheapest first, within the security table."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from math import floor

from eer.runtime.engines import desilo_literal
from eer.runtime.errors import ParameterError, UsageError
from eer.runtime.params import MAX_LOG_QP_128, SECURITY_BITS

from .schedule import Rescaling, Schedule, Step, seal_schedules

SEAL_RINGS = (12, 13, 14, 15)
DESILO_DEEPEST = 36
WORTH_TRYING = 9.0
"""Bits of predicted precision below which a schedule is passed over."""


def deepest(engine: str) -> int:
    """Products in a row that the largest parameters of `engine` allow, about."""
    if engine == "desilo":
        return DESILO_DEEPEST
    log_n = SEAL_RINGS[-1]
    return floor(MAX_LOG_QP_128[log_n] / (log_n + WORTH_TRYING)) - 3


def schedules(
    engine: str, steps: tuple[Step, ...], headroom: int, security: int = SECURITY_BITS
) -> tuple[Schedule, ...]:
    """Schedules for `engine`, the smallest ring first, and the cheapest first on each.

    See `seal_schedules` for `steps` and `headroom`. Raises ParameterError for less than 128
    bits of security, UsageError for an engine that nothing is compiled for.
    """
    if security != SECURITY_BITS:
        raise ParameterError(
            f"{security}-bit security was asked for; eer compiles for {SECURITY_BITS} bits only",
            hint=f"leave the security option out, or set it to {SECURITY_BITS}",
        )
    match engine:
        case "seal":
            found = (s for n in SEAL_RINGS for s in seal_schedules(steps, headroom, n))
            return tuple(s for s in found if s.precision >= WORTH_TRYING)
        case "desilo":
            return tuple(_desilo_schedules(len(steps) - 1))
        case _:
            raise UsageError(
                f"nothing is compiled for engine '{engine}'", hint="use 'seal' or 'desilo'"
            )


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
