"""The cheapest way of putting rescales off that keeps a precision, among all that there are.

Dynamic programming over depth and scale. Nearly all scales that products could leave take more
bits than the security table allows: those are left out on the way from the inputs, and what remains
is priced on the way back, where levels are known.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil

from .prices import Prices
from .schedule import LARGEST_PRIME, SMALLEST_RESCALE, Step
from .walks import HIDING, Road

DIGITS = 6
"""Decimals of log2 of scales that are told apart."""


Ways = list[tuple[int, float]]
"""From a depth and a scale: (bits that are dropped, scale after)."""


@dataclass(frozen=True, slots=True)
class _Tail:
    """A way from some depth and scale to the outputs: rescales from depth 0 (entry 0 is not used)
    to there, their number, the bits of all primes but the special one, and of the largest."""

    milliseconds: float
    level: int
    bits: int
    largest: int
    rescales: tuple[bool, ...]

    def beats(self, other: _Tail) -> bool:
        return (
            self.milliseconds <= other.milliseconds
            and self.level <= other.level
            and self.bits <= other.bits
            and self.largest <= other.largest
        )


def cheapest(road: Road, precision: float, prices: Prices, margin: int) -> tuple[bool, ...] | None:
    """Entry d: whether products from depth d to d - 1 rescale (entry 0 is not used); None where the
    precision cannot be kept.

    The special prime has `margin` bits more than the largest other, up to HIDING, and no product
    leaves a scale so low that folds would want more.
    """
    search = _Search(road, precision, prices, margin, LARGEST_PRIME - margin)
    start = round(road.lowest(precision), DIGITS)
    tails = search.tails(search.reached(start)).get(start, [])
    fitting = [t for t in tails if t.bits + t.largest + margin <= road.budget]
    best = min(fitting, key=lambda t: t.milliseconds, default=None)
    return None if best is None else best.rescales


@dataclass(frozen=True, slots=True)
class _Search:
    road: Road
    precision: float
    prices: Prices
    margin: int
    largest: int

    def ways(self, depth: int, scale: float) -> Ways:
        """Where keys may be switched after them."""
        found = self.road.ways(depth, scale, self.precision, self.largest)
        rounded = [(drop, round(after, DIGITS)) for drop, after in found]
        if self.road.steps[depth] is not Step.PLAIN:
            return rounded
        least = self.road.lowest(self.precision) + HIDING - self.margin
        return [(drop, after) for drop, after in rounded if after >= least]

    def reached(self, start: float) -> list[dict[float, Ways]]:
        """Entry d: scales at depth d, and the ways on from those that the security table leaves
        bits for, from there down."""
        road, lowest = self.road, self.road.lowest(self.precision)
        special = ceil(lowest + road.headroom) + self.margin
        # What it takes from the lowest scale at each depth: to drop what can be at once is best.
        least = [lowest + road.headroom]
        for depth in range(1, road.depth + 1):
            least.append(least[-1] + road.product(depth, lowest, self.precision) - lowest)
        onward: list[dict[float, Ways]] = [{} for _ in road.steps]
        layer = {start: 0}
        for depth in range(road.depth, 0, -1):
            below: dict[float, int] = {}
            for scale, used in layer.items():
                needed = road.product(depth, scale, self.precision) - lowest + least[depth - 1]
                if used + needed + special > road.budget:
                    continue
                onward[depth][scale] = ways = self.ways(depth, scale)
                for drop, after in ways:
                    below[after] = min(used + drop, below.get(after, used + drop))
            layer = below
        onward[0] = {scale: [] for scale in layer}
        return onward

    def tails(self, onward: list[dict[float, Ways]]) -> dict[float, list[_Tail]]:
        """By scale at the deepest: ways down of which none beats another."""
        found = {scale: self._end(scale) for scale in onward[0]}
        for depth, layer in enumerate(onward[1:], start=1):
            found = {s: self._onward(depth, s, ways, found) for s, ways in layer.items()}
        return found

    def _end(self, scale: float) -> list[_Tail]:
        base = max(ceil(scale + self.road.headroom), SMALLEST_RESCALE)
        if base > self.largest:
            return []
        return [_Tail(self.prices.at(0, 0, rescaled=False), 0, base, base, (False,))]

    def _onward(
        self, depth: int, scale: float, ways: Ways, below: dict[float, list[_Tail]]
    ) -> list[_Tail]:
        tails: list[_Tail] = []
        for drop, after in ways:
            for tail in below.get(after, ()):
                level, bits = tail.level + (drop > 0), tail.bits + drop
                largest = max(tail.largest, drop)
                if bits + largest + self.margin > self.road.budget:
                    continue
                if scale + self.road.headroom > bits:
                    continue
                milliseconds = tail.milliseconds + self.prices.at(depth, level, drop > 0)
                tails.append(_Tail(milliseconds, level, bits, largest, (*tail.rescales, drop > 0)))
        kept: list[_Tail] = []
        for tail in sorted(tails, key=lambda t: (t.milliseconds, t.level, t.bits, t.largest)):
            if not any(other.beats(tail) for other in kept):
                kept.append(tail)
        return kept
