"""Windows in slots, and back: what `pack_windows` and `unpack_windows` promise, slot by slot."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from eer.runtime.model import OutputSpec
from eer.runtime.packing import pack_windows, unpack_windows


@pytest.mark.parametrize("held", [False, True])
@given(seed=st.integers(0, 2**32), batch=st.sampled_from([1, 4]), slots=st.sampled_from([1, 8]))
def test_every_slot_holds_what_its_row_says(seed: int, batch: int, slots: int, held: bool) -> None:
    rng = np.random.default_rng(seed)
    windows, elements = int(rng.integers(1, batch + 1)), int(rng.integers(1, 6))
    values = rng.normal(size=(windows, elements))
    rows: Any = rng.integers(-1, elements, (2, slots))
    wanted = np.zeros((slots, batch), complex)
    for slot, window in np.ndindex(slots, windows):
        real, imaginary = (values[window, e] if e >= 0 else 0.0 for e in rows[:, slot])
        wanted[slot, window] = complex(real, imaginary * held)
    found = pack_windows(values, rows[0], batch, rows[1] if held else None)
    assert found.dtype == (np.complex128 if held else np.float64)
    np.testing.assert_array_equal(found, wanted.reshape(-1))


@pytest.mark.parametrize("both", [False, True])
@given(seed=st.integers(0, 2**32), batch=st.sampled_from([1, 4]))
def test_every_element_is_the_sum_of_its_parts(seed: int, batch: int, both: bool) -> None:
    rng = np.random.default_rng(seed)
    windows, parts = int(rng.integers(1, batch + 1)), int(rng.integers(3, 12))
    ciphers = rng.normal(size=(3, 4 * batch)) + 1j * rng.normal(size=(3, 4 * batch)) * both
    elements, owners, slots = (rng.integers(0, n, parts) for n in (3, 3, 4))
    elements[:3] = range(3)
    kinds = rng.integers(0, 2, parts) if both else np.zeros(0, np.int64)
    spec = OutputSpec("y", (3,), elements, owners, slots, "none", 0, (), imaginary=kinds)
    wanted = np.zeros((windows, 3))
    for k, window in np.ndindex(parts, windows):
        value = ciphers[owners[k], slots[k] * batch + window]
        wanted[window, elements[k]] += value.imag if both and kinds[k] else value.real
    found = unpack_windows(list(ciphers), spec, windows, batch)
    np.testing.assert_allclose(found, wanted, atol=1e-12)
    read = [(p.cipher, p.imaginary) for p in spec.parts]
    assert read == sorted(set(read))
    assert sum(len(p.elements) for p in spec.parts) == parts
