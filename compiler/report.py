"""The report of a compilation, as one JSON object."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import Any

import numpy as np

from eer.runtime.engines.dry import DryEngine
from eer.runtime.executor import Executor
from eer.runtime.fields import Json
from eer.runtime.model import ClientModel, ServerModel
from eer.runtime.program import infer_levels

from .agreement import compare, post_process
from .backend.levels import levels_used
from .backend.lower import Lowered
from .cost import CostModel
from .ir import interpret
from .ir.tensor import Affine, Core, TensorGraph, Vector
from .options import Options
from .passes.activations import ActivationReport
from .passes.calibrate import Ranges

BYTES_PER_PRIME = 8


def build_report(
    *,
    polynomial: TensorGraph,
    scheduled: TensorGraph,
    lowered: Lowered,
    ranges: Ranges,
    activations: ActivationReport,
    reference: Mapping[str, Vector],
    options: Options,
    seconds: Callable[[], float],
    stages: Mapping[str, float],
) -> Json:
    """Everything that a user may want to know, measured where it can be."""
    client, server = lowered.client, lowered.server
    rows = ranges.rows
    approximate = post_process(interpret.outputs(polynomial, rows), client.outputs, ranges.count)
    noisy = lowered.noisy.outputs
    windows = len(next(iter(noisy.values())))
    picked = np.linspace(0, ranges.count - 1, windows).astype(int)
    exact = {n: v[picked] for n, v in approximate.items()}
    report = {
        "model": client.name,
        "model_id": client.model_id,
        "engine": client.params.engine,
        "accuracy": {
            "calibrated": ranges.calibrated,
            "polynomials": compare(reference, approximate, client.outputs).to_json(),
            "noise": compare(
                exact, post_process(noisy, client.outputs, windows), client.outputs
            ).to_json(),
        },
        "activations": _plain(asdict(activations)),
        "parameters": parameters_json(client),
        "layers": _layers(scheduled, lowered),
        "program": _program(server, client),
        "sizes": sizes_json(client),
        "predicted_ms": lowered.plan.milliseconds,
        "warnings": [*ranges.warnings, *getattr(activations, "warnings", ())],
        "options": _plain(asdict(options)),
        "compile_seconds": {**stages, "total": seconds()},
    }
    return report


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
        "security_bits": params.security_bits,
        "batch": client.batch,
    }


def sizes_json(client: ClientModel) -> Json:
    """Bytes, uncompressed, of what is sent; seeded forms are about half of that."""
    params = client.params
    row = params.ring_dimension * BYTES_PER_PRIME
    digits = len(params.log_q)
    switch = 2 * digits * (digits + len(params.log_p)) * row
    return {
        "input_ciphertexts": len(client.input_levels),
        "upload_bytes": sum((level + 1) * row for level in client.input_levels),
        "galois_keys": len(client.rotations),
        "evaluation_key_bytes": (len(client.rotations) + 1) * switch // 2,
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
        level = plan.levels[number]
        entry: Json = {
            "name": ", ".join(node.origin.names) or f"n{number}",
            "ops": list(node.origin.ops),
            "source": node.origin.source,
            "shape": list(node.shape),
            "level_in": level + levels_used(node),
            "level_out": level,
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
            products = node.op.plan.products if isinstance(node.op, Core) else 1
            plains = node.op.plan.plain_products if isinstance(node.op, Core) else 0
            ciphers = plan.layouts[number].ciphers
            each = cost.multiply(level + 1) + cost.relinearise(level + 1) + cost.rescale(level + 1)
            entry |= {
                "kind": "activation" if isinstance(node.op, Core) else "product",
                "method": f"degree {node.op.plan.degree}" if isinstance(node.op, Core) else "",
                "input_ciphertexts": 0,
                "rotations": 0,
                "plain_products": plains * ciphers,
                "cipher_products": products * ciphers,
                "predicted_ms": products * ciphers * each,
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
