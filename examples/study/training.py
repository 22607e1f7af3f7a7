"""Training one network on some subjects' windows; small enough that each takes a second."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from eer.runtime.errors import UsageError

from .ensemble import merged
from .models import FeatureMlp, Square, WindowCnn
from .windows import Codes, Signal


@dataclass(frozen=True, slots=True)
class Recipe:
    """A network and how it is trained. `model` is "mlp" (on features) or "cnn" (on windows)."""

    model: str = "mlp"
    hidden: tuple[int, ...] = (32,)
    dropout: tuple[float, float] = (0.1, 0.2)
    epochs: int = 60
    batch: int = 600
    learning_rate: float = 0.01
    weight_decay: float = 0.02
    smoothing: float = 0.0
    """Share of the target that is spread over all classes."""
    range_penalty: float = 1e-3
    """Weight of what a square's argument exceeds `RANGE` by: values that escape cost precision."""
    members: int = 1
    """Networks trained apart, from seeds of their own, and merged into one (see ensemble.py)."""

    def __post_init__(self) -> None:
        if self.members > 1 and len(self.hidden) != 1:
            raise UsageError(
                f"networks of {len(self.hidden)} hidden layers are not merged",
                hint="give members=1, or one hidden layer",
            )

    @property
    def widths(self) -> tuple[int, ...]:
        """Of the hidden layers, all members together: what the network costs under encryption."""
        return tuple(size * self.members for size in self.hidden)

    def build(self, inputs: int, classes: int, *, members: int = 1) -> nn.Module:
        """The untrained network of so many members."""
        kind = {"mlp": FeatureMlp, "cnn": WindowCnn}[self.model]
        return kind(inputs, classes, [size * members for size in self.hidden], self.dropout)


RANGE = 4.0
"""Arguments of squares should stay within plus and minus this."""


def train(recipe: Recipe, values: Signal, classes: Codes, count: int, seed: int) -> nn.Module:
    """The recipe's network, trained on `values` [w, ...] with `classes` [w], ready to be used.

    The same arguments give the same network. Windows are drawn without replacement in each epoch;
    the learning rate rises and falls once (one cycle).
    """
    with _one_thread(), torch.random.fork_rng():
        found = []
        for member in range(recipe.members):
            torch.manual_seed(seed * recipe.members + member)
            found.append(_train(recipe, values, classes, count))
        if recipe.members == 1:
            return found[0]
        return merged(found, recipe.build(values.shape[1], count, members=recipe.members))


def _train(recipe: Recipe, values: Signal, classes: Codes, count: int) -> nn.Module:
    x = torch.as_tensor(values, dtype=torch.float32)
    y = torch.as_tensor(classes)
    model = recipe.build(x.shape[1], count)
    batch = min(recipe.batch, len(x))
    steps = len(x) // batch
    optimiser = torch.optim.AdamW(
        model.parameters(), recipe.learning_rate, weight_decay=recipe.weight_decay
    )
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimiser, recipe.learning_rate, total_steps=recipe.epochs * steps
    )
    loss_of = nn.CrossEntropyLoss(label_smoothing=recipe.smoothing)
    escapes = _watch_ranges(model)
    model.train()
    for _ in range(recipe.epochs):
        order = torch.randperm(len(x))
        for rows in order[: steps * batch].view(steps, batch):
            escapes.clear()
            loss = loss_of(model(x[rows]), y[rows])
            loss = loss + recipe.range_penalty * sum(escapes, torch.zeros(()))
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            schedule.step()
    escapes.release()
    return model.eval()


def scores(model: nn.Module, values: Signal) -> NDArray[np.float32]:
    """The network's scores [w, classes], in the clear."""
    with torch.no_grad():
        out: Tensor = model(torch.as_tensor(values, dtype=torch.float32))
    return out.numpy()


@contextmanager
def _one_thread() -> Iterator[None]:
    """Networks this small are slower on several threads, and repeat exactly on one."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


class _Escapes(list[Tensor]):
    """How far the squares' arguments left their range in the current forward pass."""

    def __init__(self) -> None:
        super().__init__()
        self.hooks: list[torch.utils.hooks.RemovableHandle] = []

    def release(self) -> None:
        for hook in self.hooks:
            hook.remove()
        self.clear()


def _watch_ranges(model: nn.Module) -> _Escapes:
    escapes = _Escapes()

    def note(_: nn.Module, inputs: tuple[Tensor]) -> None:
        escapes.append(torch.relu(inputs[0].abs() - RANGE).square().mean())

    for module in model.modules():
        if isinstance(module, Square):
            escapes.hooks.append(module.register_forward_pre_hook(note))
    return escapes
