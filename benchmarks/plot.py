"""Bars for each case, on logarithmic axes: times, errors, sizes, memory of eer and its peers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from textwrap import shorten

import matplotlib as mpl

from .columns import fact, megabytes, ours_of, times_text
from .result import Row

mpl.use("Agg")

from matplotlib import pyplot as plt
from matplotlib.axes import Axes

Value = Callable[[Row], float | None]

PANELS: tuple[tuple[str, Value], ...] = (
    ("CPU time of one message, ms", lambda r: r.total_cpu_ms),
    ("largest error of a score", lambda r: r.max_error),
    ("rotation keys sent, MB", megabytes("rotation_key_bytes")),
    ("peak memory of service, MB", fact("run_peak_mb")),
    ("CPU time of compiling, s", fact("compile_cpu_s")),
)

COLOURS = ("#2a6f97", "#e09f3e", "#9e2a2b", "#7d8597", "#6a994e", "#b56576")


def write_plot(path: Path, rows: Sequence[Row]) -> None:
    """A PNG with one panel for each of PANELS.

    Above a peer's bar stands its multiple of eer's value. A contestant that failed on a case has
    the reason in place of its first bar.
    """
    cases = list(dict.fromkeys(r.case for r in rows))
    # A contestant without any figure gets no room; the table says why.
    able = {r.contestant for r in rows if r.failure is None}
    names = [n for n in dict.fromkeys(r.contestant for r in rows) if n in able or len(able) == 0]
    shown = [r for r in rows if r.contestant in names]
    wide = max(8.0, 1.2 + 0.42 * len(cases) * (len(names) + 1))
    figure, panels = plt.subplots(len(PANELS), 1, figsize=(wide, 3.1 * len(PANELS)), squeeze=False)
    for panel, (title, value) in zip(panels[:, 0], PANELS, strict=True):
        _draw(panel, shown, cases, names, value)
        panel.set_title(title, loc="left", fontsize=11, fontweight="bold")
    for number, reason in _failures(shown, cases, names):
        at, text = number, shorten(reason, 44, placeholder=" …")
        axes = panels[0, 0]
        axes.text(
            at, 0.03, text, rotation=90, ha="center", va="bottom", fontsize=6.5, color="0.35",
            transform=axes.get_xaxis_transform(),
        )  # fmt: skip
    handles, labels = panels[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="upper right", ncols=len(labels), frameon=False)
    figure.suptitle(_heading(rows), x=0.01, ha="left", fontsize=9, color="0.3")
    figure.tight_layout(rect=(0, 0, 1, 0.985))
    figure.savefig(path, dpi=130)
    plt.close(figure)


def _heading(rows: Sequence[Row]) -> str:
    machine = next((r.machine for r in rows if r.machine), {})
    words = [str(machine[k]) for k in ("date", "cpu", "system") if k in machine]
    return ", ".join([*words, "one core, medians; × is a peer's multiple of eer"])


def _place(case: int, name: int, names: Sequence[str]) -> float:
    return case + (name - (len(names) - 1) / 2) * _width(names)


def _width(names: Sequence[str]) -> float:
    return 0.84 / max(1, len(names))


def _draw(
    panel: Axes, rows: Sequence[Row], cases: Sequence[str], names: Sequence[str], value: Value
) -> None:
    for k, name in enumerate(names):
        of_name = [r for r in rows if r.contestant == name and r.failure is None]
        found = [(r, v) for r in of_name if (v := value(r))]
        at = [_place(cases.index(r.case), k, names) for r, _ in found]
        colour = COLOURS[k % len(COLOURS)]
        panel.bar(at, [v for _, v in found], 0.92 * _width(names), label=name, color=colour)
        for x, (row, v) in zip(at, found, strict=True):
            ours = ours_of(row, rows)
            other = None if ours is None else value(ours)
            if other:
                text = times_text(v / other)
                panel.annotate(
                    text, (x, v), (0, 2), textcoords="offset points", ha="center", fontsize=7
                )
    panel.set_xticks(range(len(cases)), cases)
    panel.set_xlim(-0.6, len(cases) - 0.4)
    panel.tick_params(axis="x", length=0)
    if panel.patches:
        panel.set_yscale("log")
        low, high = panel.get_ylim()
        panel.set_ylim(low / 1.5, high * 2)
    panel.grid(axis="y", alpha=0.3)
    panel.set_axisbelow(True)
    panel.spines[["top", "right"]].set_visible(False)


def _failures(
    rows: Sequence[Row], cases: Sequence[str], names: Sequence[str]
) -> list[tuple[float, str]]:
    """(place on the axis, reason) of each row that has no figures."""
    return [
        (_place(cases.index(r.case), names.index(r.contestant), names), r.failure)
        for r in rows
        if r.failure is not None
    ]
