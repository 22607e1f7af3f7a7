"""Orion v2 as a contestant: client and server (`orion-v2-evaluator`, on Lattigo).

Written against its README and the signatures of version 2.1.8.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from lattigo import ckks, rlwe  # type: ignore[import-not-found]
from numpy.typing import NDArray
from orion_evaluator import Evaluator, Model  # type: ignore[import-not-found]

from ..contestant import Json, OpenTask, Stopwatch, load
from ..data import Array
from . import networks

MODEL_FILE = "model.orion"


def open_task(folder: Path) -> OpenTask:
    return _OpenTask(folder)


class _OpenTask:
    def __init__(self, folder: Path) -> None:
        self._data, settings = load(folder)
        watch = Stopwatch()
        with watch.stage("load"):
            self._model = Model.load((folder / MODEL_FILE).read_bytes())
            described, manifest, self._level = self._model.client_params()
        with watch.stage("keygen"):
            self._parameters = ckks.Parameters.from_dict(described)
            generator = rlwe.KeyGenerator(self._parameters)
            secret = generator.gen_secret_key()
            public = generator.gen_public_key(secret)
            relin = generator.gen_relin_key(secret)
            galois = [generator.gen_galois_key(secret, g) for g in manifest["galois_elements"]]
            keys = rlwe.MemEvaluationKeySet(relin, galois).marshal_binary()
        self._encoder = ckks.Encoder(self._parameters)
        self._encryptor = rlwe.Encryptor(self._parameters, public)
        self._decryptor = rlwe.Decryptor(self._parameters, secret)
        with watch.stage("load"):
            self._evaluator = Evaluator(described, keys)
        self._slots = self._parameters.max_slots()
        one_key = len(relin.marshal_binary())
        chains = (*self._parameters.moduli_chain(), *self._parameters.aux_moduli_chain())
        self.facts: Json = {
            "parameters": {**settings.parameters, "log_qp": round(sum(np.log2(chains)), 1)},
            "rotation_keys": len(galois),
            "rotation_key_bytes": len(keys) - one_key,
            "rotation_key_bytes_held": len(keys) - one_key,
            "evaluation_key_bytes": len(keys),
            "keygen_cpu_s": watch.cpu["keygen"] / 1e3,
            "load_cpu_s": watch.cpu["load"] / 1e3,
        }
        for key in (relin, *galois):
            key.close()

    def answer(self, windows: Array, watch: Stopwatch) -> NDArray[np.float64]:
        flat = networks.images(self._data, windows).reshape(-1)
        vectors = np.zeros((-(-len(flat) // self._slots), self._slots))
        vectors.reshape(-1)[: len(flat)] = flat
        with watch.stage("encrypt"):
            question = [self._encrypt(vector) for vector in vectors]
        with watch.stage("run"):
            answers = self._evaluator.forward(self._model, question)
        with watch.stage("decrypt"):
            scores = [value for answer in answers for value in self._decrypt(answer)]
        self.facts |= {
            "upload_bytes": sum(len(q) for q in question),
            "download_bytes": sum(len(a) for a in answers),
        }
        classes = self._data.outputs.shape[1]
        wanted = len(windows) * classes
        return np.array(scores[:wanted], dtype=np.float64).reshape(len(windows), classes)

    def _encrypt(self, vector: NDArray[np.float64]) -> bytes:
        scale = self._parameters.default_scale()
        plain = self._encoder.encode(vector.tolist(), self._level, scale)
        return bytes(self._encryptor.encrypt_new(plain).marshal_binary())

    def _decrypt(self, answer: bytes) -> list[float]:
        plain = self._decryptor.decrypt_new(rlwe.Ciphertext.unmarshal_binary(answer))
        return list(self._encoder.decode(plain, self._slots))
