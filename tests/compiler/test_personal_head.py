"""A head learned under encryption: compiled steps against PyTorch's own, then used."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from eer.compiler import Options, compile_model
from eer.compiler.compiled import CompiledModel
from eer.runtime.client import Client
from eer.runtime.engines import open_engine
from eer.runtime.engines.desilo_library import installed
from eer.runtime.personal import PersonalModel
from eer.runtime.personalise import personalise
from eer.runtime.server import Server

FEATURES, CLASSES, WINDOWS, STEPS, RATE = 4, 2, 4, 4, 0.5
RNG = np.random.default_rng(6)


def loss_of(weight: torch.Tensor, bias: torch.Tensor, h: Any, y: Any) -> torch.Tensor:
    return torch.nn.functional.mse_loss(h @ weight.T + bias, y)


class Step(torch.nn.Module):
    """One step of gradient descent on the squared error, its gradient written out."""

    def forward(
        self, h: torch.Tensor, y: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        error = (h @ weight.T + bias - y) * (2.0 * RATE / (WINDOWS * CLASSES))
        return weight - error.T @ h, bias - error.sum(0)


def batch(seed: int) -> dict[str, np.ndarray]:
    """Features of two classes that a linear head can tell apart, and one-hot labels."""
    rng = np.random.default_rng(seed)
    label = rng.integers(0, CLASSES, WINDOWS)
    h = rng.normal(size=(WINDOWS, FEATURES)) * 0.3
    h[:, 0] += 2.0 * label - 1.0
    return {"h": h, "y": np.eye(CLASSES)[label]}


def autograd(weight: Any, bias: Any, data: dict[str, np.ndarray]) -> tuple[Any, Any]:
    """The same step as PyTorch takes it."""
    w, b = (torch.tensor(v, requires_grad=True) for v in (weight, bias))
    loss = loss_of(w, b, torch.tensor(data["h"]), torch.tensor(data["y"]))
    for_weight, for_bias = torch.autograd.grad(loss, (w, b))
    return weight - RATE * for_weight.numpy(), bias - RATE * for_bias.numpy()


def trajectory() -> list[tuple[Any, Any]]:
    states = [(np.zeros((CLASSES, FEATURES)), np.zeros(CLASSES))]
    for step in range(STEPS):
        states.append(autograd(*states[-1], batch(step)))
    return states


@cache
def models(engine: str) -> tuple[CompiledModel, CompiledModel]:
    """The step, and the head with its weights as encrypted state."""
    rows = [batch(100 + k) for k in range(64)]
    data = {n: np.stack([r[n] for r in rows]) for n in ("h", "y")}
    data["weight"] = RNG.uniform(-1, 1, (64, CLASSES, FEATURES))
    data["bias"] = RNG.uniform(-1, 1, (64, CLASSES))
    usual = Options(engine=engine, effort="low")
    state = {"next_weight": "weight", "next_bias": "bias"}
    step = compile_model(Step(), data, replace(usual, state=state))
    names = ("weight", "bias")
    data["input"] = data["h"][:, 0]
    shown = {n: data[n] for n in ("input", *names)}
    options = replace(usual, encrypt_weights=names, labels=("calm", "tense"))
    return step, compile_model(torch.nn.Linear(FEATURES, CLASSES), shown, options)


@pytest.mark.parametrize(
    ("compiled_for", "engine", "tolerance"),
    [
        ("seal", "clear", 1e-5),
        ("seal", "seal", 2e-3),
        pytest.param("desilo", "desilo", 1e-6, marks=pytest.mark.slow),
    ],
)
def test_a_head_learns_under_encryption_what_autograd_learns(
    compiled_for: str, engine: str, tolerance: float, tmp_path: Path
) -> None:
    if engine == "desilo" and not installed():
        pytest.skip("needs desilofhe")
    compiled = models(compiled_for)
    states = trajectory()
    step, head = (Client(m.client, open_engine(m.client.params, engine)) for m in compiled)
    servers = [
        Server(m.server, c.generate_keys().evaluation, open_engine(m.client.params, engine))
        for m, c in zip(compiled, (step, head), strict=True)
    ]
    first = step.initial_state(dict(zip(("weight", "bias"), states[0], strict=True)), [head])
    personal = PersonalModel.create(tmp_path, first, step=servers[0], inference=servers[1])
    reports = personalise(
        step,
        personal,
        [batch(k) for k in range(STEPS)],
        STEPS,
        others=[head],
        expected=lambda done: dict(zip(("weight", "bias"), states[done], strict=True)),
    )
    errors = [r.error for r in reports if r.error is not None]
    assert len(errors) == STEPS
    assert max(errors) < tolerance, errors
    unseen = batch(50)
    weight, bias = states[-1]
    scores = unseen["h"] @ weight.T + bias
    found = [head.decrypt(personal.run(head.encrypt({"input": h}))) for h in unseen["h"]]
    values = np.concatenate([p.outputs["output"] for p in found])
    np.testing.assert_allclose(values, scores, atol=5 * tolerance)
    right = np.concatenate([p.classes["output"] for p in found]) == unseen["y"].argmax(axis=1)
    assert right.all()
