"""Features of signals whose heart rate, responses and slopes are known."""

from __future__ import annotations

import numpy as np
import pytest

from eer.runtime.errors import DataError
from examples.study.signals import slope
from examples.study.windows import Signal, Windows
from examples.wesad.channels import CHANNELS, RATE, heart_rate, raw_windows
from examples.wesad.chest_features import chest_wrist_features
from examples.wesad.features import beat_intervals, heart, wrist_features
from examples.wesad.recording import (
    BASELINE,
    BVP_RATE,
    CHEST_RATE,
    STRESS,
    WRIST_RATE,
    Chest,
    Recording,
)
from examples.wesad.synthetic import pulse_wave
from examples.wesad.windows import STEP, WINDOW, cuts

MINUTES = 4


def recording(
    bpm: float = 72.0,
    *,
    swing: float = 3.0,
    responses: int = 0,
    warming: float = 0.0,
    chest: Chest | None = None,
) -> Recording:
    """Two minutes of baseline and two of stress; heart rate `bpm` swings with the breath."""
    n = 60 * MINUTES * WRIST_RATE
    time = np.arange(16 * n) / BVP_RATE
    rng = np.random.default_rng(0)
    eda = np.full(n, 2.0)
    seconds = np.arange(n) / WRIST_RATE
    for onset in np.linspace(1, 60 * MINUTES - 5, responses * MINUTES):
        since = np.clip(seconds - onset, 0, None)
        eda += 0.5 * (np.exp(-since / 2.0) - np.exp(-since / 0.7))
    return Recording(
        subject="S2",
        bvp=60 * pulse_wave(bpm + swing * np.sin(2 * np.pi * 0.25 * time))
        + rng.normal(0, 1, 16 * n),
        eda=eda,
        temp=33.0 + warming * np.arange(n, dtype=np.float64),
        acc=np.tile([0.0, 0.6, 0.8], (n, 1)),
        label=np.repeat(np.array([BASELINE, STRESS], dtype=np.int8), n // 2),
        chest=chest,
        synthetic=True,
    )


def column(windows: Windows, name: str) -> Signal:
    return windows.values[:, windows.names.index(name)]


@pytest.mark.parametrize("bpm", [55.0, 72.0, 95.0, 130.0])
def test_the_heart_rate_is_found(bpm: float) -> None:
    windows = wrist_features(recording(bpm))
    np.testing.assert_allclose(column(windows, "hr_mean"), bpm, rtol=0.02)
    spread = 60 * 3 / bpm**2 / np.sqrt(2)
    np.testing.assert_allclose(column(windows, "ibi_sdnn"), spread, rtol=0.35, atol=0.006)


def test_variation_with_the_breath_is_high_frequency() -> None:
    quiet, lively = wrist_features(recording(swing=0.5)), wrist_features(recording(swing=6.0))
    assert (column(lively, "ibi_rmssd") > 3 * column(quiet, "ibi_rmssd")).all()
    assert (column(lively, "hrv_hf") > column(lively, "hrv_lf") + 0.5).all()


def test_the_heart_rate_channel_follows_the_heart() -> None:
    n = 120 * BVP_RATE
    bpm = np.linspace(60, 100, n)
    found = heart_rate(pulse_wave(bpm), 120 * RATE)
    inside = slice(10 * RATE, 110 * RATE)
    np.testing.assert_allclose(found[inside], bpm[:: BVP_RATE // RATE][inside], atol=3.0)


def test_responses_are_counted() -> None:
    still, excited = wrist_features(recording()), wrist_features(recording(responses=6))
    assert (column(still, "scr_n") == 0).all()
    assert (np.abs(column(excited, "scr_n") - 6) <= 1).all()
    assert (column(excited, "scr_amp") > 0.02).all()


def test_levels_and_slopes_are_in_their_units() -> None:
    windows = wrist_features(recording(warming=1e-4))
    np.testing.assert_allclose(column(windows, "temp_slope"), 1e-4, rtol=1e-6)
    np.testing.assert_allclose(column(windows, "eda_mean"), 2.0, rtol=1e-6)
    np.testing.assert_allclose(column(windows, "acc_mag_mean"), 1.0, rtol=1e-6)
    np.testing.assert_allclose(column(windows, "acc_y_mean"), 0.6, rtol=1e-6)
    assert slope(np.array([1.0, 3.0, 5.0])) == pytest.approx(2.0)


def test_chest_and_wrist_agree_about_the_heart() -> None:
    seconds = np.arange(60 * MINUTES * CHEST_RATE) / CHEST_RATE
    beat = np.cumsum(np.full(len(seconds), 66 / 60 / CHEST_RATE)) % 1.0
    chest = Chest(
        ecg=np.exp(-(((beat - 0.5) / 0.012) ** 2)),
        eda=3.0 + 1e-3 * seconds,
        resp=np.sin(2 * np.pi * 0.2 * seconds),
    )
    windows = chest_wrist_features(recording(66.0, swing=0.0, chest=chest))
    np.testing.assert_allclose(column(windows, "hr_mean"), 66.0, rtol=0.01)
    np.testing.assert_allclose(column(windows, "hr_mean_own"), 66.0, rtol=0.02)
    np.testing.assert_allclose(column(windows, "hrv_rmssd"), 0.0, atol=3.0)
    np.testing.assert_allclose(column(windows, "resp_rate"), 12.0, rtol=0.02)
    assert len(windows.names) == 60


def test_the_chest_must_be_there() -> None:
    with pytest.raises(DataError, match="chest band's signals are missing"):
        chest_wrist_features(recording())


def test_windows_lie_within_one_condition() -> None:
    session = recording()
    found = list(cuts(session))
    half = 60 * MINUTES // 2
    whole = list(range(0, half - WINDOW + 1, STEP))
    assert found == [(start, BASELINE) for start in whole] + [
        (half + start, STRESS) for start in whole
    ]
    for windows in (wrist_features(session), raw_windows(session)):
        assert windows.start.tolist() == [start for start, _ in found]
        assert windows.label.tolist() == [condition for _, condition in found]
        assert set(windows.subject) == {"S2"}
        assert np.isfinite(windows.values).all()
    assert raw_windows(session).values.shape[1:] == (len(CHANNELS), WINDOW * RATE)


def test_what_could_not_be_measured_is_the_sessions_median() -> None:
    session = recording()
    bvp = session.bvp.copy()
    bvp[: 60 * BVP_RATE] = 0.0
    still = Recording(session.subject, bvp, session.eda, session.temp, session.acc, session.label)
    windows = wrist_features(still)
    hr = column(windows, "hr_mean")
    assert hr[0] == np.median(hr)
    assert np.isfinite(windows.values).all()


def test_no_beats_is_not_a_number() -> None:
    assert np.isnan(heart(beat_intervals(np.zeros(3000), BVP_RATE))["hr_mean"])


def test_a_short_recording_is_refused() -> None:
    n = 30 * WRIST_RATE
    short = Recording(
        "S2",
        np.zeros(16 * n),
        np.zeros(n),
        np.zeros(n),
        np.zeros((n, 3)),
        np.ones(n, dtype=np.int8),
    )
    for features in (wrist_features, raw_windows):
        with pytest.raises(DataError, match="lasts 30 s, a window 60 s"):
            features(short)


def test_silence_is_no_heartbeat() -> None:
    with pytest.raises(DataError, match="heartbeat"):
        heart_rate(np.zeros(100 * BVP_RATE), 200)
