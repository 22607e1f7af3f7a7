"""The report of a compilation, as one JSON object.

Everything but "compile_seconds" follows from the model, the data and the options alone: the same
input gives the same report.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from importlib.metadata import version
from typing import Any

import numpy as np

from eer.runtime.engines.dry import DryEngine
from eer.runtime.executor import Executor
from eer.runtime.fields import Json
from eer.runtime.model import ClientModel, ServerModel
from eer.runtime.params import MAX_LOG_QP_128
from eer.runtime.program import infer_levels

from .agreement import compare, post_process
from .backend.assemble import Lowered
from .backend.predict import Prediction, predict
from .batch import BatchTrial
from .cost import CostModel, Costs
from .ir.tensor import TensorGraph, Vector
from .layers import layers_json
from .memory import predict_memory
from .options import Options
from .passes.activations import ActivationReport
from .passes.calibrate import Ranges
from .sizes import kept_inputs, sizes_json
from .steps import step_json

FORMAT = 1
"""Raised whenever a field changes its meaning or goes away."""

TIMINGS = "compile_seconds"
"""The only field that differs between two compilations of the same input."""


def build_report(
    *,
    approximate: Mapping[str, Vector],
    scheduled: TensorGraph,
    lowered: Lowered,
    ranges: Ranges,
    sample: Mapping[str, Vector],
    activations: ActivationReport,
    polynomials: list[Json],
    reference: Mapping[str, Vector],
    options: Options,
    costs: Costs,
    trials: Sequence[BatchTrial],
    seconds: Callable[[], Mapping[str, float]],
) -> Json:
    """Everything that a user may want to know, measured where it can be.

    `sample` has the windows that `lowered` was simulated on, `reference` what onnxruntime
    says of all calibration windows, `approximate` what polynomials make of them.
    """
    client, server = lowered.client, lowered.server
    cost = CostModel(client.params.log_n, costs)
    prediction = predict(server.program, cost, kept_inputs(client))
    warnings = dict.fromkeys((*ranges.warnings, *activations.warnings))
    return {
        "format": FORMAT,
        "eer_version": version("eer"),
        "model": client.name,
        "model_id": client.model_id,
        "engine": options.engine,
        "inputs": [
            {"name": s.name, "shape": list(s.shape), "ciphertexts": len(s.packing)}
            for s in client.inputs
        ],
        "outputs": [
            {"name": o.name, "shape": list(o.shape), "post": o.post, "labels": list(o.labels)}
            for o in client.outputs
        ],
        "accuracy": _accuracy(approximate, lowered, ranges, sample, reference),
        "activations": _activations(activations),
        "polynomials": polynomials,
        "parameters": parameters_json(client),
        "layers": layers_json(scheduled, lowered, prediction, sample),
        "program": {
            **_program(server, client),
            "products_deep": max(lowered.plan.levels, default=0),
        },
        "sizes": sizes_json(client, server.program),
        "predicted_ms": prediction.total,
        "predicted": predicted_json(prediction, client, server, options.engine),
        "step": step_json(client, server.program, prediction, cost),
        "batches": [asdict(t) for t in trials],
        "costs": costs.describe(),
        "warnings": list(warnings),
        "options": _options(options),
        TIMINGS: dict(seconds()),
    }


def _accuracy(
    outputs: Mapping[str, Vector],
    lowered: Lowered,
    ranges: Ranges,
    sample: Mapping[str, Vector],
    reference: Mapping[str, Vector],
) -> Json:
    """Each step from onnxruntime to the engine on its own, then all of them together.

    The polynomials are judged on all calibration windows, layouts on those that were simulated
    without noise, what comes after on the sample.
    """
    specs = lowered.client.outputs
    windows = len(next(iter(sample.values())))
    picked = sample_rows(ranges.count, windows)
    approximate = post_process(outputs, specs, ranges.count)
    few = picked[sample_rows(windows, len(next(iter(lowered.exact.outputs.values()))))]
    slots = post_process(lowered.exact.outputs, specs, len(few))
    noisy = post_process(lowered.noisy.outputs, specs, windows)
    exact = {name: values[picked] for name, values in approximate.items()}
    original = {name: values[picked] for name, values in reference.items()}
    return {
        "calibrated": ranges.calibrated,
        "polynomials": compare(reference, approximate, specs).to_json(),
        "layouts": compare(
            {name: values[few] for name, values in approximate.items()}, slots, specs
        ).to_json(),
        "noise": compare(exact, noisy, specs).to_json(),
        "total": compare(original, noisy, specs).to_json(),
    }


def sample_rows(count: int, windows: int) -> Any:
    """Row numbers of `windows` of `count` rows, spread evenly."""
    return np.linspace(0, count - 1, windows).astype(int)


def _activations(report: ActivationReport) -> Json:
    fits = [
        {
            "name": fit.name,
            "source": fit.origin.source,
            **{k: v for k, v in asdict(fit).items() if k != "origin"},
        }
        for fit in report.fits
    ]
    whole = {k: v for k, v in asdict(report).items() if k not in ("fits", "warnings")}
    found = _plain({"fits": fits, **whole, "within_tolerance": report.within_tolerance})
    assert isinstance(found, dict)
    return found


def _options(options: Options) -> Json:
    """All but paths, which say nothing of the result; "costs" tells which were used."""
    found = _plain({k: v for k, v in asdict(options).items() if k not in ("dump_ir", "costs")})
    assert isinstance(found, dict)
    return found


def parameters_json(client: ClientModel) -> Json:
    params = client.params
    return {
        "ring_dimension": params.ring_dimension,
        "slots": params.slots,
        "levels": params.max_level,
        "log_scale": params.log_scale,
        "log_q": list(params.log_q),
        "log_p": list(params.log_p),
        "log_qp": params.log_qp,
        "log_qp_limit": MAX_LOG_QP_128[params.log_n],
        "security_bits": params.security_bits,
        "batch": client.batch,
    }


def predicted_json(
    prediction: Prediction, client: ClientModel, server: ServerModel, engine: str
) -> Json:
    """Time of one message on one core, or on the GPU (see `clock`), windows per second, and the
    server's memory."""
    memory = predict_memory(server.program, client.params, engine)
    return {
        "stages_ms": {
            "encrypt": prediction.encrypt,
            "run": prediction.run,
            "decrypt": prediction.decrypt,
            "total": prediction.total,
        },
        "run_ms": {
            "load": prediction.load,
            "compute": sum(prediction.instructions),
            "save": prediction.save,
        },
        "prepare_ms": prediction.prepare,
        "windows_per_second": 1e3 * client.most_windows / prediction.total,
        "server_bytes": memory.to_json(),
    }


def _program(server: ServerModel, client: ClientModel) -> Json:
    """Counts of the dry run: the real executor on an engine that only counts."""
    engine = DryEngine(client.params)
    steps = [r * client.batch for r in client.rotations]
    conjugation = client.conjugation_level
    key, blob = engine.generate_keys(steps, conjugation=conjugation)
    keys = engine.load_evaluation_keys(blob, key.key_id, tuple(steps), conjugation is not None)
    executor = Executor(engine, engine.evaluator(keys), server.program, client.input_scale)
    zeros = np.zeros(engine.slots)
    inputs = [
        engine.encrypt(key, zeros, level, client.input_scale) for level in client.input_levels
    ]
    engine.counts.ops.clear()
    executor.run(inputs)
    counts: dict[str, int] = {}
    for (op, _), count in sorted(engine.counts.ops.items()):
        counts[op] = counts.get(op, 0) + count
    return {
        "slots": server.program.slots,
        "instructions": len(server.program.instructions),
        "depth": server.program.depth,
        "operations": counts,
        "rotation_steps": list(client.rotations),
        "plaintexts": len(server.program.plains),
        "peak_ciphertexts": engine.counts.peak,
        "output_level": min(infer_levels(server.program)[o] for o in server.program.outputs),
    }


def _plain(value: Any) -> Any:
    """JSON of dataclass fields: arrays to lists, paths and other objects to text."""
    match value:
        case dict():
            return {str(k): _plain(v) for k, v in value.items()}
        case list() | tuple():
            return [_plain(v) for v in value]
        case np.ndarray():
            return _plain(value.tolist())
        case np.generic():
            return _plain(value.item())
        case float():
            return value if np.isfinite(value) else None
        case bool() | int() | str() | None:
            return value
        case _:
            return str(value)
