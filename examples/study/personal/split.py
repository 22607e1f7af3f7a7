"""Which of a subject's windows a personal head learns from, and which it is tested on."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil

import numpy as np

from eer.runtime.errors import DataError

from ..windows import Codes, Mask, Windows


@dataclass(frozen=True, slots=True, eq=False)
class Split:
    """Masks over one subject's windows [w]."""

    labelled: Mask
    unlabelled: Mask
    """Learned from without their labels."""
    later: Mask
    """Tested on. None of them overlaps a window that is learned from."""

    @property
    def learned(self) -> Mask:
        """Learned from, with or without labels."""
        return np.asarray(self.labelled | self.unlabelled)

    def of(self, mask: Mask) -> Split:
        """The same for the windows of `mask` alone."""
        return Split(self.labelled[mask], self.unlabelled[mask], self.later[mask])


def split(
    windows: Windows,
    classes: Codes,
    window: float,
    *,
    share: float = 0.2,
    few: int | None = None,
    parts: Codes | None = None,
) -> Split:
    """The first `share` of each condition is learned from; later windows that overlap none of
    them are tested.

    `windows` are one subject's, `classes` [w] their classes or -1 where the task asks for none,
    `window` how long one is, in seconds. With `few`, only so many of the first windows of each
    condition keep their labels; the rest of the share is unlabelled, and so are all windows
    without a class. Conditions are told apart by the windows' labels, or by `parts` [w] where one
    label may come and go within a condition.
    """
    labelled = np.zeros(len(windows), dtype=bool)
    unlabelled, later = labelled.copy(), labelled.copy()
    condition_of = windows.label if parts is None else parts
    for condition in np.unique(condition_of[classes >= 0]):
        rows = np.flatnonzero((condition_of == condition) & (classes >= 0))
        rows = rows[np.argsort(windows.start[rows], kind="stable")]
        learned = rows[: ceil(share * len(rows))]
        labels = learned if few is None else learned[:few]
        labelled[labels] = True
        unlabelled[learned[len(labels) :]] = True
        rest = rows[len(learned) :]
        later[rest[windows.start[rest] >= windows.start[learned].max() + window]] = True
    if not later.any():
        raise DataError(
            "no window is left to test a personal head on",
            where=", ".join(windows.subjects),
            hint="the recording is too short: every condition has to outlast what is learned from",
        )
    if few is not None:
        unlabelled |= classes < 0
    return Split(labelled, unlabelled, later)
