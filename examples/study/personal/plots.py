"""Pictures: accuracy before and after, the learning curve, and where an answer's time goes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..windows import Windows
from .folds import PersonalFold, PersonalProtocol
from .report import by_subject, latencies, title, ways


def write_plots(
    folder: Path, windows: Windows, protocol: PersonalProtocol, folds: tuple[PersonalFold, ...]
) -> tuple[Path, ...]:
    """Write `subjects.png` and `learning.png`, and `latency.png` where something was timed."""
    import matplotlib  # only here: it is slow to import

    matplotlib.use("Agg")
    from matplotlib import pyplot

    pictures = {"subjects.png": _subjects, "learning.png": _learning, "latency.png": _latency}
    written = []
    for name, draw in pictures.items():
        if draw is _latency and latencies(folds)[0] is None:
            continue
        figure, axes = pyplot.subplots(figsize=(9, 4), layout="constrained")
        draw(axes, protocol, folds)
        axes.set_title(title(windows, protocol), fontsize=8, loc="left", wrap=True)
        if windows.synthetic:
            axes.text(0.5, 0.5, "SYNTHETIC", transform=axes.transAxes, fontsize=48, color="red",
                      alpha=0.25, rotation=20, ha="center", va="center")  # fmt: skip
        figure.savefig(folder / name, dpi=120)
        pyplot.close(figure)
        written.append(folder / name)
    return tuple(written)


def _subjects(axes: Any, protocol: PersonalProtocol, folds: tuple[PersonalFold, ...]) -> None:
    """Bars by subject: before, after in the clear, after under encryption."""
    shown = [way for way in ways(protocol) if way != "polynomial"]
    names = {"general": "before", "supervised": "labelled windows alone"}
    names |= {"plaintext": "after, in the clear", "encrypted": "after, encrypted"}
    width = 0.8 / len(shown)
    places = np.arange(len(folds))
    for number, way in enumerate(shown):
        offset = (number - (len(shown) - 1) / 2) * width
        axes.bar(places + offset, by_subject(folds, way), width, label=names[way])
    axes.set_xticks(places, [fold.subject for fold in folds])
    axes.set_ylim(0, 1.02)
    axes.set_xlabel("held-out subject")
    axes.set_ylabel("accuracy of later windows")
    axes.legend(loc="upper left", bbox_to_anchor=(1, 1), fontsize=8)


def _learning(axes: Any, protocol: PersonalProtocol, folds: tuple[PersonalFold, ...]) -> None:
    """Accuracy after each step, the mean over the subjects: in the clear and under encryption."""
    last = max(len(fold.curve) for fold in folds)
    steps = np.arange(last)
    axes.plot(steps, _mean([fold.curve for fold in folds], last), "o-", label="in the clear")
    curves = [fold.answers.curve for fold in folds if fold.answers is not None]
    if curves:
        axes.plot(steps, _mean(curves, last), "x--", markersize=9, label="encrypted")
    axes.set_xticks(steps)
    axes.set_xlabel("steps of learning")
    axes.set_ylabel("accuracy of later windows, mean over subjects")
    axes.legend(loc="lower right")


def _mean(curves: list[NDArray[np.float64]], length: int) -> NDArray[np.float64]:
    """The mean [length] of curves some of which ended earlier and stay where they were."""
    whole = [np.pad(curve, (0, length - len(curve)), mode="edge") for curve in curves]
    return np.asarray(np.mean(whole, axis=0))


def _latency(axes: Any, protocol: PersonalProtocol, folds: tuple[PersonalFold, ...]) -> None:
    """Stacked bars: encryption, server and decryption of one window alone, as CPU time."""
    left = np.zeros(2)
    found = [one.cpu for one in latencies(folds) if one is not None]
    for stage, name in (("encrypt", "encryption"), ("run", "server"), ("decrypt", "decryption")):
        lengths = np.array([getattr(one, stage) for one in found])
        axes.barh(["general", "personal"], lengths, left=left, label=name)
        left += lengths
    for row, total in enumerate(left):
        axes.text(total, row, f" {total:.0f} ms", va="center")
    axes.set_xlim(0, left.max() * 1.15)
    axes.set_xlabel("milliseconds of CPU time for one window alone")
    axes.legend(loc="upper left", bbox_to_anchor=(1, 1))
