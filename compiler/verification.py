"""Verification: a compiled model on real data, encrypted, held against the original."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from eer.runtime.arrays import read_arrays
from eer.runtime.bundle import Bundle, load_model
from eer.runtime.engine import Engine
from eer.runtime.engines import open_engine
from eer.runtime.errors import ArtifactError, DataError, EerWarning, ParameterError, UsageError
from eer.runtime.fields import Json
from eer.runtime.inputs import check_inputs
from eer.runtime.model import ClientModel

from .agreement import Agreement, compare, post_process
from .backend.simulate import simulate
from .compiled import CompiledModel, with_state_repeated
from .encrypted_run import Latency, Progress, run_encrypted
from .foretold import compare_predictions
from .frontend import OnnxModel, Reference, load_onnx, trained_weights
from .ir import interpret
from .ir.tensor import Vector
from .labels import Accuracy, Truth, read_labels
from .recorded import rebuild


class VerifyWarning(EerWarning):
    """Something about the data makes a verification say less than it seems to."""


@dataclass(frozen=True, slots=True, eq=False)
class Verification:
    """What an encrypted run over a data set showed.

    total           the original in onnxruntime against the decrypted answers
    approximation   the original against the polynomial model
    packing         the polynomial model against the compiled program in exact slots, None where
                    model.eer does not tell the polynomial model apart from the program
    noise           the compiled program in exact slots against the decrypted answers
    windows_per_second  in full messages, encryption and decryption included
    predicted       predictions of the compilation against what was measured, None on an engine
                    other than the one that it was compiled for
    refused         windows that a client would refuse as outside the calibrated range
    log_qp          as read back from the engine
    outputs         decrypted answers by name [windows, ...]
    """

    model: str
    model_id: str
    engine: str
    engine_version: str
    ring_dimension: int
    log_qp: float
    security_bits: int
    batch: int
    windows: int
    total: Agreement
    approximation: Agreement
    packing: Agreement | None
    noise: Agreement
    latency: Latency
    windows_per_second: float
    keygen_seconds: float
    bytes: Mapping[str, int]
    predicted: Json | None
    refused: int
    accuracy: Accuracy | None
    outputs: Mapping[str, Vector] = field(repr=False)

    def to_json(self) -> Json:
        """One flat object of what scripts ask for first, and objects for each step."""
        total = self.total.to_json()
        return {
            "model": self.model,
            "model_id": self.model_id,
            "windows": self.windows,
            "agreement": total["agreement"],
            "class_flips": total["class_flips"],
            "max_error": total["max_error"],
            "precision_bits": total["precision_bits"],
            "latency_ms": self.latency.milliseconds,
            "cpu_ms": self.latency.cpu["total"],
            "engine": self.engine,
            "engine_version": self.engine_version,
            "ring_dimension": self.ring_dimension,
            "log_qp": self.log_qp,
            "security_bits": self.security_bits,
            "batch": self.batch,
            "windows_per_second": self.windows_per_second,
            "keygen_seconds": self.keygen_seconds,
            "stages_ms": dict(self.latency.wall),
            "stages_cpu_ms": dict(self.latency.cpu),
            "approximation": self.approximation.to_json(),
            "packing": None if self.packing is None else self.packing.to_json(),
            "noise": self.noise.to_json(),
            "bytes": dict(self.bytes),
            "predicted": self.predicted,
            "refused_windows": self.refused,
            "accuracy": None if self.accuracy is None else self.accuracy.to_json(),
        }


def verify(
    model: Bundle | CompiledModel | str | Path,
    data: Any,
    engine: str | None = None,
    windows: int | None = None,
    *,
    labels: Any = None,
    workers: int = 1,
    progress: Progress = lambda done, total: None,
) -> Verification:
    """Run a compiled model, encrypted, over `data` and compare it with the original at each step.

    `data` is an array [windows, ...], a mapping of them by input name, or the path of a data file,
    whose labels, if it has any, count as `labels`. `engine` defaults to the one that the model was
    compiled for; `windows` takes as many of them only, spread evenly. A real client and a real
    server run in this process, as many windows to a message as fit; with several `workers` a pool
    of processes takes what is not timed. Raises ArtifactError where `model.eer` was saved without
    the original.
    """
    bundle = _bundle(model)
    original = _original(bundle, model)
    client = bundle.client
    if isinstance(data, str | Path):
        path = data
        asked = [s for s in client.inputs if s.name not in trained_weights(original.proto)]
        data = read_arrays(path, [s.name for s in asked], [s.shape for s in asked])
        labels = read_labels(path) if labels is None else labels
    weights = trained_weights(original.proto)
    if weights and not isinstance(data, Mapping):
        data = {s.name: data for s in client.inputs if s.name not in weights}
    if isinstance(data, Mapping):
        data = {**weights, **data}
    flat = with_state_repeated(client.inputs, check_inputs(data, client.inputs, "off"))
    available = len(next(iter(flat.values())))
    if labels is not None and len(labels) != available:
        raise DataError(f"there are {len(labels)} labels for {available} windows")
    picked = _picked(available, windows)
    rows = {name: a[picked] for name, a in flat.items()}
    truth = None if labels is None else _truth(np.asarray(labels), picked, client)
    opened = _open(client, engine)

    count, specs = len(picked), client.outputs
    shapes = {s.name: s.shape for s in client.inputs}
    shaped = {n: a.reshape(count, *shapes[n]) for n, a in rows.items()}
    reference = {n: np.asarray(v, np.float64) for n, v in Reference(original).run(shaped).items()}
    slots = post_process(simulate(client, bundle.server.program, rows).outputs, specs, count)
    graph = rebuild(original, bundle.report)
    polynomial = slots
    if graph is not None:
        polynomial = post_process(interpret.outputs(graph, rows), specs, count)
    run = run_encrypted(bundle, opened, shaped, progress, workers)

    encrypted = opened.capabilities.encrypted
    return Verification(
        model=client.name,
        model_id=client.model_id,
        engine=opened.name,
        engine_version=opened.version,
        ring_dimension=client.params.ring_dimension,
        log_qp=opened.log_qp,
        security_bits=client.params.security_bits if encrypted else 0,
        batch=client.batch,
        windows=count,
        total=compare(reference, run.outputs, specs),
        approximation=compare(reference, polynomial, specs),
        packing=None if graph is None else compare(polynomial, slots, specs),
        noise=compare(slots, run.outputs, specs),
        latency=run.latency,
        windows_per_second=run.windows_per_second,
        keygen_seconds=run.keygen_seconds,
        bytes=run.bytes,
        predicted=compare_predictions(
            bundle.report,
            opened.name,
            run.latency.cpu,
            run.latency.wall,
            run.bytes,
            run.server_peak,
        ),
        refused=_refused(client, shaped),
        accuracy=None
        if truth is None
        else Accuracy(truth.share(reference), truth.share(polynomial), truth.share(run.outputs)),
        outputs=run.outputs,
    )


def _bundle(model: Bundle | CompiledModel | str | Path) -> Bundle:
    match model:
        case CompiledModel():
            return model.bundle()
        case Bundle():
            return model
        case _:
            return load_model(model)


def _original(bundle: Bundle, model: Bundle | CompiledModel | str | Path) -> OnnxModel:
    if bundle.onnx is None:
        raise ArtifactError(
            "the model file does not hold the ONNX original, which verification compares with",
            where=str(model) if isinstance(model, str | Path) else bundle.client.name,
            hint="verify the model.eer that eer-compile wrote, not one that was saved without it",
        )
    return load_onnx(bundle.onnx)


def _open(client: ClientModel, name: str | None) -> Engine:
    try:
        engine = open_engine(client.params, name)
    except ParameterError as problem:
        if name is None:
            raise
        raise UsageError(
            f"the model was compiled for {client.params.engine}, and {name} has other parameters",
            where=f"model '{client.name}'",
            hint=f"compile it again with --engine {name}",
        ) from problem
    if not engine.capabilities.values:
        raise UsageError(
            f"the engine '{engine.name}' computes no values, so there is nothing to compare",
            hint="use seal, desilo or clear; eer explain shows what dry counts",
        )
    return engine


def _truth(labels: Any, picked: Any, client: ClientModel) -> Truth | None:
    try:
        truth = Truth.of(labels, client.outputs)
        return None if truth is None else truth.of_windows(picked)
    except DataError as problem:
        warnings.warn(
            f"labels were left out: {problem.reason} ({problem.hint})", VerifyWarning, stacklevel=3
        )
        return None


def _picked(count: int, windows: int | None) -> Any:
    if windows is not None and windows < 1:
        raise UsageError(f"{windows} windows were asked for", hint="ask for one at least")
    return np.linspace(0, count - 1, min(count, windows or count)).astype(int)


def _refused(client: ClientModel, arrays: Mapping[str, Vector]) -> int:
    """Windows outside the calibrated range, by the client's own rule."""
    count = len(next(iter(arrays.values())))
    refused = 0
    for k in range(count):
        try:
            check_inputs({n: a[k : k + 1] for n, a in arrays.items()}, client.inputs)
        except DataError:
            refused += 1
    if refused:
        warnings.warn(
            f"{refused} of {count} windows lie outside the calibrated range, where polynomials "
            "are not to be trusted; a client would refuse them",
            VerifyWarning,
            stacklevel=3,
        )
    return refused
