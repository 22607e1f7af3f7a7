"""Explanation: what every layer of a compiled model costs, from its report."""

from __future__ import annotations

from eer.runtime.bundle import Bundle
from eer.runtime.errors import ArtifactError
from eer.runtime.fields import Json

_NEEDED = ("layers", "parameters", "program", "predicted", "costs", "model", "engine", "sizes")


def explain(bundle: Bundle, where: str) -> Json:
    """The layers in order, each with its share of a message's predicted time, and totals.

    "stages" are what comes before the layers and after them. Raises ArtifactError for a model
    whose report lacks what is told here; `where` names its file.
    """
    report = bundle.report
    if any(key not in report for key in _NEEDED):
        raise ArtifactError(
            "the model file has no report of its layers",
            where=where,
            hint="compile the model again with eer-compile",
        )
    predicted = report["predicted"]
    total = predicted["stages_ms"]["total"]
    stages = (
        ("encrypt (client)", True, predicted["stages_ms"]["encrypt"]),
        ("load message", True, predicted["run_ms"]["load"]),
        ("save answer", False, predicted["run_ms"]["save"]),
        ("decrypt (client)", False, predicted["stages_ms"]["decrypt"]),
    )
    layers = [
        {"runner_up": None, **layer, "share": layer["predicted_ms"] / total}
        for layer in report["layers"]
    ]
    counts = ("input_ciphertexts", "rotations", "plain_products", "cipher_products")
    return {
        "model": report["model"],
        "engine": report["engine"],
        "parameters": report["parameters"],
        "program": report["program"],
        "sizes": report["sizes"],
        "costs": report["costs"],
        "predicted": predicted,
        "step": report.get("step"),
        "stages": [
            {"name": name, "before": before, "predicted_ms": ms, "share": ms / total}
            for name, before, ms in stages
        ],
        "layers": layers,
        "totals": {
            "predicted_ms": total,
            **{key: sum(layer[key] for layer in layers) for key in counts},
        },
    }
