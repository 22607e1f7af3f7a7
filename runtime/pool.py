"""Several messages at a time: a pool of processes that all serve one user of one model.

CKKS libraries compute on one core, and hold the interpreter lock or must not be entered twice, so
that threads would not help. Like `Server`, a pool has no room for a secret key.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from multiprocessing.connection import Connection
from multiprocessing.reduction import recv_handle
from queue import Empty, SimpleQueue
from threading import Lock
from types import TracebackType

from .container import Source
from .errors import EngineError, UsageError
from .model import ServerModel
from .pieces import Bytes
from .pool_link import read_answer, source_to_bytes
from .server_bundle import server_to_bytes

_ATTEMPTS = 2
"""How often a message is tried where workers die over it."""

_BOOT = (
    "import json, sys; sys.path[:] = json.loads(sys.argv[1]); "
    "from eer.runtime.pool_host import main; main(int(sys.argv[2]))"
)

_ONE_THREAD = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}


class ServerPool:
    """`workers` processes that answer messages for the owner of the evaluation keys.

    `model` is a loaded one, or a `server.eer` (bytes or path); `engine` names another engine than
    the model's. Keys and weights are loaded once and shared, unless `share` is false or the
    engine's library does not survive a fork: then each worker loads its own. `state` is a message
    of `Client.encrypt_state`, used with every message as `Server.run` does. Raises what `Server`
    raises, and UsageError for fewer than one worker. Use it in a `with` block, or call `close`.
    Methods may be called from any thread.
    """

    def __init__(
        self,
        model: ServerModel | Source,
        evaluation_keys: Source,
        workers: int,
        engine: str | None = None,
        *,
        state: Source | None = None,
        share: bool = True,
    ) -> None:
        if workers < 1:
            raise UsageError(f"a pool needs at least one worker, {workers} were asked for")
        if isinstance(model, ServerModel):
            model = server_to_bytes(model)
        self.workers = workers
        self._options = json.dumps([engine, share]).encode()
        self._sources = (model, evaluation_keys, state)
        self._lock = Lock()
        self._closed = False
        self._hosts: list[_Host] = []
        self._alive = 0
        self._idle: SimpleQueue[Connection | None] = SimpleQueue()
        try:
            self._open()
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> ServerPool:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End all processes, whatever they are doing. Waiting calls of `run` raise UsageError."""
        self._closed = True
        with self._lock:
            for host in self._hosts:
                host.close()
            self._hosts.clear()
        with suppress(Empty):
            while worker := self._idle.get_nowait():
                worker.close()
        self._idle.put(None)

    def run(self, message: Source) -> bytes:
        """The answer to a message (bytes or path) by the next worker that is free.

        Raises what `Server.run` raises. A message over which a worker process dies is tried once
        more in a new process, then refused with an EngineError.
        """
        request = source_to_bytes(message)
        worker = self._next()
        for _ in range(_ATTEMPTS):
            try:
                worker.send_bytes(request)
                reply = worker.recv_bytes()
            except (EOFError, OSError):
                # Not the next that is idle: it may have died as well, before it saw the message.
                worker = self._replaced(worker)
            except BaseException:
                # Its answer would be taken for that to the next message.
                self._idle.put(self._replaced(worker))
                raise
            else:
                self._idle.put(worker)
                return read_answer(reply)
        self._idle.put(worker)
        raise EngineError(
            f"a worker process died over this message, {_ATTEMPTS} times",
            where="message in memory" if isinstance(message, Bytes) else str(message),
            hint="see whether memory is short: fewer workers take less; "
            "a single server (eer run without --workers) may show the cause",
        )

    def run_all(self, messages: Iterable[Source]) -> Iterator[bytes]:
        """The answers to any number of messages, in order, all workers busy.

        Messages are taken from the iterable as workers become free, two for each at most ahead of
        the answer that is given out. The first error ends it.
        """
        threads = ThreadPoolExecutor(self.workers)
        waiting: deque[Future[bytes]] = deque()
        try:
            for message in messages:
                waiting.append(threads.submit(self.run, message))
                if len(waiting) >= 2 * self.workers:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            # Not to wait for what is being computed: Ctrl-C shall end it now.
            threads.shutdown(wait=False, cancel_futures=True)

    def _open(self) -> None:
        first = self._host()
        more = 0 if first.forks else self.workers - 1
        others = [_Host(self._options, self._sources) for _ in range(more)]
        self._hosts += others
        for host in others:
            host.wait()
        for host in [first, *others] if others else [first] * self.workers:
            self._idle.put(host.worker())
            self._alive += 1

    def _host(self) -> _Host:
        """A new host that has loaded everything."""
        host = _Host(self._options, self._sources)
        self._hosts.append(host)
        host.wait()
        return host

    def _next(self) -> Connection:
        worker = self._idle.get()
        if worker is None:
            # For all others that wait.
            self._idle.put(None)
            if self._closed:
                raise UsageError("the pool is closed")
            raise EngineError("no worker process is left, and no new one could be started")
        return worker

    def _replaced(self, worker: Connection) -> Connection:
        """A new worker in the place of one that died or that nobody listens to any more."""
        worker.close()
        with self._lock:
            if self._closed:
                raise UsageError("the pool is closed")
            try:
                return self._successor()
            except BaseException:
                self._alive -= 1
                if not self._alive:
                    self._idle.put(None)
                raise

    def _successor(self) -> Connection:
        for host in self._hosts:
            if host.forks:
                with suppress(EOFError, OSError):
                    return host.worker()
        return self._host().worker()


class _Host:
    """This side of a `pool_host` process, which leads a process group of its own."""

    def __init__(self, options: bytes, sources: Sequence[Source | None]) -> None:
        ours, theirs = socket.socketpair()
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-c", _BOOT, json.dumps(sys.path), str(theirs.fileno())],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                env=os.environ | _ONE_THREAD,
                pass_fds=(theirs.fileno(),),
                start_new_session=True,
            )
        self._control = Connection(ours.detach())
        self.forks = False
        # A host that died is noticed when it is waited for.
        with suppress(OSError):
            self._control.send_bytes(options)
            for source in sources:
                self._control.send_bytes(b"" if source is None else source_to_bytes(source))

    def wait(self) -> None:
        """Until everything is loaded. Raises what loading raised there."""
        try:
            self.forks = read_answer(self._control.recv_bytes()) == b"forks"
        except (EOFError, OSError) as error:
            raise EngineError(
                "a process of the pool died while it loaded keys and weights",
                hint="see whether memory is short: fewer workers take less",
            ) from error

    def worker(self) -> Connection:
        """A new worker's socket, at whose other end it waits for messages."""
        self._control.send_bytes(b"worker")
        return Connection(recv_handle(self._control))

    def close(self) -> None:
        self._control.close()
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal.SIGTERM)
        self._process.wait()
