"""Walks: scales and primes from inputs to outputs, for a precision and a way of putting rescales
off."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
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


TAILS = (6.0, 5.0, 4.0, 3.0, 2.0)
"""Bits by which a walk with a fine end leaves more at the last rescale."""

NEGLIGIBLE = 1e-6
"""Bits that sums of logarithms may be off by."""


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
    its sign, `gains` what a precision asks for beyond itself. With a `fine_end` the last rescale
    leaves more than the precision asks for, as far as the base has room: products of ciphertexts
    that follow make its error larger, and answers larger too.

    A precision is kept by every operation. Rescaling errs by about sqrt(N * h / 12) with h = 2N/3,
    or 2^(log2(N) - 2); rounding a plaintext's coefficients by sqrt(N / 24) relative to its scale.
    """

    steps: tuple[Step, ...]
    headroom: int
    log_n: int
    gains: Gains
    fine_end: bool = False

    @property
    def depth(self) -> int:
        return len(self.steps) - 1

    @property
    def budget(self) -> int:
        """Bits of all primes together that the security table allows."""
        return MAX_LOG_QP_128[self.log_n]

    @property
    def rounding(self) -> float:
        """log2 of what rounding a plaintext's coefficients errs by in a slot."""
        return log2((1 << self.log_n) / 24) / 2

    def lowest(self, precision: float) -> float:
        """log2 of the lowest scale."""
        return self.log_n - 2 + precision

    def landing(self, depth: int, precision: float) -> float:
        """log2 of the lowest scale that a rescale of products from `depth` on may leave."""
        return self.lowest(precision) + self.gains.landing[depth]

    def product(self, depth: int, log_scale: float, precision: float) -> float:
        """log2 of the scale of products from `depth` on, before a rescale."""
        if self.steps[depth] is Step.PLAIN:
            weights = precision + self.gains.weights[depth]
            return log_scale + self.rounding + weights
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

    def most_precise(self, rescales: tuple[bool, ...], margin: int) -> tuple[float, Walk] | None:
        """The highest precision at which there is a walk with rescales where `rescales` says so,
        from depth d to d - 1 in entry d, and the walk.

        The special prime makes room for key switching after products, with a `margin` of HIDING
        bits also before those with plaintexts. All other primes are so much smaller than they
        might be. Whether there is a walk does not fall steadily with the precision: a rescale may
        have too few bits to drop at a low one, and small primes run out.
        """
        walks = _Walks.of(self, rescales, margin)
        for precision in reversed(PRECISIONS):
            if precision > walks.highest or walks.at(precision) is None:
                continue
            # What is left of the modulus makes all more precise but what bounds the precision.
            filled = ((fill, walks.at(precision, fill)) for fill in FILLS)
            fill, filled_walk = next((f, w) for f, w in filled if w is not None)
            ends = (walks.at(precision, fill, tail) for tail in TAILS) if self.fine_end else ()
            return precision, next((walk for walk in ends if walk is not None), filled_walk)
        return None


@dataclass(frozen=True, slots=True)
class _Walks:
    """Walks that rescale where `rescales` says so, with a margin as in `Road.most_precise`.

    `last` is the depth of the last rescale. Products from depth d on add `rest[d]` and d times the
    precision to the scale at least; `room[d]` is what rescales from there on and the base can take
    of it, and `most` all that there can be of scale and of what was dropped before. These end ways
    that lead nowhere early.
    """

    road: Road
    rescales: tuple[bool, ...]
    margin: int
    last: int
    rest: tuple[float, ...]
    room: tuple[float, ...]
    most: float

    @classmethod
    def of(cls, road: Road, rescales: tuple[bool, ...], margin: int) -> _Walks:
        rest, room = [0.0], [LARGEST_PRIME - road.headroom + NEGLIGIBLE]
        for depth in range(1, road.depth + 1):
            # No product of ciphertexts adds less than the lowest scale.
            plain = road.steps[depth] is Step.PLAIN
            least = road.rounding + road.gains.weights[depth] if plain else road.lowest(0.0)
            rest.append(rest[-1] + least)
            room.append(room[-1] + rescales[depth] * (LARGEST_PRIME - margin))
        last = next((d for d in range(1, road.depth + 1) if rescales[d]), 0)
        # The base holds what is not dropped, and the special prime is no smaller than any other.
        primes = 1 + sum(rescales)
        most = road.budget * primes / (primes + 1) - road.headroom + NEGLIGIBLE
        return cls(road, rescales, margin, last, tuple(rest), tuple(room), most)

    @property
    def highest(self) -> float:
        """The precision above which what products add is too much at the first of them already."""
        road = self.road
        within = min(self.room[-1], self.most) - self.rest[-1] - road.lowest(0.0)
        return within / (road.depth + 1) + NEGLIGIBLE

    def at(self, precision: float, fill: float = 0.0, tail: float = 0.0) -> Walk | None:
        """The one of this precision, with `fill` bits more for weights and for what rescales leave,
        `tail` bits for what the last one does; None where an operation would be less precise, a
        value above its modulus, the primes too many, or all together larger than is secure."""
        road, gains, largest = self.road, self.road.gains, LARGEST_PRIME - self.margin
        lowest, rounding = road.lowest(precision), road.rounding
        scale, dropped = lowest, 0
        scales, drops = [scale], [0.0]
        switched = inf if road.depth else scale
        for depth in range(road.depth, 0, -1):
            wanted = scale + self.rest[depth] + depth * precision
            if wanted > self.room[depth] or wanted + dropped > self.most:
                return None
            before, step, drop = scale, road.steps[depth], 0
            plain = step is Step.PLAIN
            product = 2 * scale
            if plain:
                product = scale + rounding + (precision + (gains.weights[depth] + fill))
            scale = product
            if self.rescales[depth]:
                more = fill if depth > self.last else tail
                landing = lowest + (gains.landing[depth] + more)
                drop = min(floor(product - landing), largest)
                scale = product - drop
                if drop < SMALLEST_RESCALE:
                    if not plain:
                        return None
                    drop, scale = SMALLEST_RESCALE, landing
            elif step is Step.KEPT:
                return None
            dropped += drop
            scales.append(scale)
            drops.append(float(drop))
            # Products of ciphertexts switch keys before they rescale, folds after.
            switched = min(switched, scale if plain else scale + drop)
            if self.margin == HIDING and plain:
                switched = min(switched, before)
        base = max(ceil(scale + road.headroom), SMALLEST_RESCALE)
        special = int(max(base, *drops)) + max(0, ceil(lowest + HIDING - switched))
        # Depth 0 first; nothing is dropped before the products from the deepest on.
        made = Walk(tuple(reversed(scales)), (0.0, *reversed(drops[1:])), base, special)
        return made if self._possible(made) else None

    def _possible(self, walk: Walk) -> bool:
        road, modulus = self.road, float(walk.base)
        for scale, drop in zip(walk.log_scales, walk.drops, strict=True):
            modulus += drop
            if scale + road.headroom > modulus:
                return False
        primes = (*walk.chain, walk.special)
        if max(walk.base, walk.special) > LARGEST_PRIME or sum(primes) > road.budget:
            return False
        return enough_primes(primes, road.log_n)
