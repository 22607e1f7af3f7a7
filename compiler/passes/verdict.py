"""How well a graph with polynomials agrees with the exact one, against the user's tolerance."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import ndtr

from ..ir.tensor import Output, Vector

CLASS_POSTS = ("softmax", "log_softmax", "argmax")

RAW_SLACK = 10.0
"""Raw scores may err by so many tolerances of their standard deviation, labels permitting."""

CLOSE = 1e-4
"""How closely the logarithm of an admissible deviation is found."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """Approximate against exact outputs: classes, and others.

    agreement       share of labels that are the same (1 where no output is a class)
    expected_flips  share of labels that would change, on average, under errors of this size that
                    fall on any window: steadier than counting few flips
    error           largest error relative to the range of the exact outputs
    strain          size of the errors relative to the largest admissible; infinite where outputs
                    are not finite
    within_flips    whether the counted flips are within the tolerance
    """

    agreement: float
    expected_flips: float
    error: float
    strain: float
    within_flips: bool

    @property
    def accepted(self) -> bool:
        return self.within_flips and self.strain <= 1.0


def judge(
    outputs: Sequence[Output],
    exact: Mapping[str, Vector],
    approximate: Mapping[str, Vector],
    tolerance: float,
    population: Mapping[str, Vector] | None = None,
) -> Verdict:
    """Judge approximate outputs [windows, size] by name.

    An output with a class decision (softmax, argmax, a sign for a sigmoid, or one axis of raw
    scores) may flip a share of `tolerance` of its labels, counted and expected; raw scores must
    also keep within RAW_SLACK tolerances of their standard deviation (root mean square). Any
    other output may err by `tolerance` of its range, the next value of a state by `tolerance` of
    how far a step moves it. With `population`, exact outputs of more windows, flips are those to be
    expected there under errors of this size: few windows say little about close decisions.
    """
    agreement, flips, error, strain, within = 1.0, 0.0, 0.0, 0.0, True
    tight = max(tolerance, 1e-9)
    for output in outputs:
        y, z = exact[output.name], approximate[output.name]
        y, z = np.broadcast_arrays(y, z)
        if not np.all(np.isfinite(z)):
            return Verdict(0.0, 1.0, np.inf, np.inf, False)
        span = output.span or float(np.ptp(y))
        worst = float(np.abs(z - y).max()) / max(span, 1e-12)
        error = max(error, worst)
        margins, moved = _margins(output, y, y), _margins(output, y, z)
        if margins is None or moved is None:
            strain = max(strain, worst / tight)
            continue
        sigma = rms(moved - margins)
        share = float(np.mean(moved < 0.0))
        if population is not None:
            others = _margins(output, population[output.name], population[output.name])
            margins = margins if others is None else others
        # Fewer flips than a quarter of one window cannot be told from none.
        limit = max(tolerance, 0.25 / len(margins))
        agreement = min(agreement, 1.0 - share)
        within = within and (share <= limit or population is not None)
        flips = max(flips, _expected_flips(margins, sigma))
        strain = max(strain, sigma / _admissible(margins, limit))
        if output.post == "none":
            error_share = rms(z - y) / max(float(y.std()), 1e-12)
            strain = max(strain, error_share / (RAW_SLACK * tight))
    return Verdict(agreement, flips, error, strain, within)


def spread(y: Vector) -> float:
    """Deviation from the mean over windows; of all values, or their size, where there is none."""
    return rms(y - y.mean(axis=0)) or float(y.std()) or float(np.abs(y).max())


def rms(values: Vector) -> float:
    """The root of the mean square."""
    return float(np.sqrt(np.mean(np.square(values))))


def _margins(output: Output, y: Vector, z: Vector) -> Vector | None:
    """By how much z's score of y's label beats z's best other score; None where not classes."""
    if output.state:
        return None
    if output.post == "sigmoid":
        return np.asarray(np.where(y > 0.0, z, -z).ravel())
    several = [length for length in output.shape if length > 1]
    if output.post == "none" and len(several) != 1:
        return None
    if output.post not in (*CLASS_POSTS, "none"):
        return None
    axis = output.axis if output.axis < 0 else output.axis - len(output.shape)
    if output.post == "none":
        axis = output.shape.index(several[0]) - len(output.shape)
    y = np.moveaxis(y.reshape(len(y), *output.shape), axis, -1)
    z = np.moveaxis(z.reshape(len(z), *output.shape), axis, -1)
    classes = y.shape[-1]
    if classes < 2:
        return None
    y, z = y.reshape(-1, classes), z.reshape(-1, classes)
    rows, label = np.arange(len(y)), np.argmax(y, axis=1)
    others = z.copy()
    others[rows, label] = -np.inf
    return np.asarray(z[rows, label] - others.max(axis=1))


def _expected_flips(margins: Vector, sigma: float) -> float:
    """Mean chance that a normal error of this deviation turns a margin negative."""
    return float(np.mean(ndtr(-margins / max(sigma, 1e-300))))


def _admissible(margins: Vector, limit: float) -> float:
    """The largest deviation of errors in the margin with expected flips within the limit, of those
    that are neither much smaller nor much larger than all margins: by bisection of its logarithm.
    """
    largest = max(float(np.abs(margins).max()), 1e-12)
    low, high = -25.0, 5.0
    while high - low > CLOSE:
        middle = (low + high) / 2
        if _expected_flips(margins, largest * float(np.exp(middle))) <= limit:
            low = middle
        else:
            high = middle
    return largest * float(np.exp((low + high) / 2))
