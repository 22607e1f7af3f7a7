"""Whole PyTorch models, as today's exporter and the older one write them, against onnxruntime."""

from __future__ import annotations

import io
import sys
import warnings
from collections.abc import Callable, Iterator
from typing import Any, cast

import numpy as np
import onnx
import pytest
import torch
from torch import nn
from torch.nn import functional

from eer.compiler.frontend import export_torch, import_graph, load_onnx
from eer.compiler.ir.tensor import Elementwise, Polynomial, Product, TensorGraph
from eer.runtime.errors import ModelError, UsageError

Same = Callable[..., TensorGraph]


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    yield
    torch.set_num_threads(before)


class Mlp(nn.Module):
    """Linear, batch norm, activation, dropout, twice; two outputs."""

    shape = (12,)

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(12, 10), nn.BatchNorm1d(10), nn.ReLU(), nn.Dropout(0.3),
            nn.Linear(10, 8), nn.BatchNorm1d(8), nn.Hardswish(), nn.Linear(8, 3),
        )  # fmt: skip

    def forward(self, x: Any) -> Any:
        logits = self.layers(x)
        return logits, functional.softmax(logits, dim=1)


class Cnn(nn.Module):
    """1-D convolutions with stride, groups and dilation, on [channels, samples]."""

    shape = (4, 40)

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv1d(4, 8, 7, stride=2, padding=3)
        self.norm = nn.BatchNorm1d(8)
        self.depthwise = nn.Conv1d(8, 8, 3, groups=8, dilation=2, padding=2)
        self.pointwise = nn.Conv1d(8, 6, 1)
        self.pool = nn.AdaptiveAvgPool1d(1)
        self.head = nn.Linear(6, 2)

    def forward(self, x: Any) -> Any:
        x = functional.silu(self.norm(self.first(x)))
        x = functional.avg_pool1d(x, 2)
        x = functional.gelu(self.pointwise(self.depthwise(x)))
        return torch.argmax(self.head(self.pool(x).squeeze(-1)), dim=-1)


class LeNet(nn.Module):
    """LeNet-5 with average pooling and tanh."""

    shape = (1, 14, 14)

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(1, 4, 5, padding=2), nn.Conv2d(4, 6, 3)
        self.pool = nn.AvgPool2d(2)
        self.dense, self.head = nn.Linear(24, 10), nn.Linear(10, 5)

    def forward(self, x: Any) -> Any:
        x = self.pool(torch.tanh(self.first(x)))
        x = self.pool(functional.leaky_relu(self.second(x)))
        x = x.view(x.size(0), -1)
        return functional.log_softmax(self.head(functional.elu(self.dense(x))), dim=-1)


class Residual(nn.Module):
    """A residual block with squeeze and excitation: a product of encrypted values."""

    shape = (6, 10)

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Conv1d(6, 6, 3, padding=1), nn.Conv1d(6, 6, 3, padding=1)
        self.gate = nn.Sequential(nn.Linear(6, 3), nn.ReLU(), nn.Linear(3, 6), nn.Sigmoid())
        self.slope = nn.PReLU(6)

    def forward(self, x: Any) -> Any:
        y = self.second(functional.mish(self.first(x)))
        y = y * self.gate(y.mean(dim=2)).unsqueeze(2)
        return self.slope(x + y).mean(dim=(1, 2))


class Activations(nn.Module):
    """Every usual activation, each between layers."""

    shape = (5,)
    parts = (
        nn.ReLU, nn.ReLU6, nn.LeakyReLU, nn.ELU, nn.SELU, nn.CELU, nn.Sigmoid, nn.Tanh, nn.Softplus,
        nn.Softsign, nn.GELU, nn.SiLU, nn.Hardsigmoid, nn.Hardswish, nn.Hardtanh, nn.Mish,
        nn.LogSigmoid, nn.Tanhshrink,
    )  # fmt: skip

    def __init__(self) -> None:
        super().__init__()
        layers = [m for part in self.parts for m in (nn.Linear(5, 5), part())]
        self.layers = nn.Sequential(*layers, nn.Linear(5, 5), nn.GELU("tanh"), nn.Linear(5, 2))

    def forward(self, x: Any) -> Any:
        return self.layers(x)


class Tokens(nn.Module):
    """A learned token, frames as a batch of their own, and the time axis in front."""

    shape = (6, 4)

    def __init__(self) -> None:
        super().__init__()
        self.token = nn.Parameter(torch.randn(1, 1, 4))
        self.layer, self.head = nn.Linear(4, 5), nn.Linear(5, 2)

    def forward(self, x: Any) -> Any:
        x = torch.cat([self.token.expand(x.shape[0], -1, -1), x], dim=1).transpose(0, 1)
        length, batch, width = x.shape
        x = torch.tanh(self.layer(x.reshape(length * batch, width))).view(length, batch, -1)
        return self.head(x[-1] + x.mean(0))


class Polynomials(nn.Module):
    """Activations that are polynomials already."""

    shape = (4,)

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.third = (nn.Linear(4, 4) for _ in range(3))
        self.a, self.b = nn.Parameter(torch.rand(4)), nn.Parameter(torch.rand(4))

    def forward(self, x: Any) -> Any:
        x = torch.square(self.first(x))
        x = self.second(x) ** 3
        x = self.third(x)
        return self.a * x * x + self.b * x + 0.5


MODELS = [Mlp, Cnn, LeNet, Residual, Activations, Tokens, Polynomials]


def older(module: Any, batch: int, opset: int, symbolic: bool) -> bytes:
    """The TorchScript exporter, whose warnings say that it is the older one."""
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            module.eval(),
            (torch.randn(batch, *module.shape),),
            cast(Any, buffer),
            dynamo=False,
            opset_version=opset,
            input_names=["x"],
            dynamic_axes={"x": {0: "batch"}} if symbolic else None,
        )
    return buffer.getvalue()


def todays(module: Any, batch: int, opset: int | None) -> onnx.ModelProto:
    """The dynamo exporter with a fixed batch, as a user calls it."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        program = torch.onnx.export(
            module.eval(),
            (torch.randn(batch, *module.shape),),
            dynamo=True,
            opset_version=opset,
            verbose=False,
        )
    assert program is not None
    proto = program.model_proto
    assert isinstance(proto, onnx.ModelProto)
    return proto


@pytest.mark.parametrize("kind", MODELS)
def test_export_torch(same: Same, kind: Any) -> None:
    model = export_torch(kind(), torch.zeros(1, *kind.shape))
    assert load_onnx(model).batch is None
    graph = same(model)
    assert graph.nodes[0].shape == kind.shape


@pytest.mark.parametrize(
    ("kind", "batch", "opset"), [(Cnn, 1, 18), (LeNet, 3, None), (Tokens, 4, 23)]
)
def test_fixed_batch(same: Same, kind: Any, batch: int, opset: int | None) -> None:
    model = todays(kind(), batch, opset)
    assert load_onnx(model).batch == batch
    same(model)


@pytest.mark.parametrize("symbolic", [True, False])
@pytest.mark.parametrize("opset", [13, 17])
@pytest.mark.parametrize("kind", MODELS)
def test_older_exporter(same: Same, kind: Any, opset: int, symbolic: bool) -> None:
    batch = 1 if opset == 13 else 3
    # The exporter writes Hardswish from opset 14 on.
    same(older(kind(), batch, max(opset, 14) if kind is Activations else opset, symbolic))


def test_all_forms_give_the_same_graph() -> None:
    """Node for node the same functions, whichever exporter wrote the model."""
    module = Cnn()
    forms: list[onnx.ModelProto | bytes] = [
        export_torch(module, torch.zeros(1, *Cnn.shape)),
        older(module, 1, 13, symbolic=True),
        older(module, 2, 17, symbolic=False),
    ]
    shapes = []
    for form in forms:
        graph = import_graph(load_onnx(form))
        functions = [n.op.name for n in graph.nodes if isinstance(n.op, Elementwise)]
        shapes.append((functions, graph.outputs[0].post, graph.outputs[0].shape))
    assert shapes[0] == (["SiLU", "GELU"], "argmax", (2,))
    assert shapes[1:] == shapes[:1] * 2


def test_names_of_activations(same: Same) -> None:
    graph = same(older(Activations(), 1, 17, symbolic=True))
    assert [n.op.name for n in graph.nodes if isinstance(n.op, Elementwise)] == [
        "Relu", "ReLU6", "LeakyRelu", "Elu", "Selu", "Celu", "Sigmoid", "Tanh", "Softplus",
        "Softsign", "GELU", "SiLU", "HardSigmoid", "HardSwish", "HardTanh", "Mish", "LogSigmoid",
        "TanhShrink", "GELU",
    ]  # fmt: skip


def test_polynomials_stay_exact(same: Same) -> None:
    graph = same(older(Polynomials(), 2, 17, symbolic=True))
    ops = [n.op for n in graph.nodes]
    assert [op.degree for op in ops if isinstance(op, Polynomial)] == [2, 3, 2]
    assert not any(isinstance(op, Elementwise | Product) for op in ops)


class Pair(nn.Module):
    def forward(self, eda: Any, bvp: Any) -> Any:
        return eda[:, 1:] * bvp, eda.sum(1)


def test_several_inputs(same: Same) -> None:
    example = (torch.zeros(2, 4), np.zeros((2, 3), dtype=np.float32))
    model = export_torch(Pair(), example, output_names=["product", "total"])
    graph = same(model)
    assert [o.name for o in graph.outputs] == ["product", "total"]
    assert [n.shape for n in graph.nodes[:2]] == [(4,), (3,)]


def test_the_module_is_left_as_it_was(capfd: pytest.CaptureFixture[str]) -> None:
    """Each part's mode, and nothing printed."""
    module = Mlp().train()
    norms: list[Any] = [part for part in module.layers if isinstance(part, nn.BatchNorm1d)]
    norms[0].eval()
    modes = [part.training for part in module.modules()]
    statistics = norms[1].running_mean.clone()
    model = export_torch(module, torch.zeros(2, 12))
    assert [part.training for part in module.modules()] == modes
    assert torch.equal(norms[1].running_mean, statistics)
    assert "Dropout" not in {n.op_type for n in model.graph.node}
    assert capfd.readouterr() == ("", "")


class OneWindow(nn.Module):
    """The batch size is written into it, so that it cannot be symbolic."""

    def forward(self, x: Any) -> Any:
        return x.reshape(1, 2, 2).sum(2)


def test_a_module_for_one_window(same: Same) -> None:
    model = export_torch(OneWindow(), torch.zeros(1, 4))
    assert load_onnx(model).batch == 1
    same(model)


class Branching(nn.Module):
    def forward(self, x: Any) -> Any:
        return x * 2 if x.sum() > 0 else x


def test_a_failing_export() -> None:
    with pytest.raises(ModelError) as caught:
        export_torch(Branching(), torch.zeros(1, 4))
    lines = str(caught.value).splitlines()
    assert lines[0].startswith("error[model]: torch.onnx.export failed: ")
    assert lines[1] == "   at: Branching"
    assert lines[2].startswith(" hint: the forward method must not branch on values")
    assert len(lines) == 3


def test_what_is_not_a_module() -> None:
    with pytest.raises(UsageError, match=r"expected a torch\.nn\.Module, got function"):
        export_torch(lambda x: x, torch.zeros(1, 4))
    with pytest.raises(UsageError, match="the example input has no batch axis"):
        export_torch(Pair(), torch.tensor(1.0))


@pytest.mark.parametrize("package", ["torch", "onnxscript"])
def test_without_torch(monkeypatch: pytest.MonkeyPatch, package: str) -> None:
    """A trace needs no onnxscript; this module has to do without a trace."""
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(UsageError) as caught:
        export_torch(Branching(), torch.zeros(1, 4))
    assert "is not installed" in str(caught.value)
    assert "pip install 'eer[torch]'" in str(caught.value)
