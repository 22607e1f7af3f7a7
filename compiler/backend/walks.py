"""Walks: scales and primes from inputs to outputs, for a precision and a way of putting rescales
off."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from math import ceil, floor, inf, log2

import numpy as np

from eer.runtime.params import MAX_LOG_QP_128

from .gains import Gains
from .primes import enough_primes
from .schedule import LARGEST_PRIME, SMALLEST_RESCALE, Step

LEAST_PRECISION, MOST_PRECISION = 9.0, 32.0
"""Bits of precision below which a schedule is of no use, and beyond which nobody needs more."""

PRECISIONS = tuple(float(p) for p in np.arange(LEAST_PRECISION, MOST_PRECISION + 1, 0.25))
"""Those that are tried, in bits."""

HIDING = 8
"""Bits by which the special prime is larger than the largest other, for key switching to be as
precise as a product at the lowest scale that its precision allows.

With a special prime of the largest prime's size it errs by about 2^(log2(N) + 6) in the first slots
(measured on SEAL; docs/adr/0008), less one bit for each bit more; the lowest scale is
2^(log2(N) - 2) times the precision.
"""

MARGINS = (0, HIDING // 2, HIDING)
"""Those that are tried: what products leave at higher scales takes fewer bits to hide."""

FILLS = (4.0, 3.0, 2.0, 1.0, 0.0)
"""Bits by which all is made more precise but what bounds the precision, if there is room."""


@dataclass(frozen=True, slots=True)
class Walk:
    """`log_scales[d]` and `drops[d]` are what they are in a Rescaling, the latter 0 where there is
    no rescale; `base` and `special` are the first and the last prime's bits."""

    log_scales: tuple[float, ...]
    drops: tuple[float, ...]
    base: int
    special: int

    @property
    def chain(self) -> tuple[int, ...]:
        """Sizes of the primes in bits, the base first, but for the special one."""
        return (self.base, *(int(b) for b in self.drops if b))


@dataclass(frozen=True, slots=True)
class Road:
    """What all walks of one network on the ring 2^log_n have in common: `steps[d]` is what happens
    from depth d to d - 1 (entry 0 is not used), `headroom` log2 of the largest value plus one for
    its sign, `gains` what a precision asks for beyond itself.

    A precision is kept by every operation. Rescaling errs by about sqrt(N * h / 12) with h = 2N/3,
    or 2^(log2(N) - 2); rounding a plaintext's coefficients by sqrt(N / 24) relative to its scale.
    """

    steps: tuple[Step, ...]
    headroom: int
    log_n: int
    gains: Gains

    @property
    def depth(self) -> int:
        return len(self.steps) - 1

    @property
    def budget(self) -> int:
        """Bits of all primes together that the security table allows."""
        return MAX_LOG_QP_128[self.log_n]

    def lowest(self, precision: float) -> float:
        """log2 of the lowest scale."""
        return self.log_n - 2 + precision

    def filled(self, bits: float, landing: bool) -> Road:
        """The same with so many bits more for weights, and with `landing` for rescales' scales."""
        if not bits:
            return self
        gains = self.gains
        more = Gains(
            tuple(g + bits * landing for g in gains.landing),
            tuple(g + bits for g in gains.weights),
        )
        return replace(self, gains=more)

    def landing(self, depth: int, precision: float) -> float:
        """log2 of the lowest scale that a rescale of products from `depth` on may leave."""
        return self.lowest(precision) + self.gains.landing[depth]

    def product(self, depth: int, log_scale: float, precision: float) -> float:
        """log2 of the scale of products from `depth` on, before a rescale."""
        if self.steps[depth] is Step.PLAIN:
            weights = precision + self.gains.weights[depth]
            return log_scale + log2((1 << self.log_n) / 24) / 2 + weights
        return 2 * log_scale

    def ways(
        self, depth: int, log_scale: float, precision: float, largest: int
    ) -> Iterator[tuple[int, float]]:
        """(bits that are dropped, scale) after products from `depth` on: none, and as many as
        can be with primes of up to `largest` bits. Plaintexts are scaled up for the smallest."""
        product = self.product(depth, log_scale, precision)
        if self.steps[depth] is not Step.KEPT:
            yield 0, product
        drop = min(floor(product - self.landing(depth, precision)), largest)
        if self.steps[depth] is Step.PLAIN and drop < SMALLEST_RESCALE:
            yield SMALLEST_RESCALE, self.landing(depth, precision)
        elif drop >= SMALLEST_RESCALE:
            yield drop, product - drop

    def walk(
        self, rescales: tuple[bool, ...], precision: float, margin: int, fill: float = 0.0
    ) -> Walk | None:
        """With rescales where `rescales` says so, from depth d to d - 1 in entry d; None where an
        operation would be less precise, a value above its modulus, the primes too many, or all
        together larger than is secure.

        The special prime makes room for key switching after products, with a `margin` of HIDING
        bits also before those with plaintexts. All other primes are so much smaller than they
        might be.
        """
        largest = LARGEST_PRIME - margin
        last = next((d for d in range(1, self.depth + 1) if rescales[d]), 0)
        scale = self.lowest(precision)
        scales, drops = [scale], [0.0]
        switched = inf if self.depth else scale
        for depth in range(self.depth, 0, -1):
            before, ciphers = scale, self.steps[depth] is not Step.PLAIN
            ways = self.filled(fill, depth > last).ways(depth, scale, precision, largest)
            found = next((way for way in ways if (way[0] > 0) is rescales[depth]), None)
            if found is None:
                return None
            drop, scale = found
            scales.insert(0, scale)
            drops.insert(1, float(drop))
            # Products of ciphertexts switch keys before they rescale, folds after.
            switched = min(switched, scale + drop if ciphers else scale)
            if margin == HIDING and not ciphers:
                switched = min(switched, before)
        base = max(ceil(scale + self.headroom), SMALLEST_RESCALE)
        needed = self.lowest(precision) + HIDING
        special = int(max(base, *drops)) + max(0, ceil(needed - switched))
        made = Walk(tuple(scales), tuple(drops), base, special)
        return made if self._possible(made) else None

    def _possible(self, walk: Walk) -> bool:
        modulus = float(walk.base)
        for scale, drop in zip(walk.log_scales, walk.drops, strict=True):
            modulus += drop
            if scale + self.headroom > modulus:
                return False
        primes = (*walk.chain, walk.special)
        if max(walk.base, walk.special) > LARGEST_PRIME or sum(primes) > self.budget:
            return False
        return enough_primes(primes, self.log_n)

    def most_precise(self, rescales: tuple[bool, ...], margin: int) -> tuple[float, Walk] | None:
        """The highest precision at which there is a walk with these rescales, and the walk.

        Whether there is one does not fall steadily with the precision: a rescale may have too few
        bits to drop at a low one, and small primes run out.
        """
        for precision in reversed(PRECISIONS):
            if self.walk(rescales, precision, margin) is None:
                continue
            # What is left of the modulus makes all more precise but what bounds the precision.
            filled = (self.walk(rescales, precision, margin, fill) for fill in FILLS)
            return next((precision, walk) for walk in filled if walk is not None)
        return None
