"""What may leave the client: labels, rounded values, and raw ones only when asked for."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from eer.runtime.decode import Prediction, decode
from eer.runtime.errors import UsageError
from eer.runtime.model import OutputSpec

if TYPE_CHECKING:
    from .conftest import Run, Sample

RNG = np.random.default_rng(3)
SCORES, VALUES = RNG.normal(size=(4, 3)), RNG.normal(size=(4, 2))
WEIGHTS = RNG.normal(size=(4, 2))


def spec(name: str, size: int, labels: tuple[str, ...] = (), state: str = "") -> OutputSpec:
    places = np.arange(size)
    return OutputSpec(name, (size,), places, places * 0, places, "none", 0, labels, state)


@pytest.fixture
def prediction() -> Prediction:
    """Scores of three classes, plain values, and the next state."""
    specs = (spec("mood", 3, ("calm", "tense", "joy")), spec("pulse", 2), spec("W2", 2, (), "W"))
    return decode({"mood": SCORES, "pulse": VALUES, "W2": WEIGHTS}, specs, 4)


def numbers_in(value: Any) -> list[float]:
    """All numbers that stand anywhere in plain JSON."""
    if isinstance(value, dict):
        return [n for v in value.values() for n in numbers_in(v)]
    if isinstance(value, list):
        return [n for v in value for n in numbers_in(v)]
    return [value] if isinstance(value, int | float) and not isinstance(value, bool) else []


def sent(prediction: Prediction, *arguments: Any, **options: Any) -> Any:
    release = prediction.release(*arguments, **options)
    return json.loads(json.dumps(release.to_json(), allow_nan=False))


def test_labels_are_the_default_and_hold_no_score(prediction: Prediction) -> None:
    found = sent(prediction)
    names = np.array(["calm", "tense", "joy"])
    best = SCORES.argmax(axis=1)
    assert found == {
        "release": "labels",
        "windows": 4,
        "labels": {"mood": names[best].tolist()},
        "classes": {"mood": best.tolist()},
    }


@pytest.mark.parametrize("digits", [None, 0, 1, 3])
def test_rounded_values_hold_nothing_below_their_digits(
    prediction: Prediction, digits: int | None
) -> None:
    found = sent(prediction, "rounded", digits=digits)
    places = 2 if digits is None else digits
    assert set(found["outputs"]) == {"pulse"}
    np.testing.assert_allclose(found["outputs"]["pulse"], VALUES, atol=0.5 * 10.0**-places)
    exact = np.exp(SCORES) / np.exp(SCORES).sum(axis=1, keepdims=True)
    shares = np.array(found["probabilities"]["mood"])
    np.testing.assert_allclose(shares, exact, atol=0.5 * 10.0**-places + 1e-12)
    for number in numbers_in(found):
        assert number == round(number, places)
        assert not (number == 0 and np.signbit(number))


def test_raw_values_are_a_deliberate_act(prediction: Prediction) -> None:
    with pytest.raises(UsageError, match="can give away the secret key") as caught:
        prediction.release("raw")
    assert "accept_key_risk=True" in str(caught.value)
    found = sent(prediction, "raw", accept_key_risk=True)
    np.testing.assert_array_equal(found["outputs"]["mood"], SCORES)
    np.testing.assert_array_equal(found["outputs"]["pulse"], VALUES)
    assert {"labels", "classes", "probabilities"} <= set(found)


def test_the_state_is_never_released(prediction: Prediction) -> None:
    np.testing.assert_array_equal(prediction.outputs["W2"], WEIGHTS)
    for arguments in (("labels",), ("rounded",), ("raw",)):
        found = sent(prediction, *arguments, accept_key_risk=True)
        assert "W2" not in json.dumps(found)
        assert not set(WEIGHTS.reshape(-1)) & set(numbers_in(found))


def test_policies_that_make_no_sense(prediction: Prediction) -> None:
    with pytest.raises(UsageError, match="release is 'all'"):
        prediction.release("all")  # type: ignore[arg-type]
    for policy, digits in (("rounded", 4), ("rounded", -1), ("labels", 2), ("raw", 2)):
        with pytest.raises(UsageError, match=f"digits is {digits}"):
            prediction.release(policy, digits=digits, accept_key_risk=True)  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="no labels to release"):
        decode({"pulse": VALUES}, (spec("pulse", 2),), 4).release("labels")


def test_decrypt_shows_labels_unless_asked(
    eer: Run, sample: Sample, windows: Any, model_file: Path, folder: Path
) -> None:
    arguments = ("decrypt", model_file, "--key", folder / "secret.key", folder / "result.ct")
    wanted = sample.reference(windows)
    labels = [("calm", "tense")[i] for i in wanted.argmax(axis=1)]
    out, err = eer(*arguments)
    assert out.splitlines() == [f"window {i}: {label}" for i, label in enumerate(labels)]
    assert not err
    found = eer.json(*arguments)
    assert set(found) == {"release", "windows", "labels", "classes"}
    assert found["labels"]["scores"] == labels
    out, _ = eer(*arguments, "--release", "rounded", "--digits", "1")
    share = np.exp(wanted[0]) / np.exp(wanted[0]).sum()
    assert out.splitlines()[0] == (
        f"window 0: {labels[0]} (calm {share[0].round(1):.4g}, tense {share[1].round(1):.4g})"
    )
    out, err = eer(*arguments, "--release", "raw")
    assert "can give away the secret key" in err
    np.testing.assert_allclose(
        eer.json(*arguments, "--release", "raw")["outputs"]["scores"], wanted, atol=5e-4
    )
    assert eer.json(*arguments, "--release", "all", code=2)["code"] == "usage"
    assert eer.json(*arguments, "--digits", "9", code=2)["code"] == "usage"
