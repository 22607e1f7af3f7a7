"""Bringing every subject's values to one scale; all of it happens at the client, before encryption.

`by_subject` uses the subject's own windows, without their labels: sound for a client who has
worn the device for a while, and to be stated with every figure that rests on it. `by_training`
uses the training subjects only, so it can answer from the first window on.
"""

from __future__ import annotations

import numpy as np

from .windows import Mask, Signal, Windows

LIMIT = 4.0
"""Values end at this many standard deviations: a bound that the encrypted model can rely on."""


FLOOR = 0.05
"""Share of a feature's median below which differences of a logarithm no longer count."""


def by_subject(windows: Windows, training: Mask) -> Windows:
    """Each subject's values standardised by that subject's own mean and deviation.

    `training` only tells which features are never negative.
    """
    positive = _positive(windows, training)
    values = windows.values.copy()
    for subject in windows.subjects:
        own = windows.subject == subject
        values[own] = _scaled(values[own], values[own], positive)
    return windows.with_values(values)


def by_training(windows: Windows, training: Mask) -> Windows:
    """All values standardised by the mean and deviation of the training windows."""
    positive = _positive(windows, training)
    return windows.with_values(_scaled(windows.values, windows.values[training], positive))


def prepared(windows: Windows, normalisation: str, training: Mask) -> Windows:
    """The windows on one scale: by "subject", or by "training" subjects.

    A subject's own statistics come from all of the subject's windows, those that no class is
    asked about included; the training subjects' from the windows of `training` alone.
    """
    ready = {"subject": by_subject, "training": by_training}[normalisation](windows, training)
    if ready.values.ndim > 2:
        return ready
    # Of a feature that never changed in training the network knows nothing.
    known = ready.values[training].std(axis=0) > 0
    return ready.with_values(np.where(known, ready.values, 0.0))


def with_bounds(values: Signal) -> Signal:
    """Normalised training windows [w, features], and more in which one feature is at its bound.

    For calibration: what a subject who is not there yet will send lies within `LIMIT` by
    construction, but may well lie outside what the training subjects happened to show. Each
    feature reaches both bounds, in a window that otherwise is one of `values`. Raw windows are
    returned as they are.
    """
    if values.ndim > 2:
        return values
    features = values.shape[1]
    rows = np.linspace(0, len(values) - 1, 2 * features).astype(int)
    more = values[rows].copy()
    places = np.arange(features)
    more[places, places] = -LIMIT
    more[features + places, places] = LIMIT
    return np.concatenate((values, more))


def _positive(windows: Windows, training: Mask) -> Mask:
    """Features that are never negative: sizes, counts, powers, most of them with a long tail.

    Channels of raw windows are left as they are.
    """
    if windows.values.ndim > 2:
        return np.zeros(len(windows.names), dtype=bool)
    return np.asarray((windows.values[training] >= 0).all(axis=0))


def _scaled(values: Signal, reference: Signal, positive: Mask) -> Signal:
    """Logarithms of the positive features, then standardised; constants from `reference`."""
    if positive.any():
        middle = np.median(reference[:, positive], axis=0)
        values, reference = (
            _logarithm(values, positive, middle),
            _logarithm(reference, positive, middle),
        )
    return _standardise(values, reference)


def _logarithm(values: Signal, positive: Mask, middle: Signal) -> Signal:
    result = values.copy()
    # What was positive for the training subjects may yet be negative for this one.
    sizes, floor = np.clip(values[:, positive], 0, None), FLOOR * np.clip(middle, 0, None)
    result[:, positive] = np.log(sizes + floor + 1e-9)
    return result


def _standardise(values: Signal, reference: Signal) -> Signal:
    """Per feature, or per channel over all its samples."""
    axes = (0, *range(2, values.ndim))
    mean = reference.mean(axis=axes, keepdims=True)
    deviation = reference.std(axis=axes, keepdims=True)
    # A feature that never changes says nothing: it becomes zero, not noise blown up.
    safe = np.where(deviation > 1e-9, deviation, np.inf)
    standard: Signal = np.clip((values - mean) / safe, -LIMIT, LIMIT)
    return standard
