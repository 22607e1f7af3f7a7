"""A model small enough to build by hand: y = (W x + b)^2, four inputs, two outputs."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from eer.runtime import cli
from eer.runtime.bundle import model_to_bytes
from eer.runtime.identity import compute_model_id
from eer.runtime.model import ClientModel, InputSpec, OutputSpec, ServerModel
from eer.runtime.params import CkksLiteral
from eer.runtime.program import Add, AddPlain, DotCipher, DotPlain, Program, Rotate, Vector

W = np.array([[0.5, -1.25, 0.75, 0.1], [0.3, 0.9, -0.6, 1.1]])
B = np.array([0.2, -0.4])
SCALE = 2.0**30


@dataclass(frozen=True)
class Sample:
    client: ClientModel
    server: ServerModel

    def reference(self, x: Vector) -> Vector:
        """What the model computes in the clear, [windows, 2]."""
        result: Vector = (x @ W.T + B) ** 2
        return result

    def to_bytes(self) -> bytes:
        return model_to_bytes(self.client, self.server, {"note": "made by hand"}, b"onnx here")

    def renamed(self, name: str, bias: float) -> Sample:
        """The same model with another bias, and so with another id."""
        program = replace(
            self.server.program, plains=(self.server.program.plains[0], np.full(8, bias))
        )
        return build(program, name)


def build(program: Program, name: str) -> Sample:
    params = CkksLiteral("seal", 13, (40, 30, 30), (50,), 30).check()
    # Slot s = 2 i + o holds x[i]: one product and two folds leave y[o] in slot o.
    inputs = (InputSpec("x", (4,), (np.arange(8) // 2,), np.full(4, -1.0), np.full(4, 1.0), True),)
    outputs = (
        OutputSpec(
            "scores",
            (2,),
            np.array([0, 1]),
            np.array([0, 0]),
            np.array([0, 1]),
            "none",
            0,
            ("calm", "tense"),
        ),
    )
    model_id = compute_model_id(params, program, SCALE, inputs, outputs)
    client = ClientModel(
        model_id, name, params, 8, inputs, outputs, program.input_levels, SCALE, program.rotations
    )
    return Sample(client, ServerModel.of(client, program))


@pytest.fixture(scope="session")
def sample() -> Sample:
    mask = np.array([W[s % 2, s // 2] for s in range(8)])
    program = Program(
        slots=8,
        input_levels=(2,),
        instructions=(
            DotPlain((0,), (0,)),
            Rotate(1, 4),
            Add(1, 2),
            Rotate(3, 2),
            Add(3, 4),
            AddPlain(5, 1),
            DotCipher(((6, 6),)),
        ),
        outputs=(7,),
        plains=(mask, np.tile(B, 4)),
        labels=("fc", "fc", "fc", "fc", "fc", "fc", "square"),
    )
    return build(program, "tiny")


@pytest.fixture(scope="session")
def model_file(sample: Sample, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("model") / "model.eer"
    path.write_bytes(sample.to_bytes())
    return path


@pytest.fixture(scope="session")
def windows() -> Vector:
    """Three windows inside the calibrated range, [3, 4]."""
    return np.random.default_rng(7).uniform(-1, 1, (3, 4))


class Run:
    """`eer` in this process: exit code, stdout, stderr."""

    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self._capsys = capsys

    def __call__(self, *arguments: str | Path, code: int = 0) -> tuple[str, str]:
        self._capsys.readouterr()
        got = cli.main([str(a) for a in arguments])
        out, err = self._capsys.readouterr()
        assert got == code, err + out
        return out, err

    def json(self, *arguments: str | Path, code: int = 0) -> dict[str, Any]:
        out, _ = self(*arguments, "--json", code=code)
        found: dict[str, Any] = json.loads(out)
        return found


@pytest.fixture
def eer(capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("EER_DEBUG", raising=False)
    return Run(capsys)


@pytest.fixture(scope="session")
def folder(
    sample: Sample,
    model_file: Path,
    windows: Vector,
    tmp_path_factory: pytest.TempPathFactory,
) -> Path:
    """A folder where everything has been made once."""
    made = tmp_path_factory.mktemp("made")
    np.save(made / "data.npy", windows)
    key, keys = made / "secret.key", made / "evaluation.key"
    question, answer = made / "windows.ct", made / "result.ct"
    steps: list[Sequence[str | Path]] = [
        ("split", model_file, "--out", made),
        ("keygen", model_file, "--out", made),
        ("encrypt", model_file, "--key", key, "--input", made / "data.npy", "-o", question),
        ("run", model_file, "--keys", keys, question, "-o", answer),
    ]
    for arguments in steps:
        assert cli.main([str(a) for a in arguments]) == 0
    return made
