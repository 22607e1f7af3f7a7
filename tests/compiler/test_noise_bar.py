"""Encryption noise is held down for scores, not for labels alone."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

from eer.compiler import Options, compile_model
from eer.compiler.backend.simulate import simulate
from eer.compiler.passes.noise_budget import FAINTEST, NOISE_SHARE


class Square(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * x


def test_labels_that_nothing_could_flip_still_get_quiet_scores() -> None:
    """The classes of these windows lie many times further apart than any noise."""
    torch.manual_seed(0)
    head = nn.Linear(16, 2)
    head.bias = nn.Parameter(torch.tensor([100.0, -100.0]))
    model = nn.Sequential(nn.Linear(12, 16), Square(), head)
    windows = np.random.default_rng(0).normal(size=(100, 12)).astype(np.float32)
    for tolerance in (0.001, 0.1):
        compiled = compile_model(model, windows, Options(tolerance=tolerance))
        (name,) = (o.name for o in compiled.client.outputs)
        (given,) = (s.name for s in compiled.client.inputs)
        exact = compiled.plaintext({given: windows})[name]
        program = compiled.server.program
        noisy = simulate(compiled.client, program, {given: windows.astype(float)}, noise_seed=1)
        rms = float(np.sqrt(np.mean((noisy.outputs[name] - exact) ** 2)))
        assert rms <= 1.5 * max(NOISE_SHARE * tolerance, FAINTEST) * float(exact.std(axis=0).max())
