"""Made-up recordings in WESAD's formats, for running the whole path where there is no data.

Each subject gets a resting heart rate, a skin conductance level, and strengths of reaction to
stress and to amusement; each condition moves heart rate, its variation, skin conductance, its
responses, skin temperature and movement accordingly, on top of drifts and motion artefacts. The
pulse is drawn beat by beat from the instantaneous heart rate. No claim about people is made with
it: it is there so that code has something plausible, and not too easy, to run on.
"""

from __future__ import annotations

import pickle
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy import signal

from examples.study.windows import Signal

from .archive import ACC_RATE, ACC_UNIT
from .recording import (
    AMUSEMENT,
    BASELINE,
    BVP_RATE,
    CHEST_RATE,
    MEDITATION,
    STRESS,
    WRIST_RATE,
    Chest,
    Recording,
)

SUBJECTS = tuple(f"S{number}" for number in (*range(2, 12), *range(13, 18)))
"""The study's fifteen subjects; the numbers 1 and 12 were never released."""

_MINUTES = {BASELINE: 19.5, STRESS: 10.5, AMUSEMENT: 6.2, MEDITATION: 6.6}
_TRANSITION = 1.5


@dataclass(frozen=True, slots=True)
class _Person:
    """How one subject rests and reacts; reactions are factors on the typical reaction."""

    heart_rate: float
    variation: float
    conductance: float
    responses: float
    temperature: float
    stress: float
    skin_stress: float
    amusement: float


def synthetic_recordings(
    seed: int = 0, subjects: tuple[str, ...] = SUBJECTS, *, length: float = 1.0, chest: bool = False
) -> tuple[Recording, ...]:
    """One synthetic session for each subject, always the same for the same arguments.

    `length` scales the session (1: about 65 minutes, as in the study). `chest` adds the chest
    band's ECG, skin conductance and respiration.
    """
    return tuple(
        _session(np.random.default_rng([seed, int(name[1:])]), name, length, chest)
        for name in subjects
    )


def pulse_wave(heart_rate: Signal, rate: int = BVP_RATE) -> Signal:
    """A blood volume pulse [n] whose heart rate [n], in beats a minute, is known exactly."""
    turn = np.cumsum(heart_rate / 60.0 / rate) % 1.0
    return np.exp(-(((turn - 0.3) / 0.09) ** 2)) + 0.2 * np.exp(-(((turn - 0.6) / 0.12) ** 2)) - 0.3


def write_npz(recording: Recording, folder: Path) -> Path:
    """Write the recording as `SX_wrist.npz`, as the project's data folder has them."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{recording.subject}_wrist.npz"
    np.savez_compressed(
        path,
        subject=np.array(recording.subject),
        fs=np.array(WRIST_RATE),
        bvp_64=recording.bvp.astype(np.float32),
        bvp=recording.bvp[:: BVP_RATE // WRIST_RATE].astype(np.float32),
        eda=recording.eda.astype(np.float32),
        temp=recording.temp.astype(np.float32),
        acc=(recording.acc * ACC_UNIT).astype(np.float32),
        label=recording.label,
        synthetic=np.array(recording.synthetic),
    )
    return path


def write_archive(recording: Recording, folder: Path) -> Path:
    """Write the recording as the official archive has it: `SX/SX.pkl`, with the chest band.

    The chest signals that no feature uses (ACC, EMG, Temp) are zeros. The recording needs a chest.
    """
    if recording.chest is None:
        raise ValueError("the official archive always has the chest band; make it with chest=True")
    path = folder / recording.subject / f"{recording.subject}.pkl"
    path.parent.mkdir(parents=True, exist_ok=True)
    chest, m = recording.chest, len(recording.chest.ecg)
    content = {
        "signal": {
            "chest": {
                "ACC": np.zeros((m, 3)),
                "ECG": chest.ecg[:, None],
                "EMG": np.zeros((m, 1)),
                "EDA": chest.eda[:, None],
                "Temp": np.zeros((m, 1), dtype=np.float32),
                "Resp": chest.resp[:, None],
            },
            "wrist": {
                "ACC": np.repeat(recording.acc * ACC_UNIT, ACC_RATE // WRIST_RATE, axis=0),
                "BVP": recording.bvp[:, None],
                "EDA": recording.eda[:, None],
                "TEMP": recording.temp[:, None],
            },
        },
        "label": np.repeat(recording.label.astype(np.int32), CHEST_RATE // WRIST_RATE),
        "subject": recording.subject,
        "synthetic": recording.synthetic,
    }
    with path.open("wb") as file:
        pickle.dump(content, file, protocol=2)
    return path


def _session(rng: np.random.Generator, subject: str, length: float, chest: bool) -> Recording:
    person = _Person(
        heart_rate=rng.normal(72, 9),
        variation=np.exp(rng.normal(0, 0.35)),
        conductance=np.exp(rng.normal(0.2, 0.8)),
        responses=np.exp(rng.normal(0, 0.4)),
        temperature=rng.normal(33.5, 0.9),
        stress=max(0.2, rng.normal(1.2, 0.4)),
        skin_stress=max(0.0, rng.normal(1.0, 0.55)),
        amusement=rng.normal(1.0, 0.6),
    )
    label = _protocol(rng, length)
    n = len(label)
    # A condition takes hold and lets go slowly, and is not felt at full strength all along.
    stress = _smooth((label == STRESS).astype(float), 20) * _wander(rng, n, 0.25, 60, 1.0)
    amused = _smooth((label == AMUSEMENT).astype(float), 20) * _wander(rng, n, 0.35, 40, 1.0)
    calm = _smooth((label == MEDITATION).astype(float), 60)
    arousal = person.stress * stress + 0.25 * person.amusement * amused - 0.25 * calm
    arousal = arousal + _wander(rng, n, 0.14, 150)

    moving = _movement(rng, stress, amused)
    temp = (
        person.temperature
        - _smooth(0.7 * person.stress * stress, 180)
        + _wander(rng, n, 0.35, 900)
        + rng.normal(0, 0.015, n)
    )
    heart_rate, turn = _heart(rng, person, arousal, n)
    noise = np.repeat(moving, BVP_RATE // WRIST_RATE) * rng.normal(0, 1, len(heart_rate))
    amplitude = 60 * np.exp(-0.25 * np.repeat(arousal, BVP_RATE // WRIST_RATE))
    bvp = amplitude * pulse_wave(heart_rate) + 55 * _smooth(noise, 0.15, BVP_RATE)
    eda, chest_eda = _conductance(rng, person, arousal, stress, amused, n)
    acc = _posture(rng, n) + moving[:, None] * rng.normal(0, 0.35, (n, 3))
    return Recording(
        subject=subject,
        bvp=bvp + rng.normal(0, 2.0, len(bvp)),
        eda=eda,
        temp=np.round(temp / 0.02) * 0.02,
        acc=np.round(acc * ACC_UNIT) / ACC_UNIT,
        label=label,
        chest=_chest(rng, heart_rate, turn, chest_eda) if chest else None,
        synthetic=True,
    )


def _protocol(rng: np.random.Generator, length: float) -> np.ndarray[tuple[int], np.dtype[np.int8]]:
    """Baseline first, then stress and amusement in either order, each followed by meditation."""
    middle = [STRESS, AMUSEMENT] if rng.random() < 0.5 else [AMUSEMENT, STRESS]
    order = [BASELINE, middle[0], MEDITATION, middle[1], MEDITATION]
    parts: list[int] = []
    for condition in order:
        seconds = 60 * length * _MINUTES[condition] * rng.uniform(0.95, 1.05)
        parts += [0] * int(60 * length * _TRANSITION * WRIST_RATE)
        parts += [condition] * int(seconds * WRIST_RATE)
    return np.array(parts, dtype=np.int8)


def _smooth(values: Signal, seconds: float, rate: int = WRIST_RATE) -> Signal:
    """Exponential smoothing with this time constant."""
    keep = np.exp(-1 / (seconds * rate))
    smoothed: Signal = signal.lfilter([1 - keep], [1, -keep], values)
    return smoothed


def _wander(
    rng: np.random.Generator, n: int, size: float, seconds: float, mean: float = 0.0
) -> Signal:
    """A random drift [n] with this standard deviation and time constant."""
    drift = _smooth(rng.normal(0, 1, n), seconds) * np.sqrt(2 * seconds * WRIST_RATE)
    wandering: Signal = mean + size * drift
    return wandering


def _movement(rng: np.random.Generator, stress: Signal, amused: Signal) -> Signal:
    """How much the wrist moves [n]: short bouts, more of them under stress."""
    often = 0.004 + 0.007 * np.clip(stress, 0, 1) + 0.004 * np.clip(amused, 0, 1)
    bouts = (rng.random(len(stress)) < often) * rng.gamma(2.0, 1.0, len(stress))
    return np.clip(_smooth(bouts, 4) * 12 + 0.03, 0, 3)


def _posture(rng: np.random.Generator, n: int) -> Signal:
    """Where down is [n, 3]: a direction that changes now and then."""
    turns = np.cumsum(rng.random(n) < 1 / (180 * WRIST_RATE))
    directions = rng.normal(0, 1, (turns[-1] + 1, 3))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    down: Signal = directions[turns]
    return down


def _heart(
    rng: np.random.Generator, person: _Person, arousal: Signal, n: int
) -> tuple[Signal, Signal]:
    """Instantaneous heart rate and breathing phase (in turns), both [16 n] at `BVP_RATE`."""
    fine = BVP_RATE // WRIST_RATE
    breaths = np.clip(15 + 3 * arousal + _wander(rng, n, 1.5, 30), 6, 30)
    turn = np.cumsum(np.repeat(breaths, fine) / 60 / BVP_RATE)
    lively = person.variation * np.exp(-0.5 * arousal)
    slow = 2.2 * _wander(rng, n, 1.0, 5)
    trend = person.heart_rate + 11 * arousal + _wander(rng, n, 2.5, 90)
    rate = np.repeat(trend + lively * slow, fine)
    rate = rate + np.repeat(3.0 * lively, fine) * np.sin(2 * np.pi * turn)
    return np.clip(rate, 42, 160), turn


def _conductance(
    rng: np.random.Generator,
    person: _Person,
    arousal: Signal,
    stress: Signal,
    amused: Signal,
    n: int,
) -> tuple[Signal, Signal]:
    """Skin conductance of wrist and chest [n] each: a level, and responses that rise and decay."""
    feel = person.skin_stress * stress + 0.45 * person.amusement * amused
    a_minute = np.clip(person.responses * (2.5 + 6.0 * feel + 1.5 * arousal), 0.3, 25)
    events = (rng.random(n) < a_minute / 60 / WRIST_RATE) * rng.gamma(2.0, 0.5, n)
    time = np.arange(0, 40, 1 / WRIST_RATE)
    response = np.exp(-time / 5.0) - np.exp(-time / 0.9)
    level = np.exp(0.35 * _smooth(feel, 60) + _wander(rng, n, 0.18, 600))
    both = []
    for size, noise in ((1.0, 0.004), (2.2, 0.006)):
        phasic = 0.12 * size * np.convolve(events, response)[:n]
        total = person.conductance * (size * level + phasic) + rng.normal(0, noise, n)
        both.append(np.clip(total, 0.02, None))
    return both[0], both[1]


def _chest(rng: np.random.Generator, heart_rate: Signal, turn: Signal, eda: Signal) -> Chest:
    """The chest band at `CHEST_RATE`, from the same heart and the same breath."""
    coarse = np.arange(len(heart_rate)) / BVP_RATE
    fine = np.arange(len(eda) * (CHEST_RATE // WRIST_RATE)) / CHEST_RATE
    beat = np.interp(fine, coarse, np.cumsum(heart_rate / 60 / BVP_RATE)) % 1.0
    ecg = 1.1 * np.exp(-(((beat - 0.5) / 0.012) ** 2)) + 0.2 * np.exp(-(((beat - 0.8) / 0.05) ** 2))
    breath = np.sin(2 * np.pi * np.interp(fine, coarse, turn))
    slow = np.interp(fine, np.arange(len(eda)) / WRIST_RATE, eda)
    return Chest(
        ecg=ecg + rng.normal(0, 0.03, len(fine)),
        eda=slow + rng.normal(0, 0.003, len(fine)),
        resp=4 * breath + rng.normal(0, 0.4, len(fine)),
    )
