"""Pools of processes: the answers of one server, in order, whatever happens to the workers."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import islice
from multiprocessing.connection import Connection
from pathlib import Path
from threading import Thread, Timer
from typing import TYPE_CHECKING

import numpy as np
import pytest

from eer.runtime.client import Client
from eer.runtime.engines import desilo_literal, open_engine
from eer.runtime.engines.desilo_library import installed
from eer.runtime.errors import (
    ArtifactError,
    EerError,
    EngineError,
    FileError,
    KeyMismatchError,
    UsageError,
)
from eer.runtime.pool import ServerPool
from eer.runtime.program import Vector
from eer.runtime.server import Server
from eer.runtime.server_bundle import server_to_bytes

from .stateful import use_model

if TYPE_CHECKING:
    from .conftest import Run, Sample

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="looks for processes in /proc")

TOLERANCE = 5e-4


@dataclass
class User:
    """A client of the sample model, and messages of one window each."""

    client: Client
    evaluation: bytes
    windows: Vector
    messages: list[bytes]

    def check(self, sample: Sample, answers: list[bytes]) -> None:
        found = np.concatenate([self.client.decrypt(a).outputs["scores"] for a in answers])
        wanted = sample.reference(self.windows[: len(answers)])
        np.testing.assert_allclose(found, wanted, atol=TOLERANCE)


def user_of(sample: Sample, engine: str = "seal") -> User:
    client = Client(sample.client, open_engine(sample.client.params, engine))
    keys = client.generate_keys()
    windows = np.random.default_rng(3).uniform(-1, 1, (7, 4))
    return User(client, keys.evaluation, windows, [client.encrypt(w) for w in windows])


@pytest.fixture(scope="module")
def user(sample: Sample) -> User:
    return user_of(sample)


@pytest.fixture(scope="module")
def pool(sample: Sample, user: User) -> Iterator[ServerPool]:
    with ServerPool(sample.server, user.evaluation, 2) as made:
        yield made


def host_pids(pool: ServerPool) -> list[int]:
    return [host._process.pid for host in pool._hosts]


def children(pid: int) -> list[int]:
    return [int(p) for p in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def runs(pid: int) -> bool:
    """Whether the process is there and no zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


def wait_until_gone(pids: list[int]) -> None:
    deadline = time.monotonic() + 20
    while any(runs(p) for p in pids):
        assert time.monotonic() < deadline, "processes are left behind"
        time.sleep(0.01)


def test_answers_come_in_the_order_of_the_messages(
    pool: ServerPool, user: User, sample: Sample
) -> None:
    user.check(sample, list(pool.run_all(user.messages)))
    user.check(sample, [pool.run(user.messages[0])])
    assert list(pool.run_all([])) == []
    (host,) = host_pids(pool)
    assert len(children(host)) == 2


def test_messages_are_read_from_paths_too(
    pool: ServerPool, user: User, sample: Sample, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("window.ct").write_bytes(user.messages[0])
    user.check(sample, [pool.run("window.ct")])
    user.check(sample, [pool.run(tmp_path / "window.ct")])
    with pytest.raises(FileError, match=r"cannot read .*missing\.ct"):
        pool.run("missing.ct")


def test_messages_are_taken_as_workers_become_free(
    pool: ServerPool, user: User, sample: Sample
) -> None:
    taken: list[int] = []

    def messages() -> Iterator[bytes]:
        for number, message in enumerate(user.messages):
            taken.append(number)
            yield message

    answers = list(islice(pool.run_all(messages()), 1))
    assert taken == [0, 1, 2, 3]
    user.check(sample, answers)


def test_errors_are_those_of_a_server(pool: ServerPool, user: User, sample: Sample) -> None:
    server = Server(sample.server, user.evaluation)
    foreign = user_of(sample).messages[0]
    for wrong in (foreign, b"nonsense", user.messages[0][:-1]):
        with pytest.raises(EerError) as alone:
            server.run(wrong)
        with pytest.raises(EerError) as caught:
            pool.run(wrong)
        assert type(caught.value) is type(alone.value)
        assert str(caught.value) == str(alone.value)
    messages = [user.messages[0], foreign, *user.messages[1:]]
    answers = pool.run_all(messages)
    user.check(sample, [next(answers)])
    with pytest.raises(KeyMismatchError, match="another key"):
        next(answers)
    user.check(sample, list(pool.run_all(user.messages)))


def test_what_cannot_be_loaded_is_told_when_the_pool_opens(sample: Sample, user: User) -> None:
    server = server_to_bytes(sample.server)
    with pytest.raises(ArtifactError, match="truncated"):
        ServerPool(server, user.evaluation[:-5], 1)
    with pytest.raises(KeyMismatchError, match="another model"):
        ServerPool(sample.renamed("other", 0.5).server, user.evaluation, 2)
    with pytest.raises(UsageError, match="no engine named 'magic'"):
        ServerPool(server, user.evaluation, 1, "magic")
    with pytest.raises(UsageError, match="at least one worker"):
        ServerPool(server, user.evaluation, 0)


def test_a_message_is_tried_again_in_a_new_process(
    pool: ServerPool, user: User, sample: Sample
) -> None:
    """Not by another that died unnoticed: one message after the other meets both."""
    (host,) = host_pids(pool)
    for victim in children(host):
        os.kill(victim, signal.SIGKILL)
    user.check(sample, [pool.run(message) for message in user.messages])
    assert len(children(host)) == 2


def test_a_worker_that_dies_is_replaced(pool: ServerPool, user: User, sample: Sample) -> None:
    (host,) = host_pids(pool)
    for victim in children(host):
        os.kill(victim, signal.SIGKILL)
    user.check(sample, list(pool.run_all(user.messages)))
    assert host_pids(pool) == [host]
    assert len(children(host)) == 2


def test_a_worker_that_dies_at_work_does_not_lose_its_message(
    pool: ServerPool, user: User, sample: Sample
) -> None:
    (host,) = host_pids(pool)
    stopped = children(host)
    for victim in stopped:
        os.kill(victim, signal.SIGSTOP)
    answers: list[bytes] = []
    thread = Thread(target=lambda: answers.extend(pool.run_all(user.messages)))
    thread.start()
    time.sleep(0.1)
    assert not answers
    for victim in stopped:
        os.kill(victim, signal.SIGKILL)
    thread.join(30)
    user.check(sample, answers)


def test_a_message_over_which_workers_die_is_refused(
    user: User, sample: Sample, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stillborn(_: ServerPool) -> Connection:
        ours, theirs = socket.socketpair()
        theirs.close()
        return Connection(ours.detach())

    with ServerPool(sample.server, user.evaluation, 1) as pool:
        with monkeypatch.context() as patch:
            patch.setattr(ServerPool, "_successor", stillborn)
            os.kill(children(*host_pids(pool))[0], signal.SIGKILL)
            with pytest.raises(EngineError, match="died over this message, 2 times") as caught:
                pool.run(user.messages[0])
            assert "fewer workers" in str(caught.value)
        user.check(sample, [pool.run(user.messages[0])])


def test_when_no_process_can_be_started_nobody_waits(
    user: User, sample: Sample, monkeypatch: pytest.MonkeyPatch
) -> None:
    def impossible(_: ServerPool) -> Connection:
        raise EngineError("no memory")

    monkeypatch.setattr(ServerPool, "_successor", impossible)
    with ServerPool(sample.server, user.evaluation, 1) as pool:
        os.kill(children(*host_pids(pool))[0], signal.SIGKILL)
        with pytest.raises(EngineError, match="no memory"):
            pool.run(user.messages[0])
        for _ in range(2):
            with pytest.raises(EngineError, match="no worker process is left"):
                pool.run(user.messages[0])


def test_everything_is_loaded_again_where_the_host_died_too(user: User, sample: Sample) -> None:
    with ServerPool(sample.server, user.evaluation, 1) as pool:
        (host,) = host_pids(pool)
        for victim in (host, *children(host)):
            os.kill(victim, signal.SIGKILL)
        user.check(sample, [pool.run(user.messages[0])])


def test_an_interrupted_message_does_not_answer_the_next(
    pool: ServerPool, user: User, sample: Sample
) -> None:
    """Ctrl-C while workers hang: their late answers are for nobody."""
    (host,) = host_pids(pool)
    stopped = children(host)
    # Shells start what runs in the background with Ctrl-C ignored.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    for worker in stopped:
        os.kill(worker, signal.SIGSTOP)
    timer = Timer(0.1, lambda: os.kill(os.getpid(), signal.SIGINT))
    timer.start()
    try:
        with pytest.raises(KeyboardInterrupt):
            pool.run(user.messages[1])
    finally:
        signal.signal(signal.SIGINT, before)
        for worker in stopped:
            os.kill(worker, signal.SIGCONT)
    user.check(sample, list(pool.run_all(user.messages)))


def test_closing_ends_every_process(user: User, sample: Sample) -> None:
    pool = ServerPool(sample.server, user.evaluation, 2)
    (host,) = host_pids(pool)
    everyone = [host, *children(host)]
    assert len(everyone) == 3
    os.kill(everyone[1], signal.SIGSTOP)

    def told() -> None:
        with pytest.raises(UsageError, match="closed"):
            list(pool.run_all(user.messages))

    waiting = Thread(target=told)
    waiting.start()
    time.sleep(0.1)
    os.kill(everyone[1], signal.SIGCONT)
    pool.close()
    waiting.join(20)
    assert not waiting.is_alive()
    wait_until_gone(everyone)
    with pytest.raises(UsageError, match="closed"):
        pool.run(user.messages[0])
    pool.close()


def test_processes_end_with_their_owner(user: User, sample: Sample, tmp_path: Path) -> None:
    """Even where the owner is killed and can clean up nothing."""
    (tmp_path / "server.eer").write_bytes(server_to_bytes(sample.server))
    (tmp_path / "evaluation.key").write_bytes(user.evaluation)
    script = (
        "import signal; from eer.runtime.pool import ServerPool; "
        "pool = ServerPool('server.eer', 'evaluation.key', 1); "
        "print(pool._hosts[0]._process.pid, flush=True); signal.pause()"
    )
    command = [sys.executable, "-c", script]
    with subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, text=True) as owner:
        assert owner.stdout is not None
        host = int(owner.stdout.readline())
        everyone = [host, *children(host)]
        assert len(everyone) == 2
        assert all(runs(p) for p in everyone)
        owner.kill()
    wait_until_gone(everyone)


@pytest.mark.parametrize(
    ("engine", "share"), [("clear", True), ("desilo", True), ("clear", False), ("seal", False)]
)
def test_every_engine_serves_in_pools(sample: Sample, engine: str, share: bool) -> None:
    """Shared by a fork, which engines say that they survive, and each for itself."""
    if engine == "desilo":
        if not installed():
            pytest.skip("needs desilofhe")
        literal = desilo_literal(2, 8).check()
        sample = replace(
            sample,
            client=replace(sample.client, params=literal, input_scale=2.0**literal.log_scale),
            server=replace(sample.server, params=literal, input_scale=2.0**literal.log_scale),
        )
    user = user_of(sample, engine)
    with ServerPool(sample.server, user.evaluation, 2, engine, share=share) as pool:
        assert len(host_pids(pool)) == (1 if share else 2)
        user.check(sample, list(pool.run_all(user.messages)))
        victim = children(*host_pids(pool))[0] if share else host_pids(pool)[1]
        os.kill(victim, signal.SIGKILL)
        user.check(sample, list(pool.run_all(user.messages)))


def test_workers_share_a_state_too() -> None:
    pair = use_model()
    client = Client(pair.client, open_engine(pair.client.params, "clear"))
    keys = client.generate_keys()
    weights, windows = np.random.default_rng(5).uniform(-1, 1, (2, 5, 4))
    state = client.encrypt_state({"W": weights[0]})
    messages = [client.encrypt({"X": x}) for x in windows]
    with ServerPool(pair.server, keys.evaluation, 2, "clear", state=state) as pool:
        for answer, x in zip(pool.run_all(messages), windows, strict=True):
            np.testing.assert_allclose(
                client.decrypt(answer).outputs["y"][0], weights[0] * x, atol=1e-9
            )
    with pytest.raises(ArtifactError, match="not a state"):
        ServerPool(pair.server, keys.evaluation, 1, "clear", state=messages[0])


def test_run_with_workers(eer: Run, folder: Path, user: User, sample: Sample) -> None:
    Path("evaluation.key").write_bytes(user.evaluation)
    names = [f"window{k}.ct" for k in range(3)]
    for name, message in zip(names, user.messages, strict=False):
        Path(name).write_bytes(message)
    arguments: list[str | Path] = [
        "run",
        folder / "server.eer",
        *names,
        "--keys",
        "evaluation.key",
        "-o",
        "answers",
    ]
    found = eer.json(*arguments, "--workers", "2")
    assert found["workers"] == 2
    assert found["messages_per_second"] > 0
    assert [Path(f).name for f in found["files"]] == names
    user.check(sample, [Path(f).read_bytes() for f in found["files"]])
    out, _ = eer(*arguments, "--workers", "2")
    assert "messages a second" in out
    eer(*arguments, "--workers", "0", code=2)
