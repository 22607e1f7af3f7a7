"""The recipes that the example uses."""

from __future__ import annotations

from .training import Recipe

MLP = Recipe(hidden=(64,), dropout=(0.3, 0.3))
"""Three levels: linear, square, linear."""


def recipe_for(model: str, classes: int) -> Recipe:
    """The recipe of a model for a task."""
    return {"mlp": MLP}[model]
