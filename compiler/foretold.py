"""What a compilation predicted, held against what a verification measured."""

from __future__ import annotations

from collections.abc import Mapping

from eer.runtime.fields import Json

from .clock import on_gpu

STAGES = ("encrypt", "run", "decrypt", "total")


def compare_predictions(
    report: Json,
    engine: str,
    cpu_ms: Mapping[str, float],
    wall_ms: Mapping[str, float],
    sizes: Mapping[str, int],
    server_peak: int | None,
) -> Json | None:
    """Predicted, measured and relative error: "cpu_ms" by stage, or "wall_ms" where a GPU
    computes, and "bytes".

    None where the report has no predictions, or has them for another engine. `sizes` are those of
    the question, the answer and the evaluation keys; `server_peak` is left out where it is None.
    """
    if report.get("engine") != engine or not {"predicted", "sizes"} <= report.keys():
        return None
    stages, expected = report["predicted"]["stages_ms"], report["sizes"]
    found = {
        "question": _row(expected["upload_bytes"], sizes["question"]),
        "answer": _row(expected["download_bytes"], sizes["answer"]),
        "evaluation_keys": _row(expected["evaluation_key_bytes"], sizes["evaluation_keys"]),
    }
    if server_peak is not None:
        found["server_peak"] = _row(report["predicted"]["server_bytes"]["peak"], server_peak)
    clock, measured = ("wall_ms", wall_ms) if on_gpu(engine) else ("cpu_ms", cpu_ms)
    return {clock: {s: _row(stages[s], measured[s]) for s in STAGES}, "bytes": found}


def _row(predicted: float, measured: float) -> Json:
    error = predicted / measured - 1 if measured else None
    return {"predicted": predicted, "measured": measured, "error": error}
