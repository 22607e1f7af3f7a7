"""One subject's recording, whatever file it came from."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from eer.runtime.errors import DataError
from examples.study.windows import Signal

BVP_RATE = 64
"""Hz of the wrist's blood volume pulse."""
WRIST_RATE = 4
"""Hz of everything else of the wrist, and of the labels, in a `Recording`."""
CHEST_RATE = 700
"""Hz of everything that the chest band records."""

BASELINE, STRESS, AMUSEMENT, MEDITATION = 1, 2, 3, 4
CONDITIONS = {
    BASELINE: "baseline",
    STRESS: "stress",
    AMUSEMENT: "amusement",
    MEDITATION: "meditation",
}
"""The labels that stand for a condition; 0 and 5 to 7 are transitions, to be left out."""


@dataclass(frozen=True, slots=True, eq=False)
class Chest:
    """The chest band's signals that the features use, at `CHEST_RATE`."""

    ecg: Signal
    """[m] mV."""
    eda: Signal
    """[m] microsiemens."""
    resp: Signal
    """[m] percent of the belt's range."""


@dataclass(frozen=True, slots=True, eq=False)
class Recording:
    """The signals of one subject over one session, all starting at the same instant.

    For n samples at `WRIST_RATE` there are 16 n of the blood volume pulse. `synthetic` marks
    recordings that a generator made: every table and figure that rests on them has to say so.
    """

    subject: str
    """ "S2" to "S17"."""
    bvp: Signal
    """[16 n] at `BVP_RATE`, the device's own units."""
    eda: Signal
    """[n] microsiemens."""
    temp: Signal
    """[n] degrees Celsius."""
    acc: Signal
    """[n, 3] g."""
    label: NDArray[np.int8]
    """[n] the study's protocol, 0 to 7."""
    chest: Chest | None = None
    synthetic: bool = False

    def __post_init__(self) -> None:
        n = len(self.label)
        pulses = n * BVP_RATE // WRIST_RATE
        wanted = {"bvp": (pulses,), "eda": (n,), "temp": (n,), "acc": (n, 3)}
        for name, shape in wanted.items():
            signal: Signal = getattr(self, name)
            if signal.shape != shape:
                raise DataError(
                    f"{name} has shape {list(signal.shape)}, expected {list(shape)} beside {n} "
                    f"labels at {WRIST_RATE} Hz",
                    where=self.subject,
                    hint="check the sampling rates, or whether the file was cut short",
                )
            if not np.isfinite(signal).all():
                raise DataError(f"{name} holds NaN or infinite samples", where=self.subject)
        if n and not 0 <= self.label.min() <= self.label.max() <= 7:
            raise DataError(
                f"labels must be 0 to 7, found {self.label.min()} to {self.label.max()}",
                where=self.subject,
            )

    @property
    def seconds(self) -> float:
        """How long the recording is."""
        return len(self.label) / WRIST_RATE
