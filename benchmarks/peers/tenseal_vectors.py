"""TenSEAL's own vector layers: `CKKSVector` with `mm`, `+` and `square_`.

Convolutions are written as matrices: its im2col form takes one channel and cannot follow another.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import tenseal as ts
from numpy.typing import NDArray

from ..contestant import Json, OpenTask, Stopwatch, load
from ..data import Array
from . import networks


def open_task(folder: Path) -> OpenTask:
    return _OpenTask(folder)


class _OpenTask:
    def __init__(self, folder: Path) -> None:
        self._data, settings = load(folder)
        given = settings.parameters
        watch = Stopwatch()
        with watch.stage("keygen"):
            self._client = ts.context(
                ts.SCHEME_TYPE.CKKS,
                poly_modulus_degree=1 << given["log_n"],
                coeff_mod_bit_sizes=[*given["log_q"], *given["log_p"]],
            )
            self._client.global_scale = 2.0 ** given["log_scale"]
            self._client.generate_galois_keys()
            self._client.generate_relin_keys()
            public = {
                "save_public_key": True,
                "save_secret_key": False,
                "save_galois_keys": True,
                "save_relin_keys": True,
            }
            keys = self._client.serialize(**public)
        with watch.stage("load"):
            self._server = ts.context_from(keys)
        self._layers = [
            (x.weight.T.tolist(), x.bias.tolist()) if isinstance(x, networks.Linear) else None
            for x in networks.layers(self._data)
        ]
        relin = self._client.serialize(**(public | {"save_galois_keys": False}))
        # TenSEAL makes keys for every power of two, in both directions, and for conjugation.
        count = 2 * (given["log_n"] - 1) - 1
        self.facts: Json = {
            "parameters": given,
            "rotation_keys": count,
            "rotation_key_bytes": len(keys) - len(relin),
            "evaluation_key_bytes": len(keys),
            "keygen_cpu_s": watch.cpu["keygen"] / 1e3,
            "load_cpu_s": watch.cpu["load"] / 1e3,
        }

    def answer(self, windows: Array, watch: Stopwatch) -> NDArray[np.float64]:
        with watch.stage("encrypt"):
            question = ts.ckks_vector(self._client, windows.reshape(-1).tolist()).serialize()
        with watch.stage("run"):
            x = ts.ckks_vector_from(self._server, question)
            for layer in self._layers:
                if layer is None:
                    x.square_()
                else:
                    x = x.mm(layer[0]) + layer[1]
            answer = x.serialize()
        with watch.stage("decrypt"):
            back = ts.ckks_vector_from(self._client, answer)
            scores = back.decrypt()
        self.facts |= {"upload_bytes": len(question), "download_bytes": len(answer)}
        return np.array(scores, dtype=np.float64)[None]
