"""The recipe that the example uses; it was chosen on synthetic data only, by its form alone."""

from __future__ import annotations

from examples.study.personal.learning import Adaptation
from examples.study.training import Recipe

MLP = Recipe(hidden=(64,), dropout=(0.3, 0.3), epochs=12)
"""Linear, square, linear: 3 levels. Few epochs, for there are some 20,000 windows."""

PERSONAL_KINDS = {"personalise": Adaptation(), "semi-supervised": Adaptation(few=3, rounds=2)}
"""How a head is made personal: from the first fifth of each call, all of it labelled, or three
windows of each call and the rest of the fifth without labels."""
