"""Between windows and slots: where each element of each window lies."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

import numpy as np

from .model import Index, OutputSpec
from .program import Slots, Vector


def pack_windows(values: Vector, row: Index, batch: int, imaginary: Index | None = None) -> Slots:
    """One ciphertext's slots [len(row) * batch] from windows [windows, elements].

    Ring slot s*batch + b holds element row[s] of window b: zero where row[s] is -1, and in the
    slots of windows that are not there. Its imaginary part is element imaginary[s] in the same way;
    without `imaginary` the slots are float64.
    """
    if imaginary is not None:
        return pack_windows(values, row, batch) + 1j * pack_windows(values, imaginary, batch)
    ring = np.zeros((len(row), batch))
    used = row >= 0
    ring[used, : len(values)] = values[:, row[used]].T
    return ring.reshape(-1)


def pack_repeated(values: Vector, row: Index, batch: int, imaginary: Index | None = None) -> Slots:
    """One ciphertext's slots [len(row) * batch] from one value [elements] that all windows share.

    Ring slots s*batch to s*batch + batch - 1 hold element row[s], and element imaginary[s] as
    imaginary part; without `imaginary` they are float64.
    """
    slots: Slots = np.where(row >= 0, values[row], 0.0)
    if imaginary is not None:
        slots = slots + 1j * np.where(imaginary >= 0, values[imaginary], 0.0)
    return np.repeat(slots, batch)


def unpack_windows(ciphers: Sequence[Slots], spec: OutputSpec, windows: int, batch: int) -> Vector:
    """Output values [windows, *shape] from decrypted slot vectors [slots * batch] each."""
    sums = np.zeros((prod(spec.shape), windows))
    for number in np.unique(spec.ciphers):
        lanes = ciphers[number].reshape(-1, batch)
        for imaginary, values in enumerate((lanes.real, lanes.imag)):
            elements, slots = spec.of(number, imaginary)
            np.add.at(sums, elements, values[slots, :windows])
    return sums.T.reshape(windows, *spec.shape)
