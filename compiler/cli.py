"""`eer-compile`, and the commands that the compiler adds to `eer`: verify, explain and
calibrate-costs.

The only module of the compiler that prints.
"""

from __future__ import annotations

import os
import shutil
import sys
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from time import perf_counter
from typing import Annotated, Any, Literal, cast

import typer
from rich.console import RenderableType
from rich.text import Text

from eer.runtime.bundle import load_model
from eer.runtime.commands.options import AsJson, EngineName
from eer.runtime.console import EPILOG, answer, progress, run_app, warn
from eer.runtime.errors import FileError, UsageError
from eer.runtime.files import write_file

from . import present
from .driver import CompileWarning, compile_model
from .explain import explain as explained
from .options import ENGINES, Effort, Options
from .picture import latency_svg
from .present_layers import layers
from .tables import to_text
from .timing.device import device_of
from .timing.fit import fit
from .timing.measure import CALIBRATION_SECONDS, measure, rings_of
from .timing.store import keep
from .timing.table import costs_json, costs_table
from .verification import verify as verified

app = typer.Typer(name="eer-compile", add_completion=False, rich_markup_mode=None)

_DEFAULTS = Options()
NARROWEST = 80

ModelFile = Annotated[Path, typer.Argument(help="model.eer.", metavar="MODEL", show_default=False)]


def main(argv: Sequence[str] | None = None) -> int:
    """Run `eer-compile` and return its exit code."""
    return run_app(app, "eer-compile", argv)


@app.command(epilog=EPILOG)
def compile_command(
    model: Annotated[
        Path, typer.Argument(help="An ONNX model.", metavar="MODEL.onnx", show_default=False)
    ],
    calibration: Annotated[
        Path | None,
        typer.Option(help="Typical inputs: .npz, .npy or .csv.", show_default=False),
    ] = None,
    engine: Annotated[
        str, typer.Option(help=f"What it will run on: {', '.join(ENGINES)}.")
    ] = "seal",
    out: Annotated[
        Path | None,
        typer.Option(
            "-o", "--out", help="File or folder. Default: the model's name with .eer, here."
        ),
    ] = None,
    report: Annotated[
        Path | None,
        typer.Option(help="The report as JSON. Default: beside the result, .report.json."),
    ] = None,
    tolerance: Annotated[
        float, typer.Option(help="Share of calibration windows whose label may change.")
    ] = _DEFAULTS.tolerance,
    degree: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NODE=D", help="Degree for one activation; repeatable.", show_default=False
        ),
    ] = None,
    max_degree: Annotated[
        int, typer.Option(help="Highest degree that may be chosen.")
    ] = _DEFAULTS.max_degree,
    input_range: Annotated[
        str | None,
        typer.Option(
            metavar="LOW,HIGH",
            help="Range of every input, where there is no calibration data. Default: "
            f"{_DEFAULTS.input_range[0]:g},{_DEFAULTS.input_range[1]:g}.",
            show_default=False,
        ),
    ] = None,
    margin: Annotated[
        float, typer.Option(help="Share by which calibrated intervals are widened.")
    ] = _DEFAULTS.margin,
    batch: Annotated[
        str,
        typer.Option(
            metavar="K|auto",
            help="Windows that share one ciphertext: a power of two, or auto for as many as bring "
            "more windows per second.",
        ),
    ] = str(_DEFAULTS.batch),
    labels: Annotated[
        str | None,
        typer.Option(metavar="A,B,C", help="Names of the classes, in order.", show_default=False),
    ] = None,
    encrypted: Annotated[
        str | None,
        typer.Option(
            metavar="A,B",
            help="Inputs that come encrypted; the others are compiled in. Default: all.",
            show_default=False,
        ),
    ] = None,
    encrypt_weights: Annotated[
        str | None,
        typer.Option(
            metavar="A,B", help="Weights that come encrypted at run time.", show_default=False
        ),
    ] = None,
    state: Annotated[
        list[str] | None,
        typer.Option(
            metavar="OUT=IN",
            help="An output that is an input's next value; repeatable.",
            show_default=False,
        ),
    ] = None,
    effort: Annotated[
        str, typer.Option(help="How hard to look for a fast program: low, normal or high.")
    ] = _DEFAULTS.effort,
    security: Annotated[
        int, typer.Option(help="Bits of security; no other number is accepted.")
    ] = _DEFAULTS.security,
    costs: Annotated[
        str,
        typer.Option(
            metavar="auto|shipped|FILE",
            help="What operations cost: as calibrated on this machine if it was, as shipped, or "
            "as eer calibrate-costs wrote to FILE.",
        ),
    ] = str(_DEFAULTS.costs),
    dump_ir: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR", help="Write the model after every pass to DIR.", show_default=False
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Compile an ONNX model so that it answers on encrypted inputs.

    Writes one file, model.eer, with the client's half, the server's half and a report.
    """
    options = Options(
        tolerance=tolerance,
        degrees=_degrees(degree or []),
        max_degree=max_degree,
        input_range=_range(input_range) if input_range else _DEFAULTS.input_range,
        margin=margin,
        engine=engine,
        batch=_batch(batch),
        security=security,
        labels=_names(labels),
        encrypted=_names(encrypted),
        encrypt_weights=_names(encrypt_weights),
        state=_state(state or []),
        effort=cast(Effort, effort),
        costs=costs,
        dump_ir=dump_ir,
    )
    if input_range and calibration is not None:
        warn("--input-range is not used where there is calibration data")
    target = out or Path()
    if target.is_dir():
        target /= f"{model.stem}.eer"
    report_path = report or target.with_suffix(".report.json")
    _check_targets((target, report_path), [model, *([calibration] if calibration else [])])
    with warnings.catch_warnings():
        # They stand in the report.
        warnings.simplefilter("ignore", CompileWarning)
        compiled = compile_model(model, calibration, options, progress=_stages())
    compiled.save(target, report_path)
    if as_json:
        for text in compiled.report["warnings"]:
            warn(text)
    sizes = {str(p): p.stat().st_size for p in (target, report_path)}
    _answer(
        present.compilation(compiled.report, sizes=sizes),
        {"out": str(target), "report": str(report_path), **compiled.report},
        as_json,
    )


def verify(
    model: ModelFile,
    data: Annotated[
        Path, typer.Option(help="Windows to run: .npz, .npy or .csv.", show_default=False)
    ],
    engine: EngineName = None,
    windows: Annotated[
        int | None,
        typer.Option(help="Run so many windows only, spread evenly.", show_default=False),
    ] = None,
    workers: Annotated[
        int, typer.Option(min=1, help="Processes that share the windows that are not timed.")
    ] = 1,
    as_json: AsJson = False,
) -> None:
    """Run the encrypted model over a data set and compare it with the original.

    Labels in the file (an array or column named y, label or target) give accuracies as well.
    """
    with progress("verifying") as done:
        found = verified(
            model, data, engine, windows, workers=workers, progress=lambda n, _: done(n)
        )
    _answer(present.verification(found), found.to_json(), as_json)


def explain(
    model: ModelFile,
    picture: Annotated[
        Path | None,
        typer.Option(help="Draw where the time goes: an SVG file.", show_default=False),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Show what a compiled model does, layer by layer, what it costs and how precise it is."""
    if picture is not None:
        _check_targets([picture], [model])
    found = explained(load_model(model), str(model))
    if picture is not None:
        write_file(picture, latency_svg(found).encode())
    _answer(layers(found), found, as_json)


def calibrate_costs(
    engine: Annotated[str, typer.Option(help=f"{', '.join(ENGINES)}.")] = _DEFAULTS.engine,
    seconds: Annotated[
        float, typer.Option(help="About how long to measure, on one core.", min=1.0)
    ] = CALIBRATION_SECONDS,
    out: Annotated[
        Path | None,
        typer.Option(
            "-o",
            "--out",
            help="Write a file for eer-compile --costs, in place of keeping the costs for all "
            "compilations on this machine.",
            show_default=False,
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Measure what each operation of an engine costs on this machine.

    Compilations on this machine then choose plans, and predict latency, by these costs. For a
    server that is another machine, measure there with --out, and compile with --costs.
    """
    if engine not in ENGINES:
        raise UsageError(
            f"nothing is compiled for engine {engine!r}", hint=f"use {', '.join(ENGINES)}"
        )
    if out is not None:
        _check_targets([out], [])
    with progress(f"timing {engine}", 1000) as done:
        measured = measure(engine, rings_of(engine), seconds, lambda x: done(round(1000 * x)))
    costs = fit(measured, device_of(engine))
    path = keep(costs, out)
    note = Text(f"kept in {path}" if out is None else f"written to {path}")
    _answer(
        [*costs_table(costs, measured.measurements), note],
        {"out": str(path), **costs_json(costs, measured.measurements)},
        as_json,
    )


def _answer(parts: list[RenderableType], data: Mapping[str, Any], as_json: bool) -> None:
    width = max(NARROWEST, shutil.get_terminal_size((100, 40)).columns)
    text = to_text(*parts, width=width, styled=sys.stdout.isatty())
    answer(text, dict(data), as_json)


def _stages() -> Any:
    """Prints every stage on stderr as it begins, with the seconds so far."""
    start = perf_counter()

    def show(stage: str) -> None:
        typer.echo(f"[{perf_counter() - start:5.1f} s] {stage}", err=True)

    return show


def _degrees(given: Sequence[str]) -> dict[str, int]:
    """NODE=D; names of nodes may hold an equals sign themselves."""
    degrees = {}
    for text in given:
        node, equals, degree = text.rpartition("=")
        if not (node and equals and degree.strip().isdecimal()):
            raise UsageError(f"--degree is {text!r}", hint="use --degree NODE=7, or leave it out")
        degrees[node] = int(degree)
    return degrees


def _names(text: str | None) -> tuple[str, ...]:
    return tuple(x.strip() for x in text.split(",")) if text else ()


def _state(given: Sequence[str]) -> dict[str, str]:
    state = {}
    for text in given:
        output, equals, name = text.partition("=")
        if not (output and equals and name):
            raise UsageError(f"--state is {text!r}", hint="use --state W_next=W")
        state[output] = name
    return state


def _batch(text: str) -> int | Literal["auto"]:
    if text == "auto":
        return "auto"
    if not text.strip().isdecimal():
        raise UsageError(f"--batch is {text!r}", hint="use a power of two, or auto")
    return int(text)


def _range(text: str) -> tuple[float, float]:
    try:
        low, high = (float(x) for x in text.split(","))
    except ValueError:
        raise UsageError(f"--input-range is {text!r}", hint="use --input-range=-3,3") from None
    return low, high


def _check_targets(targets: Sequence[Path], sources: Sequence[Path]) -> None:
    """Find out before the work, not after it, that a result cannot be written."""
    resolved = [t.resolve() for t in targets]
    if len(set(resolved)) < len(resolved):
        raise UsageError(f"two results would be written to {targets[0]}", hint="name two files")
    for path in targets:
        if path.resolve() in {s.resolve() for s in sources}:
            raise UsageError(f"{path} would be overwritten by the result", hint="name another")
        folder = path.absolute().parent
        if not folder.is_dir() or path.is_dir():
            reason = "it is a folder" if path.is_dir() else f"there is no folder {folder}"
            raise FileError(
                f"cannot write {path}: {reason}",
                where=str(path),
                hint="create the folder first, or correct the path",
            )
        if not os.access(folder, os.W_OK):
            raise FileError(
                f"cannot write {path}: the folder may not be written to",
                where=str(path),
                hint="choose another folder, or change its permissions",
            )


if __name__ == "__main__":
    sys.exit(main())
