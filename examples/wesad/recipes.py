"""The recipes that the example uses. `tune.py` compares others by paired held-out subjects."""

from __future__ import annotations

from examples.study.personal.learning import Adaptation
from examples.study.training import Recipe

MLP = Recipe(hidden=(64,), dropout=(0.3, 0.3))
"""Linear, square, linear: 3 levels."""

CNN = Recipe("cnn", hidden=(64,), dropout=(0.2, 0.5), epochs=20, batch=400, weight_decay=0.05)
"""Convolution, square, mean over time and linear in one: 3 levels."""


def recipe_for(model: str) -> Recipe:
    """The recipe of "mlp" or "cnn"."""
    return {"mlp": MLP, "cnn": CNN}[model]


PERSONAL_KINDS = {"personalise": Adaptation(), "semi-supervised": Adaptation(few=3, rounds=2)}
"""How a head is made personal: from the first fifth of each condition, all of it labelled or three
windows of each condition."""
