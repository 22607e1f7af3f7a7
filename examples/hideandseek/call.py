"""One call of one worker: what the sensors that the features rest on recorded."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from eer.runtime.errors import DataError
from examples.study.windows import Signal

from .columns import DESCRIPTORS, ELECTRODES

CALLS = ("c1", "c2", "c3")
"""A neutral customer first, then a shouting and a swearing one in either order."""
RESTS = ("b1", "b2", "b3")
"""A minute of rest before each call; no feature is made of it."""


@dataclass(frozen=True, slots=True)
class Sensor:
    """A table of the release: its columns beside `Timestamp`, and its rate where it has one."""

    columns: tuple[str, ...]
    rate: float | None = None
    """Hz; None for what is recorded beat by beat, frame by frame, or now and then."""


SENSORS = {
    "muse": Sensor(ELECTRODES, 256),
    "e4_eda": Sensor(("eda",), 4),
    "e4_temp": Sensor(("temp",), 4),
    "e4_acc": Sensor(("accX", "accY", "accZ"), 32),
    "polar_rr": Sensor(("RR-interval",)),
    "polar_hr": Sensor(("HR",)),
}
"""Those of `SENSORS/sensors.pkl` that the features need; it has more."""

SPEAKERS = {"worker": 1, "customer": 2}
"""Their keys in `SENSORS/audio.pkl`."""

TRACKS = {
    **SENSORS,
    **{speaker: Sensor(DESCRIPTORS) for speaker in SPEAKERS},
    "suppression": Sensor(("suppression",)),
}
"""All that a call consists of."""

COVERED = 0.8
"""Share of the longest track that every other one must last."""


@dataclass(frozen=True, slots=True, eq=False)
class Track:
    """n samples of one sensor: `time` [n] in seconds, never falling, and `values` [n, columns].

    A value that is not known, such as the pitch of a voice that is silent, is NaN.
    """

    time: Signal
    values: Signal

    def between(self, start: float, end: float) -> Signal:
        """The samples from `start` on and before `end`, [m, columns]."""
        first, last = np.searchsorted(self.time, (start, end))
        return self.values[first:last]

    @property
    def seconds(self) -> float:
        return float(self.time[-1] - self.time[0]) if len(self.time) else 0.0


@dataclass(frozen=True, slots=True, eq=False)
class Call:
    """The tracks of one call, by the names in `TRACKS`; their clocks agree."""

    worker: str
    """ "P1" to "P31"."""
    session: str
    tracks: Mapping[str, Track]
    synthetic: bool = False

    def __post_init__(self) -> None:
        for name, sensor in TRACKS.items():
            if name not in self.tracks:
                raise DataError(
                    f"the call has no {name}",
                    where=self.where,
                    hint=f"it has {', '.join(sorted(self.tracks)) or 'nothing'}; get the file "
                    "again, or leave out what is incomplete with --skip-incomplete",
                )
            self._check(name, sensor, self.tracks[name])

    @property
    def where(self) -> str:
        return f"{self.worker}, {self.session}"

    @property
    def span(self) -> tuple[float, float]:
        """The seconds from and to which every track was recorded."""
        tracks = self.tracks.values()
        return max(t.time[0] for t in tracks), min(t.time[-1] for t in tracks)

    def _check(self, name: str, sensor: Sensor, track: Track) -> None:
        shape = (len(track.time), len(sensor.columns))
        if track.values.shape != shape:
            raise DataError(
                f"{name} has shape {list(track.values.shape)}, expected {list(shape)}",
                where=self.where,
            )
        if len(track.time) < 2:
            raise DataError(
                f"{name} holds {len(track.time)} samples",
                where=self.where,
                hint="get the file again, or give --skip-incomplete",
            )
        if (np.diff(track.time) < 0).any():
            raise DataError(f"{name} has timestamps that fall", where=self.where)
        longest = max(other.seconds for other in self.tracks.values())
        if track.seconds < COVERED * longest:
            raise DataError(
                f"{name} lasts {track.seconds:.0f} s of the call's {longest:.0f} s",
                where=self.where,
                hint="it was cut short: get the file again, or give --skip-incomplete",
            )
        found = rates(track)
        if sensor.rate and not any(abs(rate / sensor.rate - 1) < 0.1 for rate in found):
            raise DataError(
                f"{name} was recorded at {found[0]:.4g} Hz, expected {sensor.rate:g} Hz",
                where=self.where,
                hint="timestamps are in milliseconds; resample the sensor if it really differs",
            )


def rates(track: Track) -> tuple[float, float]:
    """Hz by the mean interval and by the median one: devices that send in bursts differ."""
    steps = np.diff(track.time)
    mean, middle = float(steps.mean()), float(np.median(steps))
    return 1 / max(mean, 1e-9), 1 / max(middle, 1e-9)
