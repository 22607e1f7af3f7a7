"""Octics: a polynomial of degree 8 takes three products, one of degree 16 that is even four.

With x moved so that its seventh power goes away, x^8 + ... is Q^2 - N^2 + R with

    Q = (x^2 + r)^2 - r^2 + q x + p,   N = n x^2 + m x,   R = c x^2 + d x + constant:

x^2, its shifted square, and (Q + N) (Q - N). r, q, p and m answer for the powers from six to three,
for any n; R has what is left. Nothing but x^2 and x is multiplied by plaintexts. Smooth versions of
ReLU are even but for a linear term: with x = t^2, degree 16 takes one product more, and R has the
linear term.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..ir.poly_plan import Difference, Dot, Shift, Step, Sum, Weighted
from ..ir.tensor import Vector
from .square_chains import ODD, moved


@dataclass(frozen=True, slots=True, eq=False)
class Octic:
    """lead * (x^8 + sum of monic[k] * x^k + linear * t), with x = t or, if `even`, x = t^2.

    `monic` is [8, n], the rest [n].
    """

    even: bool
    lead: Vector
    monic: Vector
    linear: Vector

    @property
    def degree(self) -> int:
        return 16 if self.even else 8

    def steps(self, scale: Vector, share: float) -> tuple[tuple[Step, ...], Vector]:
        """From u = scale * t to scale^degree * (the polynomial in brackets less a constant), and
        that constant.

        `share` is what n is of the size that makes n and m alike: any gives the same polynomial,
        with registers of other sizes.
        """
        unit = scale**2 if self.even else scale
        powers = np.vstack([self.monic, np.ones_like(self.lead)])
        scaled = powers * unit ** np.arange(8, -1, -1)[:, None]
        start = scaled[7] / 8
        e = moved(scaled, -start)
        r, q = e[6] / 4, e[5] / 2
        both = (4 * r * q - e[3]) / 2
        n = share * np.sqrt(np.abs(both))
        m = np.divide(both, n, out=np.zeros_like(n), where=n > 0)
        p = (e[4] - 4 * r**2 + n**2) / 2
        c = e[2] - (q**2 + 4 * r * p - m**2)
        d = e[1] - 2 * q * p
        linear = self.linear * scale ** (self.degree - 1)
        made = _Steps([])
        x = made.add(Dot(((0, 0),))) if self.even else 0
        x = made.add(Shift(x, start))
        square = made.add(Dot(((x, x),)))
        inner = made.add(Shift(square, r))
        quartic = made.add(Dot(((inner, inner),)))
        if np.any(q):
            quartic = made.add(Sum(quartic, made.weighted({x: q})))
        quartic = made.add(Shift(quartic, p - r**2))
        if np.any(n):
            other = made.weighted({square: n, x: m})
            factors = made.add(Sum(quartic, other)), made.add(Difference(quartic, other))
            result = made.add(Dot((factors,)))
        else:
            result = made.add(Dot(((quartic, quartic),)))
        rest = {square: c, x: d} | ({0: linear} if self.even else {})
        if any(np.any(coefficients) for coefficients in rest.values()):
            made.add(Sum(result, made.weighted(rest)))
        return tuple(made.steps), (e[0] - p**2) / unit**8


def octic(powers: Vector) -> Octic | None:
    """The polynomials with coefficients [degree + 1, n] of powers; None where they are none."""
    lead = powers[-1]
    if not np.all(np.abs(lead) > 0):
        return None
    monic, zero = powers[:-1] / lead, np.zeros_like(lead)
    match len(powers) - 1:
        case 8:
            return Octic(False, lead, monic, zero)
        case 16:
            size = 1 + np.abs(monic).sum(axis=0)
            odd = np.any(np.abs(monic[3::2]) > ODD * size)
            return None if odd else Octic(True, lead, monic[::2], monic[1])
        case _:
            return None


@dataclass(slots=True)
class _Steps:
    """Steps under construction; each method gives the register that the last one makes."""

    steps: list[Step]

    def add(self, step: Step) -> int:
        self.steps.append(step)
        return len(self.steps)

    def weighted(self, terms: dict[int, Vector]) -> int:
        kept = {register: c for register, c in terms.items() if np.any(c)}
        return self.add(Weighted(tuple(kept), np.stack(list(kept.values()))))
