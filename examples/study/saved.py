"""Finished folds on disk, so that a long run that was interrupted goes on where it stopped."""

from __future__ import annotations

import hashlib
import json
import zipfile
import zlib
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from eer.runtime.errors import DataError

from .encrypted import Answers, Sizes
from .folds import FoldResult
from .latency import Latency
from .training import Recipe
from .windows import Windows


def fingerprint(windows: Windows, protocol: object) -> str:
    """A digest of the data and of what is done with them; the code itself is not in it."""
    digest = hashlib.sha256(repr(protocol).encode())
    for array in (windows.values, windows.label, windows.start):
        digest.update(np.ascontiguousarray(array).tobytes())
    digest.update("\n".join([*windows.names, *windows.subject.tolist()]).encode())
    return digest.hexdigest()


def recipe_of(facts: dict[str, Any]) -> Recipe:
    """The recipe that was written as JSON, which has no tuples."""
    tuples = {name: tuple(facts[name]) for name in ("hidden", "dropout")}
    return Recipe(**(facts | tuples))


def save_fold(folder: Path, fold: FoldResult, mark: str) -> None:
    """Write the fold to `folder`, whole or not at all, marked with its fingerprint."""
    folder.mkdir(parents=True, exist_ok=True)
    arrays: dict[str, Any] = {"wanted": fold.wanted, "plaintext": fold.plaintext}
    facts: dict[str, object] = {
        "mark": mark,
        "subject": fold.subject,
        "recipe": asdict(fold.recipe),
    }
    if fold.answers is not None:
        answers = fold.answers
        facts |= {
            "latency": None if answers.latency is None else asdict(answers.latency),
            "sizes": None if answers.sizes is None else asdict(answers.sizes),
            "batch": answers.batch,
            "windows_per_second": answers.windows_per_second,
        }
        arrays |= {"polynomial": answers.polynomial, "encrypted": answers.encrypted}
    arrays["facts"] = np.array(json.dumps(facts))
    unfinished = folder / f"{fold.subject}.npz.part"
    with unfinished.open("wb") as file:
        np.savez(file, **arrays)
    unfinished.replace(folder / f"{fold.subject}.npz")


def saved_fold(folder: Path, subject: str, mark: str) -> FoldResult | None:
    """The fold saved for this subject under this fingerprint, or None where there is none."""
    path = folder / f"{subject}.npz"
    if not path.exists():
        return None
    try:
        with path.open("rb") as opened, np.load(opened, allow_pickle=False) as file:
            arrays = dict(file)
        facts = json.loads(str(arrays["facts"]))
        if (facts["mark"], facts["subject"]) != (mark, subject):
            return None
        answers = None
        if "encrypted" in arrays:
            answers = Answers(
                polynomial=arrays["polynomial"],
                encrypted=arrays["encrypted"],
                latency=Latency.from_json(found) if (found := facts["latency"]) else None,
                sizes=None if facts["sizes"] is None else Sizes(**facts["sizes"]),
                batch=facts["batch"],
                windows_per_second=facts["windows_per_second"],
            )
        recipe = recipe_of(facts["recipe"])
        return FoldResult(subject, arrays["wanted"], arrays["plaintext"], recipe, answers)
    except (OSError, ValueError, KeyError, TypeError, zipfile.BadZipFile, zlib.error) as error:
        raise DataError(
            f"this saved fold cannot be read: {error}",
            where=str(path),
            hint="delete it; the fold is then run again",
        ) from error
