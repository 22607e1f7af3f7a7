"""Schedules: where to rescale, by how much, and which primes that takes.

A rescale after every product wants a prime for every level, and a key switch at level l costs
(l + 1)(l + 2) transforms. Primes of up to 60 bits can each drop what several products have added
to the scale: with half as many primes everything is cheaper, key switches three to four times.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from math import ceil, floor, log2

import numpy as np

from eer.runtime.params import MAX_LOG_QP_128, CkksLiteral, CkksParams
from eer.runtime.program_codec import SCALE_UNITS

from .primes import enough_primes

LARGEST_PRIME = 60
SMALLEST_RESCALE = 18
"""Bits below which a rescale is not worth a prime (and primes that are 1 mod 2N run out)."""

LEAST_PRECISION, MOST_PRECISION = 6.0, 32.0
"""Bits of precision below which a schedule is of no use, and beyond which nobody needs more."""

PRECISION_STEP = 0.25

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
    operation. `rotates_at_top` says whether a ciphertext may be rotated at its highest level.
    """

    params: CkksParams
    rescaling: Rescaling
    precision: float
    rotates_at_top: bool = True


@dataclass(frozen=True, slots=True)
class _Draft:
    """A walk from input to output: scales, dropped bits (None: no rescale), the base prime."""

    log_scales: tuple[float, ...]
    drops: tuple[int | None, ...]
    base: int
    special: int

    @property
    def primes(self) -> tuple[int, ...]:
        """Sizes of all primes in bits, the base first and the special one last."""
        return (self.base, *(b for b in self.drops if b is not None), self.special)


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
    for rules in _rules(steps, headroom, log_n):
        draft, precision = _most_precise(rules)
        if draft is None:
            continue
        schedule = _schedule(draft, log_n, precision)
        key = (schedule.rescaling.rescales, rules.low_rotations)
        if key not in found or schedule.precision > found[key].precision:
            found[key] = schedule
    # With or without low rotations the best is often the same.
    unlike = {(s.params, s.rescaling): s for s in found.values()}
    return sorted(unlike.values(), key=lambda s: (_work(s.rescaling, steps), -s.precision))


@dataclass(frozen=True, slots=True)
class _Rules:
    """A way of putting rescales off.

    A product with plaintexts (or ciphertexts) rescales where it leaves `plain` (`cipher`) bits to
    drop. `low_rotations` leaves room for rotations at the lowest scales, before a product.
    """

    steps: tuple[Step, ...]
    headroom: int
    log_n: int
    plain: int
    cipher: int
    low_rotations: bool


def _rules(steps: tuple[Step, ...], headroom: int, log_n: int) -> Iterator[_Rules]:
    thresholds = (SMALLEST_RESCALE, 24, 28, 32, 36, 40, 44, 48, 52, 56, 59, 1000)
    for plain in thresholds:
        for cipher in thresholds:
            for low_rotations in (False, True):
                yield _Rules(steps, headroom, log_n, plain, cipher, low_rotations)


def _most_precise(rules: _Rules) -> tuple[_Draft | None, float]:
    """The draft of the highest precision within the security table: bit by bit, then by bisection.

    Bisection alone would miss drafts: whether one fits does not fall steadily with the precision,
    since a rescale may have too few bits to drop at a low one. Small primes run out on large
    rings: from there down to the first draft that has all it needs.
    """
    bits = np.arange(MOST_PRECISION, LEAST_PRECISION - 1, -1)
    low = next((float(b) for b in bits if _fits_table(_walk(rules, float(b)), rules)), None)
    if low is None:
        return None, 0.0
    high = low + 1
    while high - low > PRECISION_STEP:
        middle = (low + high) / 2
        if _fits_table(_walk(rules, middle), rules):
            low = middle
        else:
            high = middle
    while low >= LEAST_PRECISION:
        draft = _walk(rules, low)
        if draft is not None and _is_possible(draft, rules):
            return draft, low
        low -= PRECISION_STEP
    return None, 0.0


def _fits_table(draft: _Draft | None, rules: _Rules) -> bool:
    """Whether the draft meets the security table."""
    return draft is not None and sum(draft.primes) <= MAX_LOG_QP_128[rules.log_n]


def _is_possible(draft: _Draft, rules: _Rules) -> bool:
    return _fits_table(draft, rules) and enough_primes(draft.primes, rules.log_n)


def _walk(rules: _Rules, precision: float) -> _Draft | None:
    """Scales from input to output where every operation keeps `precision` bits.

    Rescaling errs by about sqrt(N * h / 12) with h = 2N/3, or 2^(log2(N) - 2); rounding a
    plaintext's coefficients by sqrt(N / 24) relative to its scale.
    """
    lowest = rules.log_n - 2 + precision
    weights = log2((1 << rules.log_n) / 24) / 2 + precision
    scale = lowest
    scales, switched = [scale], []
    drops: list[int | None] = []
    for depth in range(len(rules.steps) - 1, 0, -1):
        step = rules.steps[depth]
        ciphers = step is not Step.PLAIN
        before = scale
        scale = 2 * scale if ciphers else scale + weights
        # Ciphertext products switch keys before they rescale, folds after.
        product = scale
        spare = floor(scale - lowest)
        drop = min(spare, LARGEST_PRIME)
        threshold = rules.cipher if ciphers else rules.plain
        if spare < threshold and step is not Step.INNER:
            drops.append(None)
        elif drop < SMALLEST_RESCALE:
            return None
        else:
            scale -= drop
            drops.append(drop)
        scales.append(scale)
        switched.append(product if ciphers else scale)
        if rules.low_rotations and not ciphers:
            switched.append(before)
    base = max(ceil(scale + rules.headroom), SMALLEST_RESCALE)
    primes = [base, *(d for d in drops if d)]
    special = _special_prime(rules.log_n, precision, min(switched, default=scale), max(primes))
    draft = _Draft(tuple(reversed(scales)), (None, *reversed(drops)), base, special)
    small = base <= LARGEST_PRIME and special <= LARGEST_PRIME
    return draft if small and _fits(draft, rules.headroom) else None


def _fits(draft: _Draft, headroom: int) -> bool:
    """Whether every value stays below its modulus, at every depth."""
    modulus = draft.base
    for depth, scale in enumerate(draft.log_scales):
        modulus += draft.drops[depth] or 0
        if scale + headroom > modulus:
            return False
    return True


def _special_prime(log_n: int, precision: float, scale: float, largest: int) -> int:
    """Bits of the special prime: at least the largest other, and enough to hide key switching.

    `scale` is the lowest at which keys are switched.

    Key switching with a special prime of the largest prime's size errs by about 2^(log2(N) + 6)
    in the first slots (measured on SEAL; docs/adr/0008), less one bit for each bit more.
    """
    return largest + max(0, ceil(log_n + 6 + precision - scale))


def _schedule(draft: _Draft, log_n: int, precision: float) -> Schedule:
    *chain, special = draft.primes
    params = CkksLiteral(
        engine="seal",
        log_n=log_n,
        log_q=tuple(float(b) for b in chain),
        log_p=(float(special),),
        log_scale=round(draft.log_scales[-1] * SCALE_UNITS) / SCALE_UNITS,
    ).check()
    rescales = tuple(b is not None for b in draft.drops)
    scales = tuple(round(s * SCALE_UNITS) / SCALE_UNITS for s in draft.log_scales)
    drops = tuple(float(b or 0) for b in draft.drops)
    return Schedule(params, Rescaling(rescales, scales, drops), precision)


def _work(rescaling: Rescaling, steps: tuple[Step, ...]) -> float:
    """Key-switching work, before a plan knows it: a few rotations to a map, one to a product."""
    total = 0.0
    for depth in range(1, rescaling.depth + 1):
        plain = steps[depth] is Step.PLAIN
        level = rescaling.level(depth - 1 if plain else depth)
        total += (6 if plain else 1) * (level + 1) * (level + 2)
    return total
