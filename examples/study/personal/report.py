"""The table, the JSON and the README's text on personal heads, with the paired test."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from statistics import median

import numpy as np
from rich.table import Table
from scipy.stats import wilcoxon

from ..latency import Latency, middle
from ..metrics import accuracy, macro_f1
from ..recipe_choice import winners
from ..report import SYNTHETIC
from ..windows import Codes, Windows
from .costs import Costs
from .folds import PersonalFold, PersonalProtocol

WAYS = ("general", "supervised", "plaintext", "polynomial", "encrypted")
"""Ways to answer: the general model; heads that learned in the clear from the labelled windows
alone, and from all; the same as compiled; and under encryption."""


def title(windows: Windows, protocol: PersonalProtocol) -> str:
    """What was run on what, in one line."""
    settings, task = protocol.settings, protocol.task
    learned, taught = f"the first {settings.share:.0%} of each condition", f"{settings.steps} steps"
    if settings.few is not None:
        learned = f"{settings.few} labelled windows of each condition, the rest of {learned}"
        learned += " unlabelled"
        taught = f"rounds of {settings.steps} steps"
    text = (
        f"{task.study}, leave one subject out: {len(task.labels)} classes, {windows.source}, a "
        f"head made personal in {taught} from {learned}, tested on later windows"
    )
    if protocol.inner:
        text += ", settings chosen for each subject by inner folds over the others"
    return f"{SYNTHETIC}. {text}" if windows.synthetic else text


def codes(fold: PersonalFold, way: str) -> Codes | None:
    """Classes [w] by one of `WAYS`; None where nothing was encrypted."""
    if way in ("general", "supervised", "plaintext"):
        found: Codes = getattr(fold, way)
        return found
    if fold.answers is None:
        return None
    answered: Codes = getattr(fold.answers, way)
    return answered


def ways(protocol: PersonalProtocol) -> tuple[str, ...]:
    """The ways that this run has: "supervised" only where others than labelled windows count."""
    shown = WAYS if protocol.settings.few is not None else tuple(w for w in WAYS if w != WAYS[1])
    return shown if protocol.engine is not None else shown[:-2]


def pooled(folds: tuple[PersonalFold, ...], way: str, classes: int) -> tuple[float, float]:
    """Accuracy and macro-F1 over the windows of all folds."""
    wanted = np.concatenate([fold.wanted for fold in folds])
    found = np.concatenate([c for fold in folds if (c := codes(fold, way)) is not None])
    return accuracy(wanted, found), macro_f1(wanted, found, classes)


def by_subject(folds: tuple[PersonalFold, ...], way: str) -> list[float]:
    """Accuracy of each fold."""
    return [accuracy(fold.wanted, c) for fold in folds if (c := codes(fold, way)) is not None]


def p_value(folds: tuple[PersonalFold, ...], way: str, other: str) -> float:
    """Wilcoxon's signed-rank test over the subjects' accuracies, two-sided; 1 where all agree."""
    change = np.array(by_subject(folds, way)) - np.array(by_subject(folds, other))
    return float(wilcoxon(change).pvalue) if np.abs(change).max() > 0 else 1.0


def table(windows: Windows, protocol: PersonalProtocol, folds: tuple[PersonalFold, ...]) -> Table:
    """Accuracy by subject and pooled, macro-F1."""
    mark = "SYNTHETIC" if windows.synthetic else None
    result = Table("subject", "learned", "tested", title=mark, title_style="bold yellow")
    for way in ways(protocol):
        result.add_column(way, justify="right")
    for row in _rows(protocol, folds):
        result.add_row(*row)
    result.add_section()
    for row in _pooled_rows(protocol, folds):
        result.add_row(*row, style="bold")
    return result


def summary(protocol: PersonalProtocol, folds: tuple[PersonalFold, ...]) -> str:
    """What changed and how sure that is; what an update and an answer cost."""
    last = ways(protocol)[-1]
    text = f"Against no adaptation: p = {p_value(folds, last, 'general'):.3g}"
    if protocol.settings.few is not None:
        text += f"; against labelled windows alone: p = {p_value(folds, last, 'supervised'):.3g}"
    text += " (Wilcoxon's signed-rank test over the subjects, two-sided)."
    costs = _costs(folds)
    if not costs:
        return text
    one, error = costs[0], max(step.error for cost in costs for step in cost.steps)
    steps = [step for cost in costs for step in cost.steps]
    parts = f"the trunk's values {median(cost.values_seconds for cost in costs):.1f} s"
    if protocol.settings.few is not None:
        parts += f" and pseudo-labels {median(cost.pseudo_seconds for cost in costs):.1f} s"
    text += (
        f" {protocol.engine}: a step on ring 2^{one.ring_dimension.bit_length() - 1}, "
        f"{one.levels} levels, log2(QP) {one.log_qp:.0f}, takes "
        f"{median(s.server for s in steps):.2f} s at the server and "
        f"{median(s.client for s in steps):.2f} s at the client, "
        f"{median(s.up for s in steps) / 1e6:.1f} MB up and "
        f"{median(s.down for s in steps) / 1e6:.1f} MB down; a whole update "
        f"{median(cost.update_seconds for cost in costs):.1f} s, of which {parts} (medians); heads "
        f"are within {error:.1g} of those learned in the clear; keys {one.key_bytes / 1e6:.0f} MB "
        "once."
    )
    general, personal = latencies(folds)
    if general and personal:
        text += (
            f" One window alone, encryption and decryption included: general {general}; personal "
            f"{personal} ({personal.cpu.total / general.cpu.total:.2f} times the CPU time)."
        )
    return text


def latencies(folds: tuple[PersonalFold, ...]) -> tuple[Latency | None, Latency | None]:
    """Medians over the folds that were timed: the general model's, the personal one's."""
    answers = [fold.answers for fold in folds if fold.answers is not None]
    general = [a.general_latency for a in answers if a.general_latency is not None]
    personal = [a.personal_latency for a in answers if a.personal_latency is not None]
    return middle(general) if general else None, middle(personal) if personal else None


def write_json(
    path: Path,
    windows: Windows,
    protocol: PersonalProtocol,
    folds: tuple[PersonalFold, ...],
    command: str,
) -> None:
    """Everything in the table and the plots, with the command that made it."""
    count, shown = len(protocol.task.labels), ways(protocol)
    general, personal = latencies(folds)
    content = {
        "title": title(windows, protocol),
        "synthetic": windows.synthetic,
        "command": command,
        "protocol": asdict(protocol),
        "pooled": {
            way: dict(zip(("accuracy", "macro_f1"), pooled(folds, way, count), strict=True))
            for way in shown
        },
        "p_against_general": {way: p_value(folds, way, "general") for way in shown[1:]},
        "general_ms": None if general is None else asdict(general),
        "personal_ms": None if personal is None else asdict(personal),
        "folds": [
            {
                "subject": fold.subject,
                "labelled": fold.labelled,
                "unlabelled": fold.unlabelled,
                "recipe": asdict(fold.recipe),
                "settings": asdict(fold.settings),
                "alone": asdict(fold.alone),
                "windows": len(fold.wanted),
                "accuracy": {way: by_subject((fold,), way)[0] for way in shown},
                "curve": fold.curve.tolist(),
                "encrypted_curve": fold.answers.curve.tolist() if fold.answers else None,
                "costs": fold.answers.costs.to_json() if fold.answers else None,
            }
            for fold in folds
        ],
    }
    path.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def markdown(
    windows: Windows, protocol: PersonalProtocol, folds: tuple[PersonalFold, ...], command: str
) -> str:
    """The figures for a README: pooled, by subject, and the command."""
    names = ("subject", "learned", "tested", *ways(protocol))
    head = [_line(names), "|" + "---|" * len(names)]
    chosen = winners(protocol.tried, [fold.recipe for fold in folds])
    lines = [
        f"{title(windows, protocol)}.{chosen} {summary(protocol, folds)}",
        *("", "```sh", command, "```", ""),
        *head,
        *map(_line, _pooled_rows(protocol, folds)),
        *("", "<details><summary>By subject</summary>", ""),
        *head,
        *map(_line, _rows(protocol, folds)),
        *("", "</details>"),
    ]
    return "\n".join(lines)


def _line(cells: tuple[str, ...]) -> str:
    return f"| {' | '.join(cells)} |"


def _rows(protocol: PersonalProtocol, folds: tuple[PersonalFold, ...]) -> list[tuple[str, ...]]:
    rows = []
    for fold in folds:
        learned = str(fold.labelled)
        if protocol.settings.few is not None:
            learned += f" + {fold.unlabelled}"
        scores = (f"{by_subject((fold,), way)[0]:.4f}" for way in ways(protocol))
        rows.append((fold.subject, learned, str(len(fold.wanted)), *scores))
    return rows


def _pooled_rows(
    protocol: PersonalProtocol, folds: tuple[PersonalFold, ...]
) -> list[tuple[str, ...]]:
    count = len(protocol.task.labels)
    scores = [pooled(folds, way, count) for way in ways(protocol)]
    tested = str(sum(len(fold.wanted) for fold in folds))
    return [
        ("pooled", "", tested, *(f"{value:.4f}" for value, _ in scores)),
        ("macro-F1", "", "", *(f"{value:.4f}" for _, value in scores)),
    ]


def _costs(folds: tuple[PersonalFold, ...]) -> list[Costs]:
    return [fold.answers.costs for fold in folds if fold.answers is not None]
