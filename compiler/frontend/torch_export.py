"""PyTorch to ONNX, quietly: the module is exported in evaluation mode and left as it was."""

from __future__ import annotations

import gc
import logging
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import onnx

from eer.runtime.errors import EerError, ModelError, UsageError

from .importer import import_graph
from .load import load_onnx
from .roles import Roles
from .torch_trace import trace

_LOGGERS = ("torch.onnx", "torch.export", "onnxscript", "onnx_ir", "torch._dynamo")
_MISSING = "pip install 'eer[torch]', or export the model elsewhere and give the .onnx file"


@contextmanager
def _undisturbed() -> Iterator[None]:
    """No search for garbage: the exporter makes and imports much that lives on."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


@_undisturbed()
def export_torch(
    module: Any,
    example: Any,
    *,
    input_names: Sequence[str] | None = None,
    output_names: Sequence[str] | None = None,
    opset_version: int | None = None,
    whole: bool = False,
    keep: Sequence[str] = (),
) -> onnx.ModelProto:
    """Export a torch.nn.Module to ONNX.

    `example` is one input or a tuple of them, tensors or arrays of shape [batch, ...]; only
    shapes and types matter. The batch axis becomes symbolic where the module allows it, and is 1
    where it does not. With `whole`, `example` is exported as it is: no axis is the batch. `keep`
    are names of parameters that must be weights of the same names in the ONNX model.

    The module is traced, which takes milliseconds, and the trace is taken if it can be compiled
    and was seen to compute what the module does (ADR 24); otherwise torch.export has the last
    word, which takes seconds and names the line of code of what it cannot do. Raises ModelError
    with its reason where it fails.
    """
    torch = _torch()
    if not isinstance(module, torch.nn.Module):
        raise UsageError(
            f"expected a torch.nn.Module, got {type(module).__name__}",
            hint="give the module itself, an .onnx path, or an ONNX model",
        )
    given = example if isinstance(example, tuple | list) else (example,)
    tensors = tuple(t if torch.is_tensor(t) else torch.as_tensor(t) for t in given)
    if not tensors:
        raise UsageError("no example input was given", hint="give it the shape [batch, ...]")
    if not whole and any(t.ndim < 1 or len(t) < 1 for t in tensors):
        raise UsageError(
            "the example input has no batch axis", hint="give it the shape [batch, ...]"
        )
    if {p.dtype for p in module.parameters()} == {torch.float64}:
        # Data is in single precision: a module in double precision would not take it.
        tensors = tuple(t.double() if t.is_floating_point() else t for t in tensors)
    names = {"input_names": input_names, "output_names": output_names}
    options = {"opset_version": opset_version, **names}
    with _quiet(), _evaluating(module):
        proto = trace(module, tensors, whole, options)
        if proto is None or not _compilable(proto, whole, keep):
            proto = _exported(module, tensors, whole, options)
    proto.graph.name = type(module).__name__
    return proto


def _compilable(proto: onnx.ModelProto, whole: bool, keep: Sequence[str]) -> bool:
    weights = {t.name for t in proto.graph.initializer}
    if not weights.issuperset(keep):
        return False
    try:
        import_graph(load_onnx(proto, Roles(whole=whole)))
    except EerError:
        return False
    return True


def _exported(
    module: Any, tensors: tuple[Any, ...], whole: bool, options: dict[str, Any]
) -> onnx.ModelProto:
    """By torch.export, for several windows if it can be, else for one."""
    import torch

    try:
        import onnxscript  # noqa: F401
    except ImportError as error:
        raise UsageError(
            "onnxscript, which torch.onnx.export needs, is not installed", hint=_MISSING
        ) from error
    options = options | {"verbose": False, "dynamo": True}
    if whole:
        return _last(module, tensors, options)
    # torch.export takes an axis of length 1 in the example for a constant, so there are two.
    two = tuple(t[:1].expand(2, *t.shape[1:]).contiguous() for t in tensors)
    shapes = tuple({0: torch.export.Dim("batch")} for _ in two)
    try:
        return _proto(torch.onnx.export(module, two, dynamic_shapes=shapes, **options))
    # The exporter raises many kinds of errors; with a batch of 1 it may yet succeed.
    except Exception:
        return _last(module, tuple(t[:1].contiguous() for t in tensors), options)


def _last(module: Any, example: tuple[Any, ...], options: dict[str, Any]) -> onnx.ModelProto:
    import torch

    try:
        return _proto(torch.onnx.export(module, example, **options))
    except Exception as error:
        raise ModelError(
            f"torch.onnx.export failed: {_cause(error)}",
            where=type(module).__name__,
            hint="the forward method must not branch on values; try torch.export.export(module, "
            "(example,)) for the full message",
        ) from error


def _cause(error: BaseException) -> str:
    """The first line of the innermost error: the outer ones are pages of advice."""
    while error.__cause__ is not None:
        error = error.__cause__
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__


def _proto(program: Any) -> onnx.ModelProto:
    proto = program.model_proto
    if not isinstance(proto, onnx.ModelProto):
        raise TypeError("the exporter returns an ONNX model")
    return proto


def _torch() -> Any:
    try:
        import torch
    except ImportError as error:
        raise UsageError("PyTorch is not installed", hint=_MISSING) from error
    return torch


@contextmanager
def _evaluating(module: Any) -> Iterator[None]:
    """Evaluation mode for the time of the export, each part's own mode afterwards."""
    before = [(part, part.training) for part in module.modules()]
    module.eval()
    try:
        yield
    finally:
        for part, training in before:
            part.training = training


@contextmanager
def _quiet() -> Iterator[None]:
    """No warnings and no log lines: they are about the exporter, not about the user's model."""
    loggers = [logging.getLogger(name) for name in _LOGGERS]
    levels = [logger.level for logger in loggers]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for logger in loggers:
            logger.setLevel(logging.CRITICAL)
        try:
            yield
        finally:
            for logger, level in zip(loggers, levels, strict=True):
                logger.setLevel(level)
