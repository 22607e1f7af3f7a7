"""Plaintext vectors are numbered by what they hold."""

from __future__ import annotations

import numpy as np

from eer.compiler.backend.vectors import Vectors


def test_equal_vectors_share_a_number_and_different_ones_do_not() -> None:
    vectors = Vectors()
    first = np.array([1.0, 0.0, 2.0])
    number = vectors.number(first)
    assert vectors.number(first) == vectors.number(first.copy()) == number
    assert vectors.held[number] is first
    assert vectors.number(np.array([1.0, 0.0, 3.0])) != number
    assert vectors.number(first.astype(np.complex128)) != number


def test_a_vector_of_zeros_has_nothing() -> None:
    vectors = Vectors()
    assert not vectors.any(np.zeros(4))
    assert vectors.any(np.array([0.0, 0.0, 0.0, 1e-9]))
    assert vectors.any(np.array([0.0, 1j]))
