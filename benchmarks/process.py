"""A contestant's process, seen from the harness."""

from __future__ import annotations

import json
import os
import subprocess
import threading
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from eer.runtime.errors import EerError

from .contestant import Json

REPOSITORY = Path(__file__).resolve().parents[1]
LOG_FILE = "log.txt"

_NO_MEMORY = ("out of memory", "cannot allocate memory", "MemoryError", "bad_alloc")
"""What Go, Python and C++ write as they give up."""

_ONE_THREAD = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "GOMAXPROCS")


class ContestantError(EerError):
    """A contestant failed, or took too long."""

    code = "contestant"


@dataclass(frozen=True, slots=True)
class Launch:
    """How to run a contestant: its interpreter, its modules, and the seconds that it may take.

    `compiles` is None where compiling is not a process of its own. `limit` is for one reply.
    """

    python: Path
    serves: str
    compiles: str | None
    limit: float

    def compile(self, folder: Path) -> ContestantProcess:
        """Start `benchmarks.worker` on `folder`; what its libraries print goes to log.txt there."""
        assert self.compiles is not None
        return ContestantProcess(self.python, (self.compiles, "compile"), folder, self.limit)

    def serve(self, folder: Path) -> ContestantProcess:
        """The same for the client and the server."""
        return ContestantProcess(self.python, (self.serves, "serve"), folder, self.limit)


class ContestantProcess:
    """One worker; a context manager that ends it."""

    def __init__(self, python: Path, words: tuple[str, str], folder: Path, limit: float) -> None:
        command = [str(python), "-m", "benchmarks.worker", *words, str(folder)]
        environment = dict(os.environ) | dict.fromkeys(_ONE_THREAD, "1")
        given = environment.get("PYTHONPATH")
        environment["PYTHONPATH"] = os.pathsep.join([str(REPOSITORY), *([given] if given else [])])
        environment.pop("PYTHONHOME", None)
        self._module, self._limit = words[0], limit
        self._log = folder / LOG_FILE
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                env=environment,
                cwd=folder,
                text=True,
            )

    def __enter__(self) -> ContestantProcess:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        if error is not None:
            self._process.kill()
        with suppress(OSError):  # it may have gone already
            self._process.stdin.close()
        try:
            self._process.wait(timeout=30)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process.stdout.close()

    def ask(self, request: Json) -> Json:
        """Send one request and return the reply."""
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps(request) + "\n")
            self._process.stdin.flush()
        except OSError as error:
            raise self._failed("it ended early") from error
        return self.reply()

    def reply(self) -> Json:
        """The next line of the process. Raises ContestantError where it reports an error."""
        assert self._process.stdout is not None
        timer = threading.Timer(self._limit, self._process.kill)
        timer.start()
        try:
            line = self._process.stdout.readline()
        finally:
            expired = not timer.is_alive()
            timer.cancel()
        if not line:
            code = self._process.wait()
            raise self._failed(
                f"it took more than {self._limit:.0f} s"
                if expired
                else f"it ended with exit code {code}"
            )
        try:
            reply: Json = json.loads(line)
        except ValueError as error:  # it was ended in the middle of a line
            raise self._failed("its answer is not JSON") from error
        if "error" in reply:
            raise self._failed(str(reply["error"]))
        return reply

    def _failed(self, reason: str) -> ContestantError:
        log = self._log.read_text(errors="replace")
        if any(words in log for words in _NO_MEMORY):
            reason = "out of memory"
        tail = "\n".join(log.splitlines()[-20:])
        return ContestantError(reason, where=self._module, hint=f"its output ends:\n{tail}")
