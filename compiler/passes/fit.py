"""Fit polynomials to an activation on the inputs that it sees.

Weighted least squares in the Chebyshev basis. The weight is the observed distribution mixed with
the arcsine distribution over the whole interval: accurate where values are, bounded where they
may come to be, and near the minimax polynomial as the degree grows (the arcsine part alone gives
the truncated Chebyshev series).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri

from eer.runtime.errors import InternalError

from ..ir.tensor import Polynomial, Vector

Labels = NDArray[np.int64]

HIGHEST_DEGREE = 32

NODES = 129
"""Chebyshev extremes of the likely interval; some more nodes lie in its stretch."""

EDGE_SHARE = 0.02
LOW_EDGE_SHARE = 0.003
LOW_DEGREE = 4
"""Weight of the arcsine distribution, above and up to LOW_DEGREE. A polynomial of low degree stays
bounded of itself, and has no freedom to spare for where no values are."""

OUTLIERS = 1e-4
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

STRETCHES = ((4, 1.0), (8, 1.05), (16, 1.1), (HIGHEST_DEGREE, 1.15))
"""(highest degree, factor by which intervals are stretched for it). Just outside its interval a
polynomial of degree 31 is a thousand times off, one of degree 2 hardly."""

_INNER = np.cos(np.pi * np.arange(NODES) / (NODES - 1))
_OUTER = 1.0 + 0.0125 * np.arange(12, 0, -1)
_T = np.concatenate((_OUTER, _INNER, -_OUTER[::-1]))
"""Nodes, in units of the radius, from the widest stretch's one end to its other."""


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
    seen: Vector
    """[groups, nodes]: share of inputs nearest each node."""
    held_out: Vector
    """[groups, nodes]: the same of held-out inputs; those outside count at the ends."""
    distances: Vector
    """Held-out inputs' distances from the center, in units of the radius, of the far ones."""
    held_count: int
    targets: Vector
    """[groups, nodes]: the activation at the nodes."""

    def coefficients(self, degree: int, groups: slice = slice(None)) -> Vector:
        """Chebyshev coefficients [degree + 1, groups], on the interval stretched for `degree`."""
        nodes, basis, arcsine = _basis(degree)
        edge = EDGE_SHARE if degree > LOW_DEGREE else LOW_EDGE_SHARE
        weights = (1.0 - edge) * self.seen[groups, nodes] + edge * arcsine
        moments = weights @ basis.T
        index = np.arange(degree + 1)
        up, down = index[:, None] + index, np.abs(index[:, None] - index)
        gram = (moments[:, up] + moments[:, down]) / 2.0
        right = (weights * self.targets[groups, nodes]) @ basis[: degree + 1].T
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
        weights = self.held_out[groups, _basis(degree)[0]]
        return float(np.sqrt(np.mean(np.sum(weights * self._errors(degree, groups) ** 2, axis=1))))

    def largest(self, degree: int) -> float:
        """Largest error on the intervals."""
        return float(np.abs(self._errors(degree, slice(None))).max())

    def outside(self, degree: int) -> float:
        """Share of held-out inputs beyond the interval."""
        return float(np.sum(~(self.distances <= stretch(degree)))) / self.held_count

    def _errors(self, degree: int, groups: slice) -> Vector:
        nodes, basis, _ = _basis(degree)
        fitted = self.coefficients(degree, groups).T @ basis[: degree + 1]
        return np.asarray(fitted - self.targets[groups, nodes])


def stretch(degree: int) -> float:
    """How much wider than what is likely the interval of a polynomial of this degree is."""
    return next(factor for highest, factor in STRETCHES if degree <= highest)


@lru_cache(maxsize=64)
def _basis(degree: int) -> tuple[slice, Vector, Vector]:
    """(nodes inside the stretched interval, T_0..T_2d there, arcsine weights that sum to 1)."""
    factor = stretch(degree)
    inside = np.flatnonzero(np.abs(_T) <= factor + 1e-9)
    nodes = slice(int(inside[0]), int(inside[-1]) + 1)
    theta = np.arccos(np.clip(_T[nodes] / factor, -1.0, 1.0))
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
        if best is None:
            best = fitter
        elif fitter.outside(GRAIN_DEGREE) > best.outside(GRAIN_DEGREE):
            continue  # Too few values of each group to know its range.
        elif fitter.rms(GRAIN_DEGREE) < FINER_GAIN * best.rms(GRAIN_DEGREE):
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
    seen = _histogram(samples.fit, labels, center, radius)
    held_out = _histogram(samples.held_out, labels, center, radius)
    distances = np.abs(samples.held_out - center[labels]) / radius[labels]
    return Fitter(
        grain,
        labels,
        center,
        radius,
        seen,
        held_out,
        distances[~(distances <= 1.0)],
        distances.size,
        targets.T.copy(),
    )


def _interval(x: Vector, labels: Labels, margin: float) -> tuple[Vector, Vector]:
    """(low, high) [groups]: what was seen, widened by the margin and to the likely tails."""
    groups = int(labels.max()) + 1
    low, high = np.full(groups, np.inf), np.full(groups, -np.inf)
    np.minimum.at(low, labels, x.min(axis=0))
    np.maximum.at(high, labels, x.max(axis=0))
    members = np.bincount(labels, minlength=groups)
    mean = np.bincount(labels, x.mean(axis=0), groups) / members
    square = np.bincount(labels, np.square(x - mean[labels]).mean(axis=0), groups) / members
    deviation = np.sqrt(square) * (1.0 + 1.0 / np.sqrt(members * len(x)))
    below, above = _tails((x - mean[labels]) / np.maximum(deviation, 1e-300)[labels])
    slack = margin * (high - low)
    low = np.minimum(low - slack, mean - below * deviation)
    high = np.maximum(high + slack, mean + above * deviation)
    least = 1e-3 * np.maximum(1.0, np.abs(low + high) / 2.0)
    short = np.maximum(0.0, least - (high - low) / 2.0)
    return low - short, high + short


def _tails(standard: Vector) -> tuple[float, float]:
    """How many deviations to reach (below, above) so that outliers are rarer than OUTLIERS.

    A normal quantile with the Cornish-Fisher correction for skewness and excess kurtosis, pooled
    over all elements, within half and twice the normal one.
    """
    z = -float(ndtri(OUTLIERS / (2.0 * standard.shape[1])))
    some = standard[:: -(-standard.size // MOST_SAMPLES)]
    square = np.square(some)
    skew, excess = float(np.mean(square * some)), float(np.mean(np.square(square))) - 3.0
    even = z + (z**3 - 3.0 * z) * excess / 24.0 - (2.0 * z**3 - 5.0 * z) * skew**2 / 36.0
    odd = (z**2 - 1.0) * skew / 6.0
    below, above = np.clip((even - odd, even + odd), z / 2.0, 2.0 * z)
    return float(below), float(above)


def _histogram(x: Vector, labels: Labels, center: Vector, radius: Vector) -> Vector:
    """Share of each group's values [groups, NODES] nearest each node."""
    most = max(1, MOST_SAMPLES // x.shape[1])
    x = x[:: -(-len(x) // most)]
    t = np.nan_to_num(np.clip((x - center[labels]) / radius[labels], -1.0, 1.0), nan=1.0)
    nearest = np.rint(np.arccos(t) * ((NODES - 1) / np.pi)).astype(np.int64)
    groups = len(center)
    counts = np.bincount((labels * NODES + nearest).ravel(), minlength=groups * NODES)
    shares = counts.reshape(groups, NODES) / counts.reshape(groups, NODES).sum(axis=1)[:, None]
    return np.pad(shares, ((0, 0), (len(_OUTER), len(_OUTER))))
