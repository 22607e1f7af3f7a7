"""The polynomial model as it was compiled, rebuilt from what model.eer holds.

The report keeps the polynomial that took the place of each activation. Importing the ONNX original
again and merging it as the driver does gives the graph that these belong to, so the tensor
interpreter can be asked for reference values long after the compilation.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import numpy as np

from eer.runtime.errors import EerError
from eer.runtime.fields import Json

from .frontend import OnnxModel, import_graph
from .ir.tensor import Elementwise, Node, Polynomial, TensorGraph
from .passes.merge_affine import merge_affine


def record_polynomials(graph: TensorGraph, numbers: Iterable[int]) -> list[Json]:
    """The polynomials of these nodes; elements that share one have the same index."""
    found = []
    for number in numbers:
        op = graph.nodes[number].op
        assert isinstance(op, Polynomial)
        columns = np.vstack((op.chebyshev, op.center, op.radius))
        distinct, index = np.unique(columns, axis=1, return_inverse=True)
        found.append(
            {
                "node": number,
                "function": op.name,
                "size": columns.shape[1],
                "index": [] if distinct.shape[1] == 1 else index.reshape(-1).tolist(),
                "chebyshev": distinct[:-2].tolist(),
                "center": distinct[-2].tolist(),
                "radius": distinct[-1].tolist(),
            }
        )
    return found


def rebuild(model: OnnxModel, report: Json) -> TensorGraph | None:
    """The polynomial model of a report, or None where the report does not fit the model.

    It may not fit where another version of eer, which merges layers otherwise, wrote it.
    """
    try:
        graph = merge_affine(import_graph(model))
        records = {int(r["node"]): r for r in report["polynomials"]}
        nodes = tuple(_replaced(n, records.get(k)) for k, n in enumerate(graph.nodes))
    except (EerError, KeyError, TypeError, ValueError, IndexError):
        return None
    if any(isinstance(n.op, Elementwise) for n in nodes) or len(records) > len(nodes):
        return None
    return replace(graph, nodes=nodes)


def _replaced(node: Node, record: Json | None) -> Node:
    if record is None:
        return node
    if not isinstance(node.op, Elementwise) or node.size != record["size"]:
        raise ValueError("the report is of another graph")
    index = np.asarray(record["index"] or [0] * node.size, dtype=np.int64)
    chebyshev = np.asarray(record["chebyshev"], dtype=np.float64)[:, index]
    center = np.asarray(record["center"], dtype=np.float64)[index]
    radius = np.asarray(record["radius"], dtype=np.float64)[index]
    if chebyshev.shape[1] != node.size:
        raise ValueError("the report is of another graph")
    return replace(node, op=Polynomial(chebyshev, center, radius, str(record["function"])))
