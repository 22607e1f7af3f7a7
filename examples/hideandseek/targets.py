"""The study's four targets: what the customer gave, and what the worker perceived of it.

What was given is known from the session. What was perceived is the rating of suppressed emotion
against the same worker's other ratings, so that each worker's own scale counts.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from examples.study.windows import Codes, Signal, Task

STUDY = "Hide-and-Seek"


SESSIONS = 10
"""A window's label is this times its session, 1 to 3, plus its class: both are then known."""


def _task(*labels: str) -> Task:
    codes = range(len(labels))
    return Task(
        STUDY, labels, tuple(tuple(SESSIONS * s + c for s in (1, 2, 3)) for c in codes), SESSIONS
    )


TARGETS = {
    "given2": _task("neutral", "emotional"),
    "given3": _task("neutral", "first emotional", "second emotional"),
    "perceived2": _task("little", "much"),
    "perceived3": _task("little", "some", "much"),
}
"""The classes of each."""


def labels_of(target: str, session: Codes, rating: Signal, worker: NDArray[np.str_]) -> Codes:
    """The label of each window [w], in which its session and its class stand.

    `session` [w] is 1, 2 or 3 for c1, c2 and c3; `rating` [w] the suppression, and `worker` [w]
    whose it is. "perceived2" is at or above the worker's mean, "perceived3" below the 33rd
    percentile, below the 66th, and the rest.
    """
    return SESSIONS * session + _classes(target, session, rating, worker)


def _classes(target: str, session: Codes, rating: Signal, worker: NDArray[np.str_]) -> Codes:
    if target == "given2":
        return (session > 1).astype(np.int64)
    if target == "given3":
        return session - 1
    classes = np.zeros(len(rating), dtype=np.int64)
    for name in np.unique(worker):
        own = worker == name
        ratings = rating[own]
        if target == "perceived2":
            bounds = [ratings.mean()]
        else:
            bounds = np.percentile(ratings, (33, 66)).tolist()
        classes[own] = sum((ratings >= bound).astype(np.int64) for bound in bounds)
    return classes
