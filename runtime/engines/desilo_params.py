"""The parameter sets of DESILO FHE 1.17.0, which chooses its own chain from a depth.

Read back from the library: the primes of Q are the residues of an encoded -1, the special primes
show as further rows of a serialised secret key. A ciphertext of level l has l + 2 primes: it
carries the scale squared and is rescaled on entering a product. In each ring the deepest set has
no room left for a special prime of its own, so that its highest 60-bit prime serves twice, and
key switching is possible only from one level below the top.
"""

from __future__ import annotations

from dataclasses import dataclass

from ..errors import ParameterError
from ..params import CkksLiteral

NOMINAL_LOG_SCALE = 40.0
"""The library's scale; no other can be chosen."""


@dataclass(frozen=True, slots=True)
class _Ring:
    log_n: int
    first: int
    """Lowest depth for which the library takes this ring."""
    last: int
    """Highest depth, and the one at which it cannot switch keys at the top."""
    special: int
    """Special primes of 60 bits."""


_RINGS = (
    _Ring(13, 0, 2, 1),
    _Ring(14, 3, 7, 1),
    _Ring(15, 8, 17, 2),
    _Ring(16, 18, 36, 4),
)


def desilo_literal(depth: int, slots: int = 1, rotates_at_top: bool = True) -> CkksLiteral:
    """The smallest parameters with `depth` levels and `slots` slots or more.

    They may have more levels than asked for. `rotates_at_top` says whether a ciphertext is rotated
    at its highest level; where it is not, the deepest set of a ring can be used. `log_p` counts the
    40-bit prime that carries the unrescaled half of the scale, beside the special primes.
    """
    for ring in _RINGS:
        levels = max(depth, ring.first)
        room = ring.last - 1 if rotates_at_top else ring.last
        if depth >= 0 and levels <= room and slots <= 1 << (ring.log_n - 1):
            extra = () if levels == ring.last else (40.0,)
            return CkksLiteral(
                engine="desilo",
                log_n=ring.log_n,
                log_q=(60.0, *(40.0,) * levels),
                log_p=(*extra, *(60.0,) * ring.special),
                log_scale=NOMINAL_LOG_SCALE,
            )
    raise ParameterError(
        f"the desilo engine has no parameters for {depth} levels and {slots} slots",
        hint=f"it goes to {_RINGS[-1].last - 1} levels and {1 << (_RINGS[-1].log_n - 1)} slots",
    )
