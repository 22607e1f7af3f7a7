"""The driver: the story of a compilation, top to bottom."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from time import perf_counter
from typing import Any

from eer.runtime.engines import family_of
from eer.runtime.errors import EerWarning, UsageError
from eer.runtime.fields import Json

from .backend.absorb import absorb
from .backend.alternatives import lower_alternatives
from .backend.assemble import Sample, Target
from .backend.planner import Search
from .batch import BatchTrial, choose_batch
from .compiled import CompiledModel
from .cost import Costs
from .frontend import OnnxModel, Reference, import_graph, trained_weights
from .ir import interpret
from .ir.printer import print_graph, print_program
from .ir.stages import Stage, check
from .ir.tensor import Output, TensorGraph, Vector
from .options import Effort, Options
from .passes.activations import ActivationReport, replace_activations
from .passes.calibrate import Ranges, calibrate, with_spans
from .passes.merge_affine import merge_affine
from .passes.noise_budget import NoiseBudget
from .passes.share_intervals import share_intervals
from .pipeline import DumpIr, Instrument, Pass, run_passes
from .reading import read_model
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
    model, data = read_model(source, calibration, options)
    imported = _with_state(import_graph(model), options)
    _check_labels(imported.outputs, options.labels)
    check(imported, Stage.IMPORTED, "import")
    _show(instruments, "import", imported)

    clock("merging linear layers")
    merged = run_passes(
        imported, (Pass("merge-affine", Stage.IMPORTED, merge_affine),), instruments
    )

    clock("fitting polynomials")
    ranges = calibrate(merged, data, options, weights=trained_weights(model.proto))
    merged = with_spans(merged, ranges)
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
    absorbed = run_passes(polynomial, (Pass("absorb", Stage.SCHEDULED, absorb),), instruments)
    approximate = interpret.outputs(polynomial, ranges.rows)
    sample = _sample(approximate, ranges)
    costs = choose(options.costs, options.engine)
    own = frozenset((*trained_weights(model.proto), *options.state.values()))
    budget = NoiseBudget(polynomial.outputs, ranges.outputs, approximate, options.tolerance)
    target = _target(budget, sample, ranges, options, costs, own)
    trials: tuple[BatchTrial, ...] = ()
    if options.batch == "auto":
        (scheduled, lowered), trials = choose_batch(
            lambda t: lower_alternatives(absorbed, sample, t), target
        )
    else:
        scheduled, lowered = lower_alternatives(absorbed, sample, target)
    check(scheduled, Stage.SCHEDULED, "contract")
    _show(instruments, "contract", scheduled)
    for instrument in instruments:
        instrument("program", lambda: print_program(lowered.server.program), 0.0)

    clock("measuring accuracy")
    report = build_report(
        approximate=approximate,
        scheduled=scheduled,
        lowered=lowered,
        ranges=ranges,
        sample=sample.inputs,
        activations=activations[0],
        polynomials=polynomials,
        reference=_reference(model, ranges),
        options=options,
        costs=costs,
        trials=trials,
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


def _with_state(graph: TensorGraph, options: Options) -> TensorGraph:
    outputs = tuple(replace(o, state=options.state.get(o.name, "")) for o in graph.outputs)
    return replace(graph, outputs=outputs)


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


def _sample(outputs: dict[str, Vector], ranges: Ranges) -> Sample:
    """Windows spread over the calibration data, of whose `outputs` those are kept."""
    picked = sample_rows(ranges.count, min(SAMPLE_WINDOWS, ranges.count))
    inputs = {name: rows[picked] for name, rows in ranges.rows.items()}
    return Sample(inputs, {name: values[picked] for name, values in outputs.items()})


def _target(
    budget: NoiseBudget,
    sample: Sample,
    ranges: Ranges,
    options: Options,
    costs: Costs,
    state: frozenset[str],
) -> Target:
    spans = {name: (ranges.input_low[name], ranges.input_high[name]) for name in ranges.input_low}
    return Target(
        engine=family_of(options.engine),
        security=options.security,
        batch=1 if options.batch == "auto" else options.batch,
        search=_search(options.effort),
        labels=options.labels,
        ranges=spans,
        calibrated=ranges.calibrated,
        accepts=lambda noisy: budget.accepts(sample.outputs, noisy),
        costs=costs,
        state=state,
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
