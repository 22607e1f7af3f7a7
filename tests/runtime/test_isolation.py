"""A client or a server installs without torch, onnx, scipy or the compiler."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from eer import runtime

FORBIDDEN = ("torch", "onnx", "onnxruntime", "onnxscript", "scipy", "sklearn", "networkx")


def modules_after(script: str) -> set[str]:
    listing = "; import sys; print('\\n'.join(sys.modules))"
    done = subprocess.run(
        [sys.executable, "-c", script + listing], capture_output=True, text=True, check=True
    )
    return set(done.stdout.split())


def test_nothing_of_the_runtime_pulls_in_the_compiler_or_its_libraries() -> None:
    folder = Path(runtime.__path__[0])
    names = [
        ".".join(("eer", "runtime", *p.relative_to(folder).with_suffix("").parts))
        for p in sorted(folder.rglob("*.py"))
        if "engines" not in p.relative_to(folder).parts and p.stem != "__init__"
    ]
    assert "eer.runtime.cli" in names
    loaded = modules_after("import " + ", ".join(names))
    assert not {m for m in loaded if m.split(".")[0] in FORBIDDEN}
    assert not {m for m in loaded if m.startswith("eer.compiler")}
    # The libraries of the engines wait until an engine is opened.
    assert not {m for m in loaded if m.split(".")[0] in ("tenseal", "desilofhe")}


def test_importing_the_package_imports_next_to_nothing() -> None:
    loaded = modules_after("import eer.runtime")
    assert not {m for m in loaded if m.split(".")[0] in (*FORBIDDEN, "numpy", "typer", "rich")}
