"""One ONNX node on known arrays, by ONNX's own reference evaluator: folding and relabelling."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx
from onnx import helper

from .problems import Unsupported
from .value import Array


def evaluate_node(
    node: onnx.NodeProto, opset: int, arrays: Sequence[Array | None]
) -> tuple[Array, ...]:
    """The node's outputs; `None` stands for an optional input that is left out."""
    # Slow to import, and seldom needed.
    from onnx.reference import ReferenceEvaluator

    copy = onnx.NodeProto()
    copy.CopyFrom(node)
    names = [f"i{k}" if a is not None else "" for k, a in enumerate(arrays)]
    outputs = [f"o{k}" if name else "" for k, name in enumerate(node.output)]
    copy.ClearField("input")
    copy.ClearField("output")
    copy.input.extend(names)
    copy.output.extend(outputs)
    untyped = onnx.TypeProto()
    graph = helper.make_graph(
        [copy],
        "node",
        [helper.make_value_info(n, untyped) for n in names if n],
        [helper.make_value_info(o, untyped) for o in outputs if o],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid(node.domain, opset)])
    feeds = {n: a for n, a in zip(names, arrays, strict=True) if n}
    try:
        with np.errstate(all="ignore"):
            results = iter(ReferenceEvaluator(model).run(None, feeds))
    # Whatever the evaluator stumbles over is a property of the user's node.
    except Exception as error:
        first = (str(error).splitlines() or [type(error).__name__])[0]
        raise Unsupported(
            f"its shapes or arguments do not fit together ({first})",
            "check the model with onnxruntime; if a batch size is written into it, export with a "
            "symbolic batch axis or with a batch of 1",
        ) from error
    return tuple(np.asarray(next(results)) if o else np.zeros(0) for o in outputs)
