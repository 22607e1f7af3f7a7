"""The 60 features of chest and wrist together, for recordings that have the chest band's signals.

Thirteen come from the chest (ECG, skin conductance, respiration), five describe the wrist more
coarsely, as the project's table has them, and 42 are the wrist features. Two wrist features share
a name with a chest feature's and are called `…_own`.
"""

from __future__ import annotations

import numpy as np
from scipy import signal

from eer.runtime.errors import DataError
from examples.study.signals import slope
from examples.study.windows import Signal, Windows

from .features import beat_intervals, heart, pulse_band, windows_of, wrist_features
from .recording import BVP_RATE, CHEST_RATE, WRIST_RATE, Chest, Recording
from .windows import WINDOW, cuts

_OWN = {name: f"{name}_own" for name in ("hr_mean", "hrv_lf", "hrv_hf", "hrv_lfhf")}
_SLOW = 25
"""Hz to which chest skin conductance and respiration are reduced."""


def chest_wrist_features(recording: Recording) -> Windows:
    """All windows of one recording, with 60 features each."""
    if recording.chest is None:
        raise DataError(
            "the chest band's signals are missing",
            where=recording.subject,
            hint="wrist recordings serve --features wrist; for the chest, use the official archive",
        )
    wrist = wrist_features(recording)
    kept = tuple(cuts(recording))
    ecg, eda, resp = _prepared(recording.chest)
    pulse = pulse_band(recording.bvp)
    rows: list[dict[str, float]] = []
    for (start, _), values in zip(kept, wrist.values, strict=True):
        own = {
            _OWN.get(name, name): float(value)
            for name, value in zip(wrist.names, values, strict=True)
        }
        rows.append(
            _ecg(_cut(ecg, start, CHEST_RATE))
            | _conductance(_cut(eda, start, _SLOW))
            | _breath(_cut(resp, start, _SLOW))
            | _coarse(recording, pulse, start)
            | own
        )
    return windows_of(recording, rows, kept, "chest and wrist features")


def _prepared(chest: Chest) -> tuple[Signal, Signal, Signal]:
    """QRS energy at the chest's rate; skin conductance and breath at `_SLOW`."""
    band = signal.butter(2, (5.0, 18.0), "bandpass", fs=CHEST_RATE, output="sos")
    energy = signal.sosfiltfilt(band, chest.ecg) ** 2
    width = int(0.12 * CHEST_RATE)
    bell = signal.windows.hann(width)
    qrs = np.sqrt(np.clip(np.convolve(energy, bell / bell.sum(), "same"), 0, None))
    step = CHEST_RATE // _SLOW
    eda = _block_means(chest.eda, step)
    breath = signal.butter(2, (0.1, 0.5), "bandpass", fs=_SLOW, output="sos")
    return qrs, eda, signal.sosfiltfilt(breath, _block_means(chest.resp, step))


def _block_means(values: Signal, size: int) -> Signal:
    means: Signal = values[: len(values) // size * size].reshape(-1, size).mean(axis=1)
    return means


def _cut(values: Signal, start: int, rate: int) -> Signal:
    return values[start * rate : (start + WINDOW) * rate]


def _ecg(qrs: Signal) -> dict[str, float]:
    found = heart(beat_intervals(qrs, CHEST_RATE, prominence=1.0))
    return {
        "hr_mean": found["hr_mean"],
        "hrv_sdnn": 1e3 * found["ibi_sdnn"],
        "hrv_rmssd": 1e3 * found["ibi_rmssd"],
        "hrv_pnn50": 100 * found["ibi_pnn50"],
        "hrv_lf": found["hrv_lf"],
        "hrv_hf": found["hrv_hf"],
        "hrv_lfhf": found["hrv_lfhf"],
    }


def _conductance(eda: Signal) -> dict[str, float]:
    smooth = signal.sosfiltfilt(signal.butter(2, 1.0, fs=_SLOW, output="sos"), eda)
    peaks, found = signal.find_peaks(smooth, prominence=0.002, distance=_SLOW)
    return {
        "scl_mean": float(eda.mean()),
        "scl_std": float(eda.std()),
        "scr_count": float(len(peaks)),
        "scr_mean_amp": float(found["prominences"].mean()) if len(peaks) else 0.0,
    }


def _breath(resp: Signal) -> dict[str, float]:
    """Breaths a minute, from the intervals between the belt's peaks."""
    peaks, _ = signal.find_peaks(resp, distance=int(1.5 * _SLOW), prominence=0.3 * resp.std())
    between = np.diff(peaks) / _SLOW
    if len(between) < 3:
        return {"resp_rate": float("nan"), "resp_rate_std": float("nan")}
    rate = 60 / between
    return {"resp_rate": float(rate.mean()), "resp_rate_std": float(rate.std())}


def _coarse(recording: Recording, pulse: Signal, start: int) -> dict[str, float]:
    found = heart(beat_intervals(_cut(pulse, start, BVP_RATE), BVP_RATE, prominence=0.5))
    eda = _cut(recording.eda, start, WRIST_RATE)
    return {
        "bvp_hr_mean": found["hr_mean"],
        "bvp_hrv_sdnn": 1e3 * found["ibi_sdnn"],
        "scl_w_mean": float(eda.mean()),
        "scl_w_std": float(eda.std()),
        "scl_w_slope": slope(eda) * WRIST_RATE,
    }
