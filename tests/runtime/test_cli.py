"""The `eer` command, played through in a shell across two folders, and its mistakes."""

from __future__ import annotations

import errno
import json
import os
import stat
import subprocess
import sys
from collections.abc import Sequence
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from eer.runtime import cli
from eer.runtime.client_bundle import client_to_bytes
from eer.runtime.program import Vector
from eer.runtime.server_bundle import load_server, server_to_bytes

if TYPE_CHECKING:
    from .conftest import Sample

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


def names(folder: Path) -> set[str]:
    return {p.name for p in folder.iterdir()}


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
    found = json.loads(shell(*arguments, "--json", cwd=here).stdout)
    expected = sample.reference(windows)
    np.testing.assert_allclose(found["outputs"]["scores"], expected, atol=TOLERANCE)
    labels = [("calm", "tense")[i] for i in expected.argmax(axis=1)]
    assert found["labels"]["scores"] == labels
    assert [line.split()[2] for line in text.splitlines()] == labels
    assert names(here) == {"client.eer", "secret.key", "data.npz", "result.ct"}
    assert names(there) == {"server.eer", "evaluation.key", "windows.ct"}


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


@pytest.fixture(scope="module")
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
    found = eer.json("decrypt", model_file, "--key", key, *answers)
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
    found = eer.json("decrypt", model_file, "--key", key, "result.ct")
    np.testing.assert_allclose(
        found["outputs"]["scores"], sample.reference(windows[expected]), atol=TOLERANCE
    )


@pytest.mark.parametrize(("rows", "code"), [("a:b", 2), ("3:1", 2), ("-1", 2), ("7:9", 4)])
def test_rows_that_are_none(rows: str, code: int, eer: Run, model_file: Path, folder: Path) -> None:
    arguments = ("--key", folder / "secret.key", "--input", folder / "data.npy", f"--rows={rows}")
    eer("encrypt", model_file, *arguments, code=code)
    assert not names(Path())


def test_the_other_engine_announces_that_it_encrypts_nothing(
    eer: Run, sample: Sample, windows: Vector, model_file: Path, folder: Path
) -> None:
    _, err = eer("keygen", model_file, "--engine", "clear")
    assert "encrypts nothing" in err
    data = ("--input", folder / "data.npy", "--engine", "clear")
    eer("encrypt", model_file, "--key", "secret.key", *data)
    eer("run", model_file, "--keys", "evaluation.key", "windows.ct", "--engine", "clear")
    found = eer.json("decrypt", model_file, "--key", "secret.key", "result.ct", "--engine", "clear")
    np.testing.assert_allclose(found["outputs"]["scores"], sample.reference(windows), rtol=1e-9)
    error = eer.json("decrypt", model_file, "--key", "secret.key", "result.ct", code=5)
    assert error["code"] == "key-mismatch"
    assert "--engine clear" in error["hint"]
    assert eer.json("keygen", model_file, "--engine", "none", "--force", code=2)["code"] == "usage"


def test_existing_keys_are_kept(eer: Run, model_file: Path) -> None:
    eer("keygen", model_file)
    before = Path("secret.key").read_bytes()
    _, err = eer("keygen", model_file, code=8)
    assert "--force" in err
    Path("evaluation.key").unlink()
    eer("keygen", model_file, code=8)
    assert Path("secret.key").read_bytes() == before
    assert names(Path()) == {"secret.key"}
    eer("keygen", model_file, "--force")
    assert Path("secret.key").read_bytes() != before
    assert stat.S_IMODE(Path("secret.key").stat().st_mode) == 0o600
    eer("keygen", model_file, "--secret", "a", "--evaluation", "a", code=2)


def write_data(kind: str) -> Path:
    """A data file with a fault of this kind, or with another's contents."""
    x = np.zeros((3, 4))
    path = Path("bad.npz")
    match kind:
        case "shape":
            np.savez(path, x=np.zeros((3, 5)))
        case "nan":
            x[1, 2] = np.nan
            np.savez(path, x=x)
        case "range":
            x[1, 2] = 1e3
            np.savez(path, x=x)
        case "text":
            np.savez(path, x=np.full((3, 4), "a"))
        case "name":
            np.savez(path, a=x, b=x)
        case _:
            path.write_bytes(b"PK no archive")
    return path


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        ("shape", "shape [3, 5]; the model wants [rows, 4]"),
        ("nan", "NaN or infinite values in 1 of 3 rows, counted from 0: 1"),
        ("range", "the worst is 1000 in window 1 at element [2], where -1 to 1 was calibrated"),
        ("text", "dtype <U1, not real numbers"),
        ("name", "array 'x' is missing; the file holds: a, b"),
        ("broken", "cannot be read as .npz"),
    ],
)
def test_bad_data(kind: str, reason: str, eer: Run, model_file: Path, folder: Path) -> None:
    data = write_data(kind)
    arguments = ("encrypt", model_file, "--key", folder / "secret.key", "--input", data)
    _, err = eer(*arguments, code=4)
    assert reason in err
    assert " hint: " in err
    error = eer.json(*arguments, code=4)
    assert error["code"] == "data"
    assert reason in error["reason"]
    assert error["hint"]
    assert error["exit_code"] == 4
    assert names(Path()) == {"bad.npz"}


def test_range_check_can_be_relaxed(eer: Run, model_file: Path, folder: Path) -> None:
    data = write_data("range")
    arguments = ("encrypt", model_file, "--key", folder / "secret.key", "--input", data)
    _, err = eer(*arguments, "--range-check", "warn")
    assert err.startswith("warning: 1 of 12 values")
    _, err = eer(*arguments, "--range-check", "off")
    assert err == ""
    _, err = eer(*arguments, "--range-check", "perhaps", code=2)
    assert "--range-check error, warn or off" in err


def swapped(folder: Path) -> list[tuple[Sequence[str | Path], str]]:
    """Every command with a file in a place that another belongs to."""
    secret, evaluation = folder / "secret.key", folder / "evaluation.key"
    question, answer = folder / "windows.ct", folder / "result.ct"
    client, server, data = folder / "client.eer", folder / "server.eer", folder / "data.npy"
    return [
        (("keygen", server), "this is a server bundle"),
        (("keygen", data), "not a file of eer"),
        (("encrypt", client, "--key", evaluation, "--input", data), "a set of evaluation keys"),
        (("encrypt", server, "--key", secret, "--input", data), "this is a server bundle"),
        (("run", client, "--keys", evaluation, question), "this is a client bundle"),
        (("run", server, "--keys", secret, question), "never leaves the client"),
        (("run", server, "--keys", evaluation, answer), "encrypted answer, not an input"),
        (("run", server, "--keys", evaluation, secret), "never leaves the client"),
        (("decrypt", client, "--key", secret, question), "encrypted input, not an answer"),
        (("split", client), "this is a client bundle"),
        (("inspect", data), "not a file of eer"),
    ]


def test_files_in_the_wrong_places(eer: Run, folder: Path) -> None:
    for arguments, reason in swapped(folder):
        _, err = eer(*arguments, code=5)
        assert reason in err
        assert eer.json(*arguments, code=5)["code"] == "artifact"
    assert names(Path()) == set()


def test_other_keys_and_other_models(
    eer: Run, sample: Sample, windows: Vector, model_file: Path, folder: Path
) -> None:
    eer("keygen", model_file)
    _, err = eer("decrypt", model_file, "--key", "secret.key", folder / "result.ct", code=5)
    assert "ciphertext of another key" in err
    _, err = eer("run", model_file, "--keys", "evaluation.key", folder / "windows.ct", code=5)
    assert "ciphertext of another key" in err
    other = sample.renamed("other", 0.5)
    Path("other.eer").write_bytes(other.to_bytes())
    _, err = eer("run", "other.eer", "--keys", "evaluation.key", folder / "windows.ct", code=5)
    assert "evaluation keys of another model" in err
    _, err = eer("decrypt", "other.eer", "--key", "secret.key", folder / "result.ct", code=5)
    assert "secret key of another model" in err


@pytest.mark.parametrize("name", ["client.eer", "secret.key", "windows.ct", "evaluation.key"])
def test_damaged_files(name: str, eer: Run, model_file: Path, folder: Path) -> None:
    raw = (folder / name).read_bytes()
    Path("cut").write_bytes(raw[: len(raw) // 2])
    Path("flipped").write_bytes(raw[:-9] + bytes([raw[-9] ^ 1]) + raw[-8:])
    Path("newer").write_bytes(raw[:8] + b"\x63\x00" + raw[10:])
    for file, reason in (
        ("cut", "truncated"),
        ("flipped", "damaged or was tampered with"),
        ("newer", "upgrade eer"),
    ):
        assert reason in eer("inspect", file, code=5)[1]


def test_missing_and_unwritable_paths(eer: Run, model_file: Path, folder: Path) -> None:
    encrypt = ("encrypt", model_file, "--key", folder / "secret.key")
    eer("inspect", "nowhere.eer", code=8)
    eer(*encrypt, "--input", "nowhere.npz", code=8)
    _, err = eer(*encrypt, "--input", folder / "data.npy", "-o", "no/such/w.ct", code=8)
    assert "create the folder first" in err
    Path("file").write_bytes(b"")
    eer("split", model_file, "--out", "file", code=8)
    eer("keygen", model_file, "--out", "file/x", code=8)
    assert names(Path()) == {"file"}


@pytest.mark.skipif(os.geteuid() == 0, reason="root writes everywhere")
def test_folder_without_permission(eer: Run, model_file: Path) -> None:
    Path("closed").mkdir(mode=0o500)
    _, err = eer("split", model_file, "--out", "closed", code=8)
    assert "Permission denied" in err


def test_full_disk(eer: Run, model_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "write", full)
    error = eer.json("keygen", model_file, code=8)
    assert "No space left on device" in error["reason"]
    assert names(Path()) == set()


def test_ctrl_c(eer: Run, model_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def pressed(*_: Any) -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", pressed)
    _, err = eer("split", model_file, code=130)
    assert err == "interrupted, nothing was written\n"
    assert eer.json("keygen", model_file, code=130)["code"] == "interrupted"
    assert names(Path()) == set()


def test_wrong_usage(eer: Run, model_file: Path) -> None:
    for arguments in (("encrypt",), ("nonsense",), ("keygen", model_file, "--nonsense")):
        _, err = eer(*arguments, code=2)
        assert err.startswith("error[usage]: ")
        assert " hint: see eer" in err
        assert eer.json(*arguments, code=2)["code"] == "usage"


def test_help(eer: Run) -> None:
    out, _ = eer("--help")
    for name in ("keygen", "encrypt", "run", "decrypt", "split", "inspect"):
        assert f"  {name} " in out
        assert "--json" in eer(name, "--help")[0]
    assert "Exit codes: 0 success; 2 wrong options" in " ".join(out.split())
    _, err = eer(code=2)
    assert err.startswith("Usage: eer")


def test_a_bug_asks_for_a_report(
    eer: Run, model_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: Any, **__: Any) -> None:
        raise ZeroDivisionError("oops")

    monkeypatch.setattr("eer.runtime.commands.look.split_model", broken)
    _, err = eer("split", model_file, code=70)
    assert err.startswith("error[internal]: ZeroDivisionError: oops")
    assert "please report" in err
    assert "Traceback" not in err
    assert "Traceback" in eer("split", "--debug", model_file, code=70)[1]
    monkeypatch.setenv("EER_DEBUG", "1")
    assert "Traceback" in eer("split", model_file, code=70)[1]


def test_out_of_memory(eer: Run, model_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def huge(*_: Any, **__: Any) -> None:
        raise MemoryError

    monkeypatch.setattr("eer.runtime.commands.look.load_model", huge)
    assert "ran out of memory" in eer("inspect", model_file, code=7)[1]


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
