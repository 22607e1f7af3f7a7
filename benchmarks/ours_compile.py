"""eer as a contestant: its compiler."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnxscript  # noqa: F401 (it and the next are what the first export would import)
import torch
import torch._dynamo
import torch.onnx

from eer.compiler import Options, compile_model

from .cases import AUTO
from .contestant import ONNX_FILE, POLYNOMIAL_FILE, Json, load
from .ours_serve import MODEL_FILE
from .tasks import ENCRYPTED_WEIGHTS, build


def compile_task(folder: Path) -> Json:
    """Compile with the compiler's defaults, calibrated on the task's data."""
    torch.set_num_threads(1)
    data, settings = load(folder)
    onnx = folder / ONNX_FILE
    source: Any = onnx if onnx.exists() else build(data)
    own = ENCRYPTED_WEIGHTS.get((data.task, data.variant), ())
    options = Options(
        engine=settings.engine,
        tolerance=settings.tolerance,
        batch="auto" if settings.batch == AUTO else settings.batch,
        encrypt_weights=own,
    )
    compiled = compile_model(source, data.calibration, options)
    compiled.save(folder / MODEL_FILE)
    (name,) = (output.name for output in compiled.client.outputs)
    inputs = {
        spec.name: data.weights[spec.name] if spec.role == "state" else data.inputs
        for spec in compiled.client.inputs
    }
    np.save(folder / POLYNOMIAL_FILE, compiled.plaintext(inputs)[name])
    report = compiled.report
    layers = [{k: v for k, v in x.items() if k != "source"} for x in report["layers"]]
    return {
        "predicted_ms": report["predicted_ms"],
        "predicted": report["predicted"],
        "costs": report["costs"],
        "batches": report["batches"],
        "compile_stages_s": report["compile_seconds"],
        "operations": report["program"]["operations"],
        "layers": layers,
        "degrees": [fit.get("degree") for fit in report["activations"].get("fits", [])],
        "warnings": report["warnings"],
    }
