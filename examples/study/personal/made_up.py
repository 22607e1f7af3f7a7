"""Made-up inputs that the programs which serve all users are compiled with: nobody's data."""

from __future__ import annotations

import numpy as np

from ..windows import Signal
from .head import BIAS, WEIGHT
from .learning import REACH, Adaptation, Arrays


def made_up_inputs(size: int, classes: int, settings: Adaptation, samples: int) -> Arrays:
    """Inputs of a step and heads, made up [samples, ...]: what a step is compiled with.

    It needs nobody's data, for a step is a polynomial as it stands, values have deviation 1 by
    construction, and what else there is has its size from the settings.
    """
    rng = np.random.default_rng(0)
    n, spread = settings.rows, settings.spread
    eye = np.eye(classes) - 1 / classes
    taught = rng.integers(0, classes, (samples, n))
    share = rng.uniform(0, 2 / n, (samples, n, 1))
    inputs = {
        WEIGHT: rng.normal(0, spread / 20, (samples, classes, size)),
        BIAS: rng.normal(0, spread / 8, (samples, classes)),
        "values": 1.5 * rng.standard_t(5, (samples, n, size)),
        "directions": settings.rate / 8 * rng.standard_t(5, (samples, n, size)),
    }
    return inputs | {"targets": spread * eye[taught], "importance": share}


def made_up_scores(classes: int, samples: int) -> Signal:
    """Scores [samples, classes] that pseudo-labels are compiled with: all of plus and minus REACH,
    beyond which none are made."""
    rng = np.random.default_rng(0)
    grid = np.linspace(-REACH, REACH, samples)
    return np.stack([rng.permutation(grid) for _ in range(classes)], axis=1)
