"""What survives when a process is killed, when writing fails, and when the disk is full."""

from __future__ import annotations

import errno
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from eer.runtime.errors import FileError
from eer.runtime.personal_store import INDEX
from tests.architecture.source import ROOT
from tests.runtime.crash_child import (
    BATCHES,
    MOMENTS,
    START,
    STOP_AT,
    clients,
    keep_keys,
    open_personal,
    teach,
)
from tests.runtime.stateful import next_weights

CHILD = "tests.runtime.crash_child"


def plain(steps: int) -> Any:
    weights = START
    for x in BATCHES[:steps]:
        weights = next_weights(weights, x)
    return weights


def weights(folder: Path) -> Any:
    """What the inference model multiplies by."""
    _, use = clients(folder)
    answer = open_personal(folder).run(use.encrypt({"X": np.ones((1, 4))}))
    return use.decrypt(answer).outputs["y"][0]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("user")
    keep_keys(folder)
    return folder


@pytest.fixture
def folder(made: Path, tmp_path: Path) -> Path:
    copy = tmp_path / "user"
    shutil.copytree(made, copy)
    return copy


@pytest.mark.parametrize("moment", MOMENTS)
def test_a_killed_process_loses_at_most_the_running_step(moment: str, folder: Path) -> None:
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path])}
    child = subprocess.Popen(
        [sys.executable, "-m", CHILD, folder, moment],
        cwd=ROOT,
        env=environment,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert child.stdout is not None
    assert child.stdout.readline() == "here\n"
    child.send_signal(signal.SIGKILL)
    assert child.wait() == -signal.SIGKILL
    child.stdout.close()
    done = STOP_AT if moment == "committed" else STOP_AT - 1
    assert open_personal(folder).version.step == done
    np.testing.assert_allclose(weights(folder), plain(done), rtol=1e-12)
    # A step that was computed is not computed again.
    waiting = open_personal(folder).pending
    assert (waiting is not None) == (moment not in ("computing", "committed"))
    reports = teach(folder)
    assert [r.step for r in reports] == list(range(done + 1, len(BATCHES) + 1))
    assert [r.resumed for r in reports] == [waiting is not None] + [False] * (len(reports) - 1)
    np.testing.assert_allclose(weights(folder), plain(len(BATCHES)), rtol=1e-12)
    left = {p.name for p in (folder / "p").iterdir()} - {INDEX, "lock"}
    assert left == {f"version-{n:04d}.eer" for n in range(1, len(BATCHES) + 2)}


class FailingOnce:
    """Calls of the system counted; the one numbered `fail` finds a full disk."""

    def __init__(self, fail: int, patched: pytest.MonkeyPatch) -> None:
        self.fail, self.calls = fail, 0
        for name in ("open", "write", "fsync", "replace", "link"):
            patched.setattr(os, name, self._wrapped(getattr(os, name)))

    def _wrapped(self, original: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            self.calls += 1
            if self.calls == self.fail:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            return original(*args, **kwargs)

        return call


def test_whatever_call_fails_the_version_before_is_intact(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every call that writes a commit fails, one after the other."""
    step, use = clients(folder)
    reasons: list[FileError] = []
    for fail in range(1, 200):
        personal = open_personal(folder)
        pending = personal.pending
        answer = personal.step(step.encrypt({"X": BATCHES[0]})) if not pending else pending.answer
        update = step.refresh(answer, [use]).update
        with monkeypatch.context() as patched:
            system = FailingOnce(fail, patched)
            try:
                personal.commit(update)
            except FileError as problem:
                reasons.append(problem)
        committed = open_personal(folder).version.step
        np.testing.assert_allclose(weights(folder), plain(committed), rtol=1e-12)
        if system.calls < fail:
            break
        if committed == 1:
            # What may fail without harm: the sync of a folder, for instance.
            open_personal(folder).rollback()
    assert committed == 1
    assert len(reasons) >= 6
    assert all(r.hint and "free some space" in r.hint for r in reasons)


def test_a_full_disk(folder: Path) -> None:
    """The system itself refuses to write any more: a limit on the size of files."""
    script = """
import resource, signal, sys
from pathlib import Path
from tests.runtime.crash_child import BATCHES, clients, open_personal
from eer.runtime.errors import FileError
folder = Path(sys.argv[1])
step, use = clients(folder)
personal = open_personal(folder)
answer = personal.step(step.encrypt({"X": BATCHES[0]}))
update = step.refresh(answer, [use]).update
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
try:
    personal.commit(update)
except FileError as problem:
    sys.exit(8)
"""
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path])}
    done = subprocess.run(
        [sys.executable, "-c", script, folder],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 8, done.stderr
    np.testing.assert_allclose(weights(folder), START, rtol=1e-12)
    assert not list((folder / "p").glob("*.tmp"))
    teach(folder)
    np.testing.assert_allclose(weights(folder), plain(len(BATCHES)), rtol=1e-12)
