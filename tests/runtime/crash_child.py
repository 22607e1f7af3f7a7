"""A process that teaches a personal model and stops at a given moment, to be killed there.

python -m tests.runtime.crash_child FOLDER MOMENT
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

from eer.runtime.client import Client
from eer.runtime.engines import open_engine
from eer.runtime.personal import PersonalModel
from eer.runtime.personal_store import INDEX
from eer.runtime.personalise import StepReport, personalise
from eer.runtime.server import Server
from tests.runtime.stateful import Pair, step_model, use_model

BATCHES = np.random.default_rng(21).uniform(-1, 1, (6, 4))
START = np.random.default_rng(22).uniform(-0.5, 0.5, 4)
STOP_AT = 3
MOMENTS = ("computing", "waiting", "version written", "version half written", "committed")


def keep_keys(folder: Path) -> None:
    """Make the user's keys, and the personal model, in a new folder."""
    for name, pair in pairs().items():
        keys = Client(pair.client, open_engine(pair.client.params, "clear")).generate_keys()
        (folder / f"{name}.secret").write_bytes(keys.secret)
        (folder / f"{name}.evaluation").write_bytes(keys.evaluation)
    step, use = clients(folder)
    servers = [server(folder, n, p) for n, p in pairs().items()]
    first = step.initial_state({"W": START}, [use])
    PersonalModel.create(folder / "p", first, step=servers[0], inference=servers[1])


def pairs() -> dict[str, Pair]:
    return {"step": step_model(), "use": use_model()}


def clients(folder: Path) -> list[Client]:
    return [
        Client(
            p.client, open_engine(p.client.params, "clear"), secret_key=folder / f"{name}.secret"
        )
        for name, p in pairs().items()
    ]


def server(folder: Path, name: str, pair: Pair) -> Server:
    engine = open_engine(pair.server.params, "clear")
    return Server(pair.server, folder / f"{name}.evaluation", engine)


def open_personal(folder: Path) -> PersonalModel:
    step, use = (server(folder, n, p) for n, p in pairs().items())
    return PersonalModel(folder / "p", step=step, inference=use)


def teach(folder: Path) -> list[StepReport]:
    """All steps that are still missing."""
    step, use = clients(folder)
    batches = [{"X": x} for x in BATCHES]
    return personalise(step, open_personal(folder), batches, len(BATCHES), others=[use])


def halt(*_: Any, **__: Any) -> Any:
    sys.stdout.write("here\n")
    sys.stdout.flush()
    time.sleep(600)


def main(folder: Path, moment: str) -> None:
    personal, (step, use) = open_personal(folder), clients(folder)
    for number, x in enumerate(BATCHES, start=1):
        last = number == STOP_AT
        answer = personal.step(
            step.encrypt({"X": x}), halt if last and moment == "computing" else None
        )
        if last and moment == "waiting":
            halt()
        update = step.refresh(answer, [use]).update
        if last:
            stop_while_writing(moment)
        personal.commit(update)


def stop_while_writing(moment: str) -> None:
    """Make the next commit halt at this moment."""
    replace, write = os.replace, os.write

    def replacing(source: Any, target: Any) -> None:
        if Path(target).name == INDEX:
            halt()
        replace(source, target)

    def writing(descriptor: int, data: memoryview) -> int:
        write(descriptor, data[: len(data) // 2])
        return int(halt())

    match moment:
        case "version written":
            os.replace = replacing  # type: ignore[assignment]
        case "version half written":
            os.write = writing  # type: ignore[assignment]
        case "committed":
            Path.unlink = halt  # type: ignore[method-assign]


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
