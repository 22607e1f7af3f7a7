"""Schedules: where to rescale, by how much, and which primes that takes.

A rescale after every product wants a prime for every level, and a key switch at level l costs
(l + 1)(l + 2) transforms. Primes of up to 60 bits can each drop what several products have added
to the scale: with half as many primes everything is cheaper, key switches three to four times.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import Enum
from math import ceil, log2

import numpy as np
from numpy.typing import NDArray

from eer.runtime.params import MAX_LOG_QP_128, CkksLiteral, CkksParams
from eer.runtime.program_codec import SCALE_UNITS

from ..ir.tensor import Vector
from .primes import enough_primes

LARGEST_PRIME = 60
SMALLEST_RESCALE = 18
"""Bits below which a rescale is not worth a prime (and primes that are 1 mod 2N run out)."""

QUICK_BASE = 49
"""Bits from which on a base prime makes answers quick to save: SEAL compresses them by zstd, which
takes three to four times as long over residues with more zero bytes, where it finds matches."""

LEAST_PRECISION, MOST_PRECISION = 6.0, 32.0
"""Bits of precision below which a schedule is of no use, and beyond which nobody needs more."""

STEPS_PER_BIT = 4
PRECISIONS = (
    np.arange(LEAST_PRECISION * STEPS_PER_BIT, (MOST_PRECISION + 1) * STEPS_PER_BIT) / STEPS_PER_BIT
)
"""Those that are tried, in bits."""

THRESHOLDS = (SMALLEST_RESCALE, 24, 28, 32, 36, 40, 44, 48, 52, 56, 59, 1000)
"""Bits to drop from which on a product rescales."""

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
    operation. `work` is about what key switching it makes for. `rotates_at_top` says whether a
    ciphertext may be rotated at its highest level.
    """

    params: CkksParams
    rescaling: Rescaling
    precision: float
    work: float = 0.0
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
    CIPHER = "products of ciphertexts; affine maps follow"
    INNER = "products of ciphertexts within a polynomial"


def seal_schedules(steps: tuple[Step, ...], headroom: int, log_n: int) -> list[Schedule]:
    """Schedules that fit 128-bit security on the ring 2^log_n, the cheapest first.

    `steps[d]` says what happens from depth d to d - 1 (entry 0 is not used). INNER steps always
    rescale, since powers of different depths meet within a polynomial. `headroom` is log2 of the
    largest value plus one for its sign. For every way of putting rescales off, the precision is
    made as high as the security table leaves room for.
    """
    found: dict[tuple[tuple[bool, ...], bool], Schedule] = {}
    both = [(low, _Walks.of(steps, headroom, log_n, low)) for low in (False, True)]
    for rules in range(len(THRESHOLDS) ** 2):
        for low_rotations, walks in both:
            at = walks.most_precise(rules)
            if at is None:
                continue
            schedule = _schedule(walks, rules, at, steps)
            key = (schedule.rescaling.rescales, low_rotations)
            if key not in found or schedule.precision > found[key].precision:
                found[key] = schedule
    # With or without low rotations the best is often the same.
    unlike = {(s.params, s.rescaling): s for s in found.values()}
    return sorted(unlike.values(), key=lambda s: (s.work, -s.precision))


@dataclass(frozen=True, slots=True, eq=False)
class _Walks:
    """Ways from input to output [rules, precisions], for PRECISIONS and all rules.

    Rules say where rescales are put off: a product with plaintexts (or ciphertexts) rescales where
    it leaves so many bits to drop, each of THRESHOLDS with each. With `low_rotations` there is room
    for rotations at the lowest scales, before a product.

    `log_scales[d]` and `drops[d]` are what they are in a Rescaling, the latter 0 where there is no
    rescale. `base` and `special` are the first and the last prime's bits. `possible` says where
    every operation keeps its precision, every value stays below its modulus, and the security
    table is met.
    """

    log_n: int
    log_scales: Vector
    drops: Vector
    base: Vector
    special: Vector
    possible: NDArray[np.bool_]

    @classmethod
    def of(cls, steps: tuple[Step, ...], headroom: int, log_n: int, low_rotations: bool) -> _Walks:
        """Scales from input to output where every operation keeps a precision.

        Rescaling errs by about sqrt(N * h / 12) with h = 2N/3, or 2^(log2(N) - 2); rounding a
        plaintext's coefficients by sqrt(N / 24) relative to its scale.
        """
        count = len(THRESHOLDS)
        plain, cipher = np.repeat(THRESHOLDS, count)[:, None], np.tile(THRESHOLDS, count)[:, None]
        lowest = log_n - 2 + PRECISIONS
        weights = log2((1 << log_n) / 24) / 2 + PRECISIONS
        scale = np.tile(lowest, (count * count, 1))
        scales, drops = [scale], []
        possible = np.ones(scale.shape, dtype=bool)
        switched = scale if len(steps) < 2 else np.full(scale.shape, np.inf)
        for step in reversed(steps[1:]):
            ciphers = step is not Step.PLAIN
            before = scale
            product = 2 * scale if ciphers else scale + weights
            spare = np.floor(product - lowest)
            puts_off = (spare < (cipher if ciphers else plain)) & (step is not Step.INNER)
            drop = np.where(puts_off, 0.0, np.minimum(spare, LARGEST_PRIME))
            possible &= puts_off | (drop >= SMALLEST_RESCALE)
            scale = product - drop
            scales.append(scale)
            drops.append(drop)
            # Ciphertext products switch keys before they rescale, folds after.
            switched = np.minimum(switched, product if ciphers else scale)
            if low_rotations and not ciphers:
                switched = np.minimum(switched, before)
        base = np.maximum(np.ceil(scale + headroom), SMALLEST_RESCALE)
        largest = np.max([base, *drops], axis=0)
        special = largest + _extra_bits(log_n, switched)
        possible &= (base <= LARGEST_PRIME) & (special <= LARGEST_PRIME)
        drops = [np.zeros(scale.shape), *reversed(drops)]
        scales.reverse()
        modulus = base
        for at_depth, drop in zip(scales, drops, strict=True):
            modulus = modulus + drop
            possible &= at_depth + headroom <= modulus
        possible &= modulus + special <= MAX_LOG_QP_128[log_n]
        return cls(log_n, np.array(scales), np.array(drops), base, special, possible)

    def primes(self, rules: int, at: int) -> tuple[int, ...]:
        """Sizes of all primes in bits, the base first and the special one last."""
        drops = (int(b) for b in self.drops[:, rules, at] if b)
        return (int(self.base[rules, at]), *drops, int(self.special[rules, at]))

    def most_precise(self, rules: int) -> int | None:
        """The number of the highest precision that is possible: bit by bit, then by bisection.

        Bisection alone would miss some: whether one is possible does not fall steadily with the
        precision, since a rescale may have too few bits to drop at a low one. Small primes run out
        on large rings: from there down to the first that has all it needs.
        """
        possible = self.possible[rules]
        whole = np.flatnonzero(possible[::STEPS_PER_BIT])
        if not len(whole):
            return None
        at = int(whole[-1]) * STEPS_PER_BIT
        step = STEPS_PER_BIT // 2
        while step:
            at += step * bool(possible[at + step])
            step //= 2
        below = np.flatnonzero(possible[: at + 1])[::-1]
        return next(
            (int(k) for k in below if enough_primes(self.primes(rules, k), self.log_n)), None
        )


def _extra_bits(log_n: int, scale: Vector) -> Vector:
    """Bits by which the special prime is larger than the largest other, to hide key switching.

    `scale` is the lowest at which keys are switched.

    Key switching with a special prime of the largest prime's size errs by about 2^(log2(N) + 6)
    in the first slots (measured on SEAL; docs/adr/0008), less one bit for each bit more.
    """
    extra: Vector = np.maximum(0.0, np.ceil(log_n + 6 + PRECISIONS - scale))
    return extra


def _schedule(walks: _Walks, rules: int, at: int, steps: tuple[Step, ...]) -> Schedule:
    *chain, special = walks.primes(rules, at)
    log_scales, drops = (x[:, rules, at].tolist() for x in (walks.log_scales, walks.drops))
    params = CkksLiteral(
        engine="seal",
        log_n=walks.log_n,
        log_q=tuple(float(b) for b in chain),
        log_p=(float(special),),
        log_scale=round(log_scales[-1] * SCALE_UNITS) / SCALE_UNITS,
    ).check()
    rescales = tuple(b > 0 for b in drops)
    scales = tuple(round(s * SCALE_UNITS) / SCALE_UNITS for s in log_scales)
    rescaling = Rescaling(rescales, scales, tuple(drops))
    made = Schedule(params, rescaling, float(PRECISIONS[at]), _work(rescaling, steps))
    return made.raised(max(0, QUICK_BASE - chain[0])) or made


def _work(rescaling: Rescaling, steps: tuple[Step, ...]) -> float:
    """Key-switching work, before a plan knows it: a few rotations to a map, one to a product."""
    total = 0.0
    for depth in range(1, rescaling.depth + 1):
        plain = steps[depth] is Step.PLAIN
        level = rescaling.level(depth - 1 if plain else depth)
        total += (6 if plain else 1) * (level + 1) * (level + 2)
    return total
