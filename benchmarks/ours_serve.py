"""eer as a contestant: client and server, from the file that was compiled."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from eer.runtime.bundle import load_model
from eer.runtime.client import Client
from eer.runtime.engines import open_engine
from eer.runtime.server import Server

from .contestant import Json, OpenTask, Stopwatch, load
from .data import Array, TaskData

MODEL_FILE = "model.eer"


def open_task(folder: Path) -> OpenTask:
    """Load both bundles, make keys, and give the server its half of them."""
    return _OpenTask(folder)


def own_state(client: Client, data: TaskData) -> bytes | None:
    """The weights that come encrypted, as the client sends them once; None where there are none."""
    specs = client.model.state_inputs
    return client.encrypt_state({s.name: data.weights[s.name] for s in specs}) if specs else None


class _OpenTask:
    def __init__(self, folder: Path) -> None:
        data, settings = load(folder)
        bundle = load_model(folder / MODEL_FILE)
        client_model, server_model = bundle.client, bundle.server
        watch = Stopwatch()
        params = client_model.params
        self._client = Client(client_model, open_engine(params, settings.engine), range_check="off")
        with watch.stage("keygen"):
            keys = self._client.generate_keys()
        with watch.stage("load"):
            server_engine = open_engine(params, settings.engine)
            self._server = Server(server_model, keys.evaluation, server_engine)
        state = own_state(self._client, data)
        self._state = None if state is None else self._server.load_state(state)
        self._output = client_model.outputs[0].name
        count = len(client_model.rotations) + (client_model.conjugation_level is not None)
        digits = len(params.log_q)
        held = 2 * digits * (digits + len(params.log_p)) * params.ring_dimension * 8
        self.facts: Json = {
            "parameters": {
                "log_n": params.log_n,
                "log_scale": params.log_scale,
                "levels": params.max_level,
                "log_qp": round(params.log_qp, 1),
            },
            "batch": self._client.batch,
            "rotation_keys": count,
            # All switching keys are of one size on SEAL. On DESILO FHE the one for relinearisation
            # is larger than most, so that this is a little too much.
            "rotation_key_bytes": len(keys.evaluation) * count // (count + 1),
            "rotation_key_bytes_held": held * count if params.engine == "seal" else None,
            "evaluation_key_bytes": len(keys.evaluation),
            "keygen_cpu_s": watch.cpu["keygen"] / 1e3,
            "load_cpu_s": watch.cpu["load"] / 1e3,
        }

    def answer(self, windows: Array, watch: Stopwatch) -> NDArray[np.float64]:
        with watch.stage("encrypt"):
            question = self._client.encrypt(windows)
        with watch.stage("run"):
            answer = self._server.run(question, state=self._state)
        with watch.stage("decrypt"):
            prediction = self._client.decrypt(answer)
        self.facts |= {"upload_bytes": len(question), "download_bytes": len(answer)}
        return np.asarray(prediction.outputs[self._output], dtype=np.float64)
