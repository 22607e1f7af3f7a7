"""Parameters: the smallest ring that holds the depth, with the largest scale that fits into it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import floor

from eer.runtime.engines import desilo_literal
from eer.runtime.errors import ParameterError, UsageError
from eer.runtime.params import MAX_LOG_QP_128, SECURITY_BITS, CkksLiteral, CkksParams

LARGEST_LOG_SCALE = 45
"""Beyond this, more scale buys no accuracy that double-precision results could show."""

KEY_SWITCH_MARGIN = 7
"""Bits by which the special prime exceeds the largest other one.

Key switching leaves an error of about q/P times the digits' size that is fixed for a key and
gathers in the first slots; from 7 bits on it is lost in the rescaling noise (measured on SEAL).
"""

_SEAL_RINGS = (12, 13, 14, 15)
_LARGEST_PRIME = 60


def seal_candidates(depth: int, headroom: int, security: int) -> Iterator[CkksParams]:
    """Parameters for `depth` rescales, the smallest ring first.

    `headroom` is log2 of the largest value that a slot holds at level 0, plus one for its sign.
    The chain is q0 = scale + headroom, depth primes of the scale's size, and one special prime.
    The scale is the largest that the security table leaves room for; a ring where it is lost in
    the rescaling noise (about sqrt(N * h / 12) with h = 2N/3) is passed over.
    """
    for log_n in _SEAL_RINGS:
        budget = MAX_LOG_QP_128[log_n] - 2 * headroom - KEY_SWITCH_MARGIN
        scale = min(
            floor(budget / (depth + 2)),
            LARGEST_LOG_SCALE,
            _LARGEST_PRIME - headroom - KEY_SWITCH_MARGIN,
        )
        if scale < log_n + smallest_precision(log_n):
            continue
        base = scale + headroom
        yield CkksLiteral(
            engine="seal",
            log_n=log_n,
            log_q=(base, *(scale for _ in range(depth))),
            log_p=(base + KEY_SWITCH_MARGIN,),
            log_scale=scale,
        ).check(security)


def smallest_precision(log_n: int) -> int:
    """Bits of a scale above log2(N) below which a ring is not worth trying.

    Primes have to be 1 mod 2N, and small ones run out: there are none below 2N, and few below
    2^(log2(N) + 6).
    """
    return 7 if log_n <= 13 else 8


def deepest(engine: str) -> int:
    """Rescales that the largest parameters of `engine` allow."""
    if engine == "desilo":
        return 36
    log_n = _SEAL_RINGS[-1]
    room = MAX_LOG_QP_128[log_n] - KEY_SWITCH_MARGIN - 2 * 3
    return floor(room / (log_n + smallest_precision(log_n))) - 2


@dataclass(frozen=True, slots=True)
class Candidate:
    """Parameters to try, and whether a ciphertext may be rotated at its highest level on them."""

    params: CkksParams
    rotates_at_top: bool = True


def candidates(
    engine: str, depth: int, headroom: int, security: int = SECURITY_BITS
) -> tuple[Candidate, ...]:
    """Parameters for `engine`, the cheapest first.

    Raises ParameterError for less than 128 bits, UsageError for an engine that nothing is
    compiled for.
    """
    if security != SECURITY_BITS:
        raise ParameterError(
            f"{security}-bit security was asked for; eer compiles for {SECURITY_BITS} bits only",
            hint=f"leave the security option out, or set it to {SECURITY_BITS}",
        )
    match engine:
        case "seal":
            return tuple(Candidate(p) for p in seal_candidates(depth, headroom, security))
        case "desilo":
            return tuple(_desilo_candidates(depth, security))
        case _:
            raise UsageError(
                f"nothing is compiled for engine '{engine}'", hint="use 'seal' or 'desilo'"
            )


def _desilo_candidates(depth: int, security: int) -> Iterator[Candidate]:
    """The smallest rings first; on each, first without rotations at the top level."""
    found: dict[tuple[int, bool], Candidate] = {}
    for rotates in (False, True):
        for log_slots in range(12, 16):
            if depth <= deepest("desilo") - rotates:
                params = desilo_literal(depth, 1 << log_slots, rotates).check(security)
                found.setdefault((params.log_n, rotates), Candidate(params, rotates))
    for _, candidate in sorted(found.items(), key=lambda x: x[0]):
        yield candidate
