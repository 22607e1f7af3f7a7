"""Several networks trained apart, merged into one that is as much wider.

Their average answers better than one of them. Merged, it costs no level and no second answer under
encryption: the first layers' outputs stand side by side, and the heads become one. Members can be
narrow, so that the whole is no larger than a single network would be.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn


def merged(members: Sequence[nn.Module], whole: nn.Module) -> nn.Module:
    """`whole` with the parameters of `members`: it answers with the mean of their scores.

    Members have one hidden layer each, or none; `whole` is built like them, with a hidden layer
    as wide as all of theirs together.
    """
    pairs = zip(*(_parametrised(member) for member in members), strict=True)
    with torch.no_grad():
        for target, parts in zip(_parametrised(whole), pairs, strict=True):
            last = isinstance(target, nn.Linear) and target is _parametrised(whole)[-1]
            for name, tensor in target.state_dict(keep_vars=True).items():
                found = [part.state_dict()[name] for part in parts]
                tensor.copy_(_head(name, found) if last else _hidden(found))
    return whole.eval()


def _parametrised(model: nn.Module) -> list[nn.Module]:
    """The layers that hold parameters, in order: hidden layer, normalisation, head."""
    return [part for part in model.modules() if part.state_dict() and not list(part.children())]


def _hidden(parts: list[torch.Tensor]) -> torch.Tensor:
    # A batch norm's count of batches is no vector, and no longer matters.
    return torch.cat(parts) if parts[0].ndim else parts[0]


def _head(name: str, parts: list[torch.Tensor]) -> torch.Tensor:
    if name == "bias":
        return torch.stack(parts).mean(dim=0)
    return torch.cat(parts, dim=1) / len(parts)
