"""The driver: the story of a compilation, top to bottom."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
import onnx

from eer.runtime.arrays import LABEL_NAMES, read_arrays
from eer.runtime.errors import DataError, EerWarning, UsageError
from eer.runtime.fields import Json

from .backend.absorb import absorb
from .backend.lower import Sample, Target, lower
from .backend.planner import Search
from .compiled import CompiledModel
from .cost import Costs
from .frontend import OnnxModel, Reference, export_torch, import_graph, load_onnx
from .ir import interpret
from .ir.printer import print_graph, print_program
from .ir.stages import Stage, check
from .ir.tensor import Output, TensorGraph, Vector
from .options import Effort, Options
from .passes.activations import ActivationReport, replace_activations
from .passes.calibrate import Ranges, calibrate
from .passes.merge_affine import merge_affine
from .passes.share_intervals import share_intervals
from .passes.verdict import judge
from .pipeline import DumpIr, Instrument, Pass, run_passes
from .recorded import record_polynomials
from .report import build_report, sample_rows
from .timing.store import choose

SAMPLE_WINDOWS = 64
"""Calibration windows on which programs are simulated while parameters are chosen."""

Progress = Callable[[str], None]
"""Called with the name of each stage as it begins."""


class CompileWarning(EerWarning):
    """The model was compiled, on an assumption or at a cost that its user should know of."""


def compile_model(
    source: Any,
    calibration: Any = None,
    options: Options | None = None,
    *,
    progress: Progress = lambda stage: None,
) -> CompiledModel:
    """Compile a model to a client's and a server's half.

    `source` is an ONNX file (path, bytes or proto) or a torch.nn.Module; `calibration` an array
    [windows, ...], a mapping of them by input name, or the path of a data file, of the kind of
    data that the model will see. Without it ranges are assumed from `options.input_range`, and a
    module needs it to know its input's shape. Gives a CompileWarning for each of the report's
    warnings. Raises an EerError that names the node, the reason and what to change.
    """
    options = options or Options()
    clock = _Clock(progress)
    instruments: list[Instrument] = []
    if options.dump_ir is not None:
        instruments.append(DumpIr(options.dump_ir))

    clock("reading the model")
    model = _load(source, calibration)
    data = _by_name(calibration, model)
    imported = import_graph(model)
    _check_labels(imported.outputs, options.labels)
    check(imported, Stage.IMPORTED, "import")
    _show(instruments, "import", imported)

    clock("merging linear layers")
    merged = run_passes(
        imported, (Pass("merge-affine", Stage.IMPORTED, merge_affine),), instruments
    )

    clock("fitting polynomials")
    ranges = calibrate(merged, data, options)
    activations: list[ActivationReport] = []
    polynomials: list[Json] = []

    def replaced(graph: TensorGraph) -> TensorGraph:
        result, report = replace_activations(graph, ranges, options)
        activations.append(report)
        polynomials.extend(record_polynomials(result, (fit.node for fit in report.fits)))
        return result

    polynomial = run_passes(
        merged,
        (
            Pass("replace-activations", Stage.POLYNOMIAL, replaced),
            Pass("merge-polynomials", Stage.POLYNOMIAL, merge_affine),
            Pass("share-intervals", Stage.POLYNOMIAL, share_intervals),
        ),
        instruments,
    )

    clock("choosing layouts and parameters")
    scheduled = run_passes(polynomial, (Pass("absorb", Stage.SCHEDULED, absorb),), instruments)
    sample = _sample(polynomial, ranges)
    costs = choose(options.costs, options.engine)
    lowered = lower(scheduled, sample, _target(polynomial, sample, ranges, options, costs))
    for instrument in instruments:
        instrument("program", lambda: print_program(lowered.server.program), 0.0)

    clock("measuring accuracy")
    report = build_report(
        polynomial=polynomial,
        scheduled=scheduled,
        lowered=lowered,
        ranges=ranges,
        sample=sample.inputs,
        activations=activations[0],
        polynomials=polynomials,
        reference=_reference(model, ranges),
        options=options,
        costs=costs,
        seconds=clock.seconds,
    )
    for text in report["warnings"]:
        warnings.warn(text, CompileWarning, stacklevel=2)
    return CompiledModel(
        lowered.client, lowered.server, report, polynomial, model.proto.SerializeToString()
    )


@dataclass(slots=True)
class _Clock:
    """Announces stages, and knows how long each took."""

    announce: Progress
    begun: list[tuple[str, float]] = field(default_factory=list)

    def __call__(self, stage: str) -> None:
        self.begun.append((stage, perf_counter()))
        self.announce(stage)

    def seconds(self) -> dict[str, float]:
        """Seconds of every stage so far, the current one included, and of all together."""
        times = [t for _, t in self.begun] + [perf_counter()]
        names = (stage for stage, _ in self.begun)
        each = {n: b - a for n, (a, b) in zip(names, pairwise(times), strict=True)}
        return {**each, "total": times[-1] - times[0]}


def _load(source: Any, calibration: Any) -> OnnxModel:
    if isinstance(source, str | Path | bytes | onnx.ModelProto):
        return load_onnx(source)
    if calibration is None or isinstance(calibration, str | Path):
        raise UsageError(
            "a PyTorch module is compiled from an example of its input",
            hint="give calibration=array of shape [windows, ...], or export it to ONNX yourself",
        )
    if isinstance(calibration, Mapping):
        example: Any = tuple(np.asarray(a, np.float32)[:2] for a in calibration.values())
        names = list(calibration)
    else:
        example, names = np.asarray(calibration, np.float32)[:2], None
    return load_onnx(export_torch(source, example, input_names=names))


def _by_name(calibration: Any, model: OnnxModel) -> dict[str, Any] | None:
    """Arrays [windows, *shape] by input name, without the labels that may lie beside them."""
    shapes = {i.name: i.shape for i in model.inputs}
    if calibration is None:
        return None
    if isinstance(calibration, str | Path):
        return dict(read_arrays(calibration, list(shapes), list(shapes.values())))
    if isinstance(calibration, Mapping):
        arrays = {
            name: np.asarray(array)
            for name, array in calibration.items()
            if name in shapes or str(name).lower() not in LABEL_NAMES
        }
    elif len(shapes) == 1:
        arrays = {next(iter(shapes)): np.asarray(calibration)}
    else:
        raise DataError(
            f"the model has {len(shapes)} inputs: {', '.join(shapes)}",
            hint="give calibration data by name, as a mapping or an .npz file",
        )
    for name, array in arrays.items():
        if name in shapes and array.shape[1:] != shapes[name]:
            wanted = ", ".join(map(str, ("windows", *shapes[name])))
            raise DataError(
                f"calibration data for input '{name}' has shape {list(array.shape)}; the model "
                f"wants [{wanted}]",
                hint="check the order of the axes and the length of the windows",
            )
    return arrays


def _check_labels(outputs: Sequence[Output], labels: tuple[str, ...]) -> None:
    """Refuse labels that no output has a class each for."""
    if not labels:
        return
    for output in outputs:
        length = output.shape[output.axis] if output.shape else 1
        if length == len(labels) or (length == 1 and len(labels) == 2) or output.post == "argmax":
            return
    described = ", ".join(f"'{o.name}' has shape {list(o.shape)}" for o in outputs)
    raise UsageError(
        f"{len(labels)} labels were given ({', '.join(labels)}), and no output has as many "
        f"classes: {described}",
        hint="name every class once, in the order of the model's outputs",
    )


def _show(instruments: list[Instrument], name: str, graph: TensorGraph) -> None:
    for instrument in instruments:
        instrument(name, lambda: print_graph(graph), 0.0)


def _sample(graph: TensorGraph, ranges: Ranges) -> Sample:
    """Windows spread over the calibration data."""
    picked = sample_rows(ranges.count, min(SAMPLE_WINDOWS, ranges.count))
    inputs = {name: rows[picked] for name, rows in ranges.rows.items()}
    return Sample(inputs, interpret.outputs(graph, inputs))


def _target(
    graph: TensorGraph, sample: Sample, ranges: Ranges, options: Options, costs: Costs
) -> Target:
    def accepts(noisy: dict[str, Vector]) -> bool:
        return judge(graph.outputs, sample.outputs, noisy, options.tolerance).accepted

    spans = {name: (ranges.input_low[name], ranges.input_high[name]) for name in ranges.input_low}
    return Target(
        engine=options.engine,
        security=options.security,
        batch=options.batch,
        search=_search(options.effort),
        labels=options.labels,
        ranges=spans,
        calibrated=ranges.calibrated,
        accepts=accepts,
        costs=costs,
    )


def _search(effort: Effort) -> Search:
    usual = Search()
    match effort:
        case "low":
            return Search(usual.beam // 2, usual.keep // 2, usual.effort // 2)
        case "high":
            return Search(usual.beam * 2, usual.keep * 2, usual.effort * 3)
        case _:
            return usual


def _reference(model: OnnxModel, ranges: Ranges) -> dict[str, Vector]:
    shapes = {i.name: i.shape for i in model.inputs}
    rows = {n: r.reshape(len(r), *shapes[n]) for n, r in ranges.rows.items()}
    return Reference(model).run(rows)
