"""The processes of a pool: a host that loads keys and weights once, and workers that share them.

The host is a fresh interpreter with one thread. Where the engine allows it, workers are forked from
it after everything is loaded, so that they share its memory; elsewhere the host becomes the worker.
"""

from __future__ import annotations

import gc
import json
import os
import signal
import socket
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from multiprocessing.connection import Connection
from multiprocessing.reduction import send_handle

from .container import Source
from .engines import open_engine
from .pool_link import answer_to_bytes, problem_to_bytes, read_source
from .server import Server
from .server_bundle import load_server

Run = Callable[[Source], bytes]
"""Answers a message."""


def main(descriptor: int) -> None:
    """Load what `descriptor`, one end of a socket, sends; then give it a worker whenever it asks.

    It sends options (the engine's name or null, and whether to share memory), the model, the
    evaluation keys, and the model's state or nothing. The first answer is "forks" or "serves":
    whether workers share this process's memory, or this is the one worker.
    """
    # Ctrl-C is for whoever owns the pool, who then closes its end.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    control = Connection(descriptor)
    # Where the other end is closed there is nobody to tell.
    with suppress(EOFError, OSError):
        try:
            run, forks = _load(control)
        except Exception as problem:
            control.send_bytes(problem_to_bytes(problem))
            return
        control.send_bytes(answer_to_bytes(b"forks" if forks else b"serves"))
        while control.recv_bytes():
            _start(run, control, forks)


def _load(control: Connection) -> tuple[Run, bool]:
    """What answers messages, and whether it can be forked."""
    name, share = json.loads(control.recv_bytes())
    model = load_server(read_source(control.recv_bytes()))
    engine = open_engine(model.params, name)
    server = Server(model, read_source(control.recv_bytes()), engine)
    state = control.recv_bytes()
    held = server.load_state(read_source(state)) if state else None
    # What is there now stays: collecting garbage would only copy pages that are shared.
    gc.collect()
    gc.freeze()
    return partial(server.run, state=held), share and engine.capabilities.forks


def _start(run: Run, control: Connection, forks: bool) -> None:
    """Send the other end of a new worker's socket through `control`."""
    ours, theirs = socket.socketpair()
    if forks and os.fork():
        ours.close()
        with theirs:
            send_handle(control, theirs.fileno(), None)
        return
    if not forks:
        send_handle(control, theirs.fileno(), None)
    control.close()
    theirs.close()
    try:
        _serve(run, Connection(ours.detach()))
    finally:
        # Not back into the host's loop, whichever way serving ended.
        os._exit(0)


def _serve(run: Run, connection: Connection) -> None:
    with suppress(EOFError, OSError):
        while True:
            message = read_source(connection.recv_bytes())
            try:
                answer = answer_to_bytes(run(message))
            except Exception as problem:
                answer = problem_to_bytes(problem)
            connection.send_bytes(answer)
