"""Accuracy and macro-F1 of predicted classes."""

from __future__ import annotations

import numpy as np

from .windows import Codes


def accuracy(wanted: Codes, found: Codes) -> float:
    """Share of windows whose class was found."""
    return float((wanted == found).mean())


def macro_f1(wanted: Codes, found: Codes, classes: int) -> float:
    """Mean over the classes of F1; a class neither wanted nor found counts as 0."""
    scores = []
    for code in range(classes):
        right = int(((wanted == code) & (found == code)).sum())
        named = int((wanted == code).sum()) + int((found == code).sum())
        scores.append(2 * right / named if named else 0.0)
    return float(np.mean(scores))
