"""PyTorch to ONNX, quietly: the module is exported in evaluation mode and left as it was."""

from __future__ import annotations

import gc
import logging
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import onnx

from eer.runtime.errors import ModelError, UsageError

_LOGGERS = ("torch.onnx", "torch.export", "onnxscript", "onnx_ir", "torch._dynamo")


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
) -> onnx.ModelProto:
    """Export a torch.nn.Module by `torch.onnx.export(dynamo=True)`.

    `example` is one input or a tuple of them, tensors or arrays of shape [batch, ...]; only
    shapes and types matter. The batch axis becomes symbolic where the module allows it, and is 1
    where it does not. With `whole`, `example` is exported as it is: no axis is the batch.
    Raises ModelError with the exporter's reason where it fails.
    """
    torch = _torch()
    if not isinstance(module, torch.nn.Module):
        raise UsageError(
            f"expected a torch.nn.Module, got {type(module).__name__}",
            hint="give the module itself, an .onnx path, or an ONNX model",
        )
    given = example if isinstance(example, tuple | list) else (example,)
    tensors = [t if torch.is_tensor(t) else torch.as_tensor(t) for t in given]
    if not whole and any(t.ndim < 1 or len(t) < 1 for t in tensors):
        raise UsageError(
            "the example input has no batch axis", hint="give it the shape [batch, ...]"
        )
    options: dict[str, Any] = {"opset_version": opset_version, "verbose": False, "dynamo": True}
    options |= {"input_names": input_names, "output_names": output_names}
    if not tensors:
        raise UsageError("no example input was given", hint="give it the shape [batch, ...]")
    if whole:
        with _quiet(), _evaluating(module):
            proto = _proto(_exported(torch, module, tuple(tensors), options))
        proto.graph.name = type(module).__name__
        return proto
    with _quiet(), _evaluating(module):
        # torch.export takes an axis of length 1 in the example for a constant, so there are two.
        two = tuple(t[:1].expand(2, *t.shape[1:]).contiguous() for t in tensors)
        shapes = tuple({0: torch.export.Dim("batch")} for _ in two)
        try:
            program = torch.onnx.export(module, two, dynamic_shapes=shapes, **options)
        # The exporter raises many kinds of errors; with a batch of 1 it may yet succeed.
        except Exception:
            one = tuple(t[:1].contiguous() for t in tensors)
            program = _exported(torch, module, one, options)
        proto = _proto(program)
    proto.graph.name = type(module).__name__
    return proto


def _exported(torch: Any, module: Any, example: tuple[Any, ...], options: dict[str, Any]) -> Any:
    try:
        return torch.onnx.export(module, example, **options)
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
    """torch, once it is sure that its exporter can run."""
    missing = "pip install 'eer[torch]', or export the model elsewhere and give the .onnx file"
    try:
        import torch
    except ImportError as error:
        raise UsageError("PyTorch is not installed", hint=missing) from error
    try:
        import onnxscript  # noqa: F401
    except ImportError as error:
        raise UsageError(
            "onnxscript, which torch.onnx.export needs, is not installed", hint=missing
        ) from error
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
