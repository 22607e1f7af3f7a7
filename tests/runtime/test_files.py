"""Files are written whole or not at all, and secret ones are never readable by others."""

from __future__ import annotations

import errno
import os
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from eer.runtime.errors import FileError
from eer.runtime.files import NewFile, read_file, write_file, write_files


def contents(folder: Path) -> dict[str, bytes]:
    return {p.name: p.read_bytes() for p in folder.iterdir()}


def test_write_and_replace(tmp_path: Path) -> None:
    path = tmp_path / "a.eer"
    write_file(path, b"one")
    write_file(path, b"two")
    assert contents(tmp_path) == {"a.eer": b"two"}
    assert read_file(path) == b"two"


def test_mode_follows_the_umask(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        write_file(tmp_path / "a", b"x")
        write_file(tmp_path / "s", b"x", secret=True)
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "a").stat().st_mode) == 0o640
    assert stat.S_IMODE((tmp_path / "s").stat().st_mode) == 0o600


def test_secret_files_have_mode_0600_from_creation_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[int] = []
    real_write, real_open = os.write, os.open

    def watching_open(path: Any, flags: int, mode: int = 0o777) -> int:
        descriptor = real_open(path, flags, mode)
        if flags & os.O_CREAT:
            seen.append(stat.S_IMODE(os.fstat(descriptor).st_mode))
        return descriptor

    def watching_write(descriptor: int, data: bytes) -> int:
        seen.append(stat.S_IMODE(os.fstat(descriptor).st_mode))
        return real_write(descriptor, data)

    before = os.umask(0)
    try:
        # A wide file of the same name must not lend its mode to the new one.
        (tmp_path / "secret.key").write_bytes(b"old")
        (tmp_path / "secret.key").chmod(0o666)
        monkeypatch.setattr(os, "open", watching_open)
        monkeypatch.setattr(os, "write", watching_write)
        write_file(tmp_path / "secret.key", b"key", secret=True)
    finally:
        os.umask(before)
    assert seen
    assert set(seen) == {0o600}
    assert stat.S_IMODE((tmp_path / "secret.key").stat().st_mode) == 0o600


def test_no_overwrite(tmp_path: Path) -> None:
    path = tmp_path / "secret.key"
    path.write_bytes(b"old")
    with pytest.raises(FileError, match="there already"):
        write_file(path, b"new", overwrite=False)
    assert contents(tmp_path) == {"secret.key": b"old"}


def test_no_overwrite_even_where_the_file_appears_meanwhile(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "secret.key"
    real = os.fsync

    def racing(descriptor: int) -> None:
        real(descriptor)
        if not path.exists():
            path.write_bytes(b"somebody else's")

    monkeypatch.setattr(os, "fsync", racing)
    with pytest.raises(FileError, match="there already"):
        write_file(path, b"new", overwrite=False)
    assert contents(tmp_path) == {"secret.key": b"somebody else's"}


def test_no_overwrite_without_hard_links(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any) -> None:
        raise OSError(errno.EPERM, "no hard links here")

    monkeypatch.setattr(os, "link", refuse)
    write_file(tmp_path / "a", b"new", overwrite=False)
    assert contents(tmp_path) == {"a": b"new"}


def failing(problem: BaseException) -> Callable[..., int]:
    def fail(*_: Any) -> int:
        raise problem

    return fail


@pytest.mark.parametrize("call", ["write", "fsync", "replace"])
@pytest.mark.parametrize("existing", [False, True])
def test_full_disk_leaves_nothing(
    call: str, existing: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "model.eer"
    if existing:
        path.write_bytes(b"old")
    before = contents(tmp_path)
    full = OSError(errno.ENOSPC, "No space left on device")
    monkeypatch.setattr(os, call, failing(full))
    with pytest.raises(FileError, match="No space left on device") as caught:
        write_file(path, b"new")
    assert "free some space" in str(caught.value)
    assert contents(tmp_path) == before


def test_disk_that_fills_up_in_the_middle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.write
    calls: list[int] = []

    def partial(descriptor: int, data: bytes) -> int:
        calls.append(len(data))
        if len(calls) == 3:
            raise OSError(errno.ENOSPC, "No space left on device")
        return real(descriptor, data[:10])

    monkeypatch.setattr(os, "write", partial)
    with pytest.raises(FileError):
        write_file(tmp_path / "a", bytes(100))
    assert calls == [100, 90, 80]
    assert contents(tmp_path) == {}


def test_short_writes_are_continued(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.write
    monkeypatch.setattr(os, "write", lambda fd, data: real(fd, data[:7]))
    write_file(tmp_path / "a", bytes(range(100)))
    assert (tmp_path / "a").read_bytes() == bytes(range(100))


@pytest.mark.parametrize("call", ["write", "fsync", "replace"])
def test_ctrl_c_leaves_nothing(call: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, call, failing(KeyboardInterrupt()))
    with pytest.raises(KeyboardInterrupt):
        write_file(tmp_path / "a", b"new")
    assert contents(tmp_path) == {}


def test_ctrl_c_between_two_renames_takes_both_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = os.replace
    done: list[Any] = []

    def second_fails(a: Any, b: Any) -> None:
        real(a, b)
        done.append(b)
        if len(done) == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr(os, "replace", second_fails)
    files = [NewFile(tmp_path / "a", b"1"), NewFile(tmp_path / "b", b"2")]
    with pytest.raises(KeyboardInterrupt):
        write_files(files)
    assert contents(tmp_path) == {}


def test_unwritable_second_file_takes_the_first_back(tmp_path: Path) -> None:
    files = [NewFile(tmp_path / "a", b"1"), NewFile(tmp_path / "no" / "b", b"2")]
    with pytest.raises(FileError, match="No such file") as caught:
        write_files(files)
    assert caught.value.where == str(tmp_path / "no" / "b")
    assert contents(tmp_path) == {}


def test_folders_devices_and_files_in_between(tmp_path: Path) -> None:
    with pytest.raises(FileError, match="it is a folder"):
        write_file(tmp_path, b"x")
    with pytest.raises(FileError, match="not a regular file"):
        write_file(os.devnull, b"x")
    assert stat.S_ISCHR(os.stat(os.devnull).st_mode)
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(FileError, match="Not a directory"):
        write_file(tmp_path / "file" / "x", b"x")
    with pytest.raises(FileError):
        write_file(tmp_path / ("x" * 300), b"x")


def test_a_link_keeps_pointing_where_it_did(tmp_path: Path) -> None:
    (tmp_path / "real").write_bytes(b"old")
    (tmp_path / "link").symlink_to(tmp_path / "real")
    write_file(tmp_path / "link", b"new")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "real").read_bytes() == b"new"


def test_reading_a_pipe_does_not_hang(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(FileError, match="not a regular file"):
        read_file(tmp_path / "pipe")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_process_stopped_while_it_writes(number: signal.Signals, tmp_path: Path) -> None:
    # fsync is where a large file spends its time: stop there. A test run in the background of a
    # shell has Ctrl-C switched off, which children inherit.
    script = (
        "import os, signal, sys, time, typer\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "from eer.runtime.console import run_app\n"
        "from eer.runtime.files import write_file\n"
        "def slow(fd):\n"
        "    print('writing', flush=True)\n"
        "    time.sleep(60)\n"
        "os.fsync = slow\n"
        "app = typer.Typer()\n"
        "@app.command()\n"
        "def go() -> None:\n"
        "    write_file(sys.argv[1], bytes(1000))\n"
        "sys.exit(run_app(app, 'go', []))\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", script, str(tmp_path / "model.eer")],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "writing\n"
    assert len(contents(tmp_path)) == 1
    time.sleep(0.05)
    process.send_signal(number)
    _, errors = process.communicate(timeout=20)
    assert process.returncode == 128 + number
    assert contents(tmp_path) == {}
    if number == signal.SIGINT:
        assert errors == "interrupted, nothing was written\n"
