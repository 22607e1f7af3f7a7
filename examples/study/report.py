"""The table on the terminal, the JSON and the picture, each saying whether data was synthetic."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from statistics import median

from rich.table import Table

from .encrypted import Sizes
from .folds import FoldResult, Protocol, Scores, score
from .latency import Latency, middle
from .recipe_choice import winners
from .windows import Windows

SYNTHETIC = "SYNTHETIC DATA: says nothing about people"


def title(windows: Windows, protocol: Protocol) -> str:
    """What was run on what, in one line."""
    layers = "-".join(map(str, protocol.recipe.widths)) or "linear"
    what = f"{len(protocol.task.labels)} classes, {protocol.recipe.model} {layers}"
    how = {"subject": "each subject's own", "training": "the training subjects'"}
    text = f"{protocol.task.study}, leave one subject out: {what}, {windows.source}"
    text += f", {how[protocol.normalisation]} mean and deviation"
    return f"{SYNTHETIC}. {text}" if windows.synthetic else text


def table(windows: Windows, protocol: Protocol, folds: tuple[FoldResult, ...]) -> Table:
    """Accuracy by subject and pooled, macro-F1, agreement of encrypted with plaintext, latency."""
    columns = ("plaintext", "polynomial", "encrypted", "agreement", "CPU ms")
    mark = "SYNTHETIC" if windows.synthetic else None
    result = Table("subject", "windows", title=mark, title_style="bold yellow")
    for name in columns if protocol.engine else columns[:1]:
        result.add_column(name, justify="right")
    count = len(protocol.task.labels)
    for fold in folds:
        result.add_row(fold.subject, *_cells(score((fold,), count), _latency((fold,))))
    pooled = score(folds, count)
    result.add_section()
    result.add_row("pooled", *_cells(pooled, _latency(folds)), style="bold")
    f1 = (pooled.plaintext_f1, pooled.polynomial_f1, pooled.encrypted_f1)
    result.add_row("macro-F1", "", *(f"{value:.4f}" for value in f1 if value is not None))
    notes = [f"quick: at most {protocol.limit} windows a subject"] if protocol.limit else []
    if protocol.engine:
        notes.append("CPU ms: one window alone, from encryption to decryption")
    result.caption = "; ".join(notes) or None
    return result


def summary(protocol: Protocol, folds: tuple[FoldResult, ...]) -> str:
    """One line on parameters and sizes; empty where nothing was encrypted."""
    answers = [fold.answers for fold in folds if fold.answers is not None]
    sizes = _sizes(folds)
    if sizes is None:
        return ""
    rate = median(answer.windows_per_second for answer in answers)
    return (
        f"{sizes.engine}: ring 2^{sizes.ring_dimension.bit_length() - 1}, {sizes.levels} levels, "
        f"log2(QP) {sizes.log_qp:.0f}, {sizes.security_bits}-bit security; "
        f"keys {sizes.evaluation_key_bytes / 1e6:.1f} MB once, "
        f"{sizes.question_bytes / 1e3:.0f} kB a question, {sizes.answer_bytes / 1e3:.0f} kB an "
        f"answer; {rate:.0f} windows a second of CPU time with {answers[0].batch} in one ciphertext"
    )


def write_json(
    path: Path, windows: Windows, protocol: Protocol, folds: tuple[FoldResult, ...], command: str
) -> None:
    """Everything in the table, and the sizes, with the command that made it."""
    count = len(protocol.task.labels)
    content = {
        "title": title(windows, protocol),
        "synthetic": windows.synthetic,
        "command": command,
        "protocol": asdict(protocol),
        "pooled": asdict(score(folds, count)) | {"latency_ms": _facts(folds)},
        "folds": [
            {"subject": fold.subject, "recipe": asdict(fold.recipe)}
            | asdict(score((fold,), count))
            | {"latency_ms": _facts((fold,))}
            for fold in folds
        ],
        "sizes": None if (sizes := _sizes(folds)) is None else sizes.to_json(),
        "windows_per_second": median(f.answers.windows_per_second for f in folds if f.answers)
        if any(f.answers for f in folds)
        else None,
    }
    path.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def write_plot(
    path: Path, windows: Windows, protocol: Protocol, folds: tuple[FoldResult, ...]
) -> None:
    """Bars of accuracy by subject: in the clear, and encrypted beside it."""
    import matplotlib  # only here: it is slow to import

    matplotlib.use("Agg")
    from matplotlib import pyplot

    count = len(protocol.task.labels)
    by_subject = [score((fold,), count) for fold in folds]
    pooled = score(folds, count)
    figure, axes = pyplot.subplots(figsize=(9, 4), layout="constrained")
    places = range(len(folds))
    axes.bar([p - 0.2 for p in places], [s.plaintext for s in by_subject], 0.4, label="plaintext")
    if pooled.encrypted is not None:
        heights = [s.encrypted or 0.0 for s in by_subject]
        axes.bar([p + 0.2 for p in places], heights, 0.4, label="encrypted")
    axes.axhline(pooled.plaintext, linestyle="--", color="grey", label="pooled, plaintext")
    axes.set_xticks(list(places), [fold.subject for fold in folds])
    axes.set_ylim(0, 1.02)
    axes.set_xlabel("held-out subject")
    axes.set_ylabel("accuracy of windows")
    axes.set_title(title(windows, protocol), fontsize=8, loc="left", wrap=True)
    axes.legend(loc="lower right")
    if windows.synthetic:
        axes.text(0.5, 0.5, "SYNTHETIC", transform=axes.transAxes, fontsize=48, color="red",
                  alpha=0.25, rotation=20, ha="center", va="center")  # fmt: skip
    figure.savefig(path, dpi=120)
    pyplot.close(figure)


def _cells(scores: Scores, latency: Latency | None) -> list[str]:
    values = (scores.plaintext, scores.polynomial, scores.encrypted, scores.agreement)
    cells = [str(scores.windows), *(f"{value:.4f}" for value in values if value is not None)]
    return cells if latency is None else [*cells, f"{latency.cpu.total:.0f}"]


def _latency(folds: tuple[FoldResult, ...]) -> Latency | None:
    """From a window to its answer: the median over the folds that were timed."""
    timed = [f.answers.latency for f in folds if f.answers and f.answers.latency]
    return middle(timed) if timed else None


def _facts(folds: tuple[FoldResult, ...]) -> dict[str, object] | None:
    return None if (found := _latency(folds)) is None else asdict(found)


def _sizes(folds: tuple[FoldResult, ...]) -> Sizes | None:
    return next((f.answers.sizes for f in folds if f.answers and f.answers.sizes), None)


def markdown(
    windows: Windows, protocol: Protocol, folds: tuple[FoldResult, ...], command: str
) -> str:
    """The figures of an encrypted run for a README: pooled, by subject, and the command."""
    count = len(protocol.task.labels)
    head = "| subject | windows | plaintext | polynomial | encrypted | agreement | macro-F1 |"
    rule = "|---" * 7 + "|"
    scored = [("**pooled**", score(folds, count))]
    scored += [(fold.subject, score((fold,), count)) for fold in folds]
    rows = []
    for name, found in scored:
        figures = (found.plaintext, found.polynomial, found.encrypted, found.agreement)
        cells = [f"{figure:.4f}" for figure in (*figures, found.encrypted_f1) if figure is not None]
        rows.append(f"| {name} | {found.windows} | {' | '.join(cells)} |")
    latency = _latency(folds)
    timed = "" if latency is None else f" One window alone: {latency}, encryption included."
    chosen = winners(protocol.tried, [fold.recipe for fold in folds])
    return "\n".join(
        (
            f"{title(windows, protocol)}.{chosen}{timed} {summary(protocol, folds)}.",
            "",
            "```sh",
            command,
            "```",
            "",
            *(head, rule, rows[0]),
            "",
            "<details><summary>By subject</summary>",
            "",
            *(head, rule, *rows[1:]),
            "",
            "</details>",
        )
    )
