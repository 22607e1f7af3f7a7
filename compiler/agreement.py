"""How far two sets of answers agree: labels, errors, bits of precision."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from eer.runtime.decode import decode
from eer.runtime.fields import Json
from eer.runtime.model import OutputSpec

from .ir.tensor import Vector

Labels = NDArray[np.int64]

DOUBLE_BITS = 52.0
"""More bits than this are not to be seen in double precision."""

CLOSE = 0.01
"""Error, as a share of the outputs' spread, within which values that are no classes agree."""


@dataclass(frozen=True, slots=True)
class Agreement:
    """`candidate` against `reference`, over all windows and outputs.

    agreement       share of windows whose labels (of every output) are the same; where no output
                    is a choice between classes, of windows off by at most 1 % of the spread
    class_flips     windows whose label differs
    max_error       largest absolute difference of an output value
    rms_error       root mean square of the differences
    precision_bits  -log2(rms_error / rms of the reference), at most 52
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
        """Plain numbers; what is not finite becomes null."""
        return {
            "windows": self.windows,
            "agreement": self.agreement,
            "class_flips": self.class_flips,
            "max_error": _finite(self.max_error),
            "rms_error": _finite(self.rms_error),
            "precision_bits": _finite(self.precision_bits),
            "smallest_margin": self.smallest_margin,
        }


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
    same, flipped = np.ones(windows, dtype=bool), np.zeros(windows, dtype=bool)
    errors, values, margins = [], [], []
    for spec in specs:
        a = np.asarray(reference[spec.name], dtype=np.float64).reshape(windows, -1)
        b = np.asarray(candidate[spec.name], dtype=np.float64).reshape(windows, -1)
        errors.append((a - b).reshape(-1))
        values.append(a.reshape(-1))
        chosen, other = classes(a, spec), classes(b, spec)
        if chosen is None or other is None:
            spread = float(a.std()) or 1.0
            same &= (np.abs(a - b) <= CLOSE * spread).all(axis=1)
            continue
        flipped |= (chosen != other).any(axis=1) | ~np.isfinite(b).all(axis=1)
        margin = _smallest_margin(a, spec)
        if margin is not None:
            margins.append(margin)
    same &= ~flipped
    error, value = np.concatenate(errors), np.concatenate(values)
    with np.errstate(over="ignore", invalid="ignore"):
        rms = float(np.sqrt(np.mean(error**2)))
    scale = float(np.sqrt(np.mean(value**2)))
    bits = float(np.log2(max(scale, 1e-300)) - np.log2(rms)) if rms > 0 else DOUBLE_BITS
    return Agreement(
        windows=windows,
        agreement=float(same.mean()),
        class_flips=int(flipped.sum()),
        max_error=float(np.abs(error).max()),
        rms_error=rms,
        precision_bits=min(bits, DOUBLE_BITS) if np.isfinite(rms) else -np.inf,
        smallest_margin=min(margins) if margins else None,
    )


def classes(values: Vector, spec: OutputSpec) -> Labels | None:
    """The label(s) [windows, k] in post-processed values [windows, elements], or None.

    As `runtime.decode` has them, and scores along the only axis longer than 1 are taken for
    scores of classes even where the model neither ends in a softmax nor has labels; the next
    value of a state is none.
    """
    windows = len(values)
    if spec.state:
        return None
    if spec.post == "argmax":
        return values.reshape(windows, -1).astype(np.int64)
    shaped = values.reshape(windows, *spec.shape)
    match spec.post:
        case "sigmoid":
            if spec.shape and spec.shape[spec.axis] == len(spec.labels) > 1:
                return _largest(shaped, spec.axis)
            return (values >= 0.5).astype(np.int64)
        case "softmax" | "log_softmax":
            return _largest(shaped, spec.axis)
        case _:
            axis = class_axis(spec)
            if axis is not None:
                return _largest(shaped, axis)
            if spec.shape == (1,) and len(spec.labels) == 2:
                return (values >= 0).astype(np.int64)
            return None


def class_axis(spec: OutputSpec) -> int | None:
    """The axis of raw scores that counts classes: the labelled one, or the only one beyond 1."""
    if spec.shape and spec.shape[spec.axis] == len(spec.labels) > 1:
        return spec.axis
    several = [axis for axis, length in enumerate(spec.shape) if length > 1]
    return several[0] if len(several) == 1 else None


def _largest(shaped: Vector, axis: int) -> Labels:
    at = axis + 1 if axis >= 0 else axis
    found: Labels = np.argmax(shaped, axis=at).reshape(len(shaped), -1).astype(np.int64)
    return found


def _smallest_margin(values: Vector, spec: OutputSpec) -> float | None:
    if spec.post in ("argmax", "sigmoid"):
        return None
    axis = class_axis(spec) if spec.post == "none" else spec.axis
    if axis is None or spec.shape[axis] < 2:
        return None
    at = axis + 1 if axis >= 0 else axis
    top = np.sort(values.reshape(len(values), *spec.shape), axis=at)
    return float((np.take(top, -1, axis=at) - np.take(top, -2, axis=at)).min())


def _finite(value: float) -> float | None:
    return value if np.isfinite(value) else None
