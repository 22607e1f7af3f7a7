"""Made-up inputs that the programs which serve all users are compiled with: nobody's data."""

from __future__ import annotations

import numpy as np

from ..windows import Signal
from .head import BIAS, WEIGHT
from .learning import REACH, SPREAD, Arrays


def made_up_inputs(size: int, classes: int, rows: int, samples: int) -> Arrays:
    """Inputs of a step with so many `rows` and heads, made up [samples, ...]: what a step is
    compiled with.

    It needs nobody's data, for a step is a polynomial as it stands, values have deviation 1 by
    construction, and what else there is has its size from what learning aims at. Importances are
    those of steps of size 2 on the average, and of size 4 at most.
    """
    rng = np.random.default_rng(0)
    eye = np.eye(classes) - 1 / classes
    taught = rng.integers(0, classes, (samples, rows))
    share = rng.uniform(0, 4 / rows, (samples, rows, 1))
    inputs = {
        WEIGHT: rng.normal(0, SPREAD / 20, (samples, classes, size)),
        BIAS: rng.normal(0, SPREAD / 8, (samples, classes)),
        "values": 1.5 * rng.standard_t(5, (samples, rows, size)),
        "directions": rng.standard_t(5, (samples, rows, size)) / 8,
    }
    return inputs | {"targets": SPREAD * eye[taught], "importance": share}


def made_up_scores(classes: int, samples: int) -> Signal:
    """Scores [samples, classes] that pseudo-labels are compiled with: all of plus and minus REACH,
    beyond which none are made."""
    rng = np.random.default_rng(0)
    grid = np.linspace(-REACH, REACH, samples)
    return np.stack([rng.permutation(grid) for _ in range(classes)], axis=1)
