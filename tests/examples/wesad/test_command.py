"""The whole path: the command trains, compiles, answers encrypted, and says what it did."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from eer.compiler import Options, compile_model
from eer.runtime.errors import DataError, ParameterError
from examples.study.folds import FoldResult, Protocol, run_fold, score
from examples.study.training import Recipe, train
from examples.study.windows import Codes, Signal, Windows
from examples.wesad.command import main
from examples.wesad.dataset import load_windows
from examples.wesad.recording import Recording
from examples.wesad.synthetic import write_archive, write_npz
from examples.wesad.windows import TASKS

SMALL = Recipe(hidden=(8,), epochs=5, batch=50)
SMALL_CNN = Recipe("cnn", hidden=(8,), epochs=2, batch=50)


@pytest.fixture(scope="module")
def archive(recordings: tuple[Recording, ...], tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("WESAD")
    for recording in recordings:
        write_archive(recording, folder)
    return folder


@pytest.mark.parametrize("classes", [2, 3])
def test_a_fold_answers_encrypted_what_it_answers_in_the_clear(
    archive: Path, tmp_path: Path, classes: int
) -> None:
    windows = load_windows(archive, "wrist")
    task = TASKS[classes]
    protocol = Protocol(task, SMALL, "subject", batch=8, timed=1)
    fold = run_fold(windows, "S10", protocol, tmp_path)
    own = windows.label[windows.subject == "S10"]
    assert fold.wanted.tolist() == [
        next(c for c, labels in enumerate(task.conditions) if label in labels)
        for label in own
        if label != 4
    ]
    assert fold.answers is not None
    answers = fold.answers
    assert answers.encrypted.shape == (len(fold.wanted), classes)
    np.testing.assert_array_equal(fold.plaintext, answers.polynomial.argmax(axis=1))
    # Noise is there, and is small.
    error = np.abs(answers.encrypted - answers.polynomial).max()
    assert 0 < error < 1e-2
    assert answers.sizes is not None
    assert answers.sizes.security_bits >= 128
    assert answers.latency is not None
    assert answers.latency.cpu.run > 0
    assert (tmp_path / "S10.onnx").exists()


def test_raw_windows_go_through_encrypted_as_well(archive: Path, tmp_path: Path) -> None:
    windows = load_windows(archive, "raw")
    protocol = Protocol(TASKS[2], SMALL_CNN, "subject", timed=1, limit=4)
    fold = run_fold(windows, "S2", protocol, tmp_path)
    assert fold.answers is not None
    assert len(fold.wanted) == 4
    np.testing.assert_allclose(fold.answers.encrypted, fold.answers.polynomial, atol=1e-2)


@pytest.mark.parametrize("normalisation", ["subject", "training"])
def test_training_never_sees_the_held_out_subject(
    archive: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, normalisation: str
) -> None:
    windows = load_windows(archive, "wrist")
    seen: list[tuple[Signal, Codes]] = []

    def note(recipe: Recipe, values: Signal, classes: Codes, count: int, seed: int) -> object:
        seen.append((values, classes))
        return train(recipe, values, classes, count, seed)

    monkeypatch.setattr("examples.study.folds.train", note)
    protocol = Protocol(TASKS[2], SMALL, normalisation, engine=None)
    run_fold(windows, "S10", protocol, tmp_path)
    # Whatever the held-out subject's values and labels are, training gets the same.
    own = windows.subject == "S10"
    values = windows.values.copy()
    values[own] = 3 * values[own] - 100
    label = np.where(own, 1, windows.label)
    changed = Windows(windows.names, values, label, windows.subject, windows.start, windows.source)
    run_fold(changed, "S10", protocol, tmp_path)
    (values_before, classes_before), (values_after, classes_after) = seen
    assert len(values_before) == int((~own & (windows.label != 4)).sum())
    np.testing.assert_array_equal(values_before, values_after)
    np.testing.assert_array_equal(classes_before, classes_after)


def test_a_batch_that_does_not_fit_is_made_smaller(
    archive: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []

    def refusing(*given: object, **named: object) -> object:
        options = given[2]
        assert isinstance(options, Options)
        assert options.batch != "auto"
        asked.append(options.batch)
        if options.batch > 2:
            raise ParameterError("no layout was found")
        return compile_model(*given, **named)  # type: ignore[arg-type]

    monkeypatch.setattr("examples.study.encrypted.compile_model", refusing)
    windows = load_windows(archive, "wrist")
    protocol = Protocol(TASKS[2], SMALL, "subject", batch=8, timed=1, limit=4)
    fold = run_fold(windows, "S2", protocol, tmp_path)
    assert asked == [1, 8, 4, 2]
    assert fold.answers is not None
    assert fold.answers.batch == 2


def test_only_the_first_folds_are_timed(archive: Path, tmp_path: Path) -> None:
    windows = load_windows(archive, "wrist")
    protocol = Protocol(TASKS[2], SMALL, "subject", batch=8, timed=1, timed_folds=1, limit=4)
    timed, untimed = (
        run_fold(windows, subject, protocol, tmp_path).answers for subject in windows.subjects[:2]
    )
    assert timed is not None
    assert untimed is not None
    assert timed.latency is not None
    assert (untimed.latency, untimed.sizes) == (None, None)
    assert len(untimed.encrypted) == 4


def test_scores_count_class_flips() -> None:
    wanted = np.array([0, 1, 1, 0])
    plain = np.array([0, 1, 0, 0])
    fold = FoldResult("S2", wanted, plain, SMALL, None)
    found = score((fold, fold), 2)
    assert (found.windows, found.plaintext, found.agreement) == (8, 0.75, None)


class TestCommand:
    def test_quick_on_the_official_archive(
        self, archive: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        out = tmp_path / "out"
        code = main(["--quick", "--folds", "1", "--data", str(archive), "--out", str(out)])
        assert code == 0
        said = capsys.readouterr().out
        for words in ("S2", "pooled", "macro-F1", "SYNTHETIC", "128-bit security"):
            assert words in said
        results = json.loads((out / "results.json").read_text())
        assert results["synthetic"] is True
        assert results["title"].startswith("SYNTHETIC")
        assert results["pooled"]["agreement"] >= 0.99
        assert results["pooled"]["windows"] <= 32
        assert results["sizes"]["security_bits"] >= 128
        assert [fold["subject"] for fold in results["folds"]] == ["S2"]
        assert (out / "accuracy.png").read_bytes().startswith(b"\x89PNG")

    def test_plaintext_only(
        self, archive: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        out = tmp_path / "out"
        arguments = ["--engine", "none", "--features", "wrist", "--classes", "3", "--folds", "2"]
        assert main([*arguments, "--data", str(archive), "--out", str(out)]) == 0
        results = json.loads((out / "results.json").read_text())
        assert results["pooled"]["encrypted"] is None
        assert results["sizes"] is None
        assert len(results["folds"]) == 2
        assert "encrypted" not in capsys.readouterr().out

    def test_an_interrupted_run_goes_on(
        self,
        archive: Path,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        out = tmp_path / "out"
        arguments = ["--features", "wrist", "--data", str(archive), "--out", str(out), "--quick"]
        run: list[str] = []

        def counted(windows: Windows, subject: str, *given: Any) -> FoldResult:
            run.append(subject)
            if len(run) == 2:
                raise KeyboardInterrupt
            return run_fold(windows, subject, *given)

        monkeypatch.setattr("examples.study.command.run_fold", counted)
        assert main(arguments) == 130
        assert not (out / "results.json").exists()
        assert main([*arguments, "--resume"]) == 0
        assert run == ["S2", "S10", "S10"]
        first = json.loads((out / "results.json").read_text())
        # The same again: all from disk, and the same figures.
        assert main([*arguments, "--resume"]) == 0
        assert len(run) == 3
        again = json.loads((out / "results.json").read_text())
        assert again == first
        assert again["folds"][0]["agreement"] is not None
        # Another seed is another run, and without --resume nothing is kept.
        assert main([*arguments, "--resume", "--seed", "1", "--folds", "1"]) == 0
        assert main([*arguments, "--folds", "1"]) == 0
        assert run[3:] == ["S2", "S2"]
        (out / "folds" / "S2.npz").write_bytes(b"PK")
        assert main([*arguments, "--resume"]) == DataError.exit_code
        assert "hint: delete it" in capsys.readouterr().err

    def test_errors_have_a_code_and_a_hint(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str], recordings: tuple[Recording, ...]
    ) -> None:
        assert main(["--data", str(tmp_path), "--out", str(tmp_path)]) == DataError.exit_code
        assert "hint: unpack the official WESAD archive" in capsys.readouterr().err
        write_npz(recordings[0], tmp_path)
        assert main(["--data", str(tmp_path), "--out", str(tmp_path)]) == DataError.exit_code
        assert "for the chest, use the official archive" in capsys.readouterr().err
        blocked = tmp_path / "file"
        blocked.write_text("")
        assert main(["--synthetic", "--out", str(blocked / "out")]) == 8
        assert main(["--folds", "0", "--out", str(tmp_path)]) == 2
        assert main(["--batch", "3", "--out", str(tmp_path)]) == 2

    def test_a_single_subject_cannot_be_left_out(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str], recordings: tuple[Recording, ...]
    ) -> None:
        write_npz(recordings[0], tmp_path)
        arguments = ["--data", str(tmp_path), "--features", "wrist", "--out", str(tmp_path)]
        assert main([*arguments, "--fixed"]) == DataError.exit_code
        assert "at least two subjects" in capsys.readouterr().err
        assert main(arguments) == DataError.exit_code
        assert "at least three subjects" in capsys.readouterr().err
