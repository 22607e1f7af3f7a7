"""What features of any study's signals are made with."""

from __future__ import annotations

import numpy as np
from scipy import signal

from .windows import Signal


def lowpass(values: Signal, rate: float, cutoff: float, order: int) -> Signal:
    """`values` [n] at `rate` Hz below `cutoff` Hz, without delay (Butterworth, both ways)."""
    sections = signal.butter(order, cutoff, fs=rate, output="sos")
    filtered: Signal = signal.sosfiltfilt(sections, values)
    return filtered


def slope(values: Signal) -> float:
    """Slope of the least-squares line, per sample."""
    time = np.arange(len(values)) - (len(values) - 1) / 2
    return float(time @ values / (time @ time))


def medians_for_gaps(values: Signal) -> Signal:
    """`values` [w, features] with the feature's median for what is not finite; 0 without any."""
    filled, lost = values.copy(), ~np.isfinite(values)
    for column in np.flatnonzero(lost.any(axis=0)):
        known = values[~lost[:, column], column]
        filled[lost[:, column], column] = np.median(known) if len(known) else 0.0
    return filled
