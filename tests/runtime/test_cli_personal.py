"""`eer personal` and `eer refresh`, played through between a client's and a server's folder."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from eer.runtime import cli
from eer.runtime.bundle import model_to_bytes
from tests.runtime.stateful import next_weights, step_model, use_model

if TYPE_CHECKING:
    from .conftest import Run

RNG = np.random.default_rng(8)
START = RNG.uniform(-0.5, 0.5, 4)
BATCHES = RNG.uniform(-1, 1, (3, 4))
WINDOWS = RNG.uniform(-1, 1, (2, 4))
TOLERANCE = 2e-3

LEARN = ("--step", "step/server.eer", "--step-keys", "step/evaluation.key")
USE = ("--inference", "use/server.eer", "--inference-keys", "use/evaluation.key")
CLIENT = ("step/client.eer", "--key", "step/secret.key")
ALSO = ("--also", "use/client.eer", "--also-key", "use/secret.key")


@dataclass(frozen=True)
class Shell:
    """What a user types, one step at a time."""

    eer: Run

    def step(self, x: Any) -> dict[str, Any]:
        np.save("batch.npy", x)
        self.eer("encrypt", *CLIENT, "--input", "batch.npy", "-o", "batch.ct")
        self.eer("personal", "step", "user", "batch.ct", *LEARN)
        self.eer("refresh", *CLIENT, "answer.ct", *ALSO)
        committed: dict[str, Any] = self.eer.json("personal", "commit", "user", "update.eer")
        return committed

    def weights(self) -> Any:
        """What the inference model answers for WINDOWS, over them."""
        np.save("windows.npy", WINDOWS)
        key = ("use/client.eer", "--key", "use/secret.key")
        self.eer("encrypt", *key, "--input", "windows.npy", "-o", "windows.ct")
        self.eer("personal", "run", "user", "windows.ct", *USE)
        found = self.eer.json("decrypt", *key, "result.ct", "--release", "raw")
        return np.array(found["outputs"]["y"])


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with both models split, keys for both, and a personal model in `user`."""
    folder = tmp_path_factory.mktemp("prepared")

    def run(*arguments: str) -> None:
        assert cli.main(list(arguments)) == 0

    with contextlib.chdir(folder):
        for name, pair in (("step", step_model()), ("use", use_model())):
            Path(f"{name}.eer").write_bytes(model_to_bytes(pair.client, pair.server, {}))
            run("split", f"{name}.eer", "--out", name)
            run("keygen", f"{name}/client.eer", "--out", name)
        np.savez("start.npz", W=START)
        run("refresh", *CLIENT, "--state", "start.npz", *ALSO, "-o", "first.eer")
        run("personal", "init", "user", "first.eer", *LEARN, *USE, "--history", "3")
    return folder


@pytest.fixture
def shell(eer: Run, prepared: Path) -> Shell:
    shutil.copytree(prepared, Path.cwd(), dirs_exist_ok=True)
    return Shell(eer)


def test_a_user_learns_uses_and_goes_back(shell: Shell) -> None:
    np.testing.assert_allclose(shell.weights(), WINDOWS * START, atol=TOLERANCE)
    plain = [START]
    for number, x in enumerate(BATCHES, start=1):
        assert shell.step(x) == {"version": number + 1, "step": number}
        plain.append(next_weights(plain[-1], x))
    np.testing.assert_allclose(shell.weights(), WINDOWS * plain[3], atol=TOLERANCE)
    status = shell.eer.json("personal", "status", "user")
    assert [v["step"] for v in status["versions"]] == [1, 2, 3]
    assert status["step"] == 3
    assert status["pending"] is None
    assert status["refresh"] == "client"
    assert set(status["models"]) == {"step", "inference"}
    assert shell.eer.json("personal", "rollback", "user") == {"version": 3, "step": 2}
    np.testing.assert_allclose(shell.weights(), WINDOWS * plain[2], atol=TOLERANCE)
    out, _ = shell.eer("personal", "status", "user")
    assert out.splitlines()[-1].startswith("version 3, after 2 steps")
    assert out.splitlines()[-1].endswith(": current")
    for name in ("update.eer", "user/personal.eer", "user/version-0003.eer"):
        assert "whole and undamaged" in shell.eer("inspect", name)[0]


def test_a_step_that_waits(shell: Shell) -> None:
    np.save("batch.npy", BATCHES[0])
    eer = shell.eer
    eer("encrypt", *CLIENT, "--input", "batch.npy", "-o", "batch.ct")
    step = ("personal", "step", "user", "batch.ct", *LEARN)
    assert eer.json(*step)["step"] == 1
    assert "waits for its refresh" in eer("personal", "status", "user")[0]
    assert eer.json("inspect", "user/pending.eer")["step"] == 1
    waiting = eer.json(*step, code=2)
    assert "waits for its refresh" in waiting["reason"]
    assert "--again" in waiting["hint"]
    before = Path("answer.ct").read_bytes()
    eer("personal", "answer", "user", "-o", "once-more.ct")
    assert Path("once-more.ct").read_bytes() == before
    eer("encrypt", *CLIENT, "--input", "batch.npy", "-o", "batch.ct")  # fresh noise
    eer(*step, "--again")
    eer("refresh", *CLIENT, "once-more.ct", *ALSO)
    refused = eer.json("personal", "commit", "user", "update.eer", *LEARN, *USE, code=5)
    assert "not made from the answer of the step that waits" in refused["reason"]
    eer("refresh", *CLIENT, "answer.ct", *ALSO)
    assert eer.json("personal", "commit", "user", "update.eer", *LEARN, *USE)["step"] == 1
    assert eer.json("personal", "answer", "user", code=2)["code"] == "usage"


@pytest.mark.parametrize(
    ("arguments", "code", "reason"),
    [
        (("personal", "init", "user", "first.eer", *LEARN, *USE), 8, "holds a personal model"),
        (("personal", "init", "new", "first.eer", *LEARN[:2]), 2, "go together"),
        (("personal", "init", "new", "first.eer"), 2, "has a step, an inference model"),
        (
            ("personal", "init", "new", "first.eer", *LEARN, "--refresh", "bootstrap"),
            7,
            "bootstrapping",
        ),
        (("personal", "init", "new", "first.eer", *LEARN, "--refresh", "x"), 2, "--refresh is"),
        (("personal", "init", "new", "step/secret.key", *LEARN), 5, "this is a secret key"),
        (("personal", "status", "nowhere"), 8, "cannot read"),
        (("personal", "rollback", "user"), 2, "no version before"),
        (("personal", "commit", "user", "first.eer"), 5, "not made from the answer"),
        (("personal", "step", "user", "first.eer", *LEARN), 5, "not a ciphertext"),
        (("personal", "run", "user", "first.eer"), 2, "--inference"),
        (("refresh", *CLIENT), 2, "an answer or a state is needed"),
        (("refresh", *CLIENT, "a.ct", "--state", "start.npz"), 2, "an answer or a state"),
        (("refresh", *CLIENT, "--state", "start.npz", *ALSO[:2]), 2, "0 --also-key"),
        (("refresh", *CLIENT, "--state", "wild.npz"), 4, "state 'W' lie outside"),
        (("refresh", *CLIENT, "--state", "start.npz", "--range-check", "x"), 2, "--range-check"),
        (("run", "step/server.eer", "first.eer", "--keys", "step/evaluation.key"), 5, "state for"),
    ],
)
def test_errors(shell: Shell, arguments: Sequence[str], code: int, reason: str) -> None:
    np.savez("wild.npz", W=np.full(4, 99.0))
    found = shell.eer.json(*arguments, code=code)
    assert reason in found["reason"]
    assert found["exit_code"] == code


def test_every_command_explains_itself(eer: Run) -> None:
    out, _ = eer("--help")
    assert "  personal " in out
    assert "  refresh " in out
    assert "--json" in eer("refresh", "--help")[0]
    for name in ("init", "step", "answer", "commit", "run", "rollback", "status"):
        assert f"  {name} " in eer("personal", "--help")[0]
        assert "--json" in eer("personal", name, "--help")[0]
