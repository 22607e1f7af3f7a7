"""Shapes behind a node that cannot be compiled, so that the nodes after it can be checked too."""

from __future__ import annotations

import onnx
from onnx import shape_inference

from .load import OnnxModel
from .value import Batch, Value

_BATCH = "eer_batch"


def inferred_shapes(model: OnnxModel) -> dict[str, Value]:
    """Tensors whose shape ONNX's own inference finds, as values of node 0.

    The batch axis is followed by name; tensors in which it cannot be are left out.
    """
    copy = onnx.ModelProto()
    copy.CopyFrom(model.proto)
    batched = {spec.name for spec in model.inputs if spec.batched}
    for value in copy.graph.input:
        if value.name in batched:
            value.type.tensor_type.shape.dim[0].dim_param = _BATCH
    del copy.graph.value_info[:]
    for value in copy.graph.output:
        value.type.tensor_type.ClearField("shape")
    try:
        graph = shape_inference.infer_shapes(copy, data_prop=True).graph
    # The shapes only serve to find further errors; the first one is reported in any case.
    except Exception:
        return {}
    found = {}
    for value in (*graph.value_info, *graph.output):
        known = _value(value) if value.type.tensor_type.HasField("shape") else None
        if known is not None:
            found[value.name] = known
    return found


def _value(info: onnx.ValueInfoProto) -> Value | None:
    shape, batch = [], None
    for axis, dim in enumerate(info.type.tensor_type.shape.dim):
        if dim.dim_param == _BATCH and batch is None:
            batch = Batch(axis)
            shape.append(1)
        elif dim.HasField("dim_value") and dim.dim_value > 0:
            shape.append(dim.dim_value)
        else:
            return None
    return Value(0, tuple(shape), batch)
