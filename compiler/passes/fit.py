"""Fit polynomials to an activation on the inputs that it sees.

Weighted least squares in the Chebyshev basis. The weight is the observed distribution mixed with
the arcsine distribution over the whole interval: accurate where values are, bounded where they
may come to be, and near the minimax polynomial as the degree grows (the arcsine part alone gives
the truncated Chebyshev series).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri

from eer.runtime.errors import InternalError

from ..ir.tensor import Polynomial, Vector

Labels = NDArray[np.int64]

NODES = 129
"""Chebyshev extremes of the interval that distributions and functions are sampled at."""

EDGE_SHARE = 0.05
"""Weight of the arcsine distribution."""

OUTLIERS = 1e-3
"""The interval reaches so far that fewer windows than this have any element outside, if elements
are normal. A value outside is what ruins a polynomial of high degree."""

FINER_GAIN = 0.9
"""Polynomials of finer grain must reduce the held-out error to this share of the coarser one's."""

GRAIN_DEGREE = 4

RMS_GROUPS = 64
MOST_SAMPLES = 1 << 18
"""Values of a tensor that its distribution is taken from; its interval is taken from all."""

CONDITION = 32.0
"""Noise amplification that a leading coefficient at a power of two may cause (see `_raised`)."""

_THETA = np.pi * np.arange(NODES) / (NODES - 1)
_T = np.cos(_THETA)


@dataclass(frozen=True, slots=True, eq=False)
class Samples:
    """Inputs that an activation sees: to fit [rows, n], and held out to judge the fit by."""

    fit: Vector
    held_out: Vector


@dataclass(slots=True, eq=False)
class Fitter:
    """Fits of one activation, all degrees, over elements that are pooled by `labels` [n]."""

    grain: str
    labels: Labels
    center: Vector
    radius: Vector
    weights: Vector
    """[groups, NODES], rows sum to 1."""
    held_out: Vector
    """[groups, NODES]: where held-out inputs fall; those outside count at the ends."""
    targets: Vector
    """[groups, NODES]: the activation at the nodes."""

    def coefficients(self, degree: int, groups: slice = slice(None)) -> Vector:
        """Chebyshev coefficients [degree + 1, groups]."""
        powers = np.cos(np.arange(2 * degree + 1)[:, None] * _THETA)
        weights, targets = self.weights[groups], self.targets[groups]
        moments = weights @ powers.T
        index = np.arange(degree + 1)
        up, down = index[:, None] + index, np.abs(index[:, None] - index)
        gram = (moments[:, up] + moments[:, down]) / 2.0
        right = (weights * targets) @ powers[: degree + 1].T
        solved = np.asarray(np.linalg.solve(gram, right[:, :, None])[:, :, 0], dtype=np.float64)
        if degree > 1 and degree & (degree - 1) == 0:
            solved = _raised(solved, gram, right)
        return np.ascontiguousarray(solved.T)

    def polynomial(self, degree: int, name: str) -> Polynomial:
        return Polynomial(
            self.coefficients(degree)[:, self.labels],
            self.center[self.labels],
            self.radius[self.labels],
            name,
        )

    def rms(self, degree: int) -> float:
        """Root mean square error over held-out inputs, estimated from up to 64 groups."""
        groups = slice(None, None, max(1, len(self.center) // RMS_GROUPS))
        errors = self._errors(degree, groups)
        return float(np.sqrt(np.mean(np.sum(self.held_out[groups] * errors**2, axis=1))))

    def largest(self, degree: int) -> float:
        """Largest error on the intervals."""
        return float(np.abs(self._errors(degree, slice(None))).max())

    def _errors(self, degree: int, groups: slice) -> Vector:
        basis = np.cos(np.arange(degree + 1)[:, None] * _THETA)
        fitted = self.coefficients(degree, groups).T @ basis
        return np.asarray(fitted - self.targets[groups])


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


def make_fitter(
    function: Callable[[Vector], Vector],
    samples: Samples,
    shape: tuple[int, ...],
    margin: float,
    grain: str | None = None,
) -> Fitter:
    """The fitter of the grain that serves held-out inputs best.

    One polynomial for the tensor, one for each index of an axis (a channel), or one for each
    element: all cost the same under encryption. The finer ones win only where they are clearly
    better on inputs that they were not fitted on, so few rows mean coarse grains. With `grain`
    that choice is made already.
    """
    best: Fitter | None = None
    for name, labels in _grains(shape):
        if grain not in (None, name):
            continue
        fitter = _fitter(function, samples, name, labels, margin)
        if fitter is None:
            continue
        if best is None or fitter.rms(GRAIN_DEGREE) < FINER_GAIN * best.rms(GRAIN_DEGREE):
            best = fitter
    if best is None:
        raise InternalError(f"no polynomials of grain {grain} for a tensor of shape {shape}")
    return best


def _grains(shape: tuple[int, ...]) -> list[tuple[str, Labels]]:
    """Ways to pool elements, coarse to fine."""
    size = int(np.prod(shape, dtype=np.int64))
    index = np.arange(size)
    grains = [("tensor", np.zeros(size, dtype=np.int64))]
    axes = [(axis, length) for axis, length in enumerate(shape) if length > 1]
    if len(axes) > 1:
        grid = np.indices(shape).reshape(len(shape), size)
        grains += [(f"axis {axis}", grid[axis]) for axis, _ in (axes[0], axes[-1])]
    if size > 1:
        grains.append(("element", index))
    return grains


def _fitter(
    function: Callable[[Vector], Vector],
    samples: Samples,
    grain: str,
    labels: Labels,
    margin: float,
) -> Fitter | None:
    """None where elements that would be pooled have different functions."""
    low, high = _interval(samples.fit, labels, margin)
    center, radius = (low + high) / 2.0, (high - low) / 2.0
    at_nodes = function(center[labels] + radius[labels] * _T[:, None])
    first = np.unique(labels, return_index=True)[1]
    targets = at_nodes[:, first]
    if len(first) < len(labels) and not np.allclose(at_nodes, targets[:, labels], atol=1e-9):
        return None
    edges = np.ones(NODES)
    edges[[0, -1]] = 0.5
    seen = _histogram(samples.fit, labels, center, radius)
    weights = (1.0 - EDGE_SHARE) * seen + EDGE_SHARE * edges / edges.sum()
    held_out = _histogram(samples.held_out, labels, center, radius)
    return Fitter(grain, labels, center, radius, weights, held_out, targets.T.copy())


def _interval(x: Vector, labels: Labels, margin: float) -> tuple[Vector, Vector]:
    """(low, high) [groups]: what was seen, widened by the margin and to the likely tails."""
    groups = int(labels.max()) + 1
    low, high = np.full(groups, np.inf), np.full(groups, -np.inf)
    np.minimum.at(low, labels, x.min(axis=0))
    np.maximum.at(high, labels, x.max(axis=0))
    members = np.bincount(labels, minlength=groups)
    mean = np.bincount(labels, x.mean(axis=0), groups) / members
    square = np.bincount(labels, np.square(x - mean[labels]).mean(axis=0), groups) / members
    reach = -float(ndtri(OUTLIERS / (2.0 * len(labels))))
    tail = reach * (1.0 + 1.0 / np.sqrt(members * len(x))) * np.sqrt(square)
    slack = margin * (high - low)
    low, high = np.minimum(low - slack, mean - tail), np.maximum(high + slack, mean + tail)
    least = 1e-3 * np.maximum(1.0, np.abs(low + high) / 2.0)
    short = np.maximum(0.0, least - (high - low) / 2.0)
    return low - short, high + short


def _histogram(x: Vector, labels: Labels, center: Vector, radius: Vector) -> Vector:
    """Share of each group's values [groups, NODES] nearest each node."""
    most = max(1, MOST_SAMPLES // x.shape[1])
    x = x[:: -(-len(x) // most)]
    t = np.nan_to_num(np.clip((x - center[labels]) / radius[labels], -1.0, 1.0), nan=1.0)
    nearest = np.rint(np.arccos(t) * ((NODES - 1) / np.pi)).astype(np.int64)
    groups = len(center)
    counts = np.bincount((labels * NODES + nearest).ravel(), minlength=groups * NODES)
    counts = counts.reshape(groups, NODES)
    return np.asarray(counts / counts.sum(axis=1, keepdims=True), dtype=np.float64)
