"""Tidy plans: no parts of sums beside what steep polynomials read, where a ring has no other."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from eer.compiler import CompiledModel, Options, compile_model, verify
from eer.compiler.backend.plans import Plans, Tried
from eer.runtime.fields import Json

DEGREES = {"/1/Sigmoid": 4, "/3/Sigmoid": 4}
WINDOWS = np.random.default_rng(0).normal(size=(64, 4, 64)).astype(np.float32)


def compiled() -> CompiledModel:
    """A CNN whose second convolution folds over channels, with polynomials of degree 3 or more."""
    torch.manual_seed(1)
    first, second = nn.Conv1d(4, 8, 7, stride=2, padding=3), nn.Conv1d(8, 16, 5, 2, 2)
    pool = nn.Sequential(nn.AdaptiveAvgPool1d(1), nn.Flatten())
    model = nn.Sequential(first, nn.SiLU(), second, nn.SiLU(), pool, nn.Linear(16, 3)).eval()
    return compile_model(model, WINDOWS, Options(tolerance=0.05, effort="low", degrees=DEGREES))


def layers(model: CompiledModel, kind: str) -> list[Json]:
    return [layer for layer in model.report["layers"] if layer["kind"] == kind]


def test_a_ring_without_schedules_gets_a_tidy_plan(monkeypatch: pytest.MonkeyPatch) -> None:
    usual = compiled()
    assert any("channels, fold" in layer["method"] for layer in layers(usual, "affine"))
    assert {fit["degree"] for fit in usual.report["activations"]["fits"]} == {4}
    tried = Plans.tried

    def picky(plans: Plans, *args: object, **named: object) -> Tried:
        ring = max(log_n for log_n, _ in plans.found)
        if plans.untidy(ring) and (ring, True) not in plans.found:
            return Tried()
        return tried(plans, *args, **named)  # type: ignore[arg-type]

    monkeypatch.setattr(Plans, "tried", picky)
    tidy = compiled()
    assert not any("channels, fold" in layer["method"] for layer in layers(tidy, "affine"))
    assert (
        tidy.report["parameters"]["ring_dimension"]
        == (usual.report["parameters"]["ring_dimension"])
    )
    assert tidy.report["predicted_ms"] > usual.report["predicted_ms"]
    assert verify(tidy, WINDOWS, "clear", windows=4).packing is not None
