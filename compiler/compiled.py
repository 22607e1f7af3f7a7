"""A compiled model, and the references that it can be held against."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from eer.runtime.bundle import save_model
from eer.runtime.fields import Json
from eer.runtime.inputs import check_inputs
from eer.runtime.model import ClientModel, ServerModel

from .agreement import post_process
from .backend.simulate import simulate
from .ir import interpret
from .ir.tensor import TensorGraph, Vector


@dataclass(frozen=True, slots=True, eq=False)
class CompiledModel:
    """What `compile_model` returns: both halves, the report, and the polynomial model.

    `graph` is the tensor graph after activations became polynomials; `onnx` the original file.
    """

    client: ClientModel
    server: ServerModel
    report: Json
    graph: TensorGraph
    onnx: bytes

    def save(self, path: str | Path) -> None:
        """Write `model.eer`, whole or not at all."""
        save_model(path, self.client, self.server, self.report, self.onnx)

    def plaintext(self, inputs: Mapping[str, Any] | Any) -> dict[str, Vector]:
        """Outputs of the polynomial model by name [windows, ...]: the tensor interpreter."""
        arrays = self._arrays(inputs)
        windows = len(next(iter(arrays.values())))
        scores = interpret.outputs(self.graph, arrays)
        return post_process(scores, self.client.outputs, windows)

    def simulated(
        self, inputs: Mapping[str, Any] | Any, noise_seed: int | None = None
    ) -> dict[str, Vector]:
        """Outputs of the compiled program on the slot interpreter, with CKKS noise on request."""
        arrays = self._arrays(inputs)
        windows = len(next(iter(arrays.values())))
        scores = simulate(self.client, self.server.program, arrays, noise_seed).outputs
        return post_process(scores, self.client.outputs, windows)

    def _arrays(self, inputs: Mapping[str, Any] | Any) -> dict[str, Vector]:
        checked = check_inputs(inputs, self.client.inputs, "off")
        return {
            spec.name: np.asarray(values)
            for spec, values in zip(self.client.inputs, checked, strict=True)
        }
