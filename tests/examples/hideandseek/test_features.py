"""Each feature against a computation of its own, and the columns against the published list."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas
import pytest
from scipy import signal

from eer.runtime.errors import DataError
from examples.hideandseek.call import TRACKS, Call, Track
from examples.hideandseek.columns import DESCRIPTORS, FEATURES, GROUPS
from examples.hideandseek.features import call_features
from examples.study.windows import Signal


def swapped(call: Call, **tracks: Track) -> Call:
    """The call with other tracks, each as long as before."""
    return replace(call, tracks={**call.tracks, **tracks})


def column(found: Signal, name: str) -> Signal:
    return found[:, FEATURES.index(name)]


def frame(call: Call, name: str) -> pandas.DataFrame:
    track = call.tracks[name]
    return pandas.DataFrame(track.values, index=track.time, columns=list(TRACKS[name].columns))


def test_the_columns_are_the_published_ones() -> None:
    assert len(FEATURES) == len(set(FEATURES)) == 228
    sizes = {name: len(names) for name, names in GROUPS.items()}
    audio = {"audio_customer": 88, "audio_worker": 88}
    assert sizes == audio | {"eda": 13, "eeg": 20, "temp": 5, "acc": 7, "ecg": 7}
    # Landmarks of the published list.
    published = {
        0: "customer_f0_max",
        7: "customer_rolloff_min_max",
        21: "customer_mfcc_13_max",
        22: "customer_f0_min",
        44: "customer_f0_mean",
        87: "customer_mfcc_13_std",
        88: "worker_f0_mean",
        110: "worker_f0_min",
        132: "worker_f0_max",
        175: "worker_mfcc_13_std",
        176: "EDA_mean",
        180: "phasic_mean",
        188: "peak",
        189: "theta1",
        200: "alpha_high4",
        208: "gamma4",
        209: "temp_mean",
        213: "temp_slope",
        214: "accX_mean",
        220: "acc_magnitude",
        221: "ibi",
        225: "pnn50",
        227: "hr_std",
    }
    assert {place: FEATURES[place] for place in published} == published


def test_windows_follow_one_another_by_a_second(call: Call) -> None:
    found = call_features(call)
    begin, end = call.span
    assert found.start.tolist() == list(range(int(end - begin - 10) + 1))
    assert found.values.shape == (len(found.start), 228)
    assert found.suppression.shape == found.start.shape


def test_statistics_are_those_of_pandas(call: Call) -> None:
    found = call_features(call)
    begin, _ = call.span
    for row, start in enumerate(begin + found.start):
        for speaker in ("customer", "worker"):
            table = frame(call, speaker)
            part = table[(table.index >= start) & (table.index < start + 5)]
            for statistic in ("mean", "min", "max", "std"):
                wanted = part.agg(statistic)
                for name in DESCRIPTORS:
                    value = column(found.values, f"{speaker}_{name}_{statistic}")[row]
                    assert value == pytest.approx(wanted[name], rel=1e-9, nan_ok=True), name
        for sensor, name in (("e4_eda", "EDA"), ("e4_temp", "temp")):
            table = frame(call, sensor)
            part = table[(table.index >= start) & (table.index < start + 10)].iloc[:, 0]
            for statistic in ("mean", "min", "max", "std"):
                value = column(found.values, f"{name}_{statistic}")[row]
                assert value == pytest.approx(part.agg(statistic), rel=1e-9)
        table = frame(call, "e4_acc")
        part = table[(table.index >= start) & (table.index < start + 5)]
        for axis in "XYZ":
            mean, deviation = (
                column(found.values, f"acc{axis}_{of}")[row] for of in ("mean", "std")
            )
            assert mean == pytest.approx(part[f"acc{axis}"].mean())
            assert deviation == pytest.approx(part[f"acc{axis}"].std())
        size = np.sqrt((part**2).sum(axis=1)).mean()
        assert column(found.values, "acc_magnitude")[row] == pytest.approx(size)


def test_the_pulse_is_measured_from_beat_to_beat(call: Call) -> None:
    begin, end = call.span
    # 800 and 900 ms in turn: known in closed form.
    between = np.tile([0.8, 0.9], 60)
    beats = begin + np.cumsum(between)
    kept = beats < end + 1
    track = Track(beats[kept], 1000 * between[kept][:, None])
    seconds = np.arange(begin, end + 1)
    rates = Track(seconds, (70 + 2 * (np.arange(len(seconds)) % 2))[:, None].astype(float))
    found = call_features(swapped(call, polar_rr=track, polar_hr=rates)).values
    ibi = column(found, "ibi")
    assert ((ibi > 840) & (ibi < 860)).all()
    np.testing.assert_allclose(column(found, "bpm"), 60_000 / ibi)
    np.testing.assert_allclose(column(found, "rmssd"), 100)
    np.testing.assert_allclose(column(found, "sdnn"), 50, rtol=0.01)
    np.testing.assert_allclose(column(found, "pnn50"), 1)
    np.testing.assert_allclose(column(found, "hr_mean"), 71)
    np.testing.assert_allclose(column(found, "hr_std"), np.std([70, 72] * 5, ddof=1))


def test_a_sine_has_its_power_in_its_own_band_and_electrode(call: Call) -> None:
    muse = call.tracks["muse"]
    rng = np.random.default_rng(0)
    values = rng.normal(0, 0.1, muse.values.shape)
    time = muse.time - muse.time[0]
    values[:, 2] += np.sin(2 * np.pi * 11 * time)
    found = call_features(swapped(call, muse=Track(muse.time, values))).values
    powers = {name: column(found, name).mean() for name in GROUPS["eeg"]}
    strongest = max(powers, key=lambda name: powers[name])
    assert strongest == "alpha_high3"
    assert powers["alpha_high3"] > 50 * powers["alpha_high2"]
    assert powers["alpha_high3"] > 50 * powers["beta3"]
    # A spectrum of scipy's over each window says the same; its band is as wide: 3 Hz.
    frequency, density = signal.welch(values[: 256 * 10, 2], 256, "hann", 256)
    wanted = density[(frequency >= 10) & (frequency < 13)].mean()
    assert column(found, "alpha_high3")[0] == pytest.approx(wanted, rel=0.1)


def test_skin_conductance_is_split_into_its_parts(call: Call) -> None:
    track = call.tracks["e4_eda"]
    time = track.time - call.span[0]
    level = 2 + 0.01 * time
    response = 0.5 * np.exp(-(((time - 15) / 1.0) ** 2))
    found = call_features(swapped(call, e4_eda=Track(track.time, (level + response)[:, None])))
    peaks = column(found.values, "peak")
    holds = (found.start <= 14) & (found.start + 10 > 16)
    assert (peaks[holds] == 1).all()
    assert (peaks[found.start > 17] == 0).all()
    for name in ("mean", "min", "max", "std"):
        assert np.isfinite(column(found.values, f"phasic_{name}")).all()
    highest = column(found.values, "phasic_max")
    # The Gaussian is 2.35 s wide: what a first-order filter leaves of it is most of its height.
    assert 0.25 < highest[holds].min() <= highest[holds].max() < 0.5
    whole = column(found.values, "phasic_mean") + column(found.values, "tonic_mean")
    np.testing.assert_allclose(whole, column(found.values, "EDA_mean"), rtol=0.02)


def test_temperature_falls_by_its_slope(call: Call) -> None:
    track = call.tracks["e4_temp"]
    values = 33 - 0.02 * (track.time - track.time[0])
    found = call_features(swapped(call, e4_temp=Track(track.time, values[:, None]))).values
    np.testing.assert_allclose(column(found, "temp_slope"), -0.02, rtol=1e-6)


def test_the_rating_is_the_mean_or_the_last_one(call: Call) -> None:
    begin, end = call.span
    rare = np.array([begin - 0.5, begin + 2.5, end + 0.5])
    track = Track(rare, np.array([[4.0], [8.0], [1.0]]))
    found = call_features(swapped(call, suppression=track))
    # From 3 s on the windows' first 5 s hold no rating until the end: the one before holds.
    assert found.suppression[:3].tolist() == [8.0, 8.0, 8.0]
    assert found.suppression[3:8].tolist() == [8.0] * 5


def test_what_was_not_heard_is_not_known(call: Call) -> None:
    worker = call.tracks["worker"]
    values = worker.values.copy()
    values[worker.time < call.span[0] + 6, DESCRIPTORS.index("f0")] = np.nan
    found = call_features(swapped(call, worker=Track(worker.time, values))).values
    lost = [f"worker_f0_{of}" for of in ("mean", "min", "max", "std")]
    unknown = [name for name in FEATURES if not np.isfinite(column(found, name)[0])]
    assert unknown == lost


def test_clocks_that_differ_are_an_error(call: Call) -> None:
    late = call.tracks["e4_eda"]
    moved = Track(late.time + 3600, late.values)
    with pytest.raises(DataError, match="common part lasts") as error:
        call_features(swapped(call, e4_eda=moved))
    assert "clocks" in str(error.value.hint)
