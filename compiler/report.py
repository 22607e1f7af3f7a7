"""The report of a compilation, as one JSON object.

Everything but "compile_seconds" follows from the model, the data and the options alone: the same
input gives the same report.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
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
from .backend.levels import levels_used
from .backend.lower import Lowered
from .backend.simulate import simulate
from .cost import CostModel
from .ir import interpret
from .ir.tensor import Affine, Core, TensorGraph, Vector
from .options import Options
from .passes.activations import ActivationReport
from .passes.calibrate import Ranges
from .sizes import sizes_json

FORMAT = 1
"""Raised whenever a field changes its meaning or goes away."""

TIMINGS = "compile_seconds"
"""The only field that differs between two compilations of the same input."""


def build_report(
    *,
    polynomial: TensorGraph,
    scheduled: TensorGraph,
    lowered: Lowered,
    ranges: Ranges,
    sample: Mapping[str, Vector],
    activations: ActivationReport,
    polynomials: list[Json],
    reference: Mapping[str, Vector],
    options: Options,
    seconds: Callable[[], Mapping[str, float]],
) -> Json:
    """Everything that a user may want to know, measured where it can be.

    `sample` has the windows that `lowered.noisy` was simulated on, `reference` what onnxruntime
    says of all calibration windows.
    """
    client, server = lowered.client, lowered.server
    warnings = dict.fromkeys((*ranges.warnings, *activations.warnings))
    return {
        "format": FORMAT,
        "eer_version": version("eer"),
        "model": client.name,
        "model_id": client.model_id,
        "engine": client.params.engine,
        "inputs": [
            {"name": s.name, "shape": list(s.shape), "ciphertexts": len(s.packing)}
            for s in client.inputs
        ],
        "outputs": [
            {"name": o.name, "shape": list(o.shape), "post": o.post, "labels": list(o.labels)}
            for o in client.outputs
        ],
        "accuracy": _accuracy(polynomial, lowered, ranges, sample, reference),
        "activations": _activations(activations),
        "polynomials": polynomials,
        "parameters": parameters_json(client),
        "layers": _layers(scheduled, lowered),
        "program": {
            **_program(server, client),
            "products_deep": max(lowered.plan.levels, default=0),
        },
        "sizes": sizes_json(client),
        "predicted_ms": lowered.plan.milliseconds,
        "warnings": list(warnings),
        "options": _options(options),
        TIMINGS: dict(seconds()),
    }


def _accuracy(
    polynomial: TensorGraph,
    lowered: Lowered,
    ranges: Ranges,
    sample: Mapping[str, Vector],
    reference: Mapping[str, Vector],
) -> Json:
    """Each step from onnxruntime to the engine on its own, then all of them together.

    The polynomials are judged on all calibration windows, what comes after on the sample.
    """
    client, specs = lowered.client, lowered.client.outputs
    windows = len(next(iter(sample.values())))
    picked = sample_rows(ranges.count, windows)
    approximate = post_process(interpret.outputs(polynomial, ranges.rows), specs, ranges.count)
    slots = post_process(simulate(client, lowered.server.program, sample).outputs, specs, windows)
    noisy = post_process(lowered.noisy.outputs, specs, windows)
    exact = {name: values[picked] for name, values in approximate.items()}
    original = {name: values[picked] for name, values in reference.items()}
    return {
        "calibrated": ranges.calibrated,
        "polynomials": compare(reference, approximate, specs).to_json(),
        "layouts": compare(exact, slots, specs).to_json(),
        "noise": compare(slots, noisy, specs).to_json(),
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
    """All but where the IR was written: that says nothing of the result."""
    found = _plain({k: v for k, v in asdict(options).items() if k != "dump_ir"})
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


def _program(server: ServerModel, client: ClientModel) -> Json:
    """Counts of the dry run: the real executor on an engine that only counts."""
    engine = DryEngine(client.params)
    steps = [r * client.batch for r in client.rotations]
    key, blob = engine.generate_keys(steps)
    keys = engine.load_evaluation_keys(blob, key.key_id, tuple(steps))
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


def _layers(graph: TensorGraph, lowered: Lowered) -> list[Json]:
    plan = lowered.plan
    cost = CostModel(lowered.client.params.log_n)
    layers: list[Json] = []
    for number, node in enumerate(graph.nodes):
        if levels_used(node) == 0:
            continue
        depth = plan.levels[number]
        level = plan.rescaling.level(depth + levels_used(node))
        entry: Json = {
            "name": ", ".join(node.origin.names) or f"n{number}",
            "ops": list(node.origin.ops),
            "source": node.origin.source,
            "shape": list(node.shape),
            "depth_in": depth + levels_used(node),
            "depth_out": depth,
            "level_in": level,
            "level_out": plan.rescaling.level(depth),
        }
        if isinstance(node.op, Affine):
            a = plan.affine[number]
            entry |= {
                "kind": "affine",
                "method": a.method,
                "input_ciphertexts": sum(len(p) for p in a.packed.values()),
                "rotations": a.rotations,
                "plain_products": a.products,
                "cipher_products": 0,
                "predicted_ms": a.milliseconds,
            }
        else:
            ciphers = plan.layouts[number].ciphers
            one = node.op.plan if isinstance(node.op, Core) else None
            products, plains = (one.products, one.plain_products) if one else (1, 0)
            # As the planner counts it: at the level of the last product.
            last = plan.rescaling.level(depth + 1)
            each = (
                products * (cost.multiply(last) + cost.relinearise(last))
                + levels_used(node) * cost.rescale(last)
                + plains * cost.multiply_plain(last)
            )
            entry |= {
                "kind": "activation" if one else "product",
                "method": f"degree {one.degree}" if one else "",
                "input_ciphertexts": 0,
                "rotations": 0,
                "plain_products": plains * ciphers,
                "cipher_products": products * ciphers,
                "predicted_ms": ciphers * each,
            }
        layers.append(entry)
    return layers


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
