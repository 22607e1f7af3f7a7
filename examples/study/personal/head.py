"""The modules of a personal head, as they are exported and compiled.

A general network is cut before its last layer: what lies before is the trunk, whose weights the
server has in plaintext; the last layer is the head, which becomes ciphertexts. The trunk's values
of the windows to learn from are computed once; every step then is

    residual = importance * (targets - values weight^T - bias)
    weight'  = weight + residual^T (values P),   bias' = bias + rate * sum(residual)

that is gradient descent on the weighted squared error, preconditioned by the inverse covariance P
of the values over the training subjects: in those coordinates a few steps do what plain descent
needs hundreds for. Squared error rather than cross-entropy, for its gradient is a polynomial of
degree 2, and it learned better here. Products in a row: 1 for the scores (and, beside it, 1 for P),
1 for the importance, 1 for the sum: 3.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

WEIGHT, BIAS = "head.weight", "head.bias"
"""Names of the state, in a step as in inference."""
NEXT_WEIGHT, NEXT_BIAS = "next.weight", "next.bias"
"""Names of a step's outputs."""
STATE = {NEXT_WEIGHT: WEIGHT, NEXT_BIAS: BIAS}


class Trunk(nn.Module):
    """A general network without its last layer, its values [w, m] less their mean over the
    training windows: subtracting is free under encryption."""

    mean: Tensor

    def __init__(self, layers: nn.Module, mean: Tensor) -> None:
        super().__init__()
        self.layers = layers
        self.register_buffer("mean", mean)

    def forward(self, x: Tensor) -> Tensor:
        values: Tensor = self.layers(x) - self.mean
        return values


class PersonalScores(nn.Module):
    """Windows [w, ...] -> scores [w, classes]: what a user asks once the head is personal."""

    def __init__(self, trunk: Trunk, head: nn.Linear) -> None:
        super().__init__()
        self.trunk = trunk
        self.head = head

    def forward(self, window: Tensor) -> Tensor:
        scores: Tensor = self.head(self.trunk(window))
        return scores


class HeadStep(nn.Module):
    """One step of learning from n labelled windows.

    `precondition` [m, m] is P times the step size, `bias_rate` the step size for the bias.
    """

    precondition: Tensor

    def __init__(self, precondition: Tensor, bias_rate: float) -> None:
        super().__init__()
        self.register_buffer("precondition", precondition)
        self.bias_rate = bias_rate

    def forward(
        self, weight: Tensor, bias: Tensor, values: Tensor, targets: Tensor, importance: Tensor
    ) -> tuple[Tensor, Tensor]:
        """`weight` [k, m], `bias` [k], `values` [n, m], `targets` [n, k], `importance` [n, 1],
        which sums to 1; rows of importance 0 fill up."""
        residual = importance * (targets - (values @ weight.T + bias))
        return self._moved(weight, bias, values, residual)

    def _moved(
        self, weight: Tensor, bias: Tensor, values: Tensor, residual: Tensor
    ) -> tuple[Tensor, Tensor]:
        direction = values @ self.precondition
        return weight + residual.T @ direction, bias + self.bias_rate * residual.sum(0)


class SemiStep(HeadStep):
    """One step of learning from windows of which few have labels.

    The others take their targets from the general head, whose weights the step has in plaintext:
    its scores u, less their mean over the classes, are sharpened by a cubic to p, which stands for
    a softmax less 1/k times the spread of targets, and count by the confidence c * sum(p^2).
    Windows with labels have `importance` and no `doubt`, the others the reverse. Products in a row:
    1 for the scores, 2 for the cubic, 1 for the confidence, 1 to weigh by it, 1 for the sum: 6.
    """

    cubic: Tensor

    def __init__(
        self,
        precondition: Tensor,
        bias_rate: float,
        general: nn.Linear,
        cubic: Tensor,
        confidence: float,
    ) -> None:
        super().__init__(precondition, bias_rate)
        self.general = general
        self.register_buffer("cubic", cubic)
        self.confidence = confidence

    def forward(  # type: ignore[override]
        self,
        weight: Tensor,
        bias: Tensor,
        values: Tensor,
        targets: Tensor,
        importance: Tensor,
        doubt: Tensor,
    ) -> tuple[Tensor, Tensor]:
        """As `HeadStep`'s; `doubt` [n, 1] is the importance of windows without a label."""
        found = values @ weight.T + bias
        believed = self.pseudo_targets(values)
        confidence = self.confidence * (believed * believed).sum(1, keepdim=True)
        residual = importance * (targets - found) + confidence * (doubt * (believed - found))
        return self._moved(weight, bias, values, residual)

    def pseudo_targets(self, values: Tensor) -> Tensor:
        """What the general head believes [n, k] of the trunk's values [n, m]."""
        u: Tensor = self.general(values)
        return u * (self.cubic[0] + u * (self.cubic[1] + u * self.cubic[2]))


def centred(head: nn.Linear) -> nn.Linear:
    """The same head with scores less their mean over the classes: the same classes win."""
    result = nn.Linear(head.in_features, head.out_features).to(head.weight.dtype)
    with torch.no_grad():
        result.weight.copy_(head.weight - head.weight.mean(dim=0, keepdim=True))
        result.bias.copy_(head.bias - head.bias.mean())
    return result
