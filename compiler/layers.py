"""The layers of a compiled program: what each does, and what it is predicted to take."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping

from eer.runtime.fields import Json

from .backend.assemble import Lowered
from .backend.contraction import ContractionPlan
from .backend.decision import AffinePlan
from .backend.levels import levels_used
from .backend.plan import Plan
from .backend.predict import Prediction
from .ir.tensor import Affine, Contraction, Core, Node, TensorGraph, Vector
from .noise import Where, precisions


def layers_json(
    graph: TensorGraph, lowered: Lowered, prediction: Prediction, sample: Mapping[str, Vector]
) -> list[Json]:
    """One object for each node of the scheduled graph that computes something, in order.

    `predicted_ms` is that of the instructions which carry the node's label: those of nodes that
    share one are shared out by their products and rotations. Bits of precision are those on the
    first windows of `sample`.
    """
    plan, program = lowered.plan, lowered.server.program
    entries = {
        number: _entry(node, number, plan)
        for number, node in enumerate(graph.nodes)
        if levels_used(node) > 0
    }
    times: dict[str, float] = defaultdict(float)
    for label, milliseconds in zip(program.labels, prediction.instructions, strict=True):
        times[label] += milliseconds
    sharers: dict[str, float] = defaultdict(float)
    for entry in entries.values():
        sharers[entry["name"]] += _weight(entry)
    for entry in entries.values():
        name = entry["name"]
        entry["predicted_ms"] = times[name] * _weight(entry) / sharers[name]
    found = precisions(lowered.client, program, {n: _where(lowered, n) for n in entries}, sample)
    for number, entry in entries.items():
        entry["predicted_bits"] = found[number].predicted
        entry["simulated_bits"] = found[number].simulated
    return list(entries.values())


def _where(lowered: Lowered, number: int) -> Where:
    """The values that hold a node, and the slots of each that do."""
    index = lowered.plan.layouts[number].index
    return [(v, row >= 0) for v, row in zip(lowered.values[number], index, strict=True)]


def _label(node: Node, number: int) -> str:
    """The label of a node's instructions, as the emitter writes it."""
    return ", ".join(node.origin.names) or f"n{number}"


def _weight(entry: Json) -> float:
    switches: int = entry["rotations"] + entry["cipher_products"]
    plains: int = entry["plain_products"]
    return 1.0 + 10.0 * switches + plains


def _entry(node: Node, number: int, plan: Plan) -> Json:
    depth = plan.levels[number]
    before = depth + levels_used(node)
    entry: Json = {
        "name": _label(node, number),
        "ops": list(node.origin.ops),
        "source": node.origin.source,
        "shape": list(node.shape),
        "depth_in": before,
        "depth_out": depth,
        "level_in": plan.rescaling.level(before),
        "level_out": plan.rescaling.level(depth),
    }
    if isinstance(node.op, Affine):
        return entry | _affine(plan.affine[number])
    if isinstance(node.op, Contraction):
        return entry | _contraction(plan.contractions[number])
    ciphers = plan.layouts[number].ciphers
    scheme = node.op.plan if isinstance(node.op, Core) else None
    products, plains = (scheme.products, scheme.plain_products) if scheme else (1, 0)
    return entry | {
        "kind": "activation" if scheme else "product",
        "method": f"degree {scheme.degree}" if scheme else "",
        "input_ciphertexts": 0,
        "rotations": 0,
        "plain_products": plains * ciphers,
        "cipher_products": products * ciphers,
    }


def _contraction(plan: ContractionPlan) -> Json:
    return {
        "kind": "product",
        "method": plan.method,
        "input_ciphertexts": plan.inputs,
        "rotations": plan.rotations,
        "plain_products": plan.plain_products,
        "cipher_products": plan.products,
    }


def _affine(plan: AffinePlan) -> Json:
    other = plan.runner_up
    return {
        "kind": "affine",
        "method": plan.method,
        "input_ciphertexts": plan.inputs,
        "rotations": plan.rotations,
        "plain_products": plan.products,
        "cipher_products": 0,
        "planned_ms": plan.milliseconds,
        "runner_up": None
        if other is None
        else {
            "method": other.method,
            "input_ciphertexts": other.inputs,
            "rotations": other.rotations,
            "plain_products": other.products,
            "planned_ms": other.milliseconds,
        },
    }
