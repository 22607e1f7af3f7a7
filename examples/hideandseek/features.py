"""The 228 features of a call's windows, computed where the recordings are: at the client.

Windows last 10 s and follow one another by 1 s; of the voices, the acceleration and the label, a
window takes its first 5 s, as published. Filters run over the whole call. Deviations are those of
a sample (n - 1), except `sdnn`. Two definitions differ from the authors' code: skin conductance is
split by a filter, not by cvxEDA, whose licence is the GPL; and the power of an EEG band is the
mean of spectra of one second each. Only scipy is needed: of the voices the release holds
descriptors, not sound.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import signal

from eer.runtime.errors import DataError
from examples.study.signals import lowpass, slope
from examples.study.windows import Signal

from .call import SENSORS, Call, Track
from .columns import BANDS, DESCRIPTORS, FEATURES, GROUPS, LEVELS, STATISTICS

WINDOW, SHORT, STEP = 10, 5, 1
"""Seconds: of a window, of what its voices, acceleration and label take, and between windows."""

EDA_RATE, EEG_RATE = 4, 256
RESPONSE = 0.01
"""Microsiemens of the smallest skin conductance response."""

_BEATS = GROUPS["ecg"][:5]


@dataclass(frozen=True, slots=True, eq=False)
class CallFeatures:
    """The windows of one call: `start` [w] seconds from its beginning, `values` [w, 228].

    What a window has no sample for is not finite.
    """

    start: Signal
    values: Signal
    suppression: Signal
    """[w] the rating of the window's first 5 s."""


def call_features(call: Call) -> CallFeatures:
    """All windows of a call that every track was recorded in. Raises DataError where none fits."""
    begin, end = call.span
    count = int((end - begin - WINDOW) // STEP) + 1
    if count < 1:
        raise DataError(
            f"the sensors' common part lasts {end - begin:.0f} s, a window {WINDOW} s",
            where=call.where,
            hint="their clocks may differ: timestamps are milliseconds of one clock",
        )
    tracks = call.tracks
    conductance = _conductance(tracks["e4_eda"])
    spectrum = _spectrum(tracks["muse"])
    ratings = tracks["suppression"]
    rows, suppression = [], []
    for start in begin + STEP * np.arange(count):
        long, short = (start, start + WINDOW), (start, start + SHORT)
        rows.append(
            _voice("customer", tracks["customer"].between(*short))
            | _voice("worker", tracks["worker"].between(*short))
            | _eda(conductance.between(*long))
            | _eeg(spectrum.between(*long))
            | _temp(tracks["e4_temp"].between(*long)[:, 0])
            | _acc(tracks["e4_acc"].between(*short))
            | _heart(tracks["polar_rr"].between(*long)[:, 0])
            | _rate(tracks["polar_hr"].between(*long)[:, 0])
        )
        suppression.append(_rating(ratings, *short))
    return CallFeatures(
        start=STEP * np.arange(count, dtype=np.float64),
        values=np.array([[row[name] for name in FEATURES] for row in rows]),
        suppression=np.array(suppression),
    )


def _voice(speaker: str, frames: Signal) -> dict[str, float]:
    """The descriptors' statistics over the frames in which each is known."""
    known = np.isfinite(frames)
    count = known.sum(axis=0).astype(np.float64)
    count[count == 0] = np.nan
    total = np.where(known, frames, 0.0).sum(axis=0)
    squares = np.where(known, frames - total / count, 0.0) ** 2
    found = {
        "mean": total / count,
        "std": np.sqrt(squares.sum(axis=0) / np.where(count > 1, count - 1, np.nan)),
        "min": np.where(known, frames, np.inf).min(axis=0, initial=np.inf),
        "max": np.where(known, frames, -np.inf).max(axis=0, initial=-np.inf),
    }
    return {
        f"{speaker}_{name}_{statistic}": value
        for statistic in STATISTICS[speaker]
        for name, value in zip(DESCRIPTORS, found[statistic].tolist(), strict=True)
    }


def _levels(name: str, samples: Signal) -> dict[str, float]:
    if len(samples) < 2:
        return {f"{name}_{of}": np.nan for of in LEVELS}
    found = (samples.mean(), samples.std(ddof=1), samples.min(), samples.max())
    return {f"{name}_{of}": float(value) for of, value in zip(LEVELS, found, strict=True)}


def _conductance(track: Track) -> Track:
    """Skin conductance as [level, phasic part, tonic part, whether a response peaks here].

    Smoothed below 0.4 Hz; the tonic part is what lies below 0.05 Hz.
    """
    level = track.values[:, 0]
    smooth = lowpass(level, EDA_RATE, 0.4, 1)
    tonic = lowpass(smooth, EDA_RATE, 0.05, 1)
    peaks, _ = signal.find_peaks(smooth - tonic, height=RESPONSE, distance=EDA_RATE)
    responses = np.zeros(len(level))
    responses[peaks] = 1.0
    return Track(track.time, np.stack((level, smooth - tonic, tonic, responses), axis=1))


def _eda(samples: Signal) -> dict[str, float]:
    level, phasic, tonic, responses = samples.T
    return (
        _levels("EDA", level)
        | _levels("phasic", phasic)
        | _levels("tonic", tonic)
        | {"peak": float(responses.sum())}
    )


def _spectrum(track: Track) -> Track:
    """Band powers [t, bands x electrodes] (per Hz) of spectra of 1 s, each at its middle."""
    sections = signal.butter(4, (4.0, 40.0), "bandpass", fs=EEG_RATE, output="sos")
    filtered = signal.sosfiltfilt(sections, track.values, axis=0)
    frequency, time, density = signal.spectrogram(
        filtered, fs=EEG_RATE, window="hann", nperseg=EEG_RATE, noverlap=EEG_RATE // 2, axis=0
    )
    powers = [
        density[(frequency >= low) & (frequency < high)].mean(axis=0)
        for low, high in BANDS.values()
    ]
    return Track(track.time[0] + time, np.concatenate(powers).T)


def _eeg(powers: Signal) -> dict[str, float]:
    mean = powers.mean(axis=0) if len(powers) else np.full(powers.shape[1], np.nan)
    return dict(zip(GROUPS["eeg"], mean.tolist(), strict=True))


def _temp(samples: Signal) -> dict[str, float]:
    steep = slope(samples) * (SENSORS["e4_temp"].rate or 1) if len(samples) > 1 else np.nan
    return _levels("temp", samples) | {"temp_slope": steep}


def _acc(samples: Signal) -> dict[str, float]:
    if len(samples) < 2:
        return dict.fromkeys(GROUPS["acc"], np.nan)
    mean, deviation = samples.mean(axis=0), samples.std(axis=0, ddof=1)
    size = np.linalg.norm(samples, axis=1).mean()
    values = (*np.stack((mean, deviation), axis=1).reshape(-1), size)
    return dict(zip(GROUPS["acc"], map(float, values), strict=True))


def _heart(intervals: Signal) -> dict[str, float]:
    """Heart rate and its variation from the intervals between beats, in milliseconds."""
    if len(intervals) < 2:
        return dict.fromkeys(_BEATS, np.nan)
    change = np.diff(intervals)
    values = (
        intervals.mean(),
        60_000 / intervals.mean(),
        intervals.std(),
        np.sqrt((change**2).mean()),
        (np.abs(change) > 50).mean(),
    )
    return dict(zip(_BEATS, map(float, values), strict=True))


def _rate(rates: Signal) -> dict[str, float]:
    found = _levels("hr", rates)
    return {name: found[name] for name in ("hr_mean", "hr_std")}


def _rating(ratings: Track, start: float, end: float) -> float:
    """The mean rating within the time, or the one that held when it began."""
    within = ratings.between(start, end)
    if len(within):
        return float(within.mean())
    before = int(np.searchsorted(ratings.time, start, side="right")) - 1
    return float(ratings.values[before, 0])
