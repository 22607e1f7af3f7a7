"""The benchmark's command line."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from rich.console import Console

from eer.compiler.options import ENGINES
from eer.runtime.errors import EerError, FileError, UsageError

from . import report
from .cases import STANDARD, Case, parse_all
from .machine import describe
from .peers import environments
from .peers.catalogue import PEERS, Peer, Unable
from .plot import write_plot
from .process import Launch
from .session import Conditions, Entry, run_case

HERE = Path(__file__).resolve().parent
RESULTS, PAGE, PLOT = HERE / "results.json", HERE / "RESULTS.md", HERE / "results.png"


def parser() -> argparse.ArgumentParser:
    """The command line."""
    top = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description="Compile times, latencies, sizes and errors of eer, and of its peers.",
    )
    commands = top.add_subparsers(dest="command", metavar="COMMAND")
    _run_arguments(commands.add_parser("run", help="measure (the default)"))
    peers = commands.add_parser("peers", help="list, install or remove other tools")
    peers.add_argument("action", choices=("list", "install", "remove"))
    peers.add_argument("names", nargs="*", metavar="NAME")
    commands.add_parser("render", help="write RESULTS.md and results.png from results.json again")
    return top


def _run_arguments(run: argparse.ArgumentParser) -> None:
    add = run.add_argument
    add(
        "cases",
        nargs="*",
        metavar="CASE",
        help="TASK/VARIANT or TASK/VARIANT/BATCH (default: "
        f"{' '.join(STANDARD).replace('%', '%%')})",
    )
    add("--engines", nargs="+", choices=ENGINES, default=["seal"])
    add("--peers", nargs="*", metavar="NAME", help="default: all that are installed and load")
    add("--windows", type=int, default=20, help="inputs of each case; medians are over them")
    add("--memory", type=float, default=16.0, help="GB of address space for each process")
    add("--core", type=int, help="bind all contestants to this CPU (default: the last one)")
    add("--limit", type=float, default=600.0, help="seconds for one compilation or message")
    add("--seconds", type=float, default=60.0, help="for the messages to each peer on a case")
    add("--workers", type=int, default=os.cpu_count(), help="processes that serve eer at once")
    add("--onnx", type=Path, help="a model of your own in place of the cases")
    add("--data", type=Path, help="its .npz file with arrays 'calibration' and 'inputs'")
    add("--out", type=Path, default=Path("out/bench"), help="folder for results.json, plot.png")
    add(
        "--resume",
        action="store_true",
        help="keep the cases that --out has already, of this day and commit",
    )
    add("--record", action="store_true", help="merge into benchmarks/RESULTS.md")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; the exit code is 0, the error's, or 1 where a run of eer failed."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    known = ("run", "peers", "render", "-h", "--help")
    given = parser().parse_args(words if words and words[0] in known else ["run", *words])
    # Where nobody watches, as wide as the table.
    console = Console() if sys.stdout.isatty() else Console(width=220)
    try:
        match given.command:
            case "peers":
                return _peers(given, console)
            case "render":
                report.render(PAGE, report.read(RESULTS))
                _write_kept_plot()
                return 0
            case _:
                return _run(given, console)
    except EerError as error:
        Console(stderr=True).print(str(error), style="red", markup=False, highlight=False)
        return error.exit_code
    except KeyboardInterrupt:
        Console(stderr=True).print("interrupted", style="red")
        return 130


def _run(given: argparse.Namespace, console: Console) -> int:
    if given.windows < 1:
        raise UsageError(f"--windows must be at least 1, got {given.windows}")
    cases = _cases(given)
    machine = describe()
    last = sorted(os.sched_getaffinity(0))[-1] if hasattr(os, "sched_getaffinity") else None
    core = last if given.core is None else given.core
    conditions = Conditions(given.windows, given.memory, core, given.seconds, given.workers)
    results = _folder(given.out) / "results.json"
    command = " ".join(["python -m benchmarks", *sys.argv[1:]])
    peers = _peers_of(given)
    before = report.read_run(results) if given.resume else []
    rows = [row for row in before if row.machine == machine]
    with console.status("") as status:

        def progress(text: str) -> None:
            status.update(text)
            if not console.is_terminal:
                print(text, flush=True)

        for case in cases:
            entries = _entries(given, case, machine["packages"]["eer"], peers)
            if {e.name for e in entries} <= {r.contestant for r in rows if r.case == case.name}:
                continue
            found = run_case(case, entries, conditions, progress)
            rows = [r for r in rows if r.case != case.name]
            rows += [replace(row, machine=machine) for row in found]
            # After every case: a long run that is broken off keeps what it has.
            report.write_json(results, rows, machine, command)
            if given.record:
                report.record(RESULTS, PAGE, rows)
    console.print(report.table(rows))
    write_plot(results.with_name("plot.png"), rows)
    if given.record:
        # Those that were kept from a run without --record as well.
        report.record(RESULTS, PAGE, rows)
        _write_kept_plot()
    console.print(f"All figures are in {results}", highlight=False)
    return int(any(r.failure is not None and r.is_ours for r in rows))


def _write_kept_plot() -> None:
    """Of CPUs: what takes a GPU a hundredth of the time has no place beside them."""
    write_plot(PLOT, [r for r in report.read(RESULTS) if "gpu" not in r.machine])


def _cases(given: argparse.Namespace) -> list[Case]:
    if given.onnx is None and given.data is None:
        return list(parse_all(given.cases))
    if given.onnx is None or given.data is None or given.cases:
        raise UsageError(
            "--onnx and --data belong together, and stand for the cases",
            hint="give both, and no CASE",
        )
    return [Case(given.onnx.stem, "onnx", 1, given.onnx, given.data)]


def _peers_of(given: argparse.Namespace) -> list[tuple[Peer, str]]:
    """The peers that take part, each with its version."""
    if given.onnx is not None:
        return []
    if given.peers is None:
        wanted = environments.usable()
    else:
        wanted = [environments.find(name) for name in given.peers]
    found = [(peer, environments.version(peer)) for peer in wanted]
    for peer, version in found:
        if version is None:
            raise UsageError(
                f"{peer.name} is not installed",
                hint=f"python -m benchmarks peers install {peer.name}",
            )
    return [(peer, version) for peer, version in found if version is not None]


def _entries(
    given: argparse.Namespace, case: Case, version: str, peers: Sequence[tuple[Peer, str]]
) -> list[Entry]:
    ours = Launch(
        Path(sys.executable), "benchmarks.ours_serve", "benchmarks.ours_compile", given.limit
    )
    entries = [Entry(f"eer/{engine}", version, ours, engine) for engine in given.engines]
    for peer, its_version in peers:
        found = peer.parameters(case)
        python = environments.interpreter(peer)
        launch = Launch(python, peer.serves, peer.compiles, given.limit)
        entries.append(
            Entry(peer.name, its_version, launch, unable=found.reason)
            if isinstance(found, Unable)
            else Entry(peer.name, its_version, launch, parameters=found)
        )
    return entries


def _peers(given: argparse.Namespace, console: Console) -> int:
    if given.action == "list":
        for peer in PEERS.values():
            found = environments.version(peer)
            state = "not installed" if found is None else found
            if found is not None and not environments.loads(peer):
                state += " (does not load on this machine)"
            console.print(f"{peer.name:10} {state}", highlight=False)
        return 0
    if not given.names:
        raise UsageError("name the peers", hint="python -m benchmarks peers list")
    for name in given.names:
        peer = environments.find(name)
        if given.action == "remove":
            environments.remove(peer)
            continue
        console.print(f"installing {peer.name} into its own environment", highlight=False)
        console.print(f"{peer.name} {environments.install(peer)}", highlight=False)
    return 0


def _folder(path: Path) -> Path:
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise FileError(f"cannot make the folder: {error.strerror}", where=str(path)) from error
    return path
