"""Whatever is wrong with the input or goes wrong on the way: a clear error and no partial file.

Mistakes on the command line are in test_cli.py, data and options that do not fit in test_report.py.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from torch import nn

from eer.compiler import Options, compile_model
from eer.runtime.errors import DataError, FileError, ModelError, ParameterError, UsageError
from tests.compiler.networks import Net, make, mlp

COMMAND = [sys.executable, "-m", "eer.compiler.cli"]

SCRIPT = """
import signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)
from eer.compiler.cli import main
sys.exit(main())
"""
"""The command with Ctrl-C switched on: a shell's background jobs inherit that it is off."""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with model.onnx, windows.npy and an older m.eer."""
    net = Net()
    x = net.silu(net.linear(net.input(40), 40, 30))
    x = net.silu(net.linear(x, 30, 20))
    (tmp_path / "model.onnx").write_bytes(net.model(net.linear(x, 20, 3)).SerializeToString())
    np.save(tmp_path / "windows.npy", net.data(256)["x"])
    (tmp_path / "m.eer").write_bytes(b"an older result")
    return tmp_path


@pytest.mark.parametrize("stage", ["reading", "fitting", "layouts"])
def test_ctrl_c_leaves_everything_as_it_was(folder: Path, stage: str) -> None:
    before = {p.name: p.read_bytes() for p in folder.iterdir()}
    child = subprocess.Popen(
        [sys.executable, "-c", SCRIPT, "model.onnx", "--calibration", "windows.npy", "-o", "m.eer"],
        cwd=folder,
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        text=True,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    )
    with child:
        assert child.stderr is not None
        for line in child.stderr:
            if stage in line:
                break
        child.send_signal(signal.SIGINT)
        rest = child.stderr.read()
    assert child.returncode == 130, rest
    assert rest.endswith("interrupted, nothing was written\n")
    assert "Traceback" not in rest
    assert {p.name: p.read_bytes() for p in folder.iterdir()} == before


def test_unsupported_nodes_are_all_listed(folder: Path) -> None:
    net = Net()
    x = net("MaxPool", net.input(1, 16), name="first_pool", kernel_shape=[2], strides=[2])
    x = net("MaxPool", net("Relu", x), name="second_pool", kernel_shape=[2], strides=[2])
    (folder / "pools.onnx").write_bytes(net.model(net("Sin", x, name="wave")).SerializeToString())
    before = {p.name for p in folder.iterdir()}
    done = subprocess.run(
        [*COMMAND, "pools.onnx"], cwd=folder, capture_output=True, text=True, check=False
    )
    assert done.returncode == 3, done.stderr
    for text in ("MaxPool 'first_pool'", "MaxPool 'second_pool'", "average pooling", "hint:"):
        assert text in done.stderr, text
    assert {p.name for p in folder.iterdir()} == before


def test_a_damaged_model_and_damaged_data(folder: Path) -> None:
    (folder / "cut.onnx").write_bytes((folder / "model.onnx").read_bytes()[:-2000])
    with pytest.raises(ModelError, match="damaged"):
        compile_model(folder / "cut.onnx", folder / "windows.npy")
    (folder / "cut.npy").write_bytes((folder / "windows.npy").read_bytes()[:-2000])
    with pytest.raises(DataError, match=r"cannot be read as \.npy"):
        compile_model(folder / "model.onnx", folder / "cut.npy")
    with pytest.raises(FileError, match="No such file"):
        compile_model(folder / "model.onnx", folder / "none.npy")


def test_a_module_needs_an_example_of_its_input() -> None:
    for calibration in (None, "windows.npy"):
        with pytest.raises(UsageError, match="compiled from an example of its input"):
            compile_model(nn.Linear(2, 2), calibration)
    with pytest.raises(UsageError, match=r"expected a torch\.nn\.Module, got int"):
        compile_model(7, np.zeros((8, 2)))


def test_several_inputs_need_data_by_name() -> None:
    net = Net()
    both = net("Concat", net.input(2, name="a"), net.input(3, name="b"), axis=1)
    model: onnx.ModelProto = net.model(net.linear(both, 5, 2))
    with pytest.raises(DataError, match="the model has 2 inputs: a, b"):
        compile_model(model, np.zeros((16, 5)))
    data = net.data(16)
    with pytest.raises(DataError, match="different numbers of calibration windows"):
        compile_model(model, {"a": data["a"], "b": data["b"][:9]})


def test_noise_that_no_ring_keeps_within_the_tolerance() -> None:
    """Two scores that differ by a millionth of what they reach: noise decides which is larger."""
    net = Net()
    x = net.linear(net.input(4), 4, 4)
    for _ in range(3):
        x = net("Mul", x, x)
    column = net.random.uniform(0.5, 1.0, (4, 1))
    tilted = column * (1.0 + 1e-6 * net.random.choice([-1.0, 1.0], (4, 1)))
    model = net.model(net("MatMul", x, np.hstack((column, tilted))))
    with pytest.raises(ParameterError) as caught:
        compile_model(model, net.data(), Options(effort="low"))
    assert "the noise at this depth is above the tolerance" in caught.value.reason
    assert "the model needs 5 levels" in caught.value.reason
    assert caught.value.hint


def test_nothing_is_written_where_the_target_cannot_be(tmp_path: Path) -> None:
    model, data = make(mlp)
    compiled = compile_model(model, data, Options(max_degree=4, tolerance=0.05, effort="low"))
    (tmp_path / "taken").mkdir()
    with pytest.raises(FileError, match="cannot write"):
        compiled.save(tmp_path / "m.eer", tmp_path / "taken")
    with pytest.raises(FileError, match="cannot write"):
        compiled.save(tmp_path / "m.eer", tmp_path / "missing" / "r.json")
    assert [p.name for p in tmp_path.iterdir()] == ["taken"]
