"""What a held-out subject may send, and what the network never learned to read."""

from __future__ import annotations

import numpy as np
import pytest

from examples.study.normalise import LIMIT, prepared, with_bounds
from examples.study.windows import Windows


def windows() -> Windows:
    """Two subjects; "flag" never changes for the first, "count" never falls below 1."""
    rng = np.random.default_rng(0)
    values = np.stack((rng.normal(size=40), np.ones(40), rng.gamma(2, 2, 40) + 1), axis=1)
    values[25:30, 1] = 0.0
    values[39, 0] = 50.0
    subject = np.repeat(["S1", "S2"], 20)
    codes = np.zeros(40, dtype=np.int64)
    return Windows(("level", "flag", "count"), values, codes, subject, codes, "test")


@pytest.mark.parametrize("normalisation", ["subject", "training"])
def test_what_never_changed_in_training_is_zero_for_all(normalisation: str) -> None:
    given = windows()
    ready = prepared(given, normalisation, given.subject == "S1").values
    assert (ready[:, 1] == 0).all()
    assert (ready.std(axis=0)[[0, 2]] > 0).all()
    seen = prepared(given, normalisation, given.subject == "S2").values
    assert len(set(seen[20:, 1])) == 2


def test_calibration_reaches_every_bound_one_feature_at_a_time() -> None:
    given = windows()
    training = given.subject == "S1"
    ready = prepared(given, "training", training).values
    known = ready[training]
    assert known.max() < LIMIT == ready.max()
    calibration = with_bounds(known)
    np.testing.assert_array_equal(calibration[:20], known)
    np.testing.assert_array_equal(calibration.min(axis=0), -LIMIT)
    np.testing.assert_array_equal(calibration.max(axis=0), LIMIT)
    for row in calibration[20:]:
        assert ((row == known).sum(axis=1) >= 2).any()
