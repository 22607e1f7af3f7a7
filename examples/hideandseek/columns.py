"""The study's 228 features by name, in the order in which they were published."""

from __future__ import annotations

from itertools import product

DESCRIPTORS = (
    *("f0", "voiced_flag", "energy", "zcr", "cent", "spec_bw", "rolloff", "rolloff_min"),
    "contrast",
    *(f"mfcc_{number}" for number in range(1, 14)),
)
"""What is known of a voice at one instant: 22 values, as librosa names most of them."""

STATISTICS = {"customer": ("max", "min", "mean", "std"), "worker": ("mean", "min", "max", "std")}
"""Of each descriptor over a window; the published order differs between the two speakers."""

BANDS = {
    "theta": (4.0, 8.0),
    "alpha_low": (8.0, 10.0),
    "alpha_high": (10.0, 13.0),
    "beta": (13.0, 25.0),
    "gamma": (25.0, 40.0),
}
"""Hz from and below which an EEG band lies."""

ELECTRODES = ("TP9", "AF7", "AF8", "TP10")
"""Numbered 1 to 4 in the features' names."""

LEVELS = ("mean", "std", "min", "max")

GROUPS: dict[str, tuple[str, ...]] = {
    **{
        f"audio_{speaker}": tuple(
            f"{speaker}_{name}_{statistic}" for statistic, name in product(statistics, DESCRIPTORS)
        )
        for speaker, statistics in STATISTICS.items()
    },
    "eda": (*(f"{part}_{of}" for part, of in product(("EDA", "phasic", "tonic"), LEVELS)), "peak"),
    "eeg": tuple(f"{band}{number}" for band, number in product(BANDS, range(1, 5))),
    "temp": (*(f"temp_{of}" for of in LEVELS), "temp_slope"),
    "acc": (*(f"acc{axis}_{of}" for axis, of in product("XYZ", ("mean", "std"))), "acc_magnitude"),
    "ecg": ("ibi", "bpm", "sdnn", "rmssd", "pnn50", "hr_mean", "hr_std"),
}
"""The features of each sensor, in order."""

FEATURES = tuple(name for names in GROUPS.values() for name in names)
"""All 228."""
