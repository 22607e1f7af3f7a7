"""Orion v2 (`orion-v2-compiler`, `orion-v2-evaluator`), on Lattigo.

Written against its README files and the signatures of version 2.1.8.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import numpy as np
import orion_compiler.nn as on  # type: ignore[import-not-found]
import torch
from lattigo import ckks, rlwe  # type: ignore[import-not-found]
from numpy.typing import NDArray
from orion_compiler import CKKSParams, Compiler, CompilerConfig
from orion_evaluator import Evaluator, Model  # type: ignore[import-not-found]
from torch.utils.data import DataLoader, TensorDataset

from ..contestant import Json, OpenTask, Stopwatch, load
from ..data import Array
from . import networks

MODEL_FILE = "model.orion"

MARGIN = 1
"""Activations are fitted to the observed range. Orion's default, twice of it, answers worse."""


class _Network(on.Module):  # type: ignore[misc]
    def __init__(self, layers: list[Any]) -> None:
        super().__init__()
        for number, layer in enumerate(layers):
            setattr(self, f"layer{number}", layer)
        self._count = len(layers)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for number in range(self._count):
            x = getattr(self, f"layer{number}")(x)
        return x


def compile_task(folder: Path) -> Json:
    torch.set_num_threads(1)
    logging.getLogger("orion_compiler").setLevel(logging.WARNING)
    data, settings = load(folder)
    given = settings.parameters
    net = _Network([_layer(x, given) for x in networks.layers(data)]).eval()
    parameters = CKKSParams(
        logn=given["log_n"],
        logq=tuple(given["log_q"]),
        logp=tuple(given["log_p"]),
        log_default_scale=given["log_scale"],
        # As many as a uniform ternary secret has on average: a sparse one is less secure.
        h=2 * (1 << given["log_n"]) // 3,
        ring_type="standard",
    )
    compiler = Compiler(net, parameters, CompilerConfig(margin=MARGIN))
    calibration = torch.from_numpy(networks.images(data, data.calibration))
    with torch.no_grad():
        compiler.fit(DataLoader(TensorDataset(calibration), batch_size=1))
        compiled = compiler.compile()
    (folder / MODEL_FILE).write_bytes(compiled.to_bytes())
    return {"input_level": compiled.input_level}


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
        slots = np.zeros(self._slots)
        flat = networks.images(self._data, windows).reshape(-1)
        slots[: len(flat)] = flat
        with watch.stage("encrypt"):
            plain = self._encoder.encode(
                slots.tolist(), self._level, self._parameters.default_scale()
            )
            question = self._encryptor.encrypt_new(plain).marshal_binary()
        with watch.stage("run"):
            answers = self._evaluator.forward(self._model, [question])
        with watch.stage("decrypt"):
            cipher = rlwe.Ciphertext.unmarshal_binary(answers[0])
            scores = self._encoder.decode(self._decryptor.decrypt_new(cipher), self._slots)
        self.facts |= {
            "upload_bytes": len(question),
            "download_bytes": sum(len(a) for a in answers),
        }
        classes = self._data.outputs.shape[1]
        return np.array(scores[:classes], dtype=np.float64)[None]


def _layer(layer: networks.Layer, given: Json) -> Any:
    match layer:
        case networks.Linear(weight, bias):
            linear = on.Linear(weight.shape[1], weight.shape[0])
            return _filled(linear, weight, bias)
        case networks.Conv(weight, bias, stride, padding):
            out, channels, k, _ = weight.shape
            conv = on.Conv2d(channels, out, k, stride=stride, padding=padding)
            return _filled(conv, weight, bias)
        case networks.Activation("square"):
            return on.Quad()
        case networks.Activation("silu"):
            return on.SiLU(degree=given["degree"])
        case networks.Pool(size):
            return on.AvgPool2d(size)
        case networks.Flatten():
            return on.Flatten()
        case _:
            raise ValueError(f"Orion v2 is not asked for {layer}")


def _filled(module: Any, weight: Array, bias: Array) -> Any:
    with torch.no_grad():
        module.weight.copy_(torch.from_numpy(weight))
        module.bias.copy_(torch.from_numpy(bias))
    return module
