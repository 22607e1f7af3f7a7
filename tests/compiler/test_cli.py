"""`eer-compile`, `eer verify` and `eer explain`: what they write, say, and refuse."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest

from eer.compiler import cli
from eer.runtime import cli as runtime_cli
from eer.runtime.bundle import load_model, save_model
from tests.compiler.networks import Net, make, mlp

QUICK = ("--max-degree", "4", "--tolerance", "0.05", "--effort", "low")


class Shell:
    """A command in this process: exit code, stdout, stderr."""

    def __init__(
        self, main: Callable[[list[str]], int], capsys: pytest.CaptureFixture[str]
    ) -> None:
        self._main, self._capsys = main, capsys

    def __call__(self, *arguments: str | Path, code: int = 0) -> tuple[str, str]:
        self._capsys.readouterr()
        got = self._main([str(a) for a in arguments])
        out, err = self._capsys.readouterr()
        assert got == code, err + out
        return out, err


@pytest.fixture
def compile_(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Shell:
    """`eer-compile` in a folder with tiny.onnx and windows.npz (with labels)."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("EER_DEBUG", raising=False)
    monkeypatch.setenv("COLUMNS", "120")
    model, data = make(mlp)
    Path("tiny.onnx").write_bytes(model.SerializeToString())
    np.savez("windows.npz", x=data["x"], y=np.arange(64) % 3)
    return Shell(cli.main, capsys)


@pytest.fixture
def eer(capsys: pytest.CaptureFixture[str]) -> Shell:
    return Shell(runtime_cli.main, capsys)


def names() -> set[str]:
    return {p.name for p in Path().iterdir()}


def test_a_compilation_says_what_it_did(compile_: Shell) -> None:
    out, err = compile_(
        "tiny.onnx", "--calibration", "windows.npz", "--labels", "calm, tense,happy", *QUICK
    )
    assert names() == {"tiny.onnx", "windows.npz", "tiny.eer", "tiny.report.json"}
    report = json.loads(Path("tiny.report.json").read_text())
    bundle = load_model("tiny.eer")
    assert bundle.client.outputs[0].labels == ("calm", "tense", "happy")
    assert report["model_id"] == bundle.client.model_id
    parameters = report["parameters"]
    for part in (
        "tiny compiled for seal: tiny.eer",
        "polynomials for activations",
        "CKKS noise (simulated)",
        "against onnxruntime on calibration windows",
        "(SiLU)",
        f"128 bits: log2(QP) = {parameters['log_qp']:.0f} of the {parameters['log_qp_limit']}",
        "rotate",
        "for the server, once",
        "of CPU time a message",
    ):
        assert part in out, part
    assert [line.split("] ")[1] for line in err.splitlines()] == list(report["compile_seconds"])[
        :-1
    ]


def test_json_is_one_object_and_warnings_go_to_stderr(compile_: Shell) -> None:
    out, err = compile_("tiny.onnx", "--input-range=-2,2", *QUICK, "--json")
    found = json.loads(out)
    assert (found["out"], found["report"]) == ("tiny.eer", "tiny.report.json")
    assert found["options"]["input_range"] == [-2.0, 2.0]
    assert "warning: no calibration data" in err
    out, err = compile_("tiny.onnx", "--input-range=-2,2", *QUICK)
    assert "warning: no calibration data" in out
    assert "warning" not in err


def test_options_reach_the_compiler(compile_: Shell) -> None:
    compile_(
        *("tiny.onnx", "--calibration", "windows.npz", "--engine", "desilo", "--batch", "2"),
        *("--degree", "mul_2=3", "--margin", "0.2", "--tolerance", "0.3", "--dump-ir", "ir"),
        *("-o", "b.eer", "--report", "r.json"),
    )
    report = json.loads(Path("r.json").read_text())
    assert report["engine"] == "desilo"
    assert report["parameters"]["batch"] == 2
    assert report["options"]["margin"] == 0.2
    assert [f["degree"] for f in report["activations"]["fits"]] == [3]
    assert {"tiny.onnx", "windows.npz", "b.eer", "r.json", "ir"} == names()
    dumped = sorted(p.name for p in Path("ir").iterdir())
    assert dumped[0] == "00-import.txt"
    assert dumped[-1].endswith("-program.txt")
    assert Path("ir", dumped[-1]).read_text().startswith("program slots=")


def test_a_gpu_is_compiled_for_by_its_own_costs(compile_: Shell) -> None:
    """What it gives is the CPU's to run as well."""
    out, _ = compile_(
        *("tiny.onnx", "--calibration", "windows.npz", "--engine", "desilo-gpu"),
        *("-o", "b.eer", "--report", "r.json"),
    )
    assert "tiny compiled for desilo-gpu" in out
    assert "ms of wall time a message" in out
    assert "windows a second on one GPU" in out
    report = json.loads(Path("r.json").read_text())
    assert report["engine"] == report["costs"]["engine"] == "desilo-gpu"
    model = load_model("b.eer")
    assert model.client.params.engine == "desilo"
    memory = report["predicted"]["server_bytes"]
    assert memory["process"] == 0
    assert memory["peak"] == sum(memory[k] for k in ("keys", "plaintexts", "ciphertexts"))


def test_a_folder_to_write_to(compile_: Shell) -> None:
    Path("out").mkdir()
    compile_("tiny.onnx", "--calibration", "windows.npz", *QUICK, "-o", "out")
    assert {p.name for p in Path("out").iterdir()} == {"tiny.eer", "tiny.report.json"}


def test_explain_shows_every_layer(compile_: Shell, eer: Shell) -> None:
    compile_("tiny.onnx", "--calibration", "windows.npz", *QUICK)
    out, _ = eer("explain", "tiny.eer")
    for part in ("first", "last", "degree", "a whole message", "100%", "128 bits"):
        assert part in out, part
    found = json.loads(eer("explain", "tiny.eer", "--json")[0])
    shares = [row["share"] for row in (*found["layers"], *found["stages"])]
    assert sum(shares) == pytest.approx(1.0)
    times = [row["predicted_ms"] for row in (*found["layers"], *found["stages"])]
    assert sum(times) == pytest.approx(found["totals"]["predicted_ms"])
    assert all(layer["predicted_bits"] > 3 for layer in found["layers"])
    eer("explain", "tiny.eer", "--picture", "time.svg")
    bars = ElementTree.parse("time.svg").getroot().findall("{*}g/{*}rect")
    assert len(bars) == len(times)
    widths = sorted(float(bar.attrib["width"]) for bar in bars)
    wanted = [max(1.0, widths[-1] * t / max(times)) for t in sorted(times)]
    assert widths == pytest.approx(wanted, abs=0.1)
    assert found["totals"]["rotations"] == sum(layer["rotations"] for layer in found["layers"])
    bundle = load_model("tiny.eer")
    save_model("bare.eer", bundle.client, bundle.server, {"note": "no layers"})
    _, err = eer("explain", "bare.eer", code=5)
    assert "no report of its layers" in err
    _, err = eer("explain", "tiny.onnx", code=5)
    assert "error[artifact]" in err


def test_verify_compares_and_measures(compile_: Shell, eer: Shell) -> None:
    compile_("tiny.onnx", "--calibration", "windows.npz", *QUICK)
    out, _ = eer("verify", "tiny.eer", "--data", "windows.npz", "--windows", "3")
    for part in ("seal (noise)", "accuracy", "ms a window", "128 bits", "all together"):
        assert part in out, part
    found = json.loads(
        eer("verify", "tiny.eer", "--data", "windows.npz", "--engine", "clear", "--json")[0]
    )
    assert found["windows"] == 64
    assert found["engine"] == "clear"
    assert {
        *("agreement", "class_flips", "max_error", "precision_bits", "latency_ms"),
        *("ring_dimension", "log_qp", "security_bits"),
    } <= set(found)
    _, err = eer("verify", "tiny.eer", "--data", "windows.npz", "--engine", "nope", code=2)
    assert "there is no engine named 'nope'" in err
    np.save("wrong.npy", np.zeros((3, 5)))
    _, err = eer("verify", "tiny.eer", "--data", "wrong.npy", code=4)
    assert "the model wants [rows, 8]" in err
    bundle = load_model("tiny.eer")
    save_model("bare.eer", bundle.client, bundle.server, bundle.report)
    out, _ = eer("verify", "bare.eer", "--data", "windows.npz", "--json", code=5)
    assert json.loads(out)["code"] == "artifact"


MISTAKES: dict[str, tuple[tuple[str, ...], int, str]] = {
    "no such model": (("no.onnx",), 8, "cannot read the model"),
    "not a model": (("windows.npz",), 3, "not an ONNX model"),
    "no such data": (("tiny.onnx", "--calibration", "no.npz"), 8, "cannot read no.npz"),
    "data of no known kind": (("tiny.onnx", "--calibration", "tiny.onnx"), 2, "use .npz, .npy"),
    "engine": (("tiny.onnx", "--engine", "seel"), 2, "nothing is compiled for engine 'seel'"),
    "security": (("tiny.onnx", "--security", "80"), 6, "80-bit security was asked for"),
    "tolerance": (("tiny.onnx", "--tolerance", "2"), 2, "the tolerance is 2.0"),
    "tolerance is no number": (("tiny.onnx", "--tolerance", "much"), 2, "'--tolerance'"),
    "degree": (("tiny.onnx", "--degree", "mul_2"), 2, "--degree NODE=7"),
    "degree of an unknown node": (("tiny.onnx", "--degree", "a=b=2"), 2, "a node named 'a=b'"),
    "range": (("tiny.onnx", "--input-range", "3"), 2, "--input-range=-3,3"),
    "empty range": (("tiny.onnx", "--input-range", "3,3"), 2, "give low < high"),
    "batch": (("tiny.onnx", "--batch", "3"), 2, "use a power of two"),
    "effort": (("tiny.onnx", "--effort", "some"), 2, "low, normal, high"),
    "labels": (("tiny.onnx", "--labels", "a,b"), 2, "no output has as many classes"),
    "folder missing": (("tiny.onnx", "-o", "no/m.eer"), 8, "create the folder first"),
    "report is a folder": (("tiny.onnx", "--report", "."), 8, "it is a folder"),
    "report missing": (("tiny.onnx", "--report", "no/r.json"), 8, "create the folder first"),
    "out is the model": (("tiny.onnx", "-o", "tiny.onnx"), 2, "would be overwritten"),
    "out is the report": (("tiny.onnx", "-o", "a", "--report", "./a"), 2, "name two files"),
    "unknown option": (("tiny.onnx", "--fast"), 2, "--fast"),
    "nothing": ((), 2, "MODEL.onnx"),
}


@pytest.mark.parametrize("case", MISTAKES)
def test_mistakes_are_told_and_leave_no_file(compile_: Shell, case: str) -> None:
    arguments, code, text = MISTAKES[case]
    _, err = compile_(*arguments, code=code)
    assert text in err
    assert "Traceback" not in err
    assert "hint:" in err or case == "nothing"
    assert names() == {"tiny.onnx", "windows.npz"}


def test_a_mistake_as_json(compile_: Shell) -> None:
    out, _ = compile_("tiny.onnx", "--security", "80", "--json", code=6)
    found: dict[str, Any] = json.loads(out)
    assert (found["code"], found["exit_code"]) == ("parameters", 6)


def test_too_deep_a_model_names_what_costs_the_depth(compile_: Shell) -> None:
    net = Net()
    x = net.input(3)
    for k in range(30):
        x = net("Tanh", net.linear(x, 3, 3, f"layer{k}"), name=f"tanh{k}")
    Path("deep.onnx").write_bytes(net.model(x).SerializeToString())
    np.save("deep.npy", net.data()["x"])
    arguments = ("deep.onnx", "--calibration", "deep.npy", "--max-degree", "4")
    _, err = compile_(*arguments, "--effort", "low", code=6)
    assert "the model needs" in err
    assert "tanh0" in err
    assert "layer29" in err
    assert "the deepest that engine 'seal' can go is about" in err
    assert not list(Path().glob("*.eer"))


def test_across_two_machines_in_a_shell(compile_: Shell, tmp_path: Path) -> None:
    """From ONNX to a label: every step a process of its own, the server's in another folder."""
    here, there = tmp_path, tmp_path / "server"
    there.mkdir()

    def run(module: str, *arguments: str, cwd: Path = here) -> str:
        command = [sys.executable, "-m", f"eer.{module}.cli", *arguments]
        done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr + done.stdout
        return done.stdout

    run("compiler", "tiny.onnx", "--calibration", "windows.npz", "--labels", "a,b,c", *QUICK)
    run("runtime", "split", "tiny.eer")
    run("runtime", "keygen", "client.eer")
    (here / "server.eer").rename(there / "server.eer")
    (here / "evaluation.key").rename(there / "evaluation.key")
    arguments = ("--key", "secret.key", "--input", "windows.npz", "--rows", "0:1")
    run("runtime", "encrypt", "client.eer", *arguments)
    (here / "windows.ct").rename(there / "windows.ct")
    run("runtime", "run", "server.eer", "--keys", "evaluation.key", "windows.ct", cwd=there)
    (there / "result.ct").rename(here / "result.ct")
    shown = ("--json", "--release", "raw")
    text = run("runtime", "decrypt", "client.eer", "--key", "secret.key", "result.ct", *shown)
    answer = json.loads(text)
    text = run("runtime", "verify", "tiny.eer", "--data", "windows.npz", "--windows", "1", "--json")
    verified = json.loads(text)
    from eer.compiler.frontend import Reference, load_onnx

    window = np.load("windows.npz")["x"][:1]
    (scores,) = Reference(load_onnx("tiny.onnx")).run({"x": window}).values()
    (found,) = answer["outputs"].values()
    (label,) = answer["labels"].values()
    assert np.abs(np.array(found) - scores).max() < 0.3
    assert label == ["abc"[int(np.argmax(found))]]
    assert verified["windows"] == 1
    assert verified["max_error"] < 0.3
