"""What a client checks of its inputs before it encrypts them.

The server sees ciphertexts only, so it can refuse nothing: a NaN or a value far outside the range
that the polynomials were fitted to would come back as a wrong answer that looks like any other.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np

from .errors import DataError, EerWarning, UsageError
from .model import InputSpec
from .program import Vector

RangeCheck = Literal["error", "warn", "off"]

RANGE_SHARE = 0.5
"""How far outside its calibrated range a value may lie, as a share of that range's width.

Half a width on either side: calibration sets are small, and one element a little outside hardly
moves the weighted sums that reach the polynomials; far outside they explode.
"""


class RangeWarning(EerWarning):
    """Inputs lie outside the calibrated range; results may be wrong."""


def check_inputs(
    given: Mapping[str, Any] | Any,
    specs: Sequence[InputSpec],
    range_check: RangeCheck = "error",
    share: float = RANGE_SHARE,
) -> list[Vector]:
    """One float64 [windows, elements] for each input of the model, in the model's order; a state
    is [1, elements].

    `given` maps input names to arrays [windows, *shape], or to one window [*shape]; a state is
    [*shape]. A single array will do where there is one input. Raises DataError for a missing or
    unknown name, a wrong shape, values that are no real numbers, NaN, infinities and, with
    `range_check` "error", values outside the calibrated range widened by `share`; with "warn"
    these give a RangeWarning.
    """
    if range_check not in ("error", "warn", "off"):
        raise UsageError(f"range_check is {range_check!r}", hint="use 'error', 'warn' or 'off'")
    arrays = _by_name(given, specs)
    checked = [_numbers(arrays[s.name], s) for s in specs]
    counts = {s.name: len(c) for s, c in zip(specs, checked, strict=True) if s.role == "window"}
    if len(set(counts.values())) > 1:
        raise DataError(
            "inputs differ in their number of windows: "
            + ", ".join(f"'{name}' has {count}" for name, count in counts.items()),
            hint="give every input the same number of windows",
        )
    if range_check == "off":
        return checked
    for spec, values in zip(specs, checked, strict=True):
        problem = _outside(values, spec, share)
        if problem is None:
            continue
        if range_check == "error":
            raise problem
        warnings.warn(problem.reason, RangeWarning, stacklevel=3)
    return checked


def _called(spec: InputSpec) -> str:
    """What an input is called in messages."""
    return f"{'state' if spec.role == 'state' else 'input'} '{spec.name}'"


def _by_name(given: Mapping[str, Any] | Any, specs: Sequence[InputSpec]) -> Mapping[str, Any]:
    names = [s.name for s in specs]
    if not isinstance(given, Mapping):
        if len(names) > 1:
            raise DataError(
                f"the model has {len(names)} inputs and one array was given",
                hint=f"give a mapping with the names {', '.join(names)}",
            )
        return {names[0]: given}
    missing = [n for n in names if n not in given]
    unknown = [str(n) for n in given if n not in names]
    if missing or unknown:
        reason = f"input '{missing[0]}' is missing" if missing else f"no input is '{unknown[0]}'"
        raise DataError(reason, hint=f"the model's inputs are: {', '.join(names)}")
    return given


def _numbers(array: Any, spec: InputSpec) -> Vector:
    """`array` as finite float64 [windows, elements]."""
    where = _called(spec)
    try:
        values = np.asarray(array)
    except (TypeError, ValueError, RuntimeError) as problem:
        raise DataError(
            f"{where} cannot be read as an array: {problem}",
            where=where,
            hint="give a numpy array of real numbers",
        ) from problem
    if values.dtype.kind not in "biuf":
        raise DataError(
            f"{where} has dtype {values.dtype}, not real numbers",
            where=where,
            hint="convert it with .astype('float64')",
        )
    if values.shape == spec.shape:
        values = values[np.newaxis]
    if values.shape[1:] != spec.shape or (spec.role == "state" and len(values) != 1):
        wanted = ", ".join(str(d) for d in spec.shape)
        if spec.role == "window":
            wanted = f"windows, {wanted}"
        raise DataError(
            f"{where} has shape {list(values.shape)}; the model wants [{wanted}]",
            where=where,
            hint="check the order of the axes and the length of the windows",
        )
    if not len(values):
        raise DataError(f"{where} has no windows", where=where, hint="give at least one window")
    flat = values.reshape(len(values), -1).astype(np.float64)
    bad = ~np.isfinite(flat)
    if bad.any():
        window, element = np.argwhere(bad)[0]
        raise DataError(
            f"{where} holds {int(bad.sum())} NaN or infinite values, the first "
            f"{_place(window, element, spec)}",
            where=where,
            hint="drop these windows or fill the gaps; an encrypted model cannot skip them"
            if spec.role == "window"
            else "a step that overflowed gives such values: go back to the version before",
        )
    return flat


def _outside(values: Vector, spec: InputSpec, share: float) -> DataError | None:
    """The error for values outside the widened range, or None."""
    excess = np.maximum(spec.low - values, values - spec.high) / spec.width
    outside = excess > share
    if not outside.any():
        return None
    window, element = np.unravel_index(int(np.argmax(excess)), excess.shape)
    low, high = spec.low[element], spec.high[element]
    source = "calibrated" if spec.calibrated else "assumed"
    cure = (
        "check units and normalisation; compile with calibration data that covers such values"
        if spec.role == "window"
        else "learn more slowly or from fewer steps, or compile with calibration data in which "
        "this state covers such values"
    )
    return DataError(
        f"{int(outside.sum())} of {values.size} values of {_called(spec)} lie outside the "
        f"{source} range by more than {share:.0%} of its width; the worst is "
        f"{values[window, element]:.6g} {_place(window, element, spec)}, where "
        f"{low:.6g} to {high:.6g} was {source}",
        where=_called(spec),
        hint=f"{cure}, or set the range check to 'warn' or 'off' and accept wrong results",
    )


def _place(window: int | np.integer[Any], element: int | np.integer[Any], spec: InputSpec) -> str:
    index = np.unravel_index(int(element), spec.shape)
    at = "at element [" + ", ".join(str(int(i)) for i in index) + "]"
    return f"in window {window} {at}" if spec.role == "window" else at
