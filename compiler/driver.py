"""The driver: the story of a compilation, top to bottom."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
import onnx

from eer.runtime.errors import DataError, UsageError

from .backend.absorb import absorb
from .backend.lower import Sample, Target, lower
from .backend.planner import Search
from .compiled import CompiledModel
from .frontend import OnnxModel, Reference, export_torch, import_graph, load_onnx
from .ir import interpret
from .ir.printer import print_graph, print_program
from .ir.stages import Stage, check
from .ir.tensor import TensorGraph, Vector
from .options import Options
from .passes.activations import ActivationReport, replace_activations
from .passes.calibrate import Ranges, calibrate
from .passes.merge_affine import merge_affine
from .passes.verdict import judge
from .pipeline import DumpIr, Instrument, Pass, Timer, run_passes
from .report import build_report

SAMPLE_WINDOWS = 64
"""Calibration windows on which programs are simulated while parameters are chosen."""

Progress = Callable[[str], None]
"""Called with the name of each stage as it begins."""


def compile_model(
    source: Any,
    calibration: Any = None,
    options: Options | None = None,
    *,
    progress: Progress = lambda stage: None,
) -> CompiledModel:
    """Compile a model to a client's and a server's half.

    `source` is an ONNX file (path, bytes or proto) or a torch.nn.Module; `calibration` an array
    [windows, ...], or a mapping of them by input name, of the kind of data that the model will
    see. Without it ranges are assumed from `options.input_range`, and a module needs it to know
    its input's shape. Raises an EerError that names the node, the reason and what to change.
    """
    options = options or Options()
    start = perf_counter()
    timer = Timer()
    instruments: list[Instrument] = [timer]
    if options.dump_ir is not None:
        instruments.append(DumpIr(options.dump_ir))

    progress("reading the model")
    model = _load(source, calibration)
    data = _by_name(calibration, model)
    imported = import_graph(model)
    check(imported, Stage.IMPORTED, "import")
    _show(instruments, "import", imported)

    progress("merging linear layers")
    merged = run_passes(
        imported, (Pass("merge-affine", Stage.IMPORTED, merge_affine),), instruments
    )

    progress("fitting polynomials")
    ranges = calibrate(merged, data, options)
    activations: list[ActivationReport] = []

    def replaced(graph: TensorGraph) -> TensorGraph:
        result, report = replace_activations(graph, ranges, options)
        activations.append(report)
        return result

    polynomial = run_passes(
        merged,
        (
            Pass("replace-activations", Stage.POLYNOMIAL, replaced),
            Pass("merge-polynomials", Stage.POLYNOMIAL, merge_affine),
        ),
        instruments,
    )

    progress("choosing layouts and parameters")
    scheduled = run_passes(polynomial, (Pass("absorb", Stage.SCHEDULED, absorb),), instruments)
    lowered = lower(scheduled, _sample(polynomial, ranges), _target(polynomial, ranges, options))
    for instrument in instruments:
        instrument("program", lambda: print_program(lowered.server.program), 0.0)

    progress("measuring accuracy")
    report = build_report(
        polynomial=polynomial,
        scheduled=scheduled,
        lowered=lowered,
        ranges=ranges,
        activations=activations[0],
        reference=_reference(model, ranges),
        options=options,
        seconds=lambda: perf_counter() - start,
        stages=timer.seconds,
    )
    return CompiledModel(
        lowered.client, lowered.server, report, polynomial, model.proto.SerializeToString()
    )


def _load(source: Any, calibration: Any) -> OnnxModel:
    if isinstance(source, str | Path | bytes | onnx.ModelProto):
        return load_onnx(source)
    if isinstance(calibration, Mapping):
        example: Any = tuple(np.asarray(a, np.float32)[:2] for a in calibration.values())
        names = list(calibration)
    elif calibration is not None:
        example, names = np.asarray(calibration, np.float32)[:2], None
    else:
        raise UsageError(
            "a PyTorch module is compiled from an example of its input",
            hint="give calibration=array of shape [windows, ...], or export it to ONNX yourself",
        )
    return load_onnx(export_torch(source, example, input_names=names))


def _by_name(calibration: Any, model: OnnxModel) -> dict[str, Vector] | None:
    if calibration is None or isinstance(calibration, Mapping):
        return None if calibration is None else {k: np.asarray(v) for k, v in calibration.items()}
    names = [i.name for i in model.inputs]
    if len(names) != 1:
        raise DataError(
            f"the model has {len(names)} inputs: {', '.join(names)}",
            hint="give calibration data by name, as a mapping or an .npz file",
        )
    return {names[0]: np.asarray(calibration)}


def _show(instruments: list[Instrument], name: str, graph: TensorGraph) -> None:
    for instrument in instruments:
        instrument(name, lambda: print_graph(graph), 0.0)


def _sample(graph: TensorGraph, ranges: Ranges) -> Sample:
    """Windows spread over the calibration data."""
    picked = np.linspace(0, ranges.count - 1, min(SAMPLE_WINDOWS, ranges.count)).astype(int)
    inputs = {name: rows[picked] for name, rows in ranges.rows.items()}
    return Sample(inputs, interpret.outputs(graph, inputs))


def _target(graph: TensorGraph, ranges: Ranges, options: Options) -> Target:
    sample = _sample(graph, ranges)

    def accepts(noisy: dict[str, Vector]) -> bool:
        return judge(graph.outputs, sample.outputs, noisy, options.tolerance).accepted

    spans = {name: (ranges.input_low[name], ranges.input_high[name]) for name in ranges.input_low}
    return Target(
        engine=options.engine,
        security=options.security,
        batch=options.batch,
        search=Search(),
        labels=options.labels,
        ranges=spans,
        calibrated=ranges.calibrated,
        accepts=accepts,
    )


def _reference(model: OnnxModel, ranges: Ranges) -> dict[str, Vector]:
    shapes = {i.name: i.shape for i in model.inputs}
    rows = {n: r.reshape(len(r), *shapes[n]) for n, r in ranges.rows.items()}
    return Reference(model).run(rows)
