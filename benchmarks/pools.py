"""How much more eer answers with several worker processes: wall time, all cores, server only."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import cycle, islice
from pathlib import Path
from statistics import median
from time import perf_counter

import numpy as np

from eer.runtime.bundle import load_model
from eer.runtime.client import Client
from eer.runtime.engines import open_engine
from eer.runtime.pool import ServerPool

from .contestant import Json
from .data import TaskData
from .ours_serve import MODEL_FILE, own_state

ROUNDS = 3
SECONDS = 2.0
"""Of one worker's time, for the messages of a round."""


def measure(folder: Path, engine: str, data: TaskData, workers: int) -> Json:
    """The model in `folder` served on `engine` by one worker and by `workers`, in turn.

    {"pool": ...} with windows per second of each and `times`, the median ratio over the rounds.
    """
    bundle = load_model(folder / MODEL_FILE)
    client = Client(bundle.client, open_engine(bundle.client.params, engine), range_check="off")
    keys = client.generate_keys().evaluation
    state = own_state(client, data)
    batch = min(client.batch, len(data.inputs))
    groups = np.split(data.inputs, range(batch, len(data.inputs), batch))[: 2 * workers]
    messages = [client.encrypt(group) for group in groups]
    with (
        ServerPool(bundle.server, keys, 1, engine, state=state) as alone,
        ServerPool(bundle.server, keys, workers, engine, state=state) as together,
    ):
        _answer(together, messages, workers)  # every worker has answered before it counts
        first = _answer(alone, messages, 1)
        count = workers * max(2, round(SECONDS / first / workers))
        rounds = [
            (_answer(alone, messages, count), _answer(together, messages, count))
            for _ in range(ROUNDS)
        ]
    return {
        "pool": {
            "workers": workers,
            "one_per_s": count * batch / median(one for one, _ in rounds),
            "all_per_s": count * batch / median(several for _, several in rounds),
            "times": median(one / several for one, several in rounds),
        }
    }


def _answer(pool: ServerPool, messages: Sequence[bytes], count: int) -> float:
    """Seconds for `count` messages."""
    began = perf_counter()
    for _ in pool.run_all(islice(cycle(messages), count)):
        pass
    return perf_counter() - began
