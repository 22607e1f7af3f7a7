"""Examples in the documents, run as they stand: in Python, and in a shell as two machines would."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("torch")

ROOT = Path(__file__).resolve().parents[2]


def block(name: str, document: str = "README.md") -> str:
    """The code block after the mark `<!-- tested: name -->`."""
    text = (ROOT / document).read_text(encoding="utf-8")
    found = re.findall(rf"^<!-- tested: {name} -->\n```\w+\n(.*?)^```$", text, re.M | re.S)
    assert len(found) == 1, f"{document} has {len(found)} blocks marked {name}"
    return str(found[0])


def run(command: list[str], folder: Path) -> str:
    """Run in `folder`, with the commands of this environment on the path; return its stdout."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    environment = os.environ | {"PATH": path, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_quick_start_in_python(tmp_path: Path) -> None:
    said = run([sys.executable, "-c", block("python")], tmp_path)
    assert "'agreement'" in said
    assert re.search(r"\['(calm|stress|joy)'\]", said), said
    assert (tmp_path / "model.eer").stat().st_size > 0


def test_quick_start_in_a_shell(tmp_path: Path) -> None:
    run([sys.executable, "-c", block("export")], tmp_path)
    said = run(["bash", "-euo", "pipefail", "-c", block("shell")], tmp_path)
    assert re.search(r"^window 0: (calm|stress|joy)$", said, re.MULTILINE), said
    secret = tmp_path / "keys" / "secret.key"
    assert secret.stat().st_mode & 0o777 == 0o600
    assert {p.name for p in (tmp_path / "shipped").iterdir()} == {"client.eer", "server.eer"}


def test_a_head_that_learns_under_encryption(tmp_path: Path) -> None:
    said = run([sys.executable, "-c", block("python", "docs/personalisation.md")], tmp_path)
    found, true = said.strip().split(" of ")
    assert found == true
    assert "'calm'" in found
    assert "'stress'" in found


def test_commands_in_the_table_exist() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    named = set(re.findall(r"`eer ([a-z-]+)", text))
    assert {"keygen", "encrypt", "run", "decrypt", "verify"} <= named
    listed = run([sys.executable, "-m", "eer.runtime.cli", "--help"], ROOT)
    assert named <= set(re.findall(r"^\s+([a-z-]+)  ", listed, re.MULTILINE)), listed
