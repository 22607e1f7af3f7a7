"""Raw windows for the convolutional network: five wrist channels at 2 Hz, 120 samples a window.

The pulse wave itself would need some 64 samples a second; what is slow about it is its rate and
its size, so these are the channels, taken from beat to beat at the client. Movement is how fast
acceleration changes; the direction of gravity is left out, for it tells posture, not feeling.
"""

from __future__ import annotations

import numpy as np
from scipy import signal

from eer.runtime.errors import DataError
from examples.study.windows import Signal, Windows

from .features import pulse_band
from .recording import BVP_RATE, WRIST_RATE, Recording
from .windows import WINDOW, cuts

RATE = 2
"""Hz of every channel."""
CHANNELS = ("heart_rate", "pulse_size", "eda", "temp", "movement")


def raw_windows(recording: Recording) -> Windows:
    """All windows of one recording as [w, 5 channels, 120 samples]."""
    if recording.seconds < WINDOW:
        raise DataError(
            f"the recording lasts {recording.seconds:.0f} s, a window {WINDOW} s",
            where=recording.subject,
        )
    step = WRIST_RATE // RATE
    n = len(recording.label) // step
    channels = np.stack(
        [
            heart_rate(recording.bvp, n),
            _pulse_size(recording.bvp, n),
            _means(recording.eda, n),
            _means(recording.temp, n),
            _movement(recording.acc, n),
        ]
    )
    kept = tuple(cuts(recording))
    values = [channels[:, start * RATE : (start + WINDOW) * RATE] for start, _ in kept]
    return Windows(
        names=CHANNELS,
        values=np.array(values).reshape(-1, len(CHANNELS), WINDOW * RATE),
        label=np.array([condition for _, condition in kept], dtype=np.int64),
        subject=np.full(len(kept), recording.subject),
        start=np.array([start for start, _ in kept], dtype=np.int64),
        source="raw wrist windows",
        synthetic=recording.synthetic,
    )


def heart_rate(bvp: Signal, samples: int) -> Signal:
    """Beats a minute at `RATE` [samples], from beat to beat, implausible beats bridged."""
    pulse = pulse_band(bvp)
    # The pulse's size changes with grip and cold: measure prominence against the last 10 s.
    power = _moving_mean(pulse**2, 10 * BVP_RATE)
    pulse = pulse / np.sqrt(power + 1e-6 * power.mean() + 1e-12)
    peaks, _ = signal.find_peaks(pulse, distance=int(0.4 * BVP_RATE), prominence=0.25)
    if len(peaks) < 10:
        raise DataError(
            "no heartbeat found in the blood volume pulse", hint="was the wristband worn?"
        )
    beats, between = peaks[1:] / BVP_RATE, np.diff(peaks) / BVP_RATE
    local = signal.medfilt(between, 15)
    good = (np.abs(between - local) <= 0.25 * local) & (between >= 1 / 3) & (between <= 1.5)
    if not good.any():
        raise DataError("the blood volume pulse is all noise", hint="was the wristband worn?")
    rate: Signal = np.interp(np.arange(samples) / RATE, beats[good], 60 / between[good])
    return rate


def _pulse_size(bvp: Signal, samples: int) -> Signal:
    """log of the pulse wave's root mean square over 4 s, at `RATE`."""
    size = np.sqrt(_moving_mean(pulse_band(bvp) ** 2, 4 * BVP_RATE))
    logarithm: Signal = np.log(size[:: BVP_RATE // RATE][:samples] + 1e-3)
    return logarithm


def _movement(acc: Signal, samples: int) -> Signal:
    """log of the change of acceleration (g a sample) averaged over 2 s, at `RATE`."""
    change = np.linalg.norm(np.diff(acc, axis=0, prepend=acc[:1]), axis=1)
    # A resolution of 1/64 g: below a third of that there is no telling movement from none.
    logarithm: Signal = np.log(_means(_moving_mean(change, 2 * WRIST_RATE), samples) + 0.005)
    return logarithm


def _means(values: Signal, samples: int) -> Signal:
    """Averages of neighbouring samples, from `WRIST_RATE` down to `RATE`."""
    means: Signal = values[: samples * WRIST_RATE // RATE].reshape(samples, -1).mean(axis=1)
    return means


def _moving_mean(values: Signal, size: int) -> Signal:
    """Means over `size` samples around each; positive where the values are."""
    means: Signal = np.clip(np.convolve(values, np.ones(size) / size, "same"), 0, None)
    return means
