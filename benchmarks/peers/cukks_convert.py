"""CuKKS (`cukks`), on OpenFHE, through its one-line conversion.

Written against its README and the signatures of version 0.2.2. It chooses its own parameters and
makes its keys while it converts; client and server are not apart. Its backend needs the CUDA
driver's library to load at all; where PyTorch finds no GPU it is asked for the CPU.
"""

from __future__ import annotations

from pathlib import Path

import cukks  # type: ignore[import-not-found]
import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from ..contestant import Json, OpenTask, Stopwatch, load
from ..data import Array, TaskData


def open_task(folder: Path) -> OpenTask:
    return _OpenTask(folder)


class _OpenTask:
    def __init__(self, folder: Path) -> None:
        torch.set_num_threads(1)
        data, settings = load(folder)
        watch = Stopwatch()
        with watch.stage("compile"):
            self._net, self._context = cukks.convert(
                _module(data),
                input_shape=data.inputs.shape[1:],
                use_square_activation=data.variant == "square",
                activation_degree=settings.parameters["degree"],
                enable_gpu=torch.cuda.is_available(),
            )
        chosen = self._context.config
        bits = tuple(chosen.coeff_mod_bits)
        self.facts: Json = {
            "parameters": {
                "log_n": int(np.log2(chosen.poly_mod_degree)),
                "log_scale": chosen.scale_bits,
                "levels": len(bits) - 2,
                "log_qp": sum(bits),
            },
            "compile_cpu_s": watch.cpu["compile"] / 1e3,
            "compile_wall_s": watch.wall["compile"] / 1e3,
        }

    def answer(self, windows: Array, watch: Stopwatch) -> NDArray[np.float64]:
        with watch.stage("encrypt"):
            question = self._context.encrypt(torch.from_numpy(windows[0]))
        with watch.stage("run"):
            answer = self._net(question)
        with watch.stage("decrypt"):
            scores = self._context.decrypt(answer)
        return np.array(scores, dtype=np.float64).reshape(1, -1)


def _module(data: TaskData) -> nn.Sequential:
    """T1 in the layers that it converts; a ReLU stands where squares are asked for."""
    sizes = [data.weights[f"layers.{k}.weight"].shape for k in (0, 2, 4)]
    activation = nn.SiLU if data.variant == "silu" else nn.ReLU
    layers: list[nn.Module] = []
    for out, channels in sizes:
        layers += [nn.Linear(channels, out), activation()]
    model = nn.Sequential(*layers[:-1])
    model.load_state_dict(
        {k.removeprefix("layers."): torch.from_numpy(w) for k, w in data.weights.items()}
    )
    return model.eval()
