"""Windows of features with all that a target may be made of."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from eer.runtime.errors import DataError
from examples.study.signals import medians_for_gaps
from examples.study.windows import Codes, Signal, Windows

from .call import CALLS, Call
from .columns import FEATURES
from .features import CallFeatures
from .targets import labels_of

APART = 10_000
"""Seconds from one call's beginning to the next one's, in `Windows.start`."""


@dataclass(frozen=True, slots=True, eq=False)
class Observations:
    """w windows of all workers; `values` is [w, 228], the other arrays are [w]."""

    values: Signal
    worker: NDArray[np.str_]
    session: Codes
    """1, 2 and 3 for c1, c2 and c3."""
    start: Codes
    """Seconds from the call's beginning."""
    suppression: Signal
    source: str
    synthetic: bool

    def __post_init__(self) -> None:
        w = len(self.values)
        lengths = map(len, (self.worker, self.session, self.start, self.suppression))
        if self.values.shape != (w, len(FEATURES)) or any(length != w for length in lengths):
            raise DataError(f"windows of shape {list(self.values.shape)}, expected 228 features")

    def windows(self, target: str) -> Windows:
        """The windows with the target's classes as labels (see targets.py).

        Their `start` counts on from call to call, `APART` seconds each, so that it orders all of a
        worker's windows and never says that windows of two calls overlap.
        """
        return Windows(
            names=FEATURES,
            values=self.values,
            label=labels_of(target, self.session, self.suppression, self.worker),
            subject=self.worker,
            start=self.start + APART * (self.session - 1),
            source=f"{self.source}, {target}",
            synthetic=self.synthetic,
        )


def observed(parts: Sequence[tuple[Call, CallFeatures]], source: str) -> Observations:
    """The windows of some calls. What a window lacks is the worker's median of it."""
    if not parts:
        raise DataError("no call has a single window")
    worker = np.concatenate([np.full(len(found.start), call.worker) for call, found in parts])
    values = np.concatenate([found.values for _, found in parts])
    for name in np.unique(worker):
        values[worker == name] = medians_for_gaps(values[worker == name])
    codes = [np.full(len(found.start), 1 + CALLS.index(call.session)) for call, found in parts]
    return Observations(
        values=values,
        worker=worker,
        session=np.concatenate(codes).astype(np.int64),
        start=np.concatenate([found.start for _, found in parts]).astype(np.int64),
        suppression=np.concatenate([found.suppression for _, found in parts]),
        source=source,
        synthetic=any(call.synthetic for call, _ in parts),
    )
