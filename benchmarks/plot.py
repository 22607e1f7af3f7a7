"""Bars for each case, on logarithmic axes: times, errors, sizes, memory of eer and its peers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from textwrap import fill

import matplotlib as mpl

from .columns import fact, megabytes, ours_of, times_text
from .result import Row

mpl.use("Agg")

from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.ticker import LogLocator, NullFormatter, StrMethodFormatter

Value = Callable[[Row], float | None]

PANELS: tuple[tuple[str, Value], ...] = (
    ("CPU time of one message, ms", lambda r: r.total_cpu_ms),
    ("Largest error of a score (and labels, where some are wrong)", lambda r: r.max_error),
    ("Rotation keys sent, MB", megabytes("rotation_key_bytes")),
    ("Peak memory of service, MB", fact("run_peak_mb")),
    ("CPU time of compiling, s", fact("compile_cpu_s")),
)

HEIGHTS = (1.5, 1.0, 1.0, 1.0, 1.0)
"""The first panel has the reasons of those that failed."""

COLOURS = ("#2a6f97", "#e09f3e", "#9e2a2b", "#7d8597", "#6a994e", "#b56576")


def write_plot(path: Path, rows: Sequence[Row]) -> None:
    """A PNG with one panel for each of PANELS.

    Above a peer's bar stands its multiple of eer's value. A contestant that failed on a case has
    the reason in place of its first bar; one that failed on all has no room.
    """
    cases = list(dict.fromkeys(r.case for r in rows))
    able = {r.contestant for r in rows if r.failure is None}
    names = [n for n in dict.fromkeys(r.contestant for r in rows) if n in able]
    shown = [r for r in rows if r.contestant in names]
    wide = max(9.0, 1.2 + 0.42 * len(cases) * (len(names) + 1))
    figure, panels = plt.subplots(
        len(PANELS),
        1,
        figsize=(wide, 2.7 * sum(HEIGHTS)),
        squeeze=False,
        height_ratios=HEIGHTS,
    )
    for panel, (title, value) in zip(panels[:, 0], PANELS, strict=True):
        _draw(panel, shown, cases, names, value)
        panel.set_title(title, loc="left", fontsize=11, fontweight="bold")
    _write_failures(panels[0, 0], shown, cases, names)
    _write_labels(panels[1, 0], shown, cases, names)
    handles, labels = panels[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="upper right", ncols=max(1, len(labels)), frameon=False)
    figure.suptitle(_heading(rows), x=0.01, ha="left", fontsize=9, color="0.3")
    figure.tight_layout(rect=(0, 0, 1, 0.985))
    figure.savefig(path, dpi=110)
    plt.close(figure)


def _heading(rows: Sequence[Row]) -> str:
    machine = next((r.machine for r in rows if r.machine), {})
    words = [str(machine[k]) for k in ("date", "cpu", "system") if k in machine]
    return ", ".join([*words, "one core, medians; × is a peer's multiple of eer"])


def _place(row: Row, cases: Sequence[str], names: Sequence[str]) -> float:
    """Where the row's bar is on the axis of the cases."""
    middle = (len(names) - 1) / 2
    return cases.index(row.case) + (names.index(row.contestant) - middle) * _width(names)


def _width(names: Sequence[str]) -> float:
    return 0.84 / max(1, len(names))


def _draw(
    panel: Axes, rows: Sequence[Row], cases: Sequence[str], names: Sequence[str], value: Value
) -> None:
    for k, name in enumerate(names):
        of_name = [r for r in rows if r.contestant == name and r.failure is None]
        found = [(r, v) for r in of_name if (v := value(r))]
        at = [_place(r, cases, names) for r, _ in found]
        colour = COLOURS[k % len(COLOURS)]
        panel.bar(at, [v for _, v in found], 0.92 * _width(names), label=name, color=colour)
        for x, (row, v) in zip(at, found, strict=True):
            ours = ours_of(row, rows)
            other = None if ours is None else value(ours)
            if other:
                _write(panel, times_text(v / other), x, v, 2)
    panel.set_xticks(range(len(cases)), cases)
    panel.set_xlim(-0.6, len(cases) - 0.4)
    panel.tick_params(axis="x", length=0)
    if panel.patches:
        panel.set_yscale("log")
        low, high = panel.get_ylim()
        panel.set_ylim(low / 1.5, high * 3)
        panel.yaxis.set_major_locator(LogLocator(numticks=12))
        panel.yaxis.set_major_formatter(StrMethodFormatter("{x:,.9g}"))
        panel.yaxis.set_minor_formatter(NullFormatter())
    panel.grid(axis="y", alpha=0.3)
    panel.set_axisbelow(True)
    panel.spines[["top", "right"]].set_visible(False)


def _write(panel: Axes, text: str, x: float, y: float, above: float) -> None:
    panel.annotate(text, (x, y), (0, above), textcoords="offset points", ha="center", fontsize=7)


def _write_failures(
    panel: Axes, rows: Sequence[Row], cases: Sequence[str], names: Sequence[str]
) -> None:
    for row in rows:
        if row.failure is not None:
            panel.text(
                _place(row, cases, names),
                0.03,
                fill(row.failure[:100], 36),
                rotation=90,
                ha="center",
                va="bottom",
                fontsize=6.5,
                color="0.35",
                transform=panel.get_xaxis_transform(),
            )


def _write_labels(
    panel: Axes, rows: Sequence[Row], cases: Sequence[str], names: Sequence[str]
) -> None:
    for row in rows:
        if row.labels is not None and row.labels < row.windows and row.max_error:
            text = f"{row.labels}/{row.windows}"
            _write(panel, text, _place(row, cases, names), row.max_error, 11)
