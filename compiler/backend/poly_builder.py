"""Write polynomials as straight-line programs over a Chebyshev basis.

Baby-step giant-step in the manner of Paterson and Stockmeyer, in the Chebyshev basis (Chen,
Chillotti, Song: "Improved Bootstrapping for Approximate Homomorphic Encryption", 2018/1043):
p = q * T_k + r, recursively. The coefficients of q are put in one level before the product, so
that degree 2^m - 1 takes m levels whatever its coefficients.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from ..ir.poly_plan import Difference, Dot, Shift, Step, Sum, Weighted, levels_of_degree
from ..ir.tensor import Vector

Splits = Mapping[tuple[int, int], int]
"""(degree, levels) -> k: how to split p = q * T_k + r there; 0 where only a weighted sum is due."""


@dataclass(slots=True)
class Builder:
    """Registers under construction. Register 0 is u = scale * t, with t in [-1, 1].

    The basis is B_j = scale^j T_j(t): with a >= b, B_(a+b) = 2 B_a B_b - scale^(2b) B_(a-b).
    `scale` [n] in (0, 1] makes small leading coefficients reachable without large factors.
    """

    scale: Vector
    steps: list[Step] = field(default_factory=list)
    depths: list[int] = field(default_factory=lambda: [0])
    made: dict[int, int] = field(default_factory=lambda: {1: 0})

    def add(self, step: Step, *reads: int) -> int:
        cost = 1 if isinstance(step, Dot | Weighted) else 0
        self.steps.append(step)
        self.depths.append(max(self.depths[r] for r in reads) + cost)
        return len(self.steps)

    def dot(self, *pairs: tuple[int, int]) -> int:
        return self.add(Dot(pairs), *(r for pair in pairs for r in pair))

    def weighted(self, terms: Mapping[int, Vector]) -> int:
        regs = tuple(terms)
        return self.add(Weighted(regs, np.stack([terms[r] for r in regs])), *regs)

    def shift(self, reg: int, constants: Vector) -> int:
        return self.add(Shift(reg, constants), reg) if np.any(constants) else reg

    def sum(self, a: int, b: int) -> int:
        return self.add(Sum(a, b), a, b)

    def basis(self, j: int) -> int:
        """The register of B_j, made at most once."""
        if j not in self.made:
            low, high = j // 2, j - j // 2
            half = self.dot((self.basis(high), self.basis(low)))
            whole = self.sum(half, half)
            if high == low:
                self.made[j] = self.shift(whole, -(self.scale**j))
            elif np.all(self.scale == 1.0):
                self.made[j] = self.add(Difference(whole, 0), whole, 0)
            else:
                self.made[j] = self.sum(whole, self.weighted({0: -(self.scale ** (2 * low))}))
        return self.made[j]

    def expand(
        self, coefficients: Vector, levels: int, splits: Splits, plus: int | None = None
    ) -> int | None:
        """Register of sum_j coefficients[j] T_j (+ register `plus`), at most `levels` deep.

        None where the polynomial is a constant: there is no register to add it to.
        """
        pairs: list[tuple[int, int]] = []
        terms: dict[int, Vector] = {}
        rest = trimmed(coefficients)
        constant = np.zeros(coefficients.shape[1])
        while len(rest) > 1:
            k = splits[len(rest) - 1, levels]
            if k == 0 or k == len(rest) - 1:
                # No product: T_j enters with its weight.
                last = len(rest) - 1 if k else 1
                for j in range(last, len(rest)):
                    if np.any(rest[j]):
                        terms[self.basis(j)] = rest[j] / self.scale**j
                rest = trimmed(rest[:last])
                continue
            quotient, rest = divided(rest, k)
            factor = self.expand(quotient / self.scale**k, levels - 1, splits)
            if factor is None:
                terms[self.basis(k)] = quotient[0] / self.scale**k
            else:
                pairs.append((factor, self.basis(k)))
            rest = trimmed(rest)
        constant = constant + rest[0]
        parts = [] if plus is None else [plus]
        if pairs:
            parts.append(self.dot(*pairs))
        if terms:
            parts.append(self.weighted(terms))
        if not parts:
            return None
        result = parts[0]
        for part in parts[1:]:
            result = self.sum(result, part)
        return self.shift(result, constant)

    def monic(
        self, coefficients: Vector, k: int, levels: int, splits: Splits
    ) -> tuple[int, Vector, Vector]:
        """(register of core, post_scale, post_shift) with p = post_scale * core + post_shift.

        The leading coefficient goes into post_scale, so that core = B_k * (B_j + s) + r with
        j + k = degree <= 2 k; s and r are expanded with their coefficients in front.
        """
        quotient, rest = divided(coefficients, k)
        j = len(quotient) - 1
        post_scale = quotient[j] / self.scale ** (j + k)
        quotient = quotient / (post_scale * self.scale**k)
        inner = self.basis(j)
        factor = self.expand(quotient[:j], levels - 1, splits, plus=inner)
        product = self.dot((inner if factor is None else factor, self.basis(k)))
        post_shift = rest[0].copy()
        rest = rest / post_scale
        rest[0] = 0.0
        result = self.expand(rest, levels, splits, plus=product)
        return product if result is None else result, post_scale, post_shift


def divided(coefficients: Vector, k: int) -> tuple[Vector, Vector]:
    """(q, r) with p = q * T_k + r, deg r < k, for p of degree at most 2 k, in Chebyshev form."""
    degree = len(coefficients) - 1
    quotient = 2.0 * coefficients[k:]
    quotient[0] = coefficients[k]
    rest = coefficients[:k].copy()
    for j in range(1, degree - k + 1):
        rest[k - j] -= coefficients[k + j]
    return quotient, rest


def trimmed(coefficients: Vector) -> Vector:
    """Without leading rows of zeros."""
    used = np.flatnonzero(np.any(coefficients != 0.0, axis=1))
    return coefficients[: int(used[-1]) + 1 if len(used) else 1]


def split_table(degree: int, levels: int, basis: frozenset[int]) -> tuple[int, Splits] | None:
    """(products of splits, table) for the cheapest splits over the basis registers `basis`.

    None where the degree cannot be reached in so many levels.
    """
    table: dict[tuple[int, int], int] = {}
    costs: dict[tuple[int, int], int | None] = {}

    def cost(d: int, depth: int) -> int | None:
        if d <= 0:
            return 0
        if depth <= 0:
            return None
        if (d, depth) not in costs:
            costs[d, depth] = None
            usable = {k for k in basis if levels_of_degree(k) <= depth - 1}
            best: tuple[int, int] | None = None
            if all(j in usable for j in range(1, d + 1)):
                best = (0, 0)
            for k in sorted(usable):
                if not k <= d <= 2 * k:
                    continue
                high, low = cost(d - k, depth - 1), cost(k - 1, depth)
                if high is None or low is None:
                    continue
                total = high + low + (1 if d > k else 0)
                if best is None or total < best[0]:
                    best = (total, k)
            if best is not None:
                costs[d, depth], table[d, depth] = best
        return costs[d, depth]

    # Where coefficients are zero a remainder's degree is lower: every degree needs its split.
    for depth in range(1, levels + 1):
        for d in range(1, min(degree, 2**depth - 1) + 1):
            if cost(d, depth) is None:
                return None
    return cost(degree, levels) or 0, table
