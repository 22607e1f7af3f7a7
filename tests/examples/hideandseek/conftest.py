"""What the example's tests share: made-up calls, and a release of them."""

from __future__ import annotations

from pathlib import Path

import pytest

from examples.hideandseek.call import Call
from examples.hideandseek.dataset import load_observations
from examples.hideandseek.observations import Observations
from examples.hideandseek.synthetic import synthetic_calls
from examples.hideandseek.synthetic_release import write_release

LENGTH = 0.12
"""Of a call: about 30 s."""


@pytest.fixture(scope="session")
def call() -> Call:
    """The first call of a worker."""
    return next(synthetic_calls(5, (3,), length=LENGTH))


@pytest.fixture(scope="session")
def release(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The files of a release with three workers; the last one has no galaxy_ppg."""
    return write_release(tmp_path_factory.mktemp("release"), 5, (1, 3, 20), length=LENGTH)


@pytest.fixture(scope="session")
def observations() -> Observations:
    """The windows of the same three workers."""
    return load_observations(None, seed=5, workers=(1, 3, 20), length=LENGTH)
