"""The harness itself: fair medians, failures that become rows, caps of time and memory."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from benchmarks import command, pools
from benchmarks.cases import STANDARD, Case, parse, parse_all
from benchmarks.command import main, parser
from benchmarks.peers import environments
from benchmarks.peers.catalogue import PEERS, Unable
from benchmarks.process import Launch
from benchmarks.result import Timing, medians, speedup
from benchmarks.session import Conditions, Entry, run_case
from benchmarks.source import load_case
from eer.runtime.errors import DataError, UsageError
from eer.runtime.params import MAX_LOG_QP_128

CONDITIONS = Conditions(windows=2, memory_gb=12.0, core=None)
THIS = Path(sys.executable)


def quiet(_: str) -> None:
    """No progress."""


def timing(encrypt: float, run: float, decrypt: float) -> Timing:
    return Timing(
        wall={"encrypt": 2 * encrypt, "run": 2 * run, "decrypt": 2 * decrypt},
        cpu={"encrypt": encrypt, "run": run, "decrypt": decrypt},
    )


def test_medians_are_of_each_stage_and_of_the_sums() -> None:
    cpu, wall = medians([timing(1, 10, 5), timing(2, 30, 1), timing(3, 20, 3)])
    assert cpu == {"encrypt": 2, "run": 20, "decrypt": 3, "total": 26}
    assert wall == {"encrypt": 4, "run": 40, "decrypt": 6, "total": 52}


def test_speedup_compares_message_by_message() -> None:
    ours = [timing(0, 1, 0), timing(0, 100, 0), timing(0, 2, 0)]
    theirs = [timing(0, 5, 0), timing(0, 300, 0), timing(0, 8, 0)]
    assert speedup(ours, theirs) == 4


def test_cases_by_name() -> None:
    assert parse("T1/square/128") == Case("T1", "square", 128)
    assert parse("T1/square/auto").name == "T1/square/auto"
    assert parse("T3/silu").name == "T3/silu"
    assert parse("T1/silu:2%") == Case("T1", "silu", percent=2.0)
    assert parse("T1/silu:0.5%/16").name == "T1/silu:0.5%/16"
    assert parse("T1/silu:1%").name == "T1/silu"
    assert parse("T1/square/128").name == "T1/square/128"
    assert [case.name for case in parse_all([])] == list(STANDARD)


@pytest.mark.parametrize(
    "text",
    ["T9/square", "T1/tanh", "T1", "T1/square/many", "T1/square/0", "T1/silu:", "T1/silu:0%"],
)
def test_a_case_that_is_not_there(text: str) -> None:
    with pytest.raises(UsageError, match="there is no case"):
        parse(text)


def test_peers_get_128_bits() -> None:
    shown = 0
    for peer in PEERS.values():
        for case in parse_all([]):
            parameters = peer.parameters(case)
            if isinstance(parameters, Unable):
                assert parameters.reason
            elif "log_q" in parameters:
                shown += 1
                assert (
                    sum(parameters["log_q"]) + sum(parameters["log_p"])
                    <= (MAX_LOG_QP_128[parameters["log_n"]])
                )
    assert shown >= 10


def test_an_unknown_peer() -> None:
    with pytest.raises(UsageError, match="no peer named"):
        environments.find("nobody")


def test_a_peer_that_is_not_installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EER_PEERS", str(tmp_path))
    assert environments.usable() == []
    code = main(["run", "T1/square", "--peers", "orion-v2", "--out", str(tmp_path / "out")])
    assert code == UsageError.exit_code


FAKE = "tests.benchmarks.fake_contestant"


def fake(name: str, says: str, limit: float = 60) -> Entry:
    """The contestant in fake_contestant.py, which does what `says` says."""
    return Entry(name, "1", Launch(THIS, FAKE, FAKE, limit), parameters={"says": says})


def test_a_contestant_that_fails_gets_a_row_that_says_why() -> None:
    entries = [
        Entry("x", "1", Launch(THIS, "benchmarks.nobody", None, 60)),
        fake("dies", "die"),
        fake("wordy", "print"),
        fake("nan", "nan"),
        fake("large", "allocate"),
        fake("slow", "sleep", limit=3),
        Entry("unable", "1", Launch(THIS, FAKE, FAKE, 60), unable="squares only"),
        fake("good", "echo"),
    ]
    rows = {r.contestant: r for r in run_case(Case("T1", "square"), entries, CONDITIONS, quiet)}
    failures = {name: row.failure for name, row in rows.items()}
    assert "ModuleNotFoundError" in (failures.pop("x") or "")
    assert failures == {
        "dies": "it ended with exit code 3",
        "wordy": None,
        "nan": "its answers are not finite",
        "large": "out of memory",
        "slow": "it took more than 3 s",
        "unable": "squares only",
        "good": None,
    }
    assert rows["dies"].cpu_ms == {}
    good = rows["good"]
    assert good.windows == good.labels == 2
    assert good.max_error == 0
    assert good.facts["compiled"] is True
    assert set(good.cpu_ms) == {"encrypt", "run", "decrypt", "total"}


def test_messages_end_when_the_time_is_over() -> None:
    brief = Conditions(windows=5, memory_gb=12.0, core=None, seconds=0.0)
    (row,) = run_case(Case("T1", "square"), [fake("x", "echo")], brief, quiet)
    assert row.windows == 1
    assert row.cpu_ms["total"] >= 0


def test_a_pool_that_fails_leaves_the_other_figures() -> None:
    ours = Entry("eer/x", "1", Launch(THIS, FAKE, FAKE, 60), "x", {"says": "echo"})
    conditions = Conditions(windows=1, memory_gb=12.0, core=None, workers=2)
    (row,) = run_case(Case("T1", "square"), [ours], conditions, quiet)
    assert row.failure is None
    assert row.windows == 1
    assert "no such file" in row.facts["pool_failure"].lower()


def test_all_windows_are_answered_by_eer_even_where_a_peer_is_slow() -> None:
    """A stand-in for eer answers five windows, two seconds' worth of them beside its peer."""
    ours = Entry("eer/x", "1", Launch(THIS, FAKE, FAKE, 60), "x", {"says": "echo"})
    brief = Conditions(windows=5, memory_gb=12.0, core=None, seconds=1.5)
    rows = run_case(Case("T1", "square"), [ours, fake("peer", "second")], brief, quiet)
    mine, theirs = rows
    assert mine.windows == mine.labels == 5
    assert 1 <= theirs.windows < 5
    assert theirs.speedup is not None
    assert theirs.against == "eer/x"


@pytest.fixture
def tiny(tmp_path: Path) -> Case:
    """A linear layer 6 -> 3, a square, and data of its own."""
    random = np.random.default_rng(0)
    weight = random.normal(size=(6, 3)).astype(np.float32)
    graph = helper.make_graph(
        [
            helper.make_node("MatMul", ["x", "w"], ["h"]),
            helper.make_node("Mul", ["h", "h"], ["y"]),
        ],
        "tiny",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [None, 6])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [None, 3])],
        [numpy_helper.from_array(weight, "w")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    path, data = tmp_path / "tiny.onnx", tmp_path / "tiny.npz"
    onnx.save(model, path)
    np.savez(
        data,
        inputs=random.normal(size=(3, 6)).astype(np.float32),
        calibration=random.normal(size=(64, 6)).astype(np.float32),
    )
    return Case("tiny", "onnx", onnx=path, data=data)


def test_data_without_inputs(tiny: Case, tmp_path: Path) -> None:
    wrong = tmp_path / "wrong.npz"
    np.savez(wrong, x=np.zeros(3))
    with pytest.raises(DataError, match="it holds x"):
        load_case(Case("tiny", "onnx", onnx=tiny.onnx, data=wrong), 2)


def test_a_run_from_the_command_line(
    tiny: Case, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pools, "SECONDS", 0.01)
    out = tmp_path / "out"
    words = ["--onnx", str(tiny.onnx), "--data", str(tiny.data), "--windows", "3"]
    words += ["--workers", "2"]
    assert main([*words, "--out", str(out)]) == 0
    content = json.loads((out / "results.json").read_text())
    (row,) = content["rows"]
    facts = row["facts"]
    assert row["failure"] is None
    assert row["contestant"] == "eer/seal"
    assert row["windows"] == row["labels"] == 3
    assert row["max_error"] < 0.05
    assert row["polynomial_error"] < 0.05
    for clock in ("cpu_ms", "wall_ms"):
        assert all(row[clock][stage] > 0 for stage in ("encrypt", "run", "decrypt", "total"))
    assert row["peak_mb"] >= facts["run_peak_mb"] > 20
    assert facts["parameters"]["log_qp"] <= MAX_LOG_QP_128[facts["parameters"]["log_n"]]
    assert facts["compile_cpu_s"] > 0
    assert facts["evaluation_key_bytes"] > facts["rotation_key_bytes"] > 0
    assert facts["upload_bytes"] > 0
    assert facts["operations"]["square"] == 1
    assert facts["pool"]["workers"] == 2
    assert facts["pool"]["all_per_s"] > 0
    assert content["machine"]["packages"]["tenseal"]
    assert (out / "plot.png").read_bytes().startswith(b"\x89PNG")
    # What has been measured is not measured again; the stand-in would fail.
    monkeypatch.setattr(command, "run_case", None)
    for name in ("RESULTS", "PAGE", "PLOT"):
        monkeypatch.setattr(command, name, tmp_path / getattr(command, name).name)
    assert main([*words, "--out", str(out), "--resume", "--record"]) == 0
    again = json.loads((out / "results.json").read_text())
    assert again["rows"] == content["rows"]
    assert json.loads(command.RESULTS.read_text()) == content["rows"]


@pytest.mark.parametrize("words", [["--help"], ["run", "--help"], ["peers", "--help"]])
def test_help_is_printed(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        parser().parse_args(words)
    assert stop.value.code == 0
    assert "usage: python -m benchmarks" in capsys.readouterr().out
