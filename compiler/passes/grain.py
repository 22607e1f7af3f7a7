"""Which elements of a tensor share a polynomial, and on which interval."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from scipy.special import ndtri

from eer.runtime.errors import InternalError

from ..ir.tensor import Vector
from .fit import NODES, Fitter, Labels, Parity, Points

OUTLIERS = 1e-3
"""The interval reaches so far that fewer windows than this have any element outside, if elements
are normal. A value outside is what ruins a polynomial of high degree."""

FINER_GAIN = 0.7
"""Polynomials of finer grain must reduce the held-out error to this share of the coarser one's:
those that elements share leave equal weights of the neighbouring maps equal, which saves products
there."""

MUCH_FINER_GAIN = 0.5
"""The same where more held-out values are outside their intervals."""

GRAIN_DEGREE = 4

PARITY_DEGREES = {Parity.EVEN: 8, Parity.ODD: 7}
PARITY_LOSS = 1.15
"""What a symmetric interval may cost in error at that degree: it saves a third of the products."""

WILDEST = 8.0
"""How much larger than where it was seen a function may be on its interval."""

DRAWN_BACK = 12
"""Times that an interval's margin may be halved to keep a function tame."""

MOST_SAMPLES = 1 << 17
"""Values of a tensor that its distribution is taken from; its interval is taken from all."""

MOST_POINTS = 1024


@dataclass(frozen=True, slots=True, eq=False)
class Samples:
    """Inputs that an activation sees: to fit [rows, n], and held out to judge the fit by."""

    fit: Vector
    held_out: Vector


def make_fitter(
    function: Callable[[Vector], Vector],
    samples: Samples,
    shape: tuple[int, ...],
    margin: float,
    grain: str | None = None,
) -> Fitter:
    """The fitter of the grain that serves held-out inputs best.

    One polynomial for the tensor, one for each index of an axis (a channel), or one for each
    element: their evaluation costs the same. The finer ones win only where they are clearly
    better on inputs that they were not fitted on, so few rows mean coarse grains. With `grain`
    that choice is made already.
    """
    best: Fitter | None = None
    largest = _largest(function(samples.fit))
    for name, labels in _grains(shape):
        if grain not in (None, name):
            continue
        fitter = _fitter(function, samples, largest, name, labels, margin)
        if fitter is None:
            continue
        if best is None:
            best = fitter
            continue
        # More values outside: too few of each group to know its range.
        escapes = fitter.outside(GRAIN_DEGREE) > best.outside(GRAIN_DEGREE)
        gain = MUCH_FINER_GAIN if escapes else FINER_GAIN
        if fitter.rms(GRAIN_DEGREE) < gain * best.rms(GRAIN_DEGREE):
            best = fitter
    if best is None:
        raise InternalError(f"no polynomials of grain {grain} for a tensor of shape {shape}")
    return _with_symmetry(best, function, samples, largest, margin)


def _grains(shape: tuple[int, ...]) -> list[tuple[str, Labels]]:
    """Ways to pool elements into groups of equal size, coarse to fine."""
    size = int(np.prod(shape, dtype=np.int64))
    grains = [("tensor", np.zeros(size, dtype=np.int64))]
    axes = [axis for axis, length in enumerate(shape) if length > 1]
    if len(axes) > 1:
        grid = np.indices(shape).reshape(len(shape), size)
        grains += [(f"axis {axis}", grid[axis]) for axis in (axes[0], axes[-1])]
    if size > 1:
        grains.append(("element", np.arange(size)))
    return grains


def _with_symmetry(
    fitter: Fitter,
    function: Callable[[Vector], Vector],
    samples: Samples,
    largest: float,
    margin: float,
) -> Fitter:
    """Use the activation's parity where the wider, symmetric intervals cost little accuracy."""
    parity = _parity(fitter, function)
    if parity is Parity.NONE:
        return fitter
    degree = PARITY_DEGREES[parity]
    symmetric = _fitter(function, samples, largest, fitter.grain, fitter.labels, margin, parity)
    if symmetric is None or symmetric.rms(degree) > PARITY_LOSS * fitter.rms(degree):
        return fitter
    return replace(fitter, symmetric=symmetric)


def _parity(fitter: Fitter, function: Callable[[Vector], Vector]) -> Parity:
    reach = (np.abs(fitter.center) + fitter.radius)[fitter.labels]
    x = reach * np.linspace(0.0, 1.0, 33)[1:, None]
    above, below = function(x), function(-x)
    size = np.abs(above).max() + np.abs(below).max() + 1e-300
    slope, middle = (above - below) / x, above + below
    if np.ptp(slope * reach, axis=0).max() <= 1e-9 * size:
        return Parity.EVEN
    if np.ptp(middle, axis=0).max() <= 1e-9 * size:
        return Parity.ODD
    return Parity.NONE


def _fitter(
    function: Callable[[Vector], Vector],
    samples: Samples,
    largest: float,
    grain: str,
    labels: Labels,
    margin: float,
    parity: Parity = Parity.NONE,
) -> Fitter | None:
    """None where elements that would be pooled have different functions. `largest` is the size of
    the largest value on the samples to fit."""
    low, high = _interval(samples.fit, labels, margin)
    if parity is not Parity.NONE:
        high = np.maximum(np.abs(low), np.abs(high))
        low = -high
    low, high = _tamed(function, largest, samples.fit, labels, low, high)
    center, radius = (low + high) / 2.0, (high - low) / 2.0
    with np.errstate(all="ignore"):
        at_nodes = function(center[labels] + radius[labels] * NODES[:, None])
    inside = np.clip(samples.fit, low[labels], high[labels])
    if not np.array_equal(inside, samples.fit):
        largest = _largest(function(inside))
    at_nodes = _continued(at_nodes, largest)
    first = np.unique(labels, return_index=True)[1]
    targets = at_nodes[:, first]
    if len(first) < len(labels) and not np.allclose(at_nodes, targets[:, labels], atol=1e-9):
        return None
    distances = np.abs(samples.held_out - center[labels]) / radius[labels]
    return Fitter(
        grain=grain,
        labels=labels,
        center=center,
        radius=radius,
        seen=_points(function, samples.fit, labels, center, radius),
        held_out=_points(function, samples.held_out, labels, center, radius),
        at_nodes=targets.T.copy(),
        distances=distances[~(distances <= 1.0)],
        held_count=distances.size,
        parity=parity,
    )


def _tamed(
    function: Callable[[Vector], Vector],
    largest: float,
    x: Vector,
    labels: Labels,
    low: Vector,
    high: Vector,
) -> tuple[Vector, Vector]:
    """The interval drawn back towards what was seen until the function is tame on it.

    A reciprocal grows beyond all bounds where the margin reaches towards zero.
    """
    least, most = np.full(len(low), np.inf), np.full(len(low), -np.inf)
    np.minimum.at(least, labels, x.min(axis=0))
    np.maximum.at(most, labels, x.max(axis=0))
    limit = WILDEST * largest
    for _ in range(DRAWN_BACK):
        span = np.stack([low, high])[:, labels]
        with np.errstate(all="ignore"):
            ends = np.abs(function(span[0] + (span[1] - span[0]) * np.linspace(0, 1, 65)[:, None]))
        if (ends <= limit).all():
            break
        low, high = (low + least) / 2.0, (high + most) / 2.0
    return low, high


def _largest(values: Vector) -> float:
    return max(float(np.abs(values).max()), 1e-300)


def _continued(values: Vector, largest: float) -> Vector:
    """The values [nodes, n], those that are wild replaced by the nearest that is not, inwards."""
    tame = np.abs(values) <= WILDEST * largest
    if tame.all():
        return values
    nodes = np.arange(len(values))[:, None]
    middle = len(values) // 2
    inwards = np.where(nodes < middle, nodes, -1)
    nearest = np.where(tame, nodes, np.where(inwards >= 0, len(values), -1))
    first = np.minimum.accumulate(nearest[::-1], axis=0)[::-1]
    last = np.maximum.accumulate(np.where(tame, nodes, -1), axis=0)
    chosen = np.where(tame, nodes, np.where(nodes < middle, first, last))
    return np.take_along_axis(values, np.clip(chosen, 0, len(values) - 1), axis=0)


def _points(
    function: Callable[[Vector], Vector], x: Vector, labels: Labels, center: Vector, radius: Vector
) -> Points:
    """Up to MOST_POINTS typical inputs of each group: medians of equally many neighbours.

    Values outside count at the ends.
    """
    most = max(1, MOST_SAMPLES // x.shape[1])
    x = x[:: -(-len(x) // most)]
    t = np.nan_to_num(np.clip((x - center[labels]) / radius[labels], -1.0, 1.0), nan=1.0)
    values = function(center[labels] + radius[labels] * t)
    groups = len(center)
    order = np.argsort(labels, kind="stable")
    t, values = (a[:, order].reshape(len(x), groups, -1) for a in (t, values))
    t, values = (a.transpose(1, 0, 2).reshape(groups, -1) for a in (t, values))
    block = -(-t.shape[1] // MOST_POINTS)
    if block > 1:
        rank = np.argsort(t, axis=1)[:, block // 2 :: block]
        t, values = (np.take_along_axis(a, rank, axis=1) for a in (t, values))
    return Points(t, values)


def _interval(x: Vector, labels: Labels, margin: float) -> tuple[Vector, Vector]:
    """(low, high) [groups]: what was seen, widened by the margin and to the likely tails."""
    groups = int(labels.max()) + 1
    low, high = np.full(groups, np.inf), np.full(groups, -np.inf)
    np.minimum.at(low, labels, x.min(axis=0))
    np.maximum.at(high, labels, x.max(axis=0))
    members = np.bincount(labels, minlength=groups)
    mean = np.bincount(labels, x.mean(axis=0), groups) / members
    square = np.bincount(labels, np.square(x - mean[labels]).mean(axis=0), groups) / members
    deviation = np.sqrt(square)
    below, above = _tails((x - mean[labels]) / np.maximum(deviation, 1e-300)[labels])
    deviation = deviation * (1.0 + 1.0 / np.sqrt(members * len(x)))
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
