"""Read an ONNX file and check what can be checked before any node is looked at."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]
from onnx import TensorProto, defs, numpy_helper
from onnx.external_data_helper import ExternalDataInfo, load_external_data_for_model
from onnx.inliner import inline_local_functions

from eer.runtime.errors import FileError, ModelError

from .roles import WEIGHTS_KEY, WHOLE_KEY, Roles, apply_roles, noted

OLDEST_OPSET = 13
_FLOATS = {
    TensorProto.FLOAT: "float32",
    TensorProto.DOUBLE: "float64",
    TensorProto.FLOAT16: "float16",
    TensorProto.BFLOAT16: "bfloat16",
}
_EXPORT = "export again with torch.onnx.export(module, (example,), 'model.onnx', dynamo=True)"


@dataclass(frozen=True, slots=True)
class ModelInput:
    """One input: its shape without the batch axis, whether it has one, and its float type."""

    name: str
    shape: tuple[int, ...]
    batched: bool
    dtype: str


@dataclass(frozen=True, slots=True, eq=False)
class OnnxModel:
    """A checked ONNX model. `batch` is the number of windows it declares, None if symbolic.

    `proto` holds all its weights and no local functions. `where` names it in errors.
    """

    name: str
    where: str
    proto: onnx.ModelProto
    inputs: tuple[ModelInput, ...]
    batch: int | None

    @property
    def opset(self) -> int:
        return self.opset_of("")

    def opset_of(self, domain: str) -> int:
        same = {"", "ai.onnx"} if domain in ("", "ai.onnx") else {domain}
        return next((o.version for o in self.proto.opset_import if o.domain in same), 1)


def load_onnx(
    source: Path | str | bytes | onnx.ModelProto, roles: Roles | None = None
) -> OnnxModel:
    """Read a model from a file, its bytes, or a proto; `roles` are added to those it notes.

    Raises FileError where the file cannot be read, and ModelError where it is not an ONNX model
    of opset 13 or later, with floating-point inputs of fixed shape (but for one batch axis, which
    comes first) and finite weights.
    """
    proto, where, folder = _parsed(source)
    if not proto.ir_version or not proto.graph.node:
        raise ModelError("this is not an ONNX model, or an empty one", where=where, hint=_EXPORT)
    _check_opset(proto, where)
    _load_external(proto, where, folder)
    try:
        onnx.checker.check_model(proto)
        proto = inline_local_functions(proto)
    except (onnx.checker.ValidationError, RuntimeError) as error:
        reason = next(iter(str(error).splitlines()), "unknown")
        raise ModelError(
            f"this is not a valid ONNX model: {reason}", where=where, hint=_EXPORT
        ) from error
    _check_weights(proto.graph.initializer, where)
    proto = apply_roles(proto, roles or Roles(), where)
    inputs, batch = _inputs(proto, where)
    name = proto.graph.name or "model"
    if isinstance(source, Path | str):
        name = Path(source).stem
    return OnnxModel(name, where, proto, inputs, batch)


def _parsed(
    source: Path | str | bytes | onnx.ModelProto,
) -> tuple[onnx.ModelProto, str, Path | None]:
    """The model, its name in errors, and the folder of its external weights."""
    if isinstance(source, onnx.ModelProto):
        copy = onnx.ModelProto()
        copy.CopyFrom(source)
        return copy, source.graph.name or "model", None
    if isinstance(source, bytes):
        return _decoded(source, "model"), "model", None
    path = Path(source)
    try:
        content = path.read_bytes()
    except OSError as error:
        raise FileError(
            f"cannot read the model: {error.strerror}", where=str(path), hint="check the path"
        ) from error
    return _decoded(content, str(path)), str(path), path.parent


def _decoded(content: bytes, where: str) -> onnx.ModelProto:
    if content[:2] == b"PK" or content[:1] == b"\x80":
        raise ModelError(
            "this is a PyTorch checkpoint, not an ONNX model",
            where=where,
            hint="load it in Python and " + _EXPORT,
        )
    try:
        return onnx.load_model_from_string(content)
    except (DecodeError, ValueError) as error:
        raise ModelError(
            "this is not an ONNX model, or a damaged one", where=where, hint=_EXPORT
        ) from error


def _check_opset(proto: onnx.ModelProto, where: str) -> None:
    version = next((o.version for o in proto.opset_import if o.domain in ("", "ai.onnx")), None)
    if version is None or version < OLDEST_OPSET:
        raise ModelError(
            f"the model uses opset {version}; {OLDEST_OPSET} is the oldest supported",
            where=where,
            hint="export it again with torch.onnx.export(..., opset_version=18)",
        )
    if version > defs.onnx_opset_version():
        raise ModelError(
            f"the model uses opset {version}; the installed onnx package knows up to "
            f"{defs.onnx_opset_version()}",
            where=where,
            hint="pip install --upgrade onnx onnxruntime, or export with opset_version=18",
        )


def _load_external(proto: onnx.ModelProto, where: str, folder: Path | None) -> None:
    """Read weights that stand in files beside the model."""
    outside = [t for t in proto.graph.initializer if t.data_location == TensorProto.EXTERNAL]
    if not outside:
        return
    files = sorted({ExternalDataInfo(t).location for t in outside})
    listed = ", ".join(f"'{f}'" for f in files)
    if folder is None:
        raise ModelError(
            f"the weights are in other files ({listed})",
            where=where,
            hint="give the path of the .onnx file, not its content",
        )
    missing = [f for f in files if not (folder / f).is_file()]
    if missing:
        raise ModelError(
            f"the weights are in other files, of which these are missing: {', '.join(missing)}",
            where=where,
            hint="copy them beside the .onnx file, or export with external_data=False",
        )
    try:
        load_external_data_for_model(proto, str(folder))
    except (OSError, ValueError, onnx.checker.ValidationError) as error:
        raise ModelError(
            f"the weights in {listed} cannot be read: {error}",
            where=where,
            hint="export again with external_data=False",
        ) from error


def _check_weights(tensors: Iterable[TensorProto], where: str) -> None:
    """Refuse NaN and infinity, except in a lone number, which may be a bound."""
    broken = []
    for tensor in tensors:
        if tensor.data_type not in _FLOATS:
            continue
        array = numpy_helper.to_array(tensor).astype(np.float64)
        count = int((~np.isfinite(array)).sum())
        if count and array.size > 1:
            broken.append(f"'{tensor.name}' ({count} of {array.size})")
    if broken:
        raise ModelError(
            f"weights are NaN or infinite: {', '.join(broken)}",
            where=where,
            hint="the training diverged: lower the learning rate or clip gradients, train again",
        )


def _inputs(proto: onnx.ModelProto, where: str) -> tuple[tuple[ModelInput, ...], int | None]:
    """The inputs and the number of windows that they declare (None: symbolic)."""
    given = set(noted(proto, WEIGHTS_KEY))
    weights = {t.name for t in proto.graph.initializer} - given
    values = [v for v in proto.graph.input if v.name not in weights]
    if not values:
        raise ModelError("the model has no input", where=where, hint=_EXPORT)
    shapes = {v.name: _dims(v, where) for v in values}
    _check_dynamic(shapes, where)
    symbolic = {n for n, dims in shapes.items() if dims and isinstance(dims[0], str)}
    whole = bool(noted(proto, WHOLE_KEY)) and not symbolic
    ranked = [dims[0] for n, dims in shapes.items() if len(dims) > 1 and n not in given]
    declared = next((n for n in ranked if isinstance(n, int)), 1)
    batch = None if symbolic else 1 if whole else declared
    inputs = []
    for value in values:
        dims = shapes[value.name]
        batched = value.name in symbolic if symbolic else len(dims) > 1 and dims[0] == batch
        batched = batched and not whole and value.name not in given
        own = dims[1:] if batched else dims
        shape = tuple(n for n in own if isinstance(n, int))
        dtype = _FLOATS[value.type.tensor_type.elem_type]
        inputs.append(ModelInput(value.name, shape, batched, dtype))
    return tuple(inputs), batch


def _dims(value: onnx.ValueInfoProto, where: str) -> tuple[int | str, ...]:
    """Lengths of the axes; the name of an axis (or "?") where it is symbolic."""
    tensor = value.type.tensor_type
    if tensor.elem_type not in _FLOATS:
        kinds = {n: name.lower() for name, n in TensorProto.DataType.items()}
        raise ModelError(
            f"input '{value.name}' has type {kinds.get(tensor.elem_type, 'unknown')}; encrypted "
            "inputs are floating-point numbers",
            where=where,
            hint="do the look-up or the one-hot encoding before the model, and feed it floats",
        )
    if not tensor.HasField("shape"):
        raise ModelError(
            f"input '{value.name}' has no shape", where=where, hint="export with an example input"
        )
    dims: list[int | str] = []
    for dim in tensor.shape.dim:
        dims.append(dim.dim_value if dim.HasField("dim_value") else dim.dim_param or "?")
        if dim.HasField("dim_value") and dim.dim_value < 1:
            raise ModelError(
                f"input '{value.name}' has an axis of length {dim.dim_value}",
                where=where,
                hint="export with an example input of the real shape",
            )
    return tuple(dims)


def _check_dynamic(shapes: dict[str, tuple[int | str, ...]], where: str) -> None:
    """Only the first axis may be symbolic, and it must be the same for all inputs."""
    other = [
        f"axis {axis} of '{name}' ({length})"
        for name, dims in shapes.items()
        for axis, length in enumerate(dims)
        if axis > 0 and isinstance(length, str)
    ]
    if other:
        raise ModelError(
            f"not only the batch axis has a variable length: {', '.join(other)}",
            where=where,
            hint="export with fixed lengths: leave only axis 0 in dynamic_shapes (dynamic_axes)",
        )
    named = {n: dims[0] for n, dims in shapes.items() if dims and isinstance(dims[0], str)}
    if len(set(named.values())) > 1:
        listed = ", ".join(f"{axis} of '{name}'" for name, axis in named.items())
        raise ModelError(
            f"several axes could be the batch: {listed}",
            where=where,
            hint="give axis 0 of all inputs the same name, or fix it with a batch of 1",
        )
