"""Where a recording is cut into windows, and which conditions are told apart."""

from __future__ import annotations

from collections.abc import Iterator

from examples.study.windows import Task

from .recording import AMUSEMENT, BASELINE, MEDITATION, STRESS, WRIST_RATE, Recording

WINDOW = 60
"""Seconds of a window."""
STEP = 10
"""Seconds from one window's start to the next one's."""

TASKS = {
    2: Task("WESAD", ("no stress", "stress"), ((BASELINE, AMUSEMENT), (STRESS,))),
    3: Task("WESAD", ("baseline", "stress", "amusement"), ((BASELINE,), (STRESS,), (AMUSEMENT,))),
}
"""The study's two tasks, by their number of classes."""


def cuts(recording: Recording) -> Iterator[tuple[int, int]]:
    """(start in seconds, condition) of every window that lies within a single condition."""
    size = WINDOW * WRIST_RATE
    for start in range(0, int(recording.seconds) - WINDOW + 1, STEP):
        label = recording.label[start * WRIST_RATE : start * WRIST_RATE + size]
        condition = int(label[0])
        if BASELINE <= condition <= MEDITATION and (label == condition).all():
            yield start, condition
