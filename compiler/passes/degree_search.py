"""Choose degrees: the fewest levels, then the fewest products, within the tolerance.

A model of the errors guides the search and rehearsals decide. The model: activation k with
polynomials of degree d errs by rms_k(d) on its own, which strains the outputs by gain_k * rms_k(d),
and strains of different activations add as independent errors do. gain_k is measured once, with
activation k alone replaced.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from itertools import product
from math import prod

import numpy as np

from ..ir.poly_plan import levels_of_degree
from ..ir.tensor import Affine, Elementwise, Polynomial, Product, TensorGraph
from .fit import HIGHEST_DEGREE, Parity
from .rehearsal import Rehearsal
from .verdict import Verdict

PRODUCTS = {
    Parity.NONE: (
        *(0, 0, 1, 2, 2, 3, 3, 4, 3, 5, 5, 6, 6, 7, 7, 8, 8),
        *(8, 8, 8, 8, 9, 10, 10, 10, 10, 11, 11, 11, 12, 12, 13, 13),
    ),
    Parity.EVEN: (
        *(0, 0, 1, 1, 2, 2, 3, 3, 3, 3, 5, 5, 6, 6, 6, 6, 4),
        *(4, 8, 8, 8, 8, 8, 8, 9, 9, 9, 9, 10, 10, 10, 10, 12),
    ),
    Parity.ODD: (
        *(0, 0, 0, 2, 2, 3, 3, 4, 4, 5, 5, 5, 5, 7, 7, 8, 8),
        *(7, 7, 8, 8, 9, 9, 9, 9, 10, 10, 10, 10, 11, 11, 12, 12),
    ),
}
"""Ciphertext products by degree (see `plan_polynomial`), of smooth functions."""

PROBE_DEGREE = 4
ATTEMPTS = 10
LOOSENINGS = 2
NEIGHBOURS = 6
MOST_COMBINED = 1024
"""Choices of fewer levels that are rehearsed, and degrees of all groups that are looked at for them
by the model of errors."""

NEARLY = 1.2
"""Strain by the model up to which one of them is worth a rehearsal."""

SAFETY = 0.9
"""Strain that a choice of fewer products may reach by the model before it is rehearsed."""


@dataclass(frozen=True, slots=True)
class Group:
    """Activations that share a degree: one, or one ONNX node's in all steps of a recurrence.

    `degree` is what the user asked for, or None.
    """

    nodes: tuple[int, ...]
    degree: int | None


@dataclass(frozen=True, slots=True)
class Choice:
    """Degrees by node number, and how they did on held-out rows."""

    degrees: Mapping[int, int]
    verdict: Verdict


Judge = Callable[[Mapping[int, int]], Verdict]


def search_degrees(
    rehearsal: Rehearsal, groups: tuple[Group, ...], max_degree: int, judge: Judge
) -> Choice:
    """The cheapest degrees that `judge` accepts, or the least straining ones if none are."""
    search = _Search(rehearsal, groups, max_degree, judge)
    best = search.shallow()
    return search.fewer_products(search.fewer_levels(best)) if best.verdict.accepted else best


class _Search:
    def __init__(
        self, rehearsal: Rehearsal, groups: tuple[Group, ...], max_degree: int, judge: Judge
    ) -> None:
        self.graph = rehearsal.graph
        self.rehearsal = rehearsal
        self.groups = groups
        self.judge = judge
        self.tried: dict[tuple[int, ...], Choice] = {}
        self.rms: list[Callable[[int], float]] = []
        self.gains: list[float] = []
        self.ladders: list[tuple[int, ...]] = []
        self.parities: list[Parity] = []
        for group in groups:
            self.measure(group, max_degree)

    def measure(self, group: Group, max_degree: int) -> None:
        """The group's gain, and its best degree of each depth."""
        self.rehearsal.run({})
        fitters = [self.rehearsal.fitter(n, {}) for n in group.nodes]

        @cache
        def rms(degree: int) -> float:
            return float(np.sqrt(np.mean([f.rms(degree) ** 2 for f in fitters])))

        parities = {f.of(HIGHEST_DEGREE).parity for f in fitters}
        self.parities.append(parities.pop() if len(parities) == 1 else Parity.NONE)
        self.rms.append(rms)
        probe = self.judge(dict.fromkeys(group.nodes, PROBE_DEGREE)).strain
        self.gains.append(min(probe, 1e9) / max(rms(PROBE_DEGREE), 1e-300))
        if group.degree is not None:
            self.ladders.append((group.degree,))
            return
        rungs = []
        for low, high in _depths(max_degree):
            # Just below a power of two coefficients are free; at it the leading one is not, and
            # parity may leave it out.
            below = max(low, high - 1)
            rungs.append(high if rms(high) < 0.999 * rms(below) else below)
        self.ladders.append(tuple(rungs))

    def strain(self, degrees: tuple[int, ...]) -> float:
        """What the model expects."""
        terms = zip(self.gains, self.rms, degrees, strict=True)
        return float(np.sqrt(sum((gain * rms(d)) ** 2 for gain, rms, d in terms)))

    def by_node(self, degrees: tuple[int, ...]) -> dict[int, int]:
        pairs = zip(self.groups, degrees, strict=True)
        return {n: d for group, d in pairs for n in group.nodes}

    def levels(self, degrees: tuple[int, ...]) -> int:
        return levels(self.graph, self.by_node(degrees))

    def attempt(self, degrees: tuple[int, ...]) -> Choice:
        if degrees not in self.tried:
            chosen = self.by_node(degrees)
            self.tried[degrees] = Choice(chosen, self.judge(chosen))
        return self.tried[degrees]

    def within(self, target: float) -> tuple[int, ...]:
        """The shallowest degrees with an expected strain within the target, greedily."""
        rungs = [0] * len(self.groups)

        def at(steps: list[int]) -> tuple[int, ...]:
            return tuple(ladder[s] for ladder, s in zip(self.ladders, steps, strict=True))

        while self.strain(at(rungs)) > target:
            now, depth = self.strain(at(rungs)) ** 2, self.levels(at(rungs))
            best: tuple[float, int] | None = None
            for k, ladder in enumerate(self.ladders):
                if rungs[k] + 1 < len(ladder):
                    up = [r + (i == k) for i, r in enumerate(rungs)]
                    gain = now - self.strain(at(up)) ** 2
                    rate = gain / (self.levels(at(up)) - depth + 0.1)
                    if best is None or rate > best[0]:
                        best = (rate, k)
            if best is None:
                break
            rungs[best[1]] += 1
        for k in range(len(rungs)):
            while rungs[k] > 0:
                down = [r - (i == k) for i, r in enumerate(rungs)]
                if self.strain(at(down)) > target:
                    break
                rungs = down
        return at(rungs)

    def shallow(self) -> Choice:
        """The shallowest accepted choice that the model leads to, or the least straining one."""
        target = 1.0
        highest = tuple(ladder[-1] for ladder in self.ladders)
        accepted: tuple[int, ...] | None = None
        degrees = self.within(target)
        for _ in range(ATTEMPTS):
            choice = self.attempt(degrees)
            if choice.verdict.accepted:
                accepted = degrees
                break
            if degrees == highest:
                break
            target, degrees = self.stricter(target, degrees, choice)
        if accepted is None:
            return min(self.tried.values(), key=lambda c: c.verdict.strain)
        # The model may have been too strict: look for fewer levels.
        for _ in range(LOOSENINGS):
            target *= 2.0
            degrees = self.within(target)
            if self.levels(degrees) >= self.levels(accepted) or degrees in self.tried:
                continue
            if self.attempt(degrees).verdict.accepted:
                accepted = degrees
        return self.tried[accepted]

    def fewer_levels(self, best: Choice) -> Choice:
        """A choice of fewer levels, with degrees off the ladders: which windows change their labels
        is a matter of chance where few do, and another degree changes other ones."""
        degrees = tuple(best.degrees[group.nodes[0]] for group in self.groups)
        ranges = [
            (d,) if group.degree is not None else tuple(range(2, d + 1))
            for group, d in zip(self.groups, degrees, strict=True)
        ]
        if prod(len(r) for r in ranges) > MOST_COMBINED:
            return best
        most = self.levels(degrees)
        offered = [
            (self.levels(combined), self.products(combined), self.strain(combined), combined)
            for combined in product(*ranges)
        ]
        near = sorted(o for o in offered if o[0] < most and o[2] <= NEARLY)
        for *_, combined in [o for o in near if o[3] not in self.tried][:NEIGHBOURS]:
            choice = self.attempt(combined)
            if choice.verdict.accepted:
                return choice
        return best

    def products(self, degrees: tuple[int, ...]) -> int:
        """Ciphertext products of all activations together."""
        return sum(PRODUCTS[p][d] for p, d in zip(self.parities, degrees, strict=True))

    def stricter(
        self, target: float, degrees: tuple[int, ...], choice: Choice
    ) -> tuple[float, tuple[int, ...]]:
        """A smaller target under which the degrees are other ones."""
        target = min(target, self.strain(degrees)) / min(max(choice.verdict.strain, 1.25), 2.0)
        while (other := self.within(target)) == degrees:
            target /= 1.5
            if target < 1e-12:
                break
        return target, other

    def fewer_products(self, best: Choice) -> Choice:
        """Lower degrees within the same depths, as far as the tolerance allows."""
        degrees = tuple(best.degrees[group.nodes[0]] for group in self.groups)
        expected = max(self.strain(degrees), 1e-12)
        scale = best.verdict.strain / expected
        for _ in range(2):
            trial = list(degrees)
            for k, group in enumerate(self.groups):
                if group.degree is not None:
                    continue
                for d in _cheaper(degrees[k], self.parities[k]):
                    lower = (*trial[:k], d, *trial[k + 1 :])
                    if self.strain(lower) * scale <= SAFETY:
                        trial[k] = d
                        break
            if tuple(trial) == degrees:
                return best
            choice = self.attempt(tuple(trial))
            if choice.verdict.accepted:
                return choice
            scale *= 2.0
        return best


def levels(graph: TensorGraph, degrees: Mapping[int, int]) -> int:
    """Levels on the longest path, scaling and shifting absorbed."""
    depths: list[int] = []
    for number, node in enumerate(graph.nodes):
        depth = max((depths[o] for o in node.operands), default=0)
        match node.op:
            case Affine() | Product():
                depth += 1
            case Polynomial() as polynomial:
                depth += levels_of_degree(polynomial.degree)
            case Elementwise():
                depth += levels_of_degree(degrees[number])
            case _:
                pass
        depths.append(depth)
    return max((depths[o.node] for o in graph.outputs), default=0)


def _depths(max_degree: int) -> Iterator[tuple[int, int]]:
    """(lowest, highest) degree of each number of levels."""
    low = 2
    while low <= max_degree:
        high = min(max_degree, 1 << levels_of_degree(low))
        yield low, high
        low = high + 1


def _cheaper(degree: int, parity: Parity) -> list[int]:
    """Degrees of as many levels with fewer products, cheapest first."""
    depth = levels_of_degree(degree)
    products = PRODUCTS[parity]
    lower = [d for d in range(2, degree) if levels_of_degree(d) == depth]
    cheaper = [d for d in lower if products[d] < products[degree]]
    return sorted(cheaper, key=lambda d: (products[d], -d))
