"""Explanation: what every layer of a compiled model costs, from its report."""

from __future__ import annotations

from eer.runtime.bundle import Bundle
from eer.runtime.errors import ArtifactError
from eer.runtime.fields import Json

_NEEDED = ("layers", "parameters", "program", "predicted_ms", "model", "engine")


def explain(bundle: Bundle, where: str) -> Json:
    """The layers in order, each with its share of the predicted time, and totals.

    Raises ArtifactError for a model whose report lacks them; `where` names its file.
    """
    report = bundle.report
    if any(key not in report for key in _NEEDED):
        raise ArtifactError(
            "the model file has no report of its layers",
            where=where,
            hint="compile the model again with eer-compile",
        )
    layers = report["layers"]
    total = sum(layer["predicted_ms"] for layer in layers)
    return {
        "model": report["model"],
        "engine": report["engine"],
        "parameters": report["parameters"],
        "program": report["program"],
        "layers": [
            {**layer, "share": layer["predicted_ms"] / total if total else 0.0} for layer in layers
        ],
        "totals": {
            "predicted_ms": report["predicted_ms"],
            **{
                key: sum(layer[key] for layer in layers)
                for key in ("input_ciphertexts", "rotations", "plain_products", "cipher_products")
            },
        },
    }
