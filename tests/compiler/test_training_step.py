"""A training step is a graph too: compiled, encrypted, and held against PyTorch's own step."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from eer.compiler import CompiledModel, Options, compile_model, present, present_layers
from eer.compiler.explain import explain
from eer.compiler.tables import to_text
from eer.runtime.bundle import load_model
from eer.runtime.client import Client
from eer.runtime.engines import open_engine
from eer.runtime.server import Server

WINDOWS, FEATURES, RATE = 16, 6, 0.5


class HeadStep(nn.Module):
    """One gradient step of logistic regression on all windows at once."""

    def forward(
        self, W: torch.Tensor, b: torch.Tensor, H: torch.Tensor, Y: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        residual = (torch.sigmoid(H @ W.T + b) - Y) * (RATE / WINDOWS)
        return W - residual.T @ H, b - residual.sum(0)


def steps(classes: int, rows: int = 64) -> dict[str, Any]:
    rng = np.random.default_rng(0)
    truth = rng.normal(size=(FEATURES, classes))
    H = rng.normal(size=(rows, WINDOWS, FEATURES))
    noise = rng.normal(size=(rows, WINDOWS, classes))
    return {
        "W": rng.normal(size=(rows, classes, FEATURES)) * 0.6,
        "b": rng.normal(size=(rows, classes)) * 0.1,
        "H": H,
        "Y": (H @ truth + noise > 0).astype(np.float64),
    }


@cache
def compiled(classes: int) -> tuple[CompiledModel, dict[str, Any]]:
    data = steps(classes)
    state = {"W_next": "W", "b_next": "b"}
    chosen = Options(state=state, tolerance=0.02, effort="low")
    return compile_model(HeadStep(), data, chosen), data


def own_step(W: Any, b: Any, H: Any, Y: Any) -> tuple[np.ndarray, np.ndarray]:
    """The same step by autograd, from the loss alone."""
    w, c = (torch.tensor(v, dtype=torch.float64, requires_grad=True) for v in (W, b))
    logits = torch.tensor(H) @ w.T + c
    loss = nn.functional.binary_cross_entropy_with_logits(logits, torch.tensor(Y), reduction="sum")
    to_w, to_c = torch.autograd.grad(loss / WINDOWS * RATE, (w, c))
    return (w - to_w).detach().numpy(), (c - to_c).detach().numpy()


@pytest.mark.parametrize(("classes", "engine"), [(1, "seal"), (2, "clear")])
def test_steps_are_those_of_autograd(classes: int, engine: str) -> None:
    """Three steps, refreshed by the client in between, within the error of the polynomial."""
    model, data = compiled(classes)
    assert model.report["accuracy"]["layouts"]["max_error"] < 1e-9
    assert {o.name: o.state for o in model.client.outputs} == {"W_next": "W", "b_next": "b"}
    opened = open_engine(model.client.params, engine)
    client = Client(model.client, opened, range_check="off")
    server = Server(model.server, client.generate_keys().evaluation, opened)
    W, b = data["W"][0], data["b"][0]
    found = {"W": W, "b": b}
    for k in range(3):
        H, Y = data["H"][k], data["Y"][k]
        state = server.load_state(client.encrypt_state(found))
        answer = client.decrypt(server.run(client.encrypt({"H": H, "Y": Y}), state=state))
        found = {"W": answer.outputs["W_next"][0], "b": answer.outputs["b_next"][0]}
        W, b = own_step(W, b, H, Y)
    moved = float(np.abs(W - data["W"][0]).max())
    assert np.abs(found["W"] - W).max() < 0.05 * moved
    assert np.abs(found["b"] - b).max() < 0.05 * moved


def test_the_gradient_takes_no_arrangement() -> None:
    """Logits are left where the product with the windows, for the gradient, finds them."""
    model, _ = compiled(1)
    layers = {layer["name"]: layer for layer in model.report["layers"]}
    gradient = next(v for n, v in layers.items() if "MatMul_1" in n and v["kind"] == "product")
    assert gradient["method"].startswith("as it lies")
    assert gradient["cipher_products"] == 1
    assert gradient["rotations"] == int(np.log2(WINDOWS))


def test_the_report_says_what_a_step_takes(tmp_path: Path) -> None:
    model, _ = compiled(1)
    step, predicted = model.report["step"], model.report["predicted"]["stages_ms"]
    assert step["state"] == {"W_next": "W", "b_next": "b"}
    # What `Client.refresh` encrypts anew; the range is that of the whole program's levels.
    assert step["ciphertexts"] == sum(spec.ciphers for spec in model.client.state_inputs)
    assert step["level_in"] == model.client.params.max_level
    assert (step["level_out"], step["levels"]) == (0, step["level_in"])
    assert (step["refresh"], step["refreshes"]) == ("client", 1)
    assert step["server_ms"] == predicted["run"]
    client = step["client_ms"] + step["lesson_ms"]
    assert client == pytest.approx(predicted["encrypt"] + predicted["decrypt"])
    model.save(tmp_path / "step.eer")
    bundle = load_model(tmp_path / "step.eer")
    short = present.compilation(bundle.report, sizes={})
    long = present_layers.layers(explain(bundle, "step.eer"))
    for parts in (short, long):
        text = " ".join(to_text(*parts, width=200).split())
        levels = f"{step['levels']} levels, from {step['level_in']} to 0"
        assert f"a step {levels}; then 1 refresh by the client" in text
    assert "at the client each time" in text
