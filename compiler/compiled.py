"""A compiled model, and the references that it can be held against."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from eer.runtime.bundle import Bundle, model_to_bytes
from eer.runtime.fields import Json
from eer.runtime.files import NewFile, write_files
from eer.runtime.inputs import check_inputs
from eer.runtime.model import ClientModel, InputSpec, ServerModel

from .agreement import post_process
from .backend.simulate import simulate
from .ir import interpret
from .ir.tensor import TensorGraph, Vector
from .report import TIMINGS


def with_state_repeated(specs: Sequence[InputSpec], values: Sequence[Vector]) -> dict[str, Vector]:
    """Checked inputs by name, all [windows, elements]: state is the same for every window."""
    windows = max(len(v) for v in values)
    return {
        spec.name: np.repeat(v, windows, axis=0) if spec.role == "state" else v
        for spec, v in zip(specs, values, strict=True)
    }


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

    def save(self, path: str | Path, report: str | Path | None = None) -> None:
        """Write `model.eer` and, where asked for, the report as JSON: both whole or neither."""
        files = [NewFile(Path(path), self.to_bytes())]
        if report is not None:
            text = json.dumps(self.report, indent=1, allow_nan=False) + "\n"
            files.append(NewFile(Path(report), text.encode()))
        write_files(files)

    def to_bytes(self) -> bytes:
        """The content of `model.eer`: the same for the same input, so its report has no timings."""
        bundle = self.bundle()
        return model_to_bytes(bundle.client, bundle.server, bundle.report, bundle.onnx)

    def bundle(self) -> Bundle:
        """What `load_model` would read back from the file."""
        report = {k: v for k, v in self.report.items() if k != TIMINGS}
        return Bundle(self.client, self.server, report, self.onnx)

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
        return with_state_repeated(self.client.inputs, checked)
