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
        slots = np.empty(len(row) * batch, np.complex128)
        slots.real = pack_windows(values, row, batch)
        slots.imag = pack_windows(values, imaginary, batch)
        return slots
    ring = np.zeros((len(row), batch))
    used = np.flatnonzero(row >= 0)
    ring[used, : len(values)] = values.take(row[used], axis=1).T
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
    for part in spec.parts:
        lanes = ciphers[part.cipher].reshape(-1, batch)
        values = lanes.imag if part.imaginary else lanes.real
        np.add.at(sums, part.elements, values[part.slots, :windows])
    return sums.T.reshape(windows, *spec.shape)
