"""What the example's tests share: the example on the import path, and data, real or made up."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
# The examples are no part of the installed distribution: they are imported from the clone.
if str(ROOT) not in sys.path:
    sys.path.append(str(ROOT))

from examples.wesad.archive import find_data  # noqa: E402
from examples.wesad.recording import Recording  # noqa: E402
from examples.wesad.synthetic import synthetic_recordings  # noqa: E402


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
