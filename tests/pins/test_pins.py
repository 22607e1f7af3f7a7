"""Plans of the example models are those that were accepted."""

from __future__ import annotations

import json

import pytest

from tests.pins.golden import FOLDER, accepted, describe, differences
from tests.pins.models import PINS, SLOW

NAMES = [pytest.param(n, marks=pytest.mark.slow) if n in SLOW else n for n in PINS]


@pytest.mark.parametrize("name", NAMES)
def test_the_plan_is_the_one_that_was_accepted(name: str) -> None:
    found = json.loads(json.dumps(describe(name)))
    lines = list(differences(accepted(name), found))
    if lines:
        pytest.fail(
            f"{name} compiles to something else than what is pinned:\n  "
            + "\n  ".join(lines)
            + f"\nIf that is meant: python -m tests.pins --accept {name}",
            pytrace=False,
        )


def test_every_pin_has_its_file_and_no_other_is_there() -> None:
    assert {p.stem for p in FOLDER.glob("*.json")} == set(PINS)


def test_differences_are_told_one_by_one() -> None:
    was = {"keys": 16, "steps": [1, 2], "layers": {"a": {"method": "fold"}}, "gone": 1}
    now = {"keys": 20, "steps": [1, 3], "layers": {"a": {"method": "fold"}}, "new": 2}
    assert list(differences(was, now)) == [
        "keys: 16 → 20 (+25.0%)",
        "steps: [1, 2] → [1, 3]",
        "gone: 1 → nothing",
        "new: nothing → 2",
    ]
    assert not list(differences(was, was))
