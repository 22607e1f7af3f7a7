"""`eer calibrate-costs`: what it measures is kept, shown, and used by compilations from then on."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import typer

from eer.compiler import cli
from eer.compiler.timing.device import cpu_model
from eer.compiler.timing.store import cache_path, choose
from eer.runtime.console import run_app


@pytest.fixture(autouse=True)
def quick(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The smallest ring only, and a cache of the test's own."""
    monkeypatch.setattr(cli, "rings_of", lambda engine: (12,))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))


def run(*arguments: str) -> int:
    app = typer.Typer()
    app.command("calibrate-costs")(cli.calibrate_costs)
    app.callback()(lambda: None)
    return run_app(app, "eer", ["calibrate-costs", *arguments])


def test_costs_are_kept_for_this_machine(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("--seconds", "1", "--json") == 0
    found = json.loads(capsys.readouterr().out)
    path = cache_path("seal", cpu_model())
    assert found["out"] == str(path)
    assert found["device"] == cpu_model()
    assert {m["log_n"] for m in found["measurements"]} == {12}
    assert {"rotate", "encode", "encrypt", "load", "save", "decrypt", "add"} <= {
        m["operation"] for m in found["measurements"]
    }
    costs = choose("auto", "seal")
    assert costs.source == "calibrated"
    assert costs.describe()["digest"] == found["digest"]


def test_costs_for_another_machine_go_to_a_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    target = tmp_path / "server.json"
    assert run("--seconds", "1", "-o", str(target)) == 0
    said = capsys.readouterr().out
    for part in ("rotate", "2^12", "ms of CPU time", "written to"):
        assert part in said
    assert choose(target, "seal").device == cpu_model()
    assert choose("auto", "seal").source == "shipped"


@pytest.mark.parametrize("engine", ["clear", "dry", "none"])
def test_engines_that_nothing_is_compiled_for(
    engine: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("--engine", engine) == 2
    assert "use seal, desilo, desilo-gpu" in capsys.readouterr().err
