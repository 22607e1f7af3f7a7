"""Modules by tracing: what a trace is taken for, and what is left to torch.export."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import onnx
import pytest
import torch
from torch import nn

from eer.compiler.frontend import export_torch
from eer.compiler.frontend.source import STACK_TRACE
from eer.compiler.ir.tensor import TensorGraph

from .test_torch_models import MODELS

Same = Callable[..., TensorGraph]


def by_trace(model: onnx.ModelProto) -> bool:
    """Whether it was traced: torch.export notes the stack with every node."""
    return not any(p.key == STACK_TRACE for n in model.graph.node for p in n.metadata_props)


@pytest.mark.parametrize("kind", MODELS)
def test_usual_models_are_traced(kind: Any) -> None:
    assert by_trace(export_torch(kind(), torch.zeros(1, *kind.shape)))


class Named(nn.Module):
    """Layers with names, one of them on [steps, values]: a trace turns its weight round."""

    shape = (3, 4)

    def __init__(self) -> None:
        super().__init__()
        self.steps, self.head = nn.Linear(4, 5), nn.Linear(15, 2)

    def forward(self, window: Any) -> Any:
        return self.head(self.steps(window).flatten(1))


def test_names_of_a_trace(same: Same) -> None:
    """Those of the module's parts and of its forward method's arguments."""
    model = export_torch(Named(), torch.zeros(1, *Named.shape))
    graph = same(model)
    assert by_trace(model)
    assert [i.name for i in model.graph.input] == ["window"]
    assert [o.name for o in model.graph.output] == ["output"]
    assert graph.nodes[-1].origin.names[-1] == "/head/Gemm"


def test_a_module_of_torchscript(same: Same, tmp_path: Path) -> None:
    """As torch.jit.load reads it, without the code that it was made of."""
    jit: Any = torch.jit
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        traced = jit.trace(Named().eval(), torch.zeros(2, *Named.shape))
        jit.save(traced, str(tmp_path / "model.pt"))
        loaded = jit.load(str(tmp_path / "model.pt"))
    model = export_torch(loaded, torch.zeros(1, *Named.shape))
    assert by_trace(model)
    assert [i.name for i in model.graph.input] == ["input"]
    same(model)


def test_a_module_in_double_precision(same: Same) -> None:
    """Data is in single precision, as compile_model gives it."""
    model = export_torch(Named().double(), torch.zeros(1, *Named.shape))
    assert by_trace(model)
    same(model)


class Normed(nn.Module):
    """A convolution that a trace merges with the batch norm behind it."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm = nn.Conv1d(1, 2, 3), nn.BatchNorm1d(2)
        self.head = nn.Linear(4, 2)

    def forward(self, x: Any) -> Any:
        return self.head(self.norm(self.conv(x.unsqueeze(1))).flatten(1))


def test_weights_that_are_kept(same: Same) -> None:
    """Where the trace has no weight of that name, it is not taken."""
    module, example = Normed(), torch.zeros(1, 4)
    assert by_trace(export_torch(module, example))
    assert by_trace(export_torch(module, example, keep=["head.weight"]))
    model = export_torch(module, example, keep=["conv.weight", "head.weight"])
    assert not by_trace(model)
    assert {"conv.weight", "head.weight"} <= {t.name for t in model.graph.initializer}
    same(model)


class Dated(nn.Module):
    """What it computes depends on how often it was called: a trace holds for one call only."""

    def __init__(self) -> None:
        super().__init__()
        self.calls = 0

    def forward(self, x: Any) -> Any:
        self.calls += 1
        return x * self.calls


class Counting(nn.Module):
    """A Python number that a trace takes for a constant, and says so."""

    def forward(self, x: Any) -> Any:
        return x.sum(1) / torch.tensor(float(len(x.shape) * int(x.shape[0]) / x.shape[0]))


class Dictionary(nn.Module):
    def forward(self, x: Any) -> Any:
        return {"double": x * 2, "half": x / 2}


class Many(nn.Module):
    def forward(self, *signals: Any) -> Any:
        return signals[0] + signals[1]


@pytest.mark.parametrize("kind", [Dated, Counting, Dictionary, Many])
def test_traces_that_are_not_taken(kind: Any) -> None:
    """What is different in the next call, or has no names: torch.export is asked."""
    example = torch.zeros(1, 4)
    model = export_torch(kind(), (example, example) if kind is Many else example)
    assert not by_trace(model)
