"""The `eer` command, played through in a shell across two folders."""

from __future__ import annotations

import json
import stat
import subprocess
import sys
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from eer.runtime import cli
from eer.runtime.client_bundle import client_to_bytes
from eer.runtime.program import Vector
from eer.runtime.server_bundle import load_server, server_to_bytes

if TYPE_CHECKING:
    from .conftest import Run, Sample


def names(folder: Path) -> set[str]:
    return {p.name for p in folder.iterdir()}


TOLERANCE = 5e-4


def shell(*arguments: str | Path, cwd: Path, code: int = 0) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [sys.executable, "-m", "eer.runtime.cli", *map(str, arguments)],
        cwd=cwd,
        capture_output=True,
        text=True,
    )
    assert done.returncode == code, done.stderr + done.stdout
    return done


def test_across_two_machines(
    sample: Sample, model_file: Path, windows: Vector, tmp_path: Path
) -> None:
    """Split, make keys, encrypt, run elsewhere, decrypt: every step a process of its own."""
    here, there = tmp_path / "client", tmp_path / "server"
    here.mkdir()
    there.mkdir()
    shell("split", model_file, cwd=here)
    (here / "server.eer").rename(there / "server.eer")
    shell("keygen", "client.eer", cwd=here)
    assert stat.S_IMODE((here / "secret.key").stat().st_mode) == 0o600
    (here / "evaluation.key").rename(there / "evaluation.key")
    np.savez(here / "data.npz", x=windows, y=np.zeros(3))
    shell("encrypt", "client.eer", "--key", "secret.key", "--input", "data.npz", cwd=here)
    (here / "windows.ct").rename(there / "windows.ct")
    shell("run", "server.eer", "--keys", "evaluation.key", "windows.ct", cwd=there)
    (there / "result.ct").rename(here / "result.ct")
    arguments = ("decrypt", "client.eer", "--key", "secret.key", "result.ct")
    text = shell(*arguments, cwd=here).stdout
    found = json.loads(shell(*arguments, "--json", "--release", "raw", cwd=here).stdout)
    expected = sample.reference(windows)
    np.testing.assert_allclose(found["outputs"]["scores"], expected, atol=TOLERANCE)
    labels = [("calm", "tense")[i] for i in expected.argmax(axis=1)]
    assert found["labels"]["scores"] == labels
    assert [line.split()[2] for line in text.splitlines()] == labels
    assert names(here) == {"client.eer", "secret.key", "data.npz", "result.ct"}
    assert names(there) == {"server.eer", "evaluation.key", "windows.ct"}


def test_json_of_every_command(eer: Run, model_file: Path, windows: Vector, folder: Path) -> None:
    keys = eer.json("keygen", model_file, "--secret", "s.key", "--evaluation", "e.key")
    assert keys["secret_key"] == "s.key"
    assert keys["evaluation_keys_bytes"] == Path("e.key").stat().st_size
    assert keys["rotations"] == 2
    encrypted = eer.json(
        "encrypt", model_file, "--key", "s.key", "--input", folder / "data.npy", "-o", "a.ct"
    )
    assert encrypted["files"] == ["a.ct"]
    assert encrypted["windows"] == 3
    assert encrypted["windows_per_file"] == 512
    ran = eer.json("run", model_file, "--keys", "e.key", "a.ct", "-o", "r.ct")
    assert ran["latency_ms"] > 0
    assert ran["instructions"] == 7
    assert eer.json("decrypt", model_file, "--key", "s.key", "r.ct")["windows"] == 3
    split = eer.json("split", model_file)
    assert split["client_bytes"] == Path("client.eer").stat().st_size


def test_many_windows_go_to_several_files(
    eer: Run, sample: Sample, model_file: Path, folder: Path
) -> None:
    x = np.random.default_rng(2).uniform(-1, 1, (1030, 4))
    np.savetxt("many.csv", x, delimiter=",", header="a,b,c,d", comments="")
    key, keys = folder / "secret.key", folder / "evaluation.key"
    eer("encrypt", model_file, "--key", key, "--input", "many.csv", "-o", "w.ct")
    messages = sorted(p.name for p in Path().glob("*.ct"))
    assert messages == ["w.001.ct", "w.002.ct", "w.003.ct"]
    eer("run", model_file, "--keys", keys, *messages, "-o", "out")
    answers = sorted(Path("out").iterdir())
    found = eer.json("decrypt", model_file, "--key", key, "--release", "raw", *answers)
    assert found["windows"] == 1030
    np.testing.assert_allclose(
        found["outputs"]["scores"],
        sample.reference(np.loadtxt("many.csv", delimiter=",", skiprows=1)),
        atol=TOLERANCE,
    )
    eer("run", model_file, "--keys", keys, *messages, "-o", ".", code=2)


@pytest.mark.parametrize(("rows", "expected"), [("1:3", [1, 2]), ("2", [2]), (":2", [0, 1])])
def test_rows(
    rows: str,
    expected: list[int],
    eer: Run,
    sample: Sample,
    windows: Vector,
    model_file: Path,
    folder: Path,
) -> None:
    key = folder / "secret.key"
    arguments = ("--key", key, "--input", folder / "data.npy", "--rows", rows)
    eer("encrypt", model_file, *arguments)
    eer("run", model_file, "--keys", folder / "evaluation.key", "windows.ct")
    found = eer.json("decrypt", model_file, "--key", key, "result.ct", "--release", "raw")
    np.testing.assert_allclose(
        found["outputs"]["scores"], sample.reference(windows[expected]), atol=TOLERANCE
    )


def test_the_other_engine_announces_that_it_encrypts_nothing(
    eer: Run, sample: Sample, windows: Vector, model_file: Path, folder: Path
) -> None:
    _, err = eer("keygen", model_file, "--engine", "clear")
    assert "encrypts nothing" in err
    data = ("--input", folder / "data.npy", "--engine", "clear")
    eer("encrypt", model_file, "--key", "secret.key", *data)
    eer("run", model_file, "--keys", "evaluation.key", "windows.ct", "--engine", "clear")
    asked = ("--engine", "clear", "--release", "raw")
    found = eer.json("decrypt", model_file, "--key", "secret.key", "result.ct", *asked)
    np.testing.assert_allclose(found["outputs"]["scores"], sample.reference(windows), rtol=1e-9)
    error = eer.json("decrypt", model_file, "--key", "secret.key", "result.ct", code=5)
    assert error["code"] == "key-mismatch"
    assert "--engine clear" in error["hint"]
    assert eer.json("keygen", model_file, "--engine", "none", "--force", code=2)["code"] == "usage"


def test_help(eer: Run) -> None:
    out, _ = eer("--help")
    for name in ("keygen", "encrypt", "run", "decrypt", "split", "inspect"):
        assert f"  {name} " in out
        assert "--json" in eer(name, "--help")[0]
    assert "Exit codes: 0 success; 2 wrong options" in " ".join(out.split())
    _, err = eer(code=2)
    assert err.startswith("Usage: eer")


def test_inspect(eer: Run, model_file: Path, folder: Path) -> None:
    found = eer.json("inspect", model_file)
    assert found["kind"] == "model"
    assert found["bytes"] == model_file.stat().st_size
    assert found["security_bits"] == 128
    assert found["log_qp"] == 150.0
    assert found["ring_dimension"] == 8192
    assert found["instructions"]["Rotate"] == 2
    kinds = {
        "client.eer": "client",
        "server.eer": "server",
        "secret.key": "secret-key",
        "evaluation.key": "evaluation-keys",
        "windows.ct": "ciphertext",
        "result.ct": "ciphertext",
    }
    for name, kind in kinds.items():
        assert eer.json("inspect", folder / name)["kind"] == kind
        assert "whole and undamaged" in eer("inspect", folder / name)[0]
    message = eer.json("inspect", folder / "windows.ct")
    assert message["windows"] == 3
    assert message["ciphertexts"] == {"x": 1}


def test_inspect_never_shows_a_secret(eer: Run, folder: Path) -> None:
    facts = eer.json("inspect", folder / "secret.key")
    assert set(facts) == {"kind", "bytes", "engine", "params_hash", "model_id", "key_id"}


def test_the_served_file_needs_no_client_half(sample: Sample, folder: Path) -> None:
    server = (folder / "server.eer").read_bytes()
    assert server == server_to_bytes(sample.server)
    assert load_server(server).model_id == sample.server.model_id
    assert (folder / "client.eer").read_bytes() == client_to_bytes(sample.client)


PLUGIN = """
import typer
def greet(name: str, loud: bool = False) -> None:
    '''Greet somebody.'''
    typer.echo(name.upper() if loud else name)
app = typer.Typer()
@app.command()
def one() -> None: typer.echo("one")
@app.command()
def two() -> None: typer.echo("two")
"""


def test_commands_of_other_packages(
    eer: Run, model_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "eer_plugin_ok.py").write_text(PLUGIN)
    (tmp_path / "eer_plugin_bad.py").write_text("import no_such_module\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    points = [
        EntryPoint("greet", "eer_plugin_ok:greet", cli.GROUP),
        EntryPoint("both", "eer_plugin_ok:app", cli.GROUP),
        EntryPoint("broken", "eer_plugin_bad:main", cli.GROUP),
        EntryPoint("keygen", "eer_plugin_bad:main", cli.GROUP),
        EntryPoint("verify", "eer_plugin_bad:main", cli.GROUP),
    ]
    monkeypatch.setattr(cli, "entry_points", lambda group: points if group == cli.GROUP else [])
    out, _ = eer("--help")
    assert "Run the encrypted model over a data set" in out
    assert "eer greet --help" in out
    assert "eer_plugin_ok" not in sys.modules
    eer("split", model_file)
    assert "eer_plugin_ok" not in sys.modules
    assert eer("greet", "you", "--loud")[0] == "YOU\n"
    assert "Greet somebody." in eer("greet", "--help")[0]
    assert eer("both", "two")[0] == "two\n"
    _, err = eer("broken", "--anything", "x", code=7)
    assert "No module named 'no_such_module'" in err
    assert eer.json("broken", code=7)["code"] == "engine"
    eer("keygen", model_file)
