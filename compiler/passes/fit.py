"""Fit polynomials to an activation on the inputs that it sees.

Weighted least squares in the Chebyshev basis. The weight is the observed distribution mixed with
the arcsine distribution over the whole interval: accurate where values are, bounded where they
may come to be, and near the minimax polynomial as the degree grows (the arcsine part alone gives
the truncated Chebyshev series).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from ..ir.tensor import Polynomial, Vector

Labels = NDArray[np.int64]

HIGHEST_DEGREE = 32

EDGE_SHARE = 0.01
LOW_EDGE_SHARE = 0.002
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

    def coefficients(self, degree: int, groups: slice = slice(None)) -> Vector:
        """Chebyshev coefficients [degree + 1, groups], on the interval stretched for `degree`."""
        nodes, basis, arcsine = _basis(degree)
        edge = EDGE_SHARE if degree > LOW_DEGREE else LOW_EDGE_SHARE
        moments, right = _moments(self.seen, groups, degree)
        moments = (1.0 - edge) * moments + edge * (basis @ arcsine)
        right = (1.0 - edge) * right
        right += edge * ((self.at_nodes[groups, nodes] * arcsine) @ basis[: degree + 1].T)
        index = np.arange(degree + 1)
        up, down = index[:, None] + index, np.abs(index[:, None] - index)
        gram = (moments[:, up] + moments[:, down]) / 2.0
        solved = np.asarray(np.linalg.solve(gram, right[:, :, None])[:, :, 0], dtype=np.float64)
        if degree > 1 and degree & (degree - 1) == 0:
            solved = _raised(solved, gram, right)
        return np.ascontiguousarray(solved.T)

    def polynomial(self, degree: int, name: str) -> Polynomial:
        return Polynomial(
            self.coefficients(degree)[:, self.labels],
            self.center[self.labels],
            stretch(degree) * self.radius[self.labels],
            name,
        )

    def rms(self, degree: int) -> float:
        """Root mean square error over held-out inputs, estimated from up to 64 groups."""
        groups = slice(None, None, max(1, len(self.center) // RMS_GROUPS))
        coefficients = self.coefficients(degree, groups)
        total = np.zeros_like(self.held_out.t[groups])
        for k, power in enumerate(_chebyshev(self.held_out.t[groups] / stretch(degree), degree)):
            total += coefficients[k][:, None] * power
        return float(np.sqrt(np.mean(np.square(total - self.held_out.values[groups]))))

    def largest(self, degree: int) -> float:
        """Largest error on the intervals."""
        nodes, basis, _ = _basis(degree)
        fitted = self.coefficients(degree).T @ basis[: degree + 1]
        return float(np.abs(fitted - self.at_nodes[:, nodes]).max())

    def outside(self, degree: int) -> float:
        """Share of held-out inputs beyond the interval."""
        return float(np.sum(~(self.distances <= stretch(degree)))) / self.held_count


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


def _raised(solved: Vector, gram: Vector, right: Vector) -> Vector:
    """Keep leading coefficients large enough to divide by.

    A degree of d = 2^m in m levels computes p / c_d, which amplifies noise by about
    U / sqrt(c_d * sum |c|), U = sum of |c_j| for d/2 <= j < d. Where that is above CONDITION, c_d
    is fixed at the smallest admissible size and the others are fitted anew.
    """
    degree = solved.shape[1] - 1
    size = np.abs(solved[:, 1:]).sum(axis=1)
    upper = np.abs(solved[:, degree // 2 : degree]).sum(axis=1)
    least = upper**2 / (CONDITION**2 * np.where(size > 0.0, size, 1.0))
    low = np.flatnonzero(np.abs(solved[:, degree]) < least)
    if not len(low):
        return solved
    lead = np.where(solved[low, degree] < 0.0, -least[low], least[low])
    reduced = right[low, :degree] - lead[:, None] * gram[low, :degree, degree]
    result = solved.copy()
    result[low, :degree] = np.linalg.solve(gram[low, :degree, :degree], reduced[:, :, None])[
        :, :, 0
    ]
    result[low, degree] = lead
    return result
