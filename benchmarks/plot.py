"""Bars for each case: CPU time, largest error, rotation keys, peak memory."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import matplotlib as mpl

from .result import Row

mpl.use("Agg")

from matplotlib import pyplot as plt

PANELS: tuple[tuple[str, Callable[[Row], float | None]], ...] = (
    ("CPU ms for one message", lambda r: r.total_cpu_ms),
    ("largest error", lambda r: r.max_error),
    ("rotation keys, MB sent", lambda r: _mb(r.facts.get("rotation_key_bytes"))),
    ("peak memory, MB", lambda r: r.peak_mb),
)


def write_plot(path: Path, rows: Sequence[Row]) -> None:
    """A PNG with one panel for each of PANELS, on logarithmic axes; failed runs have no bar."""
    done = [r for r in rows if r.failure is None]
    cases = list(dict.fromkeys(r.case for r in done))
    names = list(dict.fromkeys(r.contestant for r in done))
    found = {(r.case, r.contestant): r for r in done}
    figure, panels = plt.subplots(2, 2, figsize=(12, 8), squeeze=False)
    width = 0.8 / max(1, len(names))
    for panel, (title, value) in zip(panels.flat, PANELS, strict=True):
        for k, name in enumerate(names):
            have = [(i, found[c, name]) for i, c in enumerate(cases) if (c, name) in found]
            points = [(i, v) for i, row in have if (v := value(row))]
            at = [i + (k - (len(names) - 1) / 2) * width for i, _ in points]
            panel.bar(at, [v for _, v in points], width, label=name, color=f"C{k}")
        panel.set_title(title)
        panel.set_xticks(range(len(cases)), cases)
        if panel.patches:
            panel.set_yscale("log")
        panel.grid(axis="y", alpha=0.3)
    panels[0][0].legend()
    figure.tight_layout()
    figure.savefig(path, dpi=120)
    plt.close(figure)


def _mb(value: int | None) -> float | None:
    return None if value is None else value / 1e6
