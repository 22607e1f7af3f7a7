"""Made-up calls in the study's format, for running the whole path where there is no data.

Each worker gets resting values and strengths of reaction; each customer a voice that grows loud
and high when it shouts or swears. A drift of arousal moves heart rate and its variation, skin
conductance, skin temperature, movement, the EEG's bands and the worker's voice, and the rating of
suppressed emotion follows it with each worker's own scale. Nothing here was fitted to people: it
is there so that code has something plausible, and not too easy, to run on.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import signal

from examples.study.windows import Signal

from .call import CALLS, RESTS, SENSORS, TRACKS, Call, Track
from .columns import DESCRIPTORS

WORKERS = tuple(range(1, 32))
"""The study's 31 workers."""
CALL_SECONDS, REST_SECONDS = 246.0, 60.0
WITHOUT_GALAXY = 20
"""From this worker on there is no `galaxy_ppg`, as in the study."""

RATES = {
    **{name: sensor.rate for name, sensor in SENSORS.items() if sensor.rate},
    "e4_bvp": 64,
    "polar_ecg": 130,
    "galaxy_ppg": 25,
}
"""Hz of everything that is sampled evenly."""
FRAME_RATE = 22050 / 512
"""Descriptors of a voice a second."""
SCALE = 20
"""The highest rating; the lowest is 0."""

_BEGIN = 1_670_000_000.0
_TICK = 0.25


@dataclass(frozen=True, slots=True)
class Recorded:
    """A table of the release: `values` [n, columns] at `time` [n] in seconds of one clock."""

    columns: tuple[str, ...]
    time: Signal
    values: Signal


@dataclass(frozen=True, slots=True, eq=False)
class _Person:
    """How a worker rests and reacts; reactions are factors on the typical reaction."""

    heart_rate: float
    conductance: float
    temperature: float
    heart_reaction: float
    skin_reaction: float
    brain: Signal
    """[bands, electrodes] how strong each band is."""
    brain_reaction: Signal
    """[bands]"""
    voice: Signal
    """[descriptors]"""
    rating: float
    """How much of the scale the worker uses."""


def synthetic_calls(
    seed: int = 0, workers: tuple[int, ...] = WORKERS, *, length: float = 1.0
) -> Iterator[Call]:
    """The calls of these workers, always the same for the same arguments.

    `length` scales how long they last (1: 4.1 minutes, as in the study).
    """
    for worker in workers:
        for session in CALLS:
            tables = synthetic_session(seed, worker, session, length=length)
            tracks = {n: Track(tables[n].time, tables[n].values) for n in TRACKS}
            yield Call(f"P{worker}", session, tracks, synthetic=True)


def shouting_first(seed: int, worker: int) -> bool:
    """Whether the worker's second call is the shouting customer's."""
    return bool(np.random.default_rng([seed, worker, 99]).random() < 0.5)


def synthetic_session(
    seed: int, worker: int, session: str, *, length: float = 1.0
) -> Mapping[str, Recorded]:
    """All tables of one rest or call, by the release's names; of a rest, no voices and ratings."""
    person = _person(np.random.default_rng([seed, worker]))
    number = (RESTS + CALLS).index(session)
    rng = np.random.default_rng([seed, worker, number])
    call = session in CALLS
    seconds = length * (CALL_SECONDS * rng.uniform(0.95, 1.05) if call else REST_SECONDS)
    loud = session != "c1" and call
    shouting = loud and (session == "c2") == shouting_first(seed, worker)
    begin = _BEGIN + 86_400 * worker + 600 * number
    time = np.arange(0, seconds, _TICK)
    arousal = _arousal(rng, time, reaction=(0.9 if shouting else 0.7) if loud else 0.0)
    tables = _sensors(rng, person, arousal, time)
    if call:
        tables |= _voices(rng, person, arousal, time, shouting=shouting, loud=loud)
        tables["suppression"] = _ratings(rng, person, arousal, time)
    if worker >= WITHOUT_GALAXY:
        del tables["galaxy_ppg"]
    return {
        name: Recorded(table.columns, begin + table.time, table.values)
        for name, table in tables.items()
    }


def _person(rng: np.random.Generator) -> _Person:
    return _Person(
        heart_rate=rng.normal(76, 8),
        conductance=np.exp(rng.normal(0.2, 0.8)),
        temperature=rng.normal(33.0, 1.0),
        heart_reaction=max(0.0, rng.normal(5, 3)),
        skin_reaction=max(0.0, rng.normal(0.5, 0.3)),
        brain=np.exp(rng.normal(0, 0.3, (5, 4))),
        brain_reaction=rng.normal((-0.05, -0.1, -0.1, 0.15, 0.2), 0.15),
        voice=rng.normal(0, 1, len(DESCRIPTORS)),
        rating=rng.uniform(0.4, 1.0),
    )


def _smooth(values: Signal, seconds: float) -> Signal:
    """Exponential smoothing with this time constant, along the first axis, at `_TICK`."""
    keep = np.exp(-_TICK / seconds)
    smoothed: Signal = signal.lfilter([1 - keep], [1, -keep], values, axis=0)
    return smoothed


def _drift(
    rng: np.random.Generator, shape: int | tuple[int, ...], size: float, seconds: float
) -> Signal:
    """A random drift along the first axis with this deviation and time constant."""
    drift: Signal = _smooth(rng.normal(0, 1, shape), seconds) * size * np.sqrt(2 * seconds / _TICK)
    return drift


def _arousal(rng: np.random.Generator, time: Signal, reaction: float) -> Signal:
    """0 at rest, about 1 with a customer who shouts; it takes hold within some ten seconds."""
    risen = 1 - np.exp(-time / 12)
    felt = np.clip(reaction + _drift(rng, len(time), 0.3, 40), -0.4, None)
    return risen * felt + _drift(rng, len(time), 0.2, 20)


def _evenly(time: Signal, rate: float) -> Signal:
    return np.arange(0, time[-1] + _TICK, 1 / rate)


def _sensors(
    rng: np.random.Generator, person: _Person, arousal: Signal, time: Signal
) -> dict[str, Recorded]:
    n = len(time)
    heart = person.heart_rate + person.heart_reaction * arousal + _drift(rng, n, 3.0, 30)
    heart = np.clip(heart + 2.5 * np.sin(2 * np.pi * 0.25 * time), 45, 160)
    turns = np.cumsum(heart / 60 * _TICK)
    beats = np.interp(np.arange(1, int(turns[-1])), turns, time)
    between = 1000 * np.diff(beats) + rng.normal(0, 8, max(0, len(beats) - 1))

    def wave(rate: float, width: float, noise: float) -> tuple[Signal, Signal]:
        when = _evenly(time, rate)
        phase = np.interp(when, time, turns) % 1.0
        pulse = np.exp(-(((phase - 0.3) / width) ** 2))
        return when, (pulse + rng.normal(0, noise, len(when)))[:, None]

    events = (rng.random(n) < np.clip(0.02 + 0.06 * arousal, 0.005, 0.3)) * rng.gamma(2, 0.5, n)
    kernel = np.exp(-np.arange(0, 30, _TICK) / 5) - np.exp(-np.arange(0, 30, _TICK) / 0.9)
    level = person.conductance * np.exp(person.skin_reaction * _smooth(arousal, 15))
    eda = level * (1 + 0.1 * np.convolve(events, kernel)[:n]) + _drift(rng, n, 0.05, 60)
    temperature = person.temperature - 0.3 * _smooth(arousal, 60) + _drift(rng, n, 0.15, 90)
    moves = _evenly(time, 32)
    restless = np.interp(moves, time, np.clip(0.03 + 0.04 * arousal, 0.01, None))[:, None]
    axes = 64 * (rng.normal(0, 0.5, 3) + restless * rng.normal(0, 1, (len(moves), 3)))
    seconds = np.arange(1.0, time[-1])
    tables = {
        "muse": Recorded(SENSORS["muse"].columns, *_brain(rng, person, arousal, time)),
        "e4_eda": Recorded(("eda",), time, np.clip(eda, 0.01, None)[:, None]),
        "e4_temp": Recorded(("temp",), time, temperature[:, None]),
        "e4_acc": Recorded(SENSORS["e4_acc"].columns, moves, np.round(axes)),
        "polar_rr": Recorded(("RR-interval",), beats[1:], between[:, None]),
        "polar_hr": Recorded(("HR",), seconds, np.interp(seconds, time, heart).round()[:, None]),
        "e4_ibi": Recorded(("ibi",), beats[1:], between[:, None] / 1000),
    }
    for name, width, noise in (("e4_bvp", 0.1, 0.1), ("polar_ecg", 0.02, 0.05)):
        tables[name] = Recorded((name.partition("_")[2],), *wave(RATES[name], width, noise))
    tables["galaxy_ppg"] = Recorded(("ppg",), *wave(25, 0.1, 0.1))
    return tables


def _brain(
    rng: np.random.Generator, person: _Person, arousal: Signal, time: Signal
) -> tuple[Signal, Signal]:
    """EEG of four electrodes: noise in each band, stronger or weaker with arousal."""
    when = _evenly(time, 256)
    felt = np.interp(when, time, arousal)
    total = rng.normal(0, 4, (len(when), 4))
    for number, edges in enumerate(((4, 8), (8, 10), (10, 13), (13, 25), (25, 40))):
        sections = signal.butter(2, edges, "bandpass", fs=256, output="sos")
        noise = signal.sosfilt(sections, rng.normal(0, 20, (len(when), 4)), axis=0)
        gain = np.exp(person.brain_reaction[number] * felt)[:, None]
        total += gain * person.brain[number] * noise
    return when, total


def _voices(
    rng: np.random.Generator,
    person: _Person,
    arousal: Signal,
    time: Signal,
    *,
    shouting: bool,
    loud: bool,
) -> dict[str, Recorded]:
    effort = 0.8 if shouting else 0.45 if loud else 0.0
    customer = effort * (1 + _drift(rng, len(time), 0.5, 15))
    found = {}
    for speaker, strength, own in (
        ("customer", customer, rng.normal(0, 0.3, len(DESCRIPTORS))),
        ("worker", 0.25 * arousal, person.voice),
    ):
        when = _evenly(time, FRAME_RATE)
        found[speaker] = Recorded(
            DESCRIPTORS, when, _frames(rng, own, np.interp(when, time, strength))
        )
    return found


def _frames(rng: np.random.Generator, own: Signal, effort: Signal) -> NDArray[np.float64]:
    """Descriptors [n, 22] of a voice that is `effort` [n] louder and higher than it usually is."""
    n, number = len(effort), {name: place for place, name in enumerate(DESCRIPTORS)}
    keep = 0.9
    turns = rng.normal(0, np.sqrt(1 - keep**2), (n, len(DESCRIPTORS)))
    frames = own + signal.lfilter([1.0], [1.0, -keep], turns, axis=0)
    talks = signal.lfilter([1.0], [1.0, -0.97], rng.normal(0, np.sqrt(1 - 0.97**2), n)) > -0.3
    sizes = {"f0": 40.0, "cent": 400.0, "spec_bw": 250.0, "rolloff": 900.0, "rolloff_min": 30.0}
    middles = {"f0": 190.0, "cent": 1700.0, "spec_bw": 1600.0, "rolloff": 3300.0}
    pulls = {"f0": 1.0, "energy": 1.2, "cent": 0.8, "rolloff": 0.7, "contrast": 0.4, "mfcc_1": 1.0}
    for name, pull in pulls.items():
        frames[:, number[name]] += pull * effort
    for name, size in sizes.items():
        column = middles.get(name, 90.0) + size * frames[:, number[name]]
        frames[:, number[name]] = np.clip(column, 20.0, None)
    frames[:, number["energy"]] = 0.03 * np.exp(0.6 * frames[:, number["energy"]]) * (0.1 + talks)
    frames[:, number["zcr"]] = 0.08 * np.exp(0.3 * frames[:, number["zcr"]])
    frames[:, number["voiced_flag"]] = talks
    # A voice that is silent has no pitch.
    frames[~talks, number["f0"]] = np.nan
    return np.asarray(frames)


def _ratings(rng: np.random.Generator, person: _Person, arousal: Signal, time: Signal) -> Recorded:
    """The rating of suppressed emotion, once a second: whole steps, held for some seconds."""
    felt = _smooth(arousal, 4)[:: int(1 / _TICK)] + rng.normal(0, 0.05)
    wanted = np.clip(SCALE * person.rating * (0.25 + 0.55 * felt), 0, SCALE)
    held = np.repeat(wanted[::3], 3)[: len(wanted)].round()
    return Recorded(("suppression",), time[:: int(1 / _TICK)], held[:, None])
