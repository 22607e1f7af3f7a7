"""Whatever is wrong with the input: a clear error, its exit code, and no partial file."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from eer.compiler import Options, compile_model
from eer.compiler.frontend import export_torch
from eer.runtime.errors import DataError, EerError, ParameterError, UsageError
from tests.compiler.models import make

COMMAND = [sys.executable, "-c", "import sys; from eer.compiler.cli import main; sys.exit(main())"]


@pytest.fixture
def onnx_file(tmp_path: Path) -> Path:
    model, windows = make("silu")
    path = tmp_path / "model.onnx"
    path.write_bytes(export_torch(model, windows[:2]).SerializeToString())
    np.save(tmp_path / "windows.npy", windows)
    return path


def run(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*COMMAND, *arguments], cwd=cwd, capture_output=True, text=True, timeout=120, check=False
    )


def test_wrong_shape_nan_and_too_few_rows() -> None:
    model, windows = make("square")
    data = compile_model(model, windows).onnx
    with pytest.raises(DataError, match=r"has shape \[96, 5\]; the model wants \[windows, 8\]"):
        compile_model(data, windows[:, :5])
    broken = windows.copy()
    broken[3, 2] = np.nan
    with pytest.raises(DataError, match="not finite"):
        compile_model(data, broken)
    with pytest.raises(DataError, match="too few"):
        compile_model(data, windows[:4])


def test_a_model_that_is_too_deep_names_what_costs_the_depth() -> None:
    layers: list[nn.Module] = []
    for _ in range(24):
        layers += [nn.Linear(4, 4), nn.Tanh()]
    torch.manual_seed(0)
    windows = np.random.default_rng(0).normal(size=(32, 4)).astype(np.float32)
    degrees = {f"node_tanh{'_' + str(k) if k else ''}": 4 for k in range(24)}
    with pytest.raises(EerError) as caught:
        compile_model(nn.Sequential(*layers, nn.Linear(4, 2)), windows, Options(max_degree=4))
    assert isinstance(caught.value, ParameterError), degrees
    text = str(caught.value)
    assert "the model needs" in text
    assert "for activation" in text
    assert "the deepest that engine 'seal' can go" in text
    assert "hint:" in text


def test_less_security_and_unknown_engines_are_refused() -> None:
    model, windows = make("square")
    with pytest.raises(ParameterError, match="100-bit security was asked for"):
        compile_model(model, windows, Options(security=100))
    with pytest.raises(UsageError, match="nope"):
        compile_model(model, windows, Options(engine="nope"))


def test_unsupported_nodes_are_all_listed(tmp_path: Path) -> None:
    layers = nn.Sequential(nn.Conv1d(1, 2, 3), nn.MaxPool1d(2), nn.MaxPool1d(2), nn.Flatten())
    path = tmp_path / "model.onnx"
    path.write_bytes(export_torch(layers, torch.zeros(2, 1, 16)).SerializeToString())
    done = run("model.onnx", cwd=tmp_path)
    assert done.returncode == 3, done.stderr
    assert done.stderr.count("MaxPool") >= 2
    assert "average pooling" in done.stderr
    assert not list(tmp_path.glob("*.eer"))


def test_unwritable_path(onnx_file: Path) -> None:
    done = run(
        "model.onnx", "--calibration", "windows.npy", "-o", "no/such/m.eer", cwd=onnx_file.parent
    )
    assert done.returncode == 8, done.stderr
    assert "create the folder first" in done.stderr


def test_ctrl_c_leaves_nothing(onnx_file: Path) -> None:
    before = set(onnx_file.parent.iterdir())
    # A test run in the background of a shell has Ctrl-C switched off, which children inherit.
    script = (
        "import signal, sys\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "from eer.compiler.cli import main\n"
        "sys.exit(main())\n"
    )
    child = subprocess.Popen(
        [sys.executable, "-c", script, "model.onnx", "--calibration", "windows.npy", "-o", "m.eer"],
        cwd=onnx_file.parent,
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        text=True,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    )
    with child:
        assert child.stderr is not None
        for line in child.stderr:
            if "layouts" in line:
                break
        child.send_signal(signal.SIGINT)
        rest = child.stderr.read()
    assert child.returncode == 130, rest
    assert "interrupted" in rest
    assert set(onnx_file.parent.iterdir()) == before


def test_without_calibration_the_assumption_is_stated(onnx_file: Path) -> None:
    done = run("model.onnx", "-o", "m.eer", "--input-range=-2,2", cwd=onnx_file.parent)
    assert done.returncode == 0, done.stderr
    assert "no calibration data" in done.stderr + done.stdout
