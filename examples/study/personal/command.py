"""What the studies' commands do for personal heads: every fold, and what is shown at the end."""

from __future__ import annotations

import argparse
from pathlib import Path

from rich.console import Console
from rich.progress import Progress

from ..command import Show, each_fold
from ..saved import fingerprint
from ..windows import Windows
from .encrypted import SharedPrograms
from .folds import PersonalFold, PersonalProtocol, run_personal_fold
from .plots import write_plots
from .report import summary, table, title, write_json
from .saved import save_personal_fold, saved_personal_fold


def personal_folds(
    given: argparse.Namespace, windows: Windows, protocol: PersonalProtocol, progress: Progress
) -> tuple[PersonalFold, ...]:
    """Every fold that is asked for; with `--resume`, those that are there are not run again."""
    kept, mark = given.out / "folds", fingerprint(windows, protocol)
    shared: list[SharedPrograms] = []

    def run(subject: str, show: Show) -> PersonalFold:
        if protocol.engine is not None and not shared:
            show("compiling the step")
            shared.append(protocol.shared_programs())
        return run_personal_fold(windows, subject, protocol, show, shared[0] if shared else None)

    return each_fold(
        given,
        windows,
        progress,
        saved=lambda subject: saved_personal_fold(kept, subject, mark),
        run=run,
        save=lambda fold: save_personal_fold(kept, fold, mark),
    )


def personal_report(
    console: Console,
    out: Path,
    windows: Windows,
    protocol: PersonalProtocol,
    folds: tuple[PersonalFold, ...],
    command: str,
) -> None:
    """Print the table, and write `results.json` and the plots; `command` made them."""
    console.print(title(windows, protocol), highlight=False)
    console.print(table(windows, protocol, folds))
    console.print(summary(protocol, folds), highlight=False)
    write_json(out / "results.json", windows, protocol, folds, command)
    write_plots(out, windows, protocol, folds)
    console.print(f"Figures are in {out}", highlight=False)
