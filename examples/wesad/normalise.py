"""Bringing every subject's values to one scale; all of it happens at the client, before encryption.

`by_subject` uses the subject's own windows, without their labels: sound for a client who has
worn the device for a while, and to be stated with every figure that rests on it. `by_training`
uses the training subjects only, so it can answer from the first window on.
"""

from __future__ import annotations

import numpy as np

from .recording import Signal
from .windows import Mask, Windows

LIMIT = 4.0
"""Values end at this many standard deviations: a bound that the encrypted model can rely on."""


def by_subject(windows: Windows) -> Windows:
    """Each subject's values standardised by that subject's own mean and deviation."""
    values = windows.values.copy()
    for subject in windows.subjects:
        own = windows.subject == subject
        values[own] = _standardise(values[own], values[own])
    return windows.with_values(values)


def by_training(windows: Windows, training: Mask) -> Windows:
    """All values standardised by the mean and deviation of the training windows."""
    return windows.with_values(_standardise(windows.values, windows.values[training]))


def _standardise(values: Signal, reference: Signal) -> Signal:
    """Per feature, or per channel over all its samples."""
    axes = (0, *range(2, values.ndim))
    mean = reference.mean(axis=axes, keepdims=True)
    deviation = reference.std(axis=axes, keepdims=True)
    # A feature that never changes says nothing: it becomes zero, not noise blown up.
    safe = np.where(deviation > 1e-9, deviation, np.inf)
    standard: Signal = np.clip((values - mean) / safe, -LIMIT, LIMIT)
    return standard
