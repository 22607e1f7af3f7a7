"""The usual names of functions of one variable, found by comparing values."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scipy import special

Numbers = NDArray[np.float64]
Function = Callable[[Numbers], Numbers]


def _gelu_tanh(x: Numbers) -> Numbers:
    return np.asarray(0.5 * x * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3))))


FAMILIAR: tuple[tuple[str, Function], ...] = (
    ("SiLU", lambda x: x * special.expit(x)),
    ("GELU", lambda x: 0.5 * x * (1 + special.erf(x / np.sqrt(2)))),
    ("GELU", _gelu_tanh),
    ("QuickGELU", lambda x: x * special.expit(1.702 * x)),
    ("HardSwish", lambda x: x * np.clip(x / 6 + 0.5, 0, 1)),
    ("Mish", lambda x: x * np.tanh(np.logaddexp(0, x))),
    ("Sigmoid", lambda x: np.asarray(special.expit(x))),
    ("Tanh", np.tanh),
    ("Softplus", lambda x: np.logaddexp(0, x)),
    ("Softsign", lambda x: x / (1 + np.abs(x))),
    ("Relu", lambda x: np.maximum(x, 0)),
    ("LeakyRelu", lambda x: np.where(x < 0, 0.01 * x, x)),
    ("Elu", lambda x: np.where(x < 0, np.expm1(np.minimum(x, 0)), x)),
    ("TanhShrink", lambda x: x - np.tanh(x)),
    ("LogSigmoid", lambda x: -np.logaddexp(0, -x)),
    ("HardSigmoid", lambda x: np.clip(x / 6 + 0.5, 0, 1)),
    ("Abs", np.abs),
)

# Constants written in single precision differ from the exact ones by about 1e-7.
_TOLERANCE = 2e-6
_POINTS = np.linspace(-9.1, 9.3, 41)


def familiar_name(function: Function, size: int) -> str | None:
    """The name of a well-known activation that `function` equals for every element, if any."""
    points = np.repeat(_POINTS[:, None], size, axis=1)
    with np.errstate(all="ignore"):
        values = function(points)
    # One column tells most functions apart; the others are compared only if it fits.
    for name, known in FAMILIAR:
        expected = known(_POINTS)
        bound = _TOLERANCE * (1 + np.abs(expected))
        if (np.abs(values[:, 0] - expected) <= bound).all():
            gap = np.abs(values - expected[:, None])
            return name if bool((gap <= bound[:, None]).all()) else None
    return None
