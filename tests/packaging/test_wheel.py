"""What is shipped: a wheel that installs into an empty environment and compiles a model there."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import sysconfig
import tarfile
import venv
import zipfile
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

ROOT = Path(__file__).resolve().parents[2]


def run(command: list[str | Path], folder: Path) -> str:
    """Run in `folder` without any of this process's Python settings; return stdout."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith("PYTHON")}
    done = subprocess.run(
        [str(part) for part in command],
        cwd=folder,
        env=kept | {"OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def shipped(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """(sdist, wheel); the wheel is built from the sdist, as an index would have it."""
    out = tmp_path_factory.mktemp("dist")
    clone = tmp_path_factory.mktemp("source") / "eer"
    # From a clone: what is not committed or added must not be needed, and builds leave litter.
    tracked = subprocess.run(
        ["git", "ls-files", "-z", "--cached"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.split("\0")
    for name in filter(None, tracked):
        source, target = ROOT / name, clone / name
        if source.is_file():
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(source.read_bytes())
    run([sys.executable, "-m", "build", "--no-isolation", "--outdir", out, "."], clone)
    (sdist,), (wheel,) = out.glob("*.tar.gz"), out.glob("*.whl")
    return sdist, wheel


@pytest.fixture(scope="module")
def installed(shipped: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The `bin` folder of an empty environment with the wheel.

    What the wheel depends on is read from this environment; eer itself, editable here, is not.
    """
    home = tmp_path_factory.mktemp("empty") / "venv"
    venv.create(home, with_pip=True)
    python = home / "bin" / "python"
    run([python, "-m", "pip", "install", "-q", "--no-deps", "--no-index", shipped[1]], home)
    site = run([python, "-c", "import sysconfig as s; print(s.get_path('purelib'))"], home).strip()
    # A folder named in a .pth file is put on the path, but its own .pth files are not read.
    Path(site, "borrowed.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return home / "bin"


def test_the_wheel_holds_eer_and_nothing_else(shipped: tuple[Path, Path]) -> None:
    with zipfile.ZipFile(shipped[1]) as wheel:
        names = wheel.namelist()
    tops = {name.split("/")[0] for name in names}
    assert {t for t in tops if not t.endswith(".dist-info")} == {"eer"}
    assert {name.split("/")[1] for name in names if name.startswith("eer/")} == {
        "compiler",
        "runtime",
    }
    assert {"eer/compiler/py.typed", "eer/runtime/py.typed"} <= set(names)
    assert any(name.endswith(".dist-info/licenses/LICENSE") for name in names)
    ours = {
        str(Path("eer", folder, path.relative_to(ROOT / folder)))
        for folder in ("compiler", "runtime")
        for path in (ROOT / folder).rglob("*.py")
    }
    tracked = subprocess.run(
        ["git", "ls-files", "compiler", "runtime"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split()
    assert ours & {f"eer/{name}" for name in tracked} == {n for n in names if n.endswith(".py")}


def test_the_source_archive_holds_what_the_build_needs(shipped: tuple[Path, Path]) -> None:
    with tarfile.open(shipped[0]) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert {"pyproject.toml", "README.md", "LICENSE", "compiler/driver.py"} <= names


def test_the_installed_wheel_is_the_one_that_runs(installed: Path, tmp_path: Path) -> None:
    where = run(
        [installed / "python", "-c", "import eer.runtime as r; print(r.__file__)"], tmp_path
    )
    assert where.startswith(str(installed.parent))


def test_commands_run_where_only_the_wheel_is(installed: Path, tmp_path: Path) -> None:
    write_model(tmp_path / "tiny.onnx")
    windows = np.random.default_rng(1).normal(size=(64, 4))
    np.save(tmp_path / "windows.npy", windows)
    assert "keygen" in run([installed / "eer", "--help"], tmp_path)
    run(
        [installed / "eer-compile", "tiny.onnx", "--calibration", "windows.npy", "-o", "tiny.eer"],
        tmp_path,
    )
    assert (tmp_path / "tiny.eer").stat().st_size > 0
    run([installed / "eer", "keygen", "tiny.eer"], tmp_path)
    common = ["--key", "secret.key"]
    window = ["--input", "windows.npy", "--rows", "0:1", "-o", "q.ct"]
    run([installed / "eer", "encrypt", "tiny.eer", *common, *window], tmp_path)
    run(
        [installed / "eer", "run", "tiny.eer", "q.ct", "--keys", "evaluation.key", "-o", "a.ct"],
        tmp_path,
    )
    shown = ["--json", "--release", "raw"]
    answer = run([installed / "eer", "decrypt", "tiny.eer", "a.ct", *common, *shown], tmp_path)
    x = windows[:1] @ WEIGHTS
    decrypted = np.array(json.loads(answer)["outputs"]["y"])
    assert np.abs(decrypted - x * x).max() < 1e-2 * np.abs(x * x).max()


WEIGHTS = np.random.default_rng(0).normal(size=(4, 3)).round(3)


def write_model(path: Path) -> None:
    """y = (x W)^2."""
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["h"], "product"),
        helper.make_node("Mul", ["h", "h"], ["y"], "square"),
    ]
    graph = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 4])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 3])],
        [numpy_helper.from_array(WEIGHTS.astype(np.float32), "w")],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)]), path)
