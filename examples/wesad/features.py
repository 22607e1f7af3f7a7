"""The 42 wrist features of a 60 s window, computed where the signals are: at the client.

Filters run over the whole session, so a window's edges carry no transients. Names and definitions
follow the project's feature table; tests compare the two. Only scipy is needed: the larger
physiological-signal libraries would bring some ten more packages for these few formulas.
"""

from __future__ import annotations

import numpy as np
from scipy import signal

from eer.runtime.errors import DataError
from examples.study.signals import lowpass, medians_for_gaps, slope
from examples.study.windows import Signal, Windows

from .recording import BVP_RATE, WRIST_RATE, Recording
from .windows import WINDOW, cuts

_LIMITS = (60 / 180, 60 / 40)
"""Shortest and longest interval between two beats, in seconds."""


def wrist_features(recording: Recording) -> Windows:
    """All windows of one recording, with 42 features each."""
    if recording.seconds < WINDOW:
        raise DataError(
            f"the recording lasts {recording.seconds:.0f} s, a window {WINDOW} s",
            where=recording.subject,
        )
    smooth = lowpass(recording.eda, WRIST_RATE, 1.0, 2)
    tonic = lowpass(recording.eda, WRIST_RATE, 0.05, 1)
    pulse = pulse_band(recording.bvp)
    rows: list[dict[str, float]] = []
    kept = tuple(cuts(recording))
    for start, _ in kept:
        slow = slice(start * WRIST_RATE, (start + WINDOW) * WRIST_RATE)
        fast = slice(start * BVP_RATE, (start + WINDOW) * BVP_RATE)
        rows.append(
            _eda(smooth[slow], tonic[slow])
            | heart(beat_intervals(pulse[fast], BVP_RATE))
            | {"bvp_std": recording.bvp[fast].std(), "bvp_fstd": pulse[fast].std()}
            | _shape("temp", recording.temp[slow])
            | _acc(recording.acc[slow])
        )
    return windows_of(recording, rows, kept, "wrist features")


def windows_of(
    recording: Recording,
    rows: list[dict[str, float]],
    kept: tuple[tuple[int, int], ...],
    source: str,
) -> Windows:
    """Feature rows as windows; what could not be measured becomes the recording's median."""
    names = tuple(rows[0]) if rows else ()
    values = np.array([[row[name] for name in names] for row in rows]).reshape(-1, len(names))
    return Windows(
        names=names,
        values=medians_for_gaps(values),
        label=np.array([condition for _, condition in kept], dtype=np.int64),
        subject=np.full(len(rows), recording.subject),
        start=np.array([start for start, _ in kept], dtype=np.int64),
        source=source,
        synthetic=recording.synthetic,
    )


def pulse_band(bvp: Signal) -> Signal:
    """The pulse wave from 0.7 to 3.5 Hz: beats without drift and noise."""
    sections = signal.butter(3, (0.7, 3.5), "bandpass", fs=BVP_RATE, output="sos")
    filtered: Signal = signal.sosfiltfilt(sections, bvp)
    return filtered


def beat_intervals(wave: Signal, rate: int, prominence: float = 0.25) -> Signal:
    """Seconds between successive beats of a pulse wave or an ECG, without implausible ones.

    Peaks stand out by `prominence` standard deviations and are at least 0.4 s apart (150 beats a
    minute); an interval more than 25 % off the median is a missed or an invented beat. Against the
    chest's ECG on WESAD the windows' heart rates are off by 1.3 a minute in the median, 3.3 in the
    mean. Below 50 a minute a strong second wave of the pulse can pass for a beat.
    """
    peaks, _ = signal.find_peaks(
        wave, distance=int(0.4 * rate), prominence=max(prominence * wave.std(), 1e-12)
    )
    between: Signal = np.diff(peaks) / rate
    between = between[(between >= _LIMITS[0]) & (between <= _LIMITS[1])]
    if not len(between):
        return between
    middle = np.median(between)
    return between[np.abs(between - middle) <= 0.25 * middle]


def heart(between: Signal) -> dict[str, float]:
    """Heart rate (per minute) and its variation from beat intervals in seconds; NaN below 10."""
    names = ("hr_mean", "hr_std", "ibi_sdnn", "ibi_rmssd", "ibi_pnn50")
    spectrum = ("hrv_lf", "hrv_hf", "hrv_lfhf")
    if len(between) < 10:
        return dict.fromkeys((*names, *spectrum), float("nan"))
    rate, change = 60 / between, np.diff(between)
    values = (
        rate.mean(),
        rate.std(),
        between.std(),
        np.sqrt((change**2).mean()),
        (np.abs(change) > 0.05).mean(),
    )
    return dict(zip(names, map(float, values), strict=True)) | dict(
        zip(spectrum, _bands(between), strict=True)
    )


def _bands(between: Signal) -> tuple[float, float, float]:
    """log10 of the power at 0.04-0.15 Hz and at 0.15-0.4 Hz (s^2), and their difference."""
    when = np.cumsum(between)
    even = np.interp(np.arange(when[0], when[-1], 0.25), when, between)
    size = min(len(even), 128)
    frequency, power = signal.welch(even - even.mean(), fs=4.0, nperseg=size)
    width = frequency[1] - frequency[0]
    low, high = (
        np.log10(power[(frequency >= start) & (frequency < end)].sum() * width + 1e-8)
        for start, end in ((0.04, 0.15), (0.15, 0.4))
    )
    return float(low), float(high), float(low - high)


def _shape(name: str, values: Signal) -> dict[str, float]:
    return {
        f"{name}_mean": float(values.mean()),
        f"{name}_std": float(values.std()),
        f"{name}_min": float(values.min()),
        f"{name}_max": float(values.max()),
        f"{name}_slope": slope(values),
    }


def _eda(smooth: Signal, tonic: Signal) -> dict[str, float]:
    """Level, tonic part (below 0.05 Hz), phasic rest, and the responses in it.

    A response is a phasic peak of at least 0.01 microsiemens, a second or more from the next.
    """
    phasic = smooth - tonic
    peaks, _ = signal.find_peaks(phasic, height=0.01, distance=WRIST_RATE)
    return (
        _shape("eda", smooth)
        | _shape("tonic", tonic)
        | _shape("phasic", phasic)
        | {
            "scr_n": float(len(peaks)),
            "scr_amp": float(phasic[peaks].mean()) if len(peaks) else 0.0,
            "scr_auc": float(np.clip(phasic, 0, None).sum() / WRIST_RATE),
        }
    )


def _acc(acc: Signal) -> dict[str, float]:
    size = np.linalg.norm(acc, axis=1)
    axes = {
        f"acc_{axis}_{what}": float(value)
        for axis, column in zip("xyz", acc.T, strict=True)
        for what, value in (("mean", column.mean()), ("std", column.std()))
    }
    return axes | {
        "acc_mag_mean": float(size.mean()),
        "acc_mag_std": float(size.std()),
        "acc_jerk": float(np.abs(np.diff(size)).mean()),
    }
