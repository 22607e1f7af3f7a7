"""Costs as people read them: each operation by ring, and how well the model fits it."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from eer.runtime.fields import Json

from ..clock import clock
from ..cost import Costs
from .fit import residuals
from .measure import Measurement


def costs_table(costs: Costs, measurements: Sequence[Measurement]) -> list[RenderableType]:
    """Milliseconds of every call at its lowest and highest level, and the fit's largest error."""
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column("operation")
    rings = sorted(costs.rings)
    for log_n in rings:
        table.add_column(f"2^{log_n}", justify="right")
    groups: dict[str, dict[int, list[tuple[Measurement, float]]]] = {}
    for m, predicted in residuals(measurements, costs):
        groups.setdefault(m.operation, {}).setdefault(m.log_n, []).append((m, predicted))
    for operation, by_ring in groups.items():
        table.add_row(operation, *(_cell(by_ring.get(log_n, [])) for log_n in rings))
    head = Text(f"{costs.engine} {costs.version} on {costs.device}")
    note = Text(
        f"ms of {clock(costs.engine)}, lowest to highest level; "
        "in brackets how far the model is off"
    )
    return [head, table, note]


def _cell(found: Sequence[tuple[Measurement, float]]) -> str:
    if not found:
        return ""
    times = [m.milliseconds for m, _ in found]
    worst = max(abs(predicted / m.milliseconds - 1) for m, predicted in found)
    return f"{times[0]:.3g} … {times[-1]:.3g} ({worst:.0%})"


def costs_json(costs: Costs, measurements: Sequence[Measurement]) -> Json:
    """Which costs these are, and every measurement beside what the model says of it."""
    return {
        **costs.describe(),
        "measurements": [
            {
                "operation": m.operation,
                "log_n": m.log_n,
                "level": m.level,
                "measured_ms": m.milliseconds,
                "fitted_ms": predicted,
            }
            for m, predicted in residuals(measurements, costs)
        ],
    }
