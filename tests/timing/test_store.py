"""Costs in files: round trips, what is refused, and what a compilation takes."""

from __future__ import annotations

import json
import warnings
from dataclasses import replace
from pathlib import Path

import pytest

from eer.compiler import Options, compile_model
from eer.compiler.cost import Costs, shipped
from eer.compiler.timing.device import cpu_model
from eer.compiler.timing.store import CostsWarning, cache_path, choose, keep
from eer.runtime.errors import ArtifactError, FileError, UsageError
from tests.compiler.networks import make, mlp


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache folder of the test's own."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path


def own(factor: float = 2.0) -> Costs:
    """Costs as this machine might have them: everything dearer by a factor."""
    base = shipped("seal")
    rings = {
        n: {o: (a * factor, b * factor, c * factor) for o, (a, b, c) in ring.items()}
        for n, ring in base.rings.items()
    }
    return replace(base, device=cpu_model(), rings=rings, source="calibrated")


def test_what_is_written_is_what_is_read() -> None:
    costs = own()
    assert Costs.from_bytes(costs.to_bytes(), "here") == costs
    assert costs.to_bytes() == own().to_bytes()
    assert costs.describe()["digest"] != shipped("seal").describe()["digest"]


def test_nothing_kept_means_what_is_shipped() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert choose("auto", "seal") is shipped("seal")


def test_what_is_kept_is_taken_for_its_engine_only() -> None:
    path = keep(own())
    assert path == cache_path("seal", cpu_model())
    assert choose("auto", "seal") == own()
    assert choose("auto", "desilo") is shipped("desilo")
    assert choose("shipped", "seal") is shipped("seal")


@pytest.mark.parametrize(
    ("damage", "why"),
    [
        (lambda d: "{", "it is not JSON"),
        (lambda d: "[]", "another kind"),
        (lambda d: json.dumps(d | {"kind": "recipe"}), "another kind"),
        (lambda d: json.dumps(d | {"format": 1}), "its format is not 2"),
        (lambda d: json.dumps(d | {"rings": {}}), "'rings'"),
        (lambda d: json.dumps(d | {"rings": {"99": {}}}), "'rings'"),
        (lambda d: json.dumps(d | {"rings": {"13": {}}}), "'rotate'"),
        (
            lambda d: json.dumps(d | {"rings": {"13": d["rings"]["13"] | {"add": [1, -1, 0]}}}),
            "add",
        ),
        (lambda d: json.dumps(d).replace("[0.", "[1e999", 1), "'rotate'"),
        (lambda d: json.dumps(d | {"device": "another"}), "another device"),
        (lambda d: json.dumps(d | {"engine": "desilo"}), "another engine"),
        (lambda d: json.dumps(d | {"version": "0.0.1"}), "version 0.0.1"),
    ],
)
def test_a_damaged_or_foreign_file_is_left_aside_with_a_warning(damage: object, why: str) -> None:
    path = keep(own())
    assert callable(damage)
    path.write_text(damage(json.loads(own().to_bytes())))
    with pytest.warns(CostsWarning, match=why) as caught:
        assert choose("auto", "seal") is shipped("seal")
    assert str(path) in str(caught[0].message)
    assert "eer calibrate-costs --engine seal" in str(caught[0].message)


def test_a_file_that_was_asked_for_must_be_good(home: Path) -> None:
    path = keep(own(), home / "server.json")
    assert choose(str(path), "seal") == own()
    with pytest.raises(UsageError, match="costs of engine 'seal'"):
        choose(path, "desilo")
    with pytest.raises(FileError, match="cannot read"):
        choose(home / "none.json", "seal")
    path.write_text("{}")
    with pytest.raises(ArtifactError, match="no file of costs"):
        choose(path, "seal")


def test_a_compilation_says_which_costs_it_used() -> None:
    model, data = make(mlp)
    options = Options(max_degree=4, tolerance=0.05)
    before = compile_model(model, data, options)
    assert before.report["costs"] == shipped("seal").describe()
    keep(own(3.0))
    after = compile_model(model, data, options)
    assert after.report["costs"]["source"] == "calibrated"
    assert after.report["costs"]["digest"] == own(3.0).describe()["digest"]
    # Everything is dearer alike: the same program, predicted to take three times as long.
    assert after.client.model_id == before.client.model_id
    assert after.report["predicted_ms"] == pytest.approx(3 * before.report["predicted_ms"])
    again = compile_model(model, data, replace(options, costs="shipped"))
    assert again.to_bytes() == before.to_bytes()
