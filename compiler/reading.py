"""Reading: the model and its calibration data, as a user gives them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx

from eer.runtime.arrays import LABEL_NAMES, read_arrays
from eer.runtime.errors import DataError, UsageError

from .frontend import OnnxModel, Roles, export_torch, load_onnx, trained_weights, with_public
from .options import Options


def read_model(source: Any, calibration: Any, options: Options) -> tuple[OnnxModel, Any]:
    """The model, its public inputs compiled in, and its calibration data: arrays by input name,
    or None where there is none.

    Raises UsageError for names in `options` that the model does not have, DataError for data that
    does not fit.
    """
    model = _load(source, calibration, options)
    data = _by_name(calibration, model)
    if options.encrypted:
        public = with_public(model.proto, options.encrypted, data, model.where)
        again = load_onnx(public, Roles(whole=bool(options.state)))
        model = replace(again, name=model.name, where=model.where)
        names = {i.name for i in model.inputs}
        data = None if data is None else {n: a for n, a in data.items() if n in names}
    _check_state(model, options)
    return model, data


def _load(source: Any, calibration: Any, options: Options) -> OnnxModel:
    roles = Roles(options.encrypt_weights, whole=bool(options.state))
    if isinstance(source, str | Path | bytes | onnx.ModelProto):
        return load_onnx(source, roles)
    if calibration is None or isinstance(calibration, str | Path):
        raise UsageError(
            "a PyTorch module is compiled from an example of its input",
            hint="give calibration=array of shape [windows, ...], or export it to ONNX yourself",
        )
    names = outputs = None
    if isinstance(calibration, Mapping):
        given = {n: a for n, a in calibration.items() if n not in options.encrypt_weights}
        rows = [np.asarray(a, np.float32) for a in given.values()]
        names = list(given)
        example: Any = tuple(a[0] if options.state else a[:2] for a in rows)
    else:
        example = np.asarray(calibration, np.float32)[0 if options.state else slice(2)]
    if options.state:
        outputs = list(options.state)
    proto = export_torch(
        source,
        example,
        input_names=names,
        output_names=outputs,
        whole=bool(options.state),
        keep=options.encrypt_weights,
    )
    return load_onnx(proto, roles)


def _by_name(calibration: Any, model: OnnxModel) -> dict[str, Any] | None:
    """Arrays [windows, *shape] by input name, without the labels that may lie beside them.

    Weights that are encrypted may be left out.
    """
    shapes = {i.name: i.shape for i in model.inputs}
    needed = [n for n in shapes if n not in trained_weights(model.proto)]
    if calibration is None:
        return None
    if isinstance(calibration, str | Path):
        return dict(read_arrays(calibration, needed, [shapes[n] for n in needed]))
    if isinstance(calibration, Mapping):
        arrays = {
            name: np.asarray(array)
            for name, array in calibration.items()
            if name in shapes or str(name).lower() not in LABEL_NAMES
        }
    elif len(needed) == 1:
        arrays = {needed[0]: np.asarray(calibration)}
    else:
        raise DataError(
            f"the model has {len(needed)} inputs: {', '.join(needed)}",
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


def _check_state(model: OnnxModel, options: Options) -> None:
    """State feeds an input of its own shape, one that has no batch axis."""
    outputs = [o.name for o in model.proto.graph.output]
    inputs = {i.name: i for i in model.inputs}
    for output, name in options.state.items():
        if output not in outputs:
            raise UsageError(
                f"the state is to come from an output '{output}' that is not there",
                where=model.where,
                hint=f"outputs here: {', '.join(outputs)}",
            )
        if name not in inputs or inputs[name].batched:
            problem = "has a batch axis" if name in inputs else "is not there"
            whole = [n for n, i in inputs.items() if not i.batched]
            raise UsageError(
                f"output '{output}' is to feed input '{name}', which {problem}",
                where=model.where,
                hint=f"encrypted inputs without a batch axis: {', '.join(whole) or 'none'}; export "
                "a step with fixed shapes, its windows on an axis of their own",
            )
