"""Fit polynomials to an activation on the inputs that it sees.

Weighted least squares in the Chebyshev basis. The weight is the observed distribution mixed with
the arcsine distribution over the whole interval: accurate where values are, bounded where they
may come to be, and near the minimax polynomial as the degree grows (the arcsine part alone gives
the truncated Chebyshev series).
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from ..ir.tensor import Polynomial, Vector

Labels = NDArray[np.int64]

HIGHEST_DEGREE = 32

EDGE_SHARE = 0.005
LOW_EDGE_SHARE = 0.0005
LOW_DEGREE = 4
"""Weight of the arcsine distribution, above and up to LOW_DEGREE. A polynomial of low degree stays
bounded of itself, and has no freedom to spare for where no values are."""

STRETCHES = ((4, 1.0), (8, 1.05), (16, 1.1), (HIGHEST_DEGREE, 1.15))
"""(highest degree, factor by which intervals are stretched for it). Just outside its interval a
polynomial of degree 31 is a thousand times off, one of degree 2 hardly."""

CONDITION = 32.0
"""Noise amplification that a leading coefficient at a power of two may cause (see `_raised`)."""

RMS_GROUPS = 64

_INNER = np.cos(np.pi * np.arange(129) / 128)
_OUTER = 1.0 + 0.0125 * np.arange(12, 0, -1)
NODES = np.concatenate((_OUTER, _INNER, -_OUTER[::-1]))
"""Where activations are sampled over their interval, in units of the radius, with its stretch."""


class Parity(Enum):
    """Symmetry of an activation f about 0, which leaves half of the terms out."""

    NONE = "none"
    EVEN = "linear and even"
    """f(x) - f(-x) is a multiple of x: ReLU, SiLU, GELU."""
    ODD = "constant and odd"
    """f(x) + f(-x) is constant: tanh, sigmoid."""

    def terms(self, degree: int) -> NDArray[np.int64]:
        """Numbers of the Chebyshev polynomials up to `degree` that are needed."""
        match self:
            case Parity.NONE:
                return np.arange(degree + 1)
            case Parity.EVEN:
                return np.array([k for k in range(degree + 1) if k % 2 == 0 or k == 1])
            case Parity.ODD:
                return np.array([k for k in range(degree + 1) if k % 2 == 1 or k == 0])


@dataclass(frozen=True, slots=True, eq=False)
class Points:
    """Typical inputs of each group, t [groups, points] in units of the radius, and the activation
    there. All points of a group weigh the same."""

    t: Vector
    values: Vector


@dataclass(frozen=True, slots=True, eq=False)
class Fitter:
    """Fits of one activation, all degrees, over elements that are pooled by `labels` [n].

    `seen` and `held_out` are inputs that are fitted on, and inputs that are not; `at_nodes`
    [groups, nodes] is the activation at NODES. `distances` has held-out inputs' distances from
    the center, in units of the radius, where they are above 1; `held_count` counts them all.
    `symmetric` takes over above LOW_DEGREE where it is set: its intervals are symmetric about 0,
    so that its `parity` leaves terms out, and products with them.
    """

    grain: str
    labels: Labels
    center: Vector
    radius: Vector
    seen: Points
    held_out: Points
    at_nodes: Vector
    distances: Vector
    held_count: int
    parity: Parity = Parity.NONE
    symmetric: Fitter | None = None

    def of(self, degree: int) -> Fitter:
        """The fitter that makes the polynomials of this degree."""
        if self.symmetric is None or self.symmetric.parity.terms(degree)[-1] <= LOW_DEGREE:
            return self
        return self.symmetric

    def coefficients(self, degree: int, groups: slice = slice(None)) -> Vector:
        """Chebyshev coefficients [degree + 1, groups], on the interval stretched for `degree`."""
        nodes, basis, arcsine = _basis(degree)
        edge = EDGE_SHARE if degree > LOW_DEGREE else LOW_EDGE_SHARE
        moments, right = _moments(self.seen, groups, degree)
        moments = (1.0 - edge) * moments + edge * (basis @ arcsine)
        right = (1.0 - edge) * right
        right += edge * ((self.at_nodes[groups, nodes] * arcsine) @ basis[: degree + 1].T)
        terms = self.parity.terms(degree)
        up, down = terms[:, None] + terms, np.abs(terms[:, None] - terms)
        gram = (moments[:, up] + moments[:, down]) / 2.0
        solved = np.asarray(np.linalg.solve(gram, right[:, terms, None])[:, :, 0], np.float64)
        if degree > 1 and degree & (degree - 1) == 0 and terms[-1] == degree:
            solved = _raised(solved, terms, gram, right[:, terms])
        result = np.zeros((int(terms[-1]) + 1, len(solved)))
        result[terms] = solved.T
        return result

    def polynomial(self, degree: int, name: str) -> Polynomial:
        """The polynomials, one for each element; their degree may be less by parity."""
        fitter = self.of(degree)
        return Polynomial(
            fitter.coefficients(degree)[:, fitter.labels],
            fitter.center[fitter.labels],
            stretch(degree) * fitter.radius[fitter.labels],
            name,
        )

    def rms(self, degree: int) -> float:
        """Root mean square error over held-out inputs, estimated from up to 64 groups."""
        fitter = self.of(degree)
        groups = slice(None, None, max(1, len(fitter.center) // RMS_GROUPS))
        t, values = fitter.held_out.t[groups], fitter.held_out.values[groups]
        total = np.zeros_like(t)
        powers = _chebyshev(t / stretch(degree), degree)
        for c, power in zip(fitter.coefficients(degree, groups), powers, strict=False):
            total += c[:, None] * power
        return float(np.sqrt(np.mean(np.square(total - values))))

    def largest(self, degree: int) -> float:
        """Largest error on the intervals."""
        fitter = self.of(degree)
        nodes, basis, _ = _basis(degree)
        coefficients = fitter.coefficients(degree)
        fitted = coefficients.T @ basis[: len(coefficients)]
        return float(np.abs(fitted - fitter.at_nodes[:, nodes]).max())

    def outside(self, degree: int) -> float:
        """Share of held-out inputs beyond the interval."""
        fitter = self.of(degree)
        return float(np.sum(~(fitter.distances <= stretch(degree)))) / fitter.held_count


def stretch(degree: int) -> float:
    """How much wider than what is likely the interval of a polynomial of this degree is."""
    return next(factor for highest, factor in STRETCHES if degree <= highest)


def _chebyshev(t: Vector, degree: int) -> list[Vector]:
    """T_0(t) .. T_degree(t)."""
    powers = [np.ones_like(t), t]
    for _ in range(degree - 1):
        powers.append(2.0 * t * powers[-1] - powers[-2])
    return powers[: degree + 1]


def _moments(points: Points, groups: slice, degree: int) -> tuple[Vector, Vector]:
    """Means of T_k over each group's points, k up to 2 degree, and of values * T_k up to degree."""
    t, values = points.t[groups] / stretch(degree), points.values[groups]
    moments = np.empty((len(t), 2 * degree + 1))
    right = np.empty((len(t), degree + 1))
    before, power = t, np.ones_like(t)
    for k in range(2 * degree + 1):
        moments[:, k] = power.mean(axis=1)
        if k <= degree:
            right[:, k] = np.mean(values * power, axis=1)
        before, power = power, 2.0 * t * power - before
    return moments, right


@lru_cache(maxsize=64)
def _basis(degree: int) -> tuple[slice, Vector, Vector]:
    """(nodes inside the stretched interval, T_0..T_2d there, arcsine weights that sum to 1)."""
    factor = stretch(degree)
    inside = np.flatnonzero(np.abs(NODES) <= factor + 1e-9)
    nodes = slice(int(inside[0]), int(inside[-1]) + 1)
    theta = np.arccos(np.clip(NODES[nodes] / factor, -1.0, 1.0))
    basis = np.cos(np.arange(2 * degree + 1)[:, None] * theta)
    gaps = np.diff(theta)
    arcsine = (np.append(gaps, 0.0) + np.insert(gaps, 0, 0.0)) / (2.0 * np.pi)
    return nodes, basis, arcsine


def _raised(solved: Vector, terms: NDArray[np.int64], gram: Vector, right: Vector) -> Vector:
    """Keep leading coefficients large enough to divide by.

    A degree of d = 2^m in m levels computes p / c_d, which amplifies noise by about
    U / sqrt(c_d * sum |c|), U = sum of |c_j| for d/2 <= j < d. Where that is above CONDITION, c_d
    is fixed at the smallest admissible size and the others are fitted anew.
    """
    size = np.abs(solved[:, terms > 0]).sum(axis=1)
    upper = np.abs(solved[:, (terms >= terms[-1] // 2) & (terms < terms[-1])]).sum(axis=1)
    least = upper**2 / (CONDITION**2 * np.where(size > 0.0, size, 1.0))
    low = np.flatnonzero(np.abs(solved[:, -1]) < least)
    if not len(low):
        return solved
    lead = np.where(solved[low, -1] < 0.0, -least[low], least[low])
    reduced = right[low, :-1] - lead[:, None] * gram[low, :-1, -1]
    result = solved.copy()
    result[low, :-1] = np.linalg.solve(gram[low, :-1, :-1], reduced[:, :, None])[:, :, 0]
    result[low, -1] = lead
    return result
