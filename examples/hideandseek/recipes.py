"""The recipe that the example uses; it was chosen on synthetic data only, by its form alone."""

from __future__ import annotations

from examples.study.training import Recipe

MLP = Recipe(hidden=(64,), dropout=(0.3, 0.3), epochs=12)
"""Linear, square, linear: 3 levels. Few epochs, for there are some 20,000 windows."""
