"""Walks: scales and primes from inputs to outputs, for a precision and a way of putting rescales
off."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import floor, inf, log2

import numpy as np

from eer.runtime.params import MAX_LOG_QP_128
from eer.runtime.program import Vector

from .gains import Gains
from .primes import enough_primes
from .schedule import LARGEST_PRIME, SMALLEST_RESCALE, Step

LEAST_PRECISION, MOST_PRECISION = 9.0, 32.0
"""Bits of precision below which a schedule is of no use, and beyond which nobody needs more."""

PRECISIONS = np.arange(LEAST_PRECISION, MOST_PRECISION + 1, 0.25)
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

FILLS = np.array((4.0, 3.0, 2.0, 1.0, 0.0))
"""Bits by which all is made more precise but what bounds the precision, if there is room."""


TAILS = np.array((6.0, 5.0, 4.0, 3.0, 2.0))
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

    def highest(self, margin: int) -> float:
        """The precision above which all primes together are too large whatever is put off, if the
        special prime has `margin` bits more than the scale of outputs takes."""
        lowest = self.lowest(0.0)
        added = sum(self.product(d, lowest, 0.0) - lowest for d in range(1, self.depth + 1))
        left = self.budget - margin - added - 2 * (lowest + self.headroom)
        return left / (self.depth + 2) + NEGLIGIBLE

    def most_precise(self, rescales: tuple[bool, ...], margin: int) -> tuple[float, Walk] | None:
        """The highest precision at which there is a walk with rescales where `rescales` says so,
        from depth d to d - 1 in entry d, and the walk.

        The special prime makes room for key switching after products, with a `margin` of HIDING
        bits also before those with plaintexts. All other primes are so much smaller than they
        might be. Whether there is a walk does not fall steadily with the precision: a rescale may
        have too few bits to drop at a low one, and small primes run out.
        """
        walks = _Walks.of(self, rescales, margin)
        precisions = PRECISIONS[walks.highest >= PRECISIONS][::-1]
        found = walks.first(precisions)
        if found is None:
            return None
        # What is left of the modulus makes all more precise but what bounds the precision.
        precision = precisions[found[0] : found[0] + 1]
        filled = walks.first(precision, FILLS)
        assert filled is not None
        ended = walks.first(precision, FILLS[filled[0]], TAILS) if self.fine_end else None
        return float(precision[0]), (ended or filled)[1]


@dataclass(frozen=True, slots=True)
class _Walks:
    """Walks that rescale where `rescales` says so, with a margin as in `Road.most_precise`.

    `last` is the depth of the last rescale. No walk is more precise than `highest`: above it, what
    products add at least is more than primes can take.
    """

    road: Road
    rescales: tuple[bool, ...]
    margin: int
    last: int
    highest: float

    @classmethod
    def of(cls, road: Road, rescales: tuple[bool, ...], margin: int) -> _Walks:
        # No product of ciphertexts adds less than the lowest scale.
        rest = sum(
            road.rounding + road.gains.weights[d] if step is Step.PLAIN else road.lowest(0.0)
            for d, step in enumerate(road.steps[1:], start=1)
        )
        drops = sum(rescales)
        room = LARGEST_PRIME + drops * (LARGEST_PRIME - margin)
        # The base holds what is not dropped, and the special prime is no smaller than any other.
        most = road.budget * (1 + drops) / (2 + drops)
        within = min(room, most) - road.headroom - rest - road.lowest(0.0)
        last = next((d for d in range(1, road.depth + 1) if rescales[d]), 0)
        return cls(road, rescales, margin, last, within / (road.depth + 1) + NEGLIGIBLE)

    def first(
        self, precision: Vector, fill: Vector | float = 0.0, tail: Vector | float = 0.0
    ) -> tuple[int, Walk] | None:
        """The first of some walks that there is, and its number: of these precisions, with `fill`
        bits more for weights and for what rescales leave, `tail` bits for what the last one does.

        There is none where an operation would be less precise, a value above its modulus, the
        primes too many, or all together larger than is secure.
        """
        road, gains, largest = self.road, self.road.gains, LARGEST_PRIME - self.margin
        lowest = road.lowest(0.0) + precision
        scale: Vector = lowest + 0.0 * (fill + tail)
        possible = np.ones(scale.shape, dtype=bool)
        scales, drops = [scale], list[Vector]()
        switched = np.full(scale.shape, inf) if road.depth else scale
        for depth in range(road.depth, 0, -1):
            before, step, drop = scale, road.steps[depth], np.zeros(scale.shape)
            plain = step is Step.PLAIN
            scale = 2 * before
            if plain:
                scale = before + road.rounding + (precision + (gains.weights[depth] + fill))
            if self.rescales[depth]:
                landing = lowest + (gains.landing[depth] + (fill if depth > self.last else tail))
                drop = np.minimum(np.floor(scale - landing), largest)
                scale = scale - drop
                few = drop < SMALLEST_RESCALE
                if plain:
                    drop = np.where(few, float(SMALLEST_RESCALE), drop)
                    scale = np.where(few, landing, scale)
                else:
                    possible &= ~few
            elif step is Step.KEPT:
                return None
            scales.append(scale)
            drops.append(drop)
            # Products of ciphertexts switch keys before they rescale, folds after.
            switched = np.minimum(switched, scale if plain else scale + drop)
            if self.margin == HIDING and plain:
                switched = np.minimum(switched, before)
        base = np.maximum(np.ceil(scale + road.headroom), SMALLEST_RESCALE)
        special = np.maximum.reduce([base, *drops])
        special = special + np.maximum(0.0, np.ceil(lowest + HIDING - switched))
        possible &= np.maximum(base, special) <= LARGEST_PRIME
        possible &= sum(drops, base + special) <= road.budget
        modulus: Vector = base
        # From depth 1 on; the base holds what there is at depth 0.
        for held, drop in zip(reversed(scales[:-1]), reversed(drops), strict=True):
            modulus = modulus + drop
            possible &= held + road.headroom <= modulus
        for number in np.flatnonzero(possible):
            walk = Walk(
                tuple(float(s[number]) for s in reversed(scales)),
                (0.0, *(float(d[number]) for d in reversed(drops))),
                int(base[number]),
                int(special[number]),
            )
            if enough_primes((*walk.chain, walk.special), road.log_n):
                return int(number), walk
        return None
