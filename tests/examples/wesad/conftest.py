"""What the example's tests share: data, real or made up."""

from __future__ import annotations

from pathlib import Path

import pytest

from examples.wesad.archive import find_data
from examples.wesad.recording import Recording
from examples.wesad.synthetic import synthetic_recordings

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture(scope="session")
def recordings() -> tuple[Recording, ...]:
    """Three synthetic subjects with short sessions, chest band included."""
    return synthetic_recordings(3, ("S2", "S10", "S17"), length=0.3, chest=True)


@pytest.fixture(scope="session")
def wesad() -> Path:
    """The folder with the real data; tests that ask for it are skipped where there is none."""
    folder = find_data(None, ROOT)
    if folder is None:
        pytest.skip("no WESAD data: neither EER_DATA nor ../shared/data")
    return folder
