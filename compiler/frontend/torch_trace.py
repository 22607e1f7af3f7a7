"""A PyTorch module by tracing: fast, and taken only where it was seen to be the module."""

from __future__ import annotations

import io
import warnings
from inspect import Parameter, signature
from typing import Any

import numpy as np
import onnx

from .load import load_onnx
from .reference import Reference
from .roles import Roles

PROBES = 3
"""Windows that module and trace are compared on; another number of them than were traced."""

RELATIVE, ABSOLUTE = 1e-3, 1e-5
"""How far single precision may take them apart: of a value, and of the largest one."""


def trace(
    module: Any, tensors: tuple[Any, ...], whole: bool, options: dict[str, Any]
) -> onnx.ModelProto | None:
    """The module as PyTorch's TorchScript exporter writes it, or None where that cannot be
    trusted: it fails, a trace would not hold for other values (the tracer says so), or onnxruntime
    does not compute from it what the module does.

    `options` are the exporter's; names that they leave open are those of the forward method's
    arguments, and "output", or "output_0", "output_1" and so on. For the rest see export_torch.
    """
    import torch

    if whole:
        traced = probes = tensors
    else:
        traced = tuple(t[:1].expand(2, *t.shape[1:]).contiguous() for t in tensors)
        probes = tuple(_varied(torch, t[:1].expand(PROBES, *t.shape[1:])) for t in tensors)
    inputs = options["input_names"] or _arguments(module, len(tensors))
    if inputs is None:
        return None
    written = io.BytesIO()
    # A module may raise anything for inputs that it is not made for, the exporter for the module.
    try:
        with warnings.catch_warnings(record=True) as said, torch.no_grad():
            warnings.simplefilter("always")
            wanted = module(*probes)
            wanted = [wanted] if torch.is_tensor(wanted) else list(wanted)
            axes = {name: {0: "batch"} for name in inputs}
            torch.onnx.export(
                module,
                traced,
                written,  # type: ignore[arg-type]  # it takes a file, as its documentation says
                dynamo=False,
                dynamic_axes=None if whole else axes,
                **options | {"input_names": inputs, "output_names": _outputs(options, wanted)},
            )
        warning = torch.jit.TracerWarning  # type: ignore[attr-defined]  # public all the same
        if any(issubclass(w.category, warning) for w in said):
            return None
        proto = onnx.load_from_string(written.getvalue())
        windows = [t.numpy()[None] if whole else t.numpy() for t in (*probes, *wanted)]
        reference = Reference(load_onnx(proto, Roles(whole=whole)))
        found = reference.run(dict(zip(inputs, windows[: len(probes)], strict=True)))
        right = zip(found.values(), windows[len(probes) :], strict=True)
        alike = all(_alike(y, w) for y, w in right)
    except Exception:
        return None
    return proto if alike else None


def _arguments(module: Any, count: int) -> list[str] | None:
    """The names of the forward method's first arguments, or None where some have no name. Those of
    a TorchScript module are lost: they are "input", or "input_0" and so on."""
    kinds = (Parameter.POSITIONAL_ONLY, Parameter.POSITIONAL_OR_KEYWORD)
    try:
        arguments = signature(module.forward).parameters
    except ValueError:
        return _numbered("input", count)
    named = [n for n, p in arguments.items() if p.kind in kinds]
    return named[:count] if len(named) >= count else None


def _outputs(options: dict[str, Any], wanted: list[Any]) -> list[str]:
    if options["output_names"]:
        return list(options["output_names"])
    return _numbered("output", len(wanted))


def _numbered(name: str, count: int) -> list[str]:
    return [name] if count == 1 else [f"{name}_{k}" for k in range(count)]


def _varied(torch: Any, rows: Any) -> Any:
    """Rows that differ, so that no output is right by chance."""
    if not rows.is_floating_point():
        return rows.contiguous()
    noise = torch.randn(rows.shape, generator=torch.Generator().manual_seed(0))
    return rows + noise.to(rows.dtype)


def _alike(found: Any, wanted: Any) -> bool:
    if found.shape != wanted.shape:
        return False
    largest = float(np.abs(wanted).max(initial=0.0, where=np.isfinite(wanted)))
    return np.allclose(found, wanted, RELATIVE, ABSOLUTE * max(largest, 1e-3), equal_nan=True)
