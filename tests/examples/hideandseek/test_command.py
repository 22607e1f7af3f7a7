"""The whole path: the command trains, compiles, answers encrypted, and says what is made up."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from eer.runtime.errors import DataError
from examples.hideandseek.command import main
from examples.hideandseek.observations import Observations
from examples.hideandseek.tables import load_table, save_table


def test_quick_on_made_up_calls(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("examples.hideandseek.command.QUICK_WORKERS", 3)
    monkeypatch.setattr("examples.hideandseek.command.QUICK_LENGTH", 0.15)
    out = tmp_path / "out"
    arguments = ["--quick", "--synthetic", "--folds", "1", "--target", "perceived3"]
    assert main([*arguments, "--out", str(out)]) == 0
    said = capsys.readouterr().out
    for words in ("SYNTHETIC", "P1", "pooled", "macro-F1", "128-bit security"):
        assert words in said
    results = json.loads((out / "results.json").read_text())
    assert results["synthetic"] is True
    assert results["title"].startswith("SYNTHETIC")
    assert "Hide-and-Seek" in results["title"]
    assert "perceived3" in results["title"]
    assert results["pooled"]["agreement"] >= 0.96
    assert results["pooled"]["windows"] == 32
    assert results["sizes"]["security_bits"] >= 128
    assert (out / "accuracy.png").read_bytes().startswith(b"\x89PNG")


def test_plaintext_on_a_release(release: Path, tmp_path: Path) -> None:
    out, table = tmp_path / "out", tmp_path / "features.npz"
    arguments = ["--engine", "none", "--target", "given3", "--folds", "2", "--out", str(out)]
    assert main([*arguments, "--data", str(release), "--save-table", str(table)]) == 0
    first = json.loads((out / "results.json").read_text())
    assert first["synthetic"] is True
    assert [fold["subject"] for fold in first["folds"]] == ["P1", "P3"]
    assert set(load_table(table).worker) == {"P1", "P3", "P20"}
    # The table instead of the release: the same figures.
    assert main([*arguments, "--data", str(table)]) == 0
    again = json.loads((out / "results.json").read_text())
    assert again["pooled"] == first["pooled"]


def test_errors_have_a_code_and_a_hint(
    release: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--data", str(tmp_path), "--out", str(tmp_path / "o")]) == DataError.exit_code
    assert "hint: it consists of META/meta.csv" in capsys.readouterr().err
    copy = tmp_path / "release"
    shutil.copytree(release, copy)
    meta = copy / "META" / "meta.csv"
    meta.write_text(meta.read_text() + "9,1,1,M\n")
    arguments = ["--engine", "none", "--data", str(copy), "--out", str(tmp_path / "o")]
    assert main(arguments) == DataError.exit_code
    assert "whom meta.csv names" in capsys.readouterr().err
    assert main([*arguments, "--skip-incomplete", "--folds", "1"]) == 0
    assert "left out: P9" in capsys.readouterr().out
    assert main([*arguments, "--batch", "3"]) == 2
    assert main([*arguments, "--readme", "--skip-incomplete"]) == 2


@pytest.mark.parametrize("kind", ["personalise", "semi-supervised"])
def test_personal_heads_in_the_clear(
    observations: Observations, tmp_path: Path, capsys: pytest.CaptureFixture[str], kind: str
) -> None:
    table, out = tmp_path / "features.npz", tmp_path / "out"
    save_table(observations, table)
    arguments = [kind, "--engine", "none", "--target", "perceived2", "--folds", "2"]
    assert main([*arguments, "--data", str(table), "--out", str(out)]) == 0
    results = json.loads((out / "results.json").read_text())
    assert results["synthetic"] is True
    assert [fold["subject"] for fold in results["folds"]] == ["P1", "P3"]
    own = observations.worker == "P1"
    shares = [np.ceil(0.2 * (own & (observations.session == call)).sum()) for call in (1, 2, 3)]
    few = kind == "semi-supervised"
    assert results["folds"][0]["labelled"] == (9 if few else sum(shares))
    assert "SYNTHETIC" in capsys.readouterr().out
