"""How far two sets of answers agree: labels, errors, bits of precision."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import NDArray

from eer.runtime.decode import decode
from eer.runtime.fields import Json
from eer.runtime.model import OutputSpec

from .ir.tensor import Vector


@dataclass(frozen=True, slots=True)
class Agreement:
    """`candidate` against `reference`, over all windows and outputs.

    agreement       share of windows whose labels (of every output) are the same; where no output
                    is a choice between classes, of windows off by at most 1 % of the spread
    class_flips     windows whose label differs
    max_error       largest absolute difference of an output value
    rms_error       root mean square of the differences
    precision_bits  -log2(rms_error / rms of the reference)
    smallest_margin smallest distance between the best and the second-best score of a window
    """

    windows: int
    agreement: float
    class_flips: int
    max_error: float
    rms_error: float
    precision_bits: float
    smallest_margin: float | None

    def to_json(self) -> Json:
        return asdict(self)


def post_process(
    scores: Mapping[str, Vector], specs: Sequence[OutputSpec], windows: int
) -> dict[str, Vector]:
    """What the client makes of decrypted scores [windows, elements], by output name."""
    shaped = {s.name: scores[s.name].reshape(windows, *s.shape) for s in specs}
    return {k: np.asarray(v) for k, v in decode(shaped, tuple(specs), windows).outputs.items()}


def compare(
    reference: Mapping[str, Vector], candidate: Mapping[str, Vector], specs: Sequence[OutputSpec]
) -> Agreement:
    """Compare post-processed outputs [windows, ...] by name."""
    windows = len(reference[specs[0].name])
    same = np.ones(windows, dtype=bool)
    errors, values, margins = [], [], []
    for spec in specs:
        a = np.asarray(reference[spec.name], dtype=np.float64).reshape(windows, -1)
        b = np.asarray(candidate[spec.name], dtype=np.float64).reshape(windows, -1)
        errors.append((a - b).reshape(-1))
        values.append(a.reshape(-1))
        chosen = classes(a.reshape(windows, -1), spec)
        if chosen is None:
            spread = float(a.std()) or 1.0
            same &= (np.abs(a - b) <= 0.01 * spread).all(axis=1)
            continue
        same &= (chosen == classes(b, spec)).all(axis=1)
        if spec.post != "argmax" and a.shape[1] > 1:
            top = np.sort(a, axis=1)
            margins.append(float((top[:, -1] - top[:, -2]).min()))
    error, value = np.concatenate(errors), np.concatenate(values)
    rms = float(np.sqrt(np.mean(error**2)))
    scale = float(np.sqrt(np.mean(value**2)))
    bits = float(-np.log2(max(rms, 1e-300) / max(scale, 1e-300))) if rms else 52.0
    return Agreement(
        windows,
        float(same.mean()),
        int((~same).sum()),
        float(np.abs(error).max()),
        rms,
        min(bits, 52.0),
        min(margins) if margins else None,
    )


def classes(values: Vector, spec: OutputSpec) -> NDArray[np.int64] | None:
    """The label(s) [windows, k] in post-processed values [windows, elements], or None.

    One value with a sigmoid is a class by its half; several values are scores of classes.
    """
    if spec.post == "argmax":
        return values.astype(np.int64)
    if spec.post == "sigmoid":
        return (values >= 0.5).astype(np.int64)
    if not spec.shape or values.shape[1] == 1:
        return (values >= 0).astype(np.int64) if len(spec.labels) == 2 else None
    shaped = values.reshape(len(values), *spec.shape)
    axis = spec.axis + 1 if spec.axis >= 0 else spec.axis
    return np.argmax(shaped, axis=axis).reshape(len(values), -1).astype(np.int64)
