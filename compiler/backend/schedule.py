"""Schedules: where to rescale, by how much, and which primes that takes.

A rescale after every product wants a prime for every level, and a key switch at level l costs
(l + 1)(l + 2) transforms. Primes of up to 60 bits can each drop what several products have added
to the scale: with half as many primes everything is cheaper, key switches three to four times.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import Enum
from itertools import pairwise
from math import ceil, log2

from eer.runtime.params import CkksParams

from .primes import enough_primes

LARGEST_PRIME = 60
SMALLEST_RESCALE = 18
"""Bits below which a rescale is not worth a prime (and primes that are 1 mod 2N run out)."""

QUICK_BASE = 49
"""Bits from which on a base prime makes answers quick to save: SEAL compresses them by zstd, which
takes three to four times as long over residues with more zero bytes, where it finds matches."""

ENTRY_SLACK = 1.0
"""Bits by which the scale of an input may be above what is wanted where it comes in."""


@dataclass(frozen=True, slots=True)
class Rescaling:
    """What happens on the way from depth D (inputs) to 0 (outputs).

    Depth d counts the products that remain. `rescales[d]` says whether the products from depth
    d to d - 1 rescale (entry 0 is not used), `drops[d]` by how many bits; `log_scales[d]` is log2
    of the scale wanted at d, None where the engine decides.
    """

    rescales: tuple[bool, ...]
    log_scales: tuple[float | None, ...]
    drops: tuple[float, ...]

    @classmethod
    def eager(cls, depth: int) -> Rescaling:
        """A rescale after every product, by as much as the engine likes."""
        return cls((False, *(True,) * depth), (None,) * (depth + 1), (0.0,) * (depth + 1))

    @classmethod
    def lowest(cls, several: Sequence[Rescaling]) -> Rescaling:
        """At every depth the lowest level that any of `several` has there."""
        depth = several[0].depth
        levels = [min(r.level(d) for r in several) for d in range(depth + 1)]
        rescales = (False, *(below < level for below, level in pairwise(levels)))
        return replace(cls.eager(depth), rescales=rescales)

    @property
    def depth(self) -> int:
        return len(self.rescales) - 1

    def level(self, depth: int) -> int:
        """Rescales that remain at `depth`: the level of ciphertexts there."""
        return sum(self.rescales[1 : depth + 1])

    def entry(self, depth: int) -> int:
        """The depth at which an input comes in whose product is read at `depth`.

        Inputs are all encrypted at the scale of the deepest: one that is more than what is wanted
        at `depth` comes in above a rescale, to be brought down to it.
        """
        held, wanted = self.log_scales[-1], self.log_scales[depth]
        if held is None or wanted is None or held <= wanted + ENTRY_SLACK:
            return depth
        return next((d for d in range(depth + 1, self.depth + 1) if self.rescales[d]), depth)


@dataclass(frozen=True, slots=True)
class Schedule:
    """Parameters and the rescaling that they are made for.

    `precision` predicts the bits between values of size one and the noise of the worst single
    operation. `rotates_at_top` says whether a ciphertext may be rotated at its highest level.
    """

    params: CkksParams
    rescaling: Rescaling
    precision: float
    rotates_at_top: bool = True

    def raised(self, bits: int) -> Schedule | None:
        """The same with outputs at a scale so many bits higher; None where that cannot be.

        The bits go from the last prime that is dropped to the base: all other scales and levels,
        and the size of all primes together, stay as they are.
        """
        params, rescaling = self.params, self.rescaling
        wanted = rescaling.log_scales[0]
        if wanted is None or not rescaling.depth or not rescaling.rescales[1]:
            return None
        base, last, *others = params.log_q
        chain = (base + bits, last - bits, *others)
        if last - bits < SMALLEST_RESCALE or base + bits > max(params.log_q):
            return None
        if not enough_primes((*chain, *params.log_p), params.log_n):
            return None
        scales = (wanted + bits, *rescaling.log_scales[1:])
        drops = (0.0, last - bits, *rescaling.drops[2:])
        return replace(
            self,
            params=replace(params, log_q=chain),
            rescaling=replace(rescaling, log_scales=scales, drops=drops),
        )

    @property
    def three_part_scale(self) -> float | None:
        """log2 of the least scale that a rescale of three polynomials may leave, not to err by more
        than `precision` has it; None where the engine decides on scales.

        It errs by the secret's size in a slot, sqrt(2N/3), times as much as one of two.
        """
        if self.rescaling.log_scales[0] is None:
            return None
        size = log2(2 * self.params.ring_dimension / 3) / 2
        return self.params.log_n - 2 + self.precision + size

    def for_three_parts(self) -> Schedule | None:
        """The same with room for outputs that three polynomials are rescaled to; None where that
        cannot be."""
        least, held = self.three_part_scale, self.rescaling.log_scales[0]
        if least is None or held is None:
            return None
        return self if held >= least else self.raised(ceil(least - held))


class Step(Enum):
    """What happens from depth d to d - 1."""

    PLAIN = "products with plaintexts only"
    CIPHER = "products of ciphertexts"
    KEPT = (
        "products, beside which a value passes that a product reads further down: rescales always"
    )
