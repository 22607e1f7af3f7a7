"""Train networks for encryption: polynomial activations whose ranges are kept in bounds.

    from eer.compiler.training import freeze, range_penalty, replace_activations

    replace_activations(model, degree=2, sample=x_train[:512])
    for x, y in batches:
        loss = loss_function(model(x), y) + 0.1 * range_penalty(model)
        ...
    freeze(model)

A network that is trained with polynomials loses nothing when they are evaluated under encryption,
and a degree of 2 costs one level where a fitted ReLU costs five. But nothing in the task's loss
keeps a polynomial's argument where the polynomial behaves; the penalty does. Swap the activations
of a trained network and fine-tune, or train from the start.

The activations are exported as Mul and Add, which the compiler imports as exact polynomials.
This module needs PyTorch.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor, nn

from eer.runtime.errors import UsageError

HIGHEST_DEGREE = 8

ACTIVATIONS: tuple[type[nn.Module], ...] = (
    nn.ReLU,
    nn.ReLU6,
    nn.LeakyReLU,
    nn.PReLU,
    nn.ELU,
    nn.CELU,
    nn.SELU,
    nn.GELU,
    nn.SiLU,
    nn.Mish,
    nn.Softplus,
    nn.Sigmoid,
    nn.Tanh,
    nn.Hardtanh,
    nn.Hardsigmoid,
    nn.Hardswish,
)
"""Modules that `replace_activations` swaps."""

HEADROOM = 1.25
"""Bounds are set this much wider than the inputs of the sample."""


SAFE_SHARE = 0.8
"""The penalty sets in at this share of the bound: fresh data reach further than training data."""


class PolyActivation(nn.Module):
    """sum_k coefficients[k] * (x / bound)^k, with trainable coefficients [degree + 1].

    Starts as the least-squares fit to `function` under a normal distribution of inputs with
    deviation bound / 3. While training, remembers how far inputs went past SAFE_SHARE of the
    bound, for `range_penalty`, and the largest |x| / bound seen, `peak`.
    """

    coefficients: nn.Parameter
    peak: Tensor

    def __init__(self, function: nn.Module, degree: int = 2, bound: float = 4.0) -> None:
        super().__init__()
        if not 1 <= degree <= HIGHEST_DEGREE:
            raise UsageError(
                f"the degree of a trained activation must be 1 to {HIGHEST_DEGREE}, got {degree}",
                hint="training makes up for a low degree: 2 to 4 are enough",
            )
        if not 0 < bound < float("inf"):
            raise UsageError(f"the bound of a trained activation must be positive, got {bound}")
        self.bound = float(bound)
        self.coefficients = nn.Parameter(_fitted(function, degree, self.bound))
        self.register_buffer("peak", torch.zeros(()))
        self.penalty: Tensor | None = None

    def forward(self, x: Tensor) -> Tensor:
        t = x * (1.0 / self.bound)
        if self.training:
            size = t.abs()
            self.peak = torch.maximum(self.peak, size.detach().max())
            excess = torch.relu(size - SAFE_SHARE)
            # The mean alone hardly notices the rare far value, which is the one that explodes.
            self.penalty = excess.square().mean() + excess.max().square()
        result = self.coefficients[-1] * t + self.coefficients[-2]
        for k in range(len(self.coefficients) - 3, -1, -1):
            result = result * t + self.coefficients[k]
        return result

    def extra_repr(self) -> str:
        return f"degree={len(self.coefficients) - 1}, bound={self.bound:g}"


def replace_activations(
    model: nn.Module, degree: int = 2, bound: float = 4.0, sample: Tensor | None = None
) -> nn.Module:
    """Swap every activation module of `model` for a PolyActivation, in place; return the model.

    With `sample`, a batch of inputs, each activation's bound is taken from what reaches it there
    (right for a trained model); without, `bound` holds for all of them (right after a
    normalisation layer). Raises UsageError if there is no activation module: those that are
    called as functions (`torch.relu(x)`) have to be written as modules first.
    """
    if isinstance(model, ACTIVATIONS):
        raise UsageError(
            "the model is itself an activation: there is nothing around it to swap it in",
            hint="wrap it in torch.nn.Sequential",
        )
    sites = [(parent, name, child) for parent, name, child in _sites(model)]
    if not sites:
        raise UsageError(
            "the model has no activation modules",
            where=type(model).__name__,
            hint="use modules such as torch.nn.ReLU() instead of functions such as "
            "torch.nn.functional.relu",
        )
    bounds = {} if sample is None else _observed(model, [c for _, _, c in sites], sample)
    swapped: dict[nn.Module, PolyActivation] = {}
    for parent, name, child in sites:
        if child not in swapped:
            swapped[child] = PolyActivation(child, degree, bounds.get(child, bound))
            swapped[child].train(child.training)
        setattr(parent, name, swapped[child])
    return model


def range_penalty(model: nn.Module) -> Tensor:
    """How near inputs of polynomial activations came to their bounds in the last forward pass.

    Zero as long as all stay well inside; add it to the loss, with a weight of 0.01 to 1. Raises
    UsageError if the model has no PolyActivation, or none that ran in training mode.
    """
    penalties = [a.penalty for a in _polynomials(model).values() if a.penalty is not None]
    if not penalties:
        raise UsageError(
            "no polynomial activation ran in training mode",
            hint="call replace_activations(model), model.train() and model(x) before the penalty",
        )
    return torch.stack(penalties).sum()


def freeze(model: nn.Module) -> dict[str, float]:
    """Make the model ready for export: evaluation mode, coefficients fixed, penalties forgotten.

    Returns, for each activation by name, the largest |x| / bound seen in training: above 1, inputs
    left the range that the polynomial was kept for, and the penalty deserves more weight.
    """
    model.eval()
    activations = _polynomials(model)
    for activation in activations.values():
        activation.coefficients.requires_grad_(False)
        activation.penalty = None
    return {name: float(a.peak) for name, a in activations.items()}


def _polynomials(model: nn.Module) -> dict[str, PolyActivation]:
    return {n: m for n, m in model.named_modules() if isinstance(m, PolyActivation)}


def _sites(model: nn.Module) -> Iterator[tuple[nn.Module, str, nn.Module]]:
    """(parent, attribute, activation), every place where one stands."""
    for parent in list(model.modules()):
        for name, child in list(parent._modules.items()):
            if isinstance(child, ACTIVATIONS):
                yield parent, name, child


def _observed(
    model: nn.Module, activations: list[nn.Module], sample: Tensor
) -> dict[nn.Module, float]:
    """Bounds from one forward pass in evaluation mode."""
    largest: dict[nn.Module, float] = {}

    def record(module: nn.Module, args: tuple[Tensor, ...]) -> None:
        largest[module] = max(largest.get(module, 0.0), float(args[0].abs().max()))

    training = [m for m in model.modules() if m.training]
    hooks = [a.register_forward_pre_hook(record) for a in set(activations)]
    try:
        model.eval()
        with torch.no_grad():
            model(sample)
    finally:
        for hook in hooks:
            hook.remove()
        for module in training:
            module.training = True
    return {module: HEADROOM * size for module, size in largest.items() if size > 0}


def _fitted(function: nn.Module, degree: int, bound: float) -> Tensor:
    """Coefficients in powers of x / bound of the weighted least-squares fit to `function`."""
    t = np.linspace(-1.0, 1.0, 1025)
    parameter = next(function.parameters(), None)
    like = torch.zeros(()) if parameter is None else parameter.detach()
    # A channel axis for activations with a parameter for each channel; channels are averaged.
    channels = 1 if parameter is None else parameter.numel()
    x = torch.as_tensor(t * bound, dtype=like.dtype, device=like.device)
    with torch.no_grad():
        y = function(x[:, None].expand(-1, channels)).mean(dim=1)
    weights = np.exp(-np.square(3.0 * t) / 4.0)
    basis = np.polynomial.polynomial.polyvander(t, degree)
    values = y.cpu().numpy().astype(np.float64)
    solved = np.linalg.lstsq(basis * weights[:, None], values * weights, rcond=None)[0]
    return torch.as_tensor(solved, dtype=like.dtype, device=like.device)
