"""The modules of a personal head, as they are exported and compiled.

A general network is cut before its last layer: what lies before is the trunk, whose weights the
server has in plaintext; the last layer is the head, which becomes ciphertexts. Of the windows to
learn from, the trunk's values and directions = values P are computed once; every step then is

    residual = importance * (targets - values weight^T - bias)
    weight'  = weight + residual^T directions,   bias' = bias + rate * sum(residual)

that is gradient descent on the weighted squared error, preconditioned by P, the inverse covariance
of the values over the training subjects times the size of a step: in those coordinates a few steps
do what plain descent needs hundreds for. Squared error rather than cross-entropy, for its gradient
is a polynomial of degree 2, and it learned better here. Products in a row: 1 for the scores, 1 for
the importance, 1 for the sum: 3.
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


class LessonValues(nn.Module):
    """Windows [w, ...] -> what a step needs of each [w, 2 m + k]: the trunk's values, its
    directions, and the general head's scores."""

    precondition: Tensor

    def __init__(self, trunk: Trunk, precondition: Tensor, general: nn.Linear) -> None:
        super().__init__()
        self.trunk = trunk
        self.register_buffer("precondition", precondition)
        self.general = general

    def forward(self, window: Tensor) -> Tensor:
        values = self.trunk(window)
        return torch.cat([values, values @ self.precondition, self.general(values)], dim=1)


class HeadStep(nn.Module):
    """One step of learning from n windows; `bias_rate` is the step size for the bias."""

    def __init__(self, bias_rate: float) -> None:
        super().__init__()
        self.bias_rate = bias_rate

    def forward(
        self,
        weight: Tensor,
        bias: Tensor,
        values: Tensor,
        directions: Tensor,
        targets: Tensor,
        importance: Tensor,
    ) -> tuple[Tensor, Tensor]:
        """`weight` [k, m], `bias` [k], `values` and `directions` [n, m], `targets` [n, k],
        `importance` [n, 1], which sums to 1 at most; rows of importance 0 fill up."""
        residual = importance * (targets - (values @ weight.T + bias))
        return weight + residual.T @ directions, bias + self.bias_rate * residual.sum(0)


class PseudoLabels(nn.Module):
    """What windows without a label are taught as: the general head's scores, sharpened.

    Scores u, which are less their mean over the classes and of root mean square 1, become by a
    cubic what stands for a softmax less 1/k times the spread of targets; they count by their
    confidence c * sum(targets^2), which is 1 where one class has all. Products in a row: 2 for the
    cubic, 1 for the confidence.
    """

    cubic: Tensor

    def __init__(self, cubic: Tensor, scale: float) -> None:
        super().__init__()
        self.register_buffer("cubic", cubic)
        self.scale = scale

    def forward(self, general: Tensor) -> tuple[Tensor, Tensor]:
        """Scores [w, k] -> targets [w, k] and confidences [w, 1]."""
        targets = general * (self.cubic[0] + general * (self.cubic[1] + general * self.cubic[2]))
        return targets, self.scale * (targets * targets).sum(1, keepdim=True)


def centred(head: nn.Linear) -> nn.Linear:
    """The same head with scores less their mean over the classes: the same classes win."""
    result = nn.Linear(head.in_features, head.out_features).to(head.weight.dtype)
    with torch.no_grad():
        result.weight.copy_(head.weight - head.weight.mean(dim=0, keepdim=True))
        result.bias.copy_(head.bias - head.bias.mean())
    return result
