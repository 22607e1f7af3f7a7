"""Training with polynomial activations: ranges stay bounded, exports are exact polynomials."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from eer.compiler.frontend.importer import import_graph
from eer.compiler.frontend.load import load_onnx
from eer.compiler.frontend.torch_export import export_torch
from eer.compiler.ir.interpret import outputs
from eer.compiler.ir.tensor import Polynomial, TensorGraph
from eer.compiler.passes.merge_affine import merge_affine
from eer.compiler.training import (
    PolyActivation,
    freeze,
    range_penalty,
    replace_activations,
)
from eer.runtime.errors import UsageError


def mlp(activation: type[nn.Module] = nn.ReLU) -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Linear(2, 24), activation(), nn.Linear(24, 24), activation(), nn.Linear(24, 2)
    )


def rings(count: int = 600, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Two noisy rings, one inside the other: no linear network tells them apart."""
    generator = torch.Generator().manual_seed(seed)
    label = torch.arange(count) % 2
    angle = 2 * torch.pi * torch.rand(count, generator=generator)
    radius = 1.0 + 1.0 * label + 0.15 * torch.randn(count, generator=generator)
    return torch.stack((radius * angle.cos(), radius * angle.sin()), dim=1), label


def trained(model: nn.Module, weight: float, epochs: int = 150) -> nn.Module:
    x, y = rings()
    optimiser = torch.optim.Adam(model.parameters(), lr=0.01)
    model.train()
    for _ in range(epochs):
        optimiser.zero_grad()
        loss = nn.functional.cross_entropy(model(x), y)
        if weight:
            loss = loss + weight * range_penalty(model)
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
    return model.eval()


@torch.no_grad()
def accuracy(model: nn.Module) -> float:
    x, y = rings(seed=1)
    return float((model(x).argmax(dim=1) == y).float().mean())


@torch.no_grad()
def reach(model: nn.Sequential) -> float:
    """The largest |x| / bound at any activation on fresh data."""
    x, _ = rings(seed=1)
    largest = 0.0
    for module in model:
        if isinstance(module, PolyActivation):
            largest = max(largest, float(x.abs().max()) / module.bound)
        x = module(x)
    return largest


def imported(model: nn.Module, x: Tensor) -> TensorGraph:
    return merge_affine(import_graph(load_onnx(export_torch(model, x))))


def test_a_trained_polynomial_network_solves_the_task_within_its_bounds() -> None:
    model = mlp()
    replace_activations(model, degree=2, bound=3.0)
    trained(model, weight=0.1)
    assert accuracy(model) > 0.97
    assert reach(model) < 1.0


def test_without_the_penalty_ranges_escape() -> None:
    free = mlp()
    replace_activations(free, degree=2, bound=1.0)
    kept = copy.deepcopy(free)
    assert reach(trained(free, weight=0.0)) > 1.5 * reach(trained(kept, weight=1.0))  # type: ignore[arg-type]
    assert accuracy(kept) > 0.95


def test_fine_tuning_a_trained_network_keeps_its_accuracy() -> None:
    model = trained(mlp(nn.SiLU), weight=0.0)
    before = accuracy(model)
    x, _ = rings()
    replace_activations(model, degree=3, sample=x)
    trained(model, weight=0.1, epochs=60)
    assert accuracy(model) >= before - 0.02


@pytest.mark.parametrize("degree", [2, 3, 4])
def test_exports_become_exact_polynomials(degree: int) -> None:
    model = mlp(nn.SiLU)
    replace_activations(model, degree=degree, bound=3.0)
    trained(model, weight=0.1, epochs=5)
    freeze(model)
    x, _ = rings(40)
    graph = imported(model, x)
    names = [type(n.op).__name__ for n in graph.nodes]
    assert names == ["Input", "Affine", "Polynomial", "Affine", "Polynomial", "Affine"]
    for node in graph.nodes:
        if isinstance(node.op, Polynomial):
            assert node.op.degree == degree
    (name,) = (n.op.name for n in graph.nodes if hasattr(n.op, "name") and not n.operands)
    (ours,) = outputs(graph, {name: x.numpy().astype(np.float64)}).values()
    with torch.no_grad():
        np.testing.assert_allclose(ours, model(x).numpy(), atol=1e-5)


@pytest.mark.parametrize("module", [nn.ReLU(), nn.SiLU(), nn.GELU(), nn.PReLU(5), nn.Tanh()])
def test_polynomials_start_near_the_function(module: nn.Module) -> None:
    activation = PolyActivation(module, degree=4, bound=3.0)
    x = torch.linspace(-2, 2, 101)[:, None].expand(-1, 5)
    with torch.no_grad():
        assert (activation(x) - module(x)).abs().max() < 0.25


def test_bounds_come_from_the_sample() -> None:
    model = mlp()
    x, _ = rings()
    with torch.no_grad():
        hidden = model[0](x)
    replace_activations(model, sample=x)
    first = model[1]
    assert isinstance(first, PolyActivation)
    assert first.bound == pytest.approx(1.25 * hidden.abs().max().item())
    assert model.training


def test_an_activation_used_twice_stays_one() -> None:
    shared = nn.ReLU()
    model = nn.Sequential(nn.Linear(2, 4), shared, nn.Linear(4, 4), shared)
    replace_activations(model)
    assert model[1] is model[3]
    assert isinstance(model[1], PolyActivation)


def test_nested_activations_are_found() -> None:
    model = nn.Sequential(nn.Linear(2, 4), nn.Sequential(nn.Linear(4, 4), nn.GELU()))
    replace_activations(model)
    assert sum(isinstance(m, PolyActivation) for m in model.modules()) == 1
    assert not any(isinstance(m, nn.GELU) for m in model.modules())


def test_the_penalty_is_zero_inside_and_grows_outside() -> None:
    model = nn.Sequential(nn.Identity(), nn.ReLU())
    replace_activations(model, bound=2.0)
    model.train()
    model(torch.tensor([[1.0, -1.6]]))
    assert range_penalty(model).item() == 0.0
    model(torch.tensor([[1.0, -4.0]]))
    assert range_penalty(model).item() == pytest.approx(0.5 * 1.2**2 + 1.2**2)


def test_freezing_reports_the_reach_and_stops_learning() -> None:
    model = nn.Sequential(nn.Identity(), nn.ReLU())
    replace_activations(model, bound=2.0)
    model.train()
    model(torch.tensor([[3.0]]))
    assert freeze(model) == {"1": pytest.approx(1.5)}
    assert not model.training
    assert not any(p.requires_grad for p in model.parameters())
    with pytest.raises(UsageError, match="no polynomial activation ran"):
        range_penalty(model)


def test_a_model_without_activation_modules_is_refused() -> None:
    with pytest.raises(UsageError) as caught:
        replace_activations(nn.Sequential(nn.Linear(2, 2)))
    assert "torch.nn.ReLU()" in str(caught.value)
    with pytest.raises(UsageError, match="itself an activation"):
        replace_activations(nn.ReLU())


@pytest.mark.parametrize("degree", [0, 9])
def test_degrees_out_of_range_are_refused(degree: int) -> None:
    with pytest.raises(UsageError, match="degree"):
        PolyActivation(nn.ReLU(), degree)


@pytest.mark.parametrize("bound", [0.0, -1.0, float("inf"), float("nan")])
def test_bounds_must_be_positive(bound: float) -> None:
    with pytest.raises(UsageError, match="bound"):
        PolyActivation(nn.ReLU(), 2, bound)
