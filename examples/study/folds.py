"""Leave one subject out: train on the others, then ask about that subject, in the clear and not."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import torch

from eer.compiler.frontend import export_torch
from eer.runtime.errors import DataError

from .encrypted import Answers, ask_encrypted
from .metrics import accuracy, macro_f1
from .normalise import prepared, with_bounds
from .training import Recipe, scores, train
from .windows import Codes, Mask, Task, Windows, held_out


@dataclass(frozen=True, slots=True)
class Protocol:
    """What is run on every fold."""

    task: Task
    recipe: Recipe
    normalisation: str
    seed: int = 0
    engine: str | None = "seal"
    """None: in the clear only."""
    batch: int = 16
    timed: int = 15
    """Windows that are timed alone, in each of the first `timed_folds` folds: all folds' programs
    are alike, and compiling one more for each takes long."""
    timed_folds: int = 3
    limit: int | None = None
    """At most so many test windows a subject, spread evenly; None for all of them."""
    candidates: tuple[Recipe, ...] = ()
    """Recipes of the same layers that each fold's own is chosen from, by inner folds over the other
    subjects; none: `recipe` serves every fold."""

    @property
    def tried(self) -> tuple[Recipe, ...]:
        """What there is to choose from: one, or several."""
        return self.candidates or (self.recipe,)


@dataclass(frozen=True, slots=True, eq=False)
class FoldResult:
    """What was found on one held-out subject's windows: classes [w] by each way of computing."""

    subject: str
    wanted: Codes
    plaintext: Codes
    recipe: Recipe
    answers: Answers | None

    @property
    def polynomial(self) -> Codes | None:
        return None if self.answers is None else self.answers.polynomial.argmax(axis=1)

    @property
    def encrypted(self) -> Codes | None:
        return None if self.answers is None else self.answers.encrypted.argmax(axis=1)


@dataclass(frozen=True, slots=True)
class Scores:
    """Accuracy and macro-F1 over some windows; agreement of encrypted with plaintext classes."""

    windows: int
    plaintext: float
    plaintext_f1: float
    polynomial: float | None
    polynomial_f1: float | None
    encrypted: float | None
    encrypted_f1: float | None
    agreement: float | None
    class_flips: int | None


def run_fold(
    windows: Windows,
    subject: str,
    protocol: Protocol,
    folder: Path,
    progress: Callable[[str], None] = lambda stage: None,
) -> FoldResult:
    """Train without `subject`, export to `folder`, and answer about `subject`.

    `windows` are those of every subject, as loaded. Nothing of the held-out subject reaches
    training, calibration or the training statistics.
    """
    if len(windows.subjects) < 2:
        raise DataError(
            "leaving one subject out takes at least two subjects",
            where=windows.source,
            hint="put the other subjects' recordings beside this one",
        )
    training, test = held_out(windows, subject)
    classes = protocol.task.classes(windows)
    training, test = training & (classes >= 0), test & (classes >= 0)
    ready = prepared(windows, protocol.normalisation, training)
    asked = _spread(test, protocol.limit)
    progress("training")
    model = train(
        protocol.recipe,
        ready.values[training],
        classes[training],
        len(protocol.task.labels),
        protocol.seed,
    )
    # Single precision, as the network sees them.
    values = ready.values[asked].astype(np.float32).astype(np.float64)
    plaintext = scores(model, values).argmax(axis=1)
    if protocol.engine is None:
        return FoldResult(subject, classes[asked], plaintext, protocol.recipe, None)
    progress("exporting to ONNX")
    path = folder / f"{subject}.onnx"
    example = torch.as_tensor(values[:2], dtype=torch.float32)
    onnx.save(
        export_torch(model, example, input_names=["window"], output_names=["scores"]), str(path)
    )
    progress(f"compiling, and asking about {len(values)} encrypted windows")
    answers = ask_encrypted(
        path,
        with_bounds(ready.values[training]),
        values,
        labels=protocol.task.labels,
        engine=protocol.engine,
        batch=protocol.batch,
        timed=protocol.timed if windows.subjects.index(subject) < protocol.timed_folds else 0,
    )
    return FoldResult(subject, classes[asked], plaintext, protocol.recipe, answers)


def score(folds: tuple[FoldResult, ...], classes: int) -> Scores:
    """Scores over all windows of some folds together."""
    wanted = np.concatenate([fold.wanted for fold in folds])
    plain = np.concatenate([fold.plaintext for fold in folds])
    polynomial, encrypted = (
        _pooled([getattr(fold, way) for fold in folds]) for way in ("polynomial", "encrypted")
    )
    return Scores(
        windows=len(wanted),
        plaintext=accuracy(wanted, plain),
        plaintext_f1=macro_f1(wanted, plain, classes),
        polynomial=None if polynomial is None else accuracy(wanted, polynomial),
        polynomial_f1=None if polynomial is None else macro_f1(wanted, polynomial, classes),
        encrypted=None if encrypted is None else accuracy(wanted, encrypted),
        encrypted_f1=None if encrypted is None else macro_f1(wanted, encrypted, classes),
        agreement=None if encrypted is None else accuracy(plain, encrypted),
        class_flips=None if encrypted is None else int((plain != encrypted).sum()),
    )


def _pooled(parts: list[Codes | None]) -> Codes | None:
    found = [part for part in parts if part is not None]
    return np.concatenate(found) if len(found) == len(parts) else None


def _spread(mask: Mask, limit: int | None) -> Mask:
    """At most `limit` of the windows in `mask`, evenly spread."""
    rows = np.flatnonzero(mask)
    if limit is None or len(rows) <= limit:
        return mask
    kept = np.zeros_like(mask)
    kept[rows[np.linspace(0, len(rows) - 1, limit).astype(int)]] = True
    return kept
