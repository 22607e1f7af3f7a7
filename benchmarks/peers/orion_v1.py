"""Orion (`orion-fhe`), on Lattigo.

Written against its examples and the signatures of version 1.0.2. It compiles, makes keys and runs
in one process: client and server are not apart, and ciphertexts are never serialised.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import orion  # type: ignore[import-not-found]
import orion.nn as on  # type: ignore[import-not-found]
import torch
from numpy.typing import NDArray
from orion.core.orion import scheme  # type: ignore[import-not-found]
from torch.utils.data import DataLoader, TensorDataset

from ..contestant import Json, OpenTask, Stopwatch, load
from ..data import Array
from . import networks
from .orion_layers import MARGIN, build, dense_hamming_weight


def open_task(folder: Path) -> OpenTask:
    return _OpenTask(folder)


class _OpenTask:
    def __init__(self, folder: Path) -> None:
        torch.set_num_threads(1)
        self._data, settings = load(folder)
        given = settings.parameters
        watch = Stopwatch()
        with watch.stage("keygen"):
            orion.init_scheme(_configuration(given))
        calibration = torch.from_numpy(networks.images(self._data, self._data.calibration))
        with watch.stage("compile"), torch.no_grad():
            self._net = build(on, self._data, given)
            self._net.eval()
            orion.fit(self._net, DataLoader(TensorDataset(calibration), batch_size=1))
            self._level = orion.compile(self._net)
        self._net.he()
        self.facts: Json = {
            "parameters": given,
            "compile_cpu_s": watch.cpu["compile"] / 1e3,
            "compile_wall_s": watch.wall["compile"] / 1e3,
            "keygen_cpu_s": watch.cpu["keygen"] / 1e3,
            **_key_sizes(given, set(scheme.lt_evaluator.saved_rotation_keys)),
        }

    def answer(self, windows: Array, watch: Stopwatch) -> NDArray[np.float64]:
        image = torch.from_numpy(networks.images(self._data, windows))
        with watch.stage("encrypt"):
            question = orion.encrypt(orion.encode(image, self._level))
        with watch.stage("run"), torch.no_grad():
            answer = self._net(question)
        with watch.stage("decrypt"):
            scores = answer.decrypt().decode()
        return np.array(scores, dtype=np.float64).reshape(1, -1)


def _configuration(given: Json) -> Json:
    return {
        "ckks_params": {
            "LogN": given["log_n"],
            "LogQ": list(given["log_q"]),
            "LogP": list(given["log_p"]),
            "LogScale": given["log_scale"],
            "H": dense_hamming_weight(given["log_n"]),
            "RingType": "standard",
        },
        "orion": {
            "margin": MARGIN,
            "embedding_method": "hybrid",
            "backend": "lattigo",
            "fuse_modules": True,
            "debug": False,
            "io_mode": "none",
        },
    }


def _key_sizes(given: Json, elements: set[int]) -> Json:
    """Counted: the keys that its linear layers ask for, and every power of two, which it makes too.

    A key has two polynomials over all primes for each digit of as many primes as there are
    special ones.
    """
    n = 1 << given["log_n"]
    powers = {pow(5, 1 << k, 2 * n) for k in range(given["log_n"] - 1)}
    count = len(elements | powers)
    primes, special = len(given["log_q"]), len(given["log_p"])
    one = 2 * -(-primes // special) * (primes + special) * n * 8
    return {
        "rotation_keys": count,
        "rotation_key_bytes": count * one,
        "rotation_key_bytes_held": count * one,
        "evaluation_key_bytes": (count + 1) * one,
    }
