"""The same input gives the same bytes, in whatever process."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx

from tests.compiler.networks import Net, make

SCRIPT = """
import sys
from eer.compiler import Options, compile_model

model, data, out = sys.argv[1:]
options = Options(max_degree=4, tolerance=0.05, effort="low", costs="shipped")
compile_model(model, data, options).save(out)
"""


def residual(net: Net) -> list[str]:
    """Branches, an activation and two outputs: many things that could come in any order."""
    hidden = net.silu(net.linear(net.input(10), 10, 8, "first"))
    joined = net("Add", net.linear(hidden, 8, 8, "left"), net.linear(hidden, 8, 8, "right"))
    return [net.linear(joined, 8, 3, "labels"), net.linear(hidden, 8, 2, "levels")]


def test_processes_with_other_hash_seeds_write_the_same_file(tmp_path: Path) -> None:
    model, data = make(residual)
    onnx.save(model, tmp_path / "model.onnx")
    np.savez(tmp_path / "data.npz", x=data["x"])
    written = []
    for seed in ("0", "1", "2025"):
        out = tmp_path / f"{seed}.eer"
        subprocess.run(
            [sys.executable, "-W", "ignore", "-c", SCRIPT, "model.onnx", "data.npz", str(out)],
            cwd=tmp_path,
            env={
                **os.environ,
                "PYTHONHASHSEED": seed,
                "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
            },
            check=True,
        )
        written.append(out.read_bytes())
    assert written[0] == written[1] == written[2]
