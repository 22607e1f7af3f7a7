"""Mistakes at the `eer` command: message, hint, exit code, and nothing left behind."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from eer.runtime.program import Vector

if TYPE_CHECKING:
    from .conftest import Run, Sample


def names(folder: Path) -> set[str]:
    return {p.name for p in folder.iterdir()}


@pytest.mark.parametrize(("rows", "code"), [("a:b", 2), ("3:1", 2), ("-1", 2), ("7:9", 4)])
def test_rows_that_are_none(rows: str, code: int, eer: Run, model_file: Path, folder: Path) -> None:
    arguments = ("--key", folder / "secret.key", "--input", folder / "data.npy", f"--rows={rows}")
    eer("encrypt", model_file, *arguments, code=code)
    assert not names(Path())


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


def test_folder_without_permission(
    eer: Run, model_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = os.open

    def refuse(path: Any, flags: int, mode: int = 0o777) -> int:
        if flags & os.O_CREAT:
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return real(path, flags, mode)

    monkeypatch.setattr(os, "open", refuse)
    _, err = eer("split", model_file, code=8)
    assert "cannot write client.eer: Permission denied" in err
    assert "a folder that you may write to" in err


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
