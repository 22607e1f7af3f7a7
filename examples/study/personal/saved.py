"""Finished personal folds on disk, so that a run that was interrupted goes on where it stopped."""

from __future__ import annotations

import json
import zipfile
import zlib
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from eer.runtime.errors import DataError

from ..latency import Latency
from ..saved import recipe_of
from .costs import Costs, StepCost
from .folds import Encrypted, PersonalFold
from .learning import Adaptation

_CODES = ("wanted", "general", "supervised", "plaintext", "curve")
_ANSWERS = ("polynomial", "encrypted", "curve")


def save_personal_fold(folder: Path, fold: PersonalFold, mark: str) -> None:
    """Write the fold to `folder`, whole or not at all, marked with its fingerprint."""
    folder.mkdir(parents=True, exist_ok=True)
    arrays: dict[str, Any] = {name: getattr(fold, name) for name in _CODES}
    facts: dict[str, Any] = {
        "mark": mark,
        "subject": fold.subject,
        "labelled": fold.labelled,
        "unlabelled": fold.unlabelled,
        "recipe": asdict(fold.recipe),
        "settings": asdict(fold.settings),
        "alone": asdict(fold.alone),
    }
    if (answers := fold.answers) is not None:
        arrays |= {f"answers_{name}": getattr(answers, name) for name in _ANSWERS}
        facts["costs"] = asdict(answers.costs)
        for name in ("general_latency", "personal_latency"):
            found = getattr(answers, name)
            facts[name] = None if found is None else asdict(found)
    arrays["facts"] = np.array(json.dumps(facts))
    unfinished = folder / f"{fold.subject}.npz.part"
    with unfinished.open("wb") as file:
        np.savez(file, **arrays)
    unfinished.replace(folder / f"{fold.subject}.npz")


def saved_personal_fold(folder: Path, subject: str, mark: str) -> PersonalFold | None:
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
        return PersonalFold(
            subject=subject,
            **{name: arrays[name] for name in _CODES},
            labelled=facts["labelled"],
            unlabelled=facts["unlabelled"],
            recipe=recipe_of(facts["recipe"]),
            settings=Adaptation(**facts["settings"]),
            alone=Adaptation(**facts["alone"]),
            answers=_answers(arrays, facts) if "costs" in facts else None,
        )
    except (OSError, ValueError, KeyError, TypeError, zipfile.BadZipFile, zlib.error) as error:
        raise DataError(
            f"this saved fold cannot be read: {error}",
            where=str(path),
            hint="delete it; the fold is then run again",
        ) from error


def _answers(arrays: dict[str, Any], facts: dict[str, Any]) -> Encrypted:
    costs = dict(facts["costs"])
    costs["steps"] = tuple(StepCost(**step) for step in costs["steps"])
    general, personal = (
        None if facts[name] is None else Latency.from_json(facts[name])
        for name in ("general_latency", "personal_latency")
    )
    polynomial, encrypted, curve = (arrays[f"answers_{name}"] for name in _ANSWERS)
    return Encrypted(polynomial, encrypted, curve, Costs(**costs), general, personal)
