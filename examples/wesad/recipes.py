"""The recipes that the example uses: for each held-out subject one of them, chosen by inner folds.

All recipes of a model have the same layers, so that they cost the same under encryption. The first
is the one for quick runs, `--fixed` and the benchmarks.
"""

from __future__ import annotations

from dataclasses import replace

from examples.study.personal.learning import Adaptation
from examples.study.training import Recipe

MLP = Recipe(hidden=(64,), dropout=(0.3, 0.3))
"""Linear, square, linear: 3 levels."""

CNN = Recipe("cnn", hidden=(64,), dropout=(0.2, 0.5), epochs=20, batch=400, weight_decay=0.05)
"""Convolution, square, mean over time and linear in one: 3 levels."""

RECIPES = {
    "mlp": tuple(
        replace(MLP, members=members, hidden=(64 // members,), smoothing=smoothing)
        for members in (1, 2)
        for smoothing in (0.0, 0.1)
    ),
    "cnn": (
        CNN,
        replace(CNN, members=2, hidden=(32,)),
        replace(CNN, dropout=(0.0, 0.5)),
        replace(CNN, smoothing=0.1),
    ),
}

PERSONAL_KINDS = {"personalise": Adaptation(), "semi-supervised": Adaptation(few=3, rounds=2)}
"""How a head is made personal: from the first fifth of each condition, all of it labelled or three
windows of each condition."""
