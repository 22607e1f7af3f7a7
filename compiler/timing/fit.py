"""The cost model's terms, by non-negative least squares on relative errors."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from ..cost import OPERATIONS, SQUARE, CostModel, Costs, Terms
from .measure import Measured, Measurement

DIGITS = 5
"""Significant digits that are kept."""


def fit(measured: Measured, device: str) -> Costs:
    """Costs of the engine that was measured, on `device`; no term is negative."""
    rings = sorted({m.log_n for m in measured.measurements})
    found = {n: _fit_ring([m for m in measured.measurements if m.log_n == n], n) for n in rings}
    return Costs(measured.engine, measured.version, device, found)


def _fit_ring(measurements: Sequence[Measurement], log_n: int) -> dict[str, Terms]:
    """Every expression is linear in the model's terms, so that each column of the design matrix
    is the model with one of them at 1 and the others at 0."""
    # Slow to import, and seldom needed.
    from scipy.optimize import nnls

    wanted = [(o, k) for o in OPERATIONS for k in range(3 if o in SQUARE else 2)]
    units = [_model(log_n, {(o, k): 1.0}) for o, k in wanted]
    design: NDArray[np.float64] = np.array([[m.expression(u) for u in units] for m in measurements])
    times = np.array([m.milliseconds for m in measurements])
    solution, _ = nnls(design / times[:, None], np.ones(len(times)))
    rounded = (float(f"{x:.{DIGITS}g}") for x in solution)
    found = _terms(dict(zip(wanted, rounded, strict=True)))
    hoisted = any(design[:, k].any() for k, (o, _) in enumerate(wanted) if o == "next_rotation")
    return found if hoisted else found | {"next_rotation": found["rotate"]}


def _model(log_n: int, given: dict[tuple[str, int], float]) -> CostModel:
    return CostModel(log_n, Costs("", "", "", {log_n: _terms(given)}))


def _terms(given: dict[tuple[str, int], float]) -> dict[str, Terms]:
    def of(operation: str) -> Terms:
        a, b, c = (given.get((operation, k), 0.0) for k in range(3))
        return a, b, c

    return {operation: of(operation) for operation in OPERATIONS}


def residuals(
    measurements: Sequence[Measurement], costs: Costs
) -> Iterator[tuple[Measurement, float]]:
    """Each measurement with the milliseconds that the fitted model predicts."""
    models = {n: CostModel(n, costs) for n in costs.rings}
    for m in measurements:
        yield m, m.expression(models[m.log_n])
