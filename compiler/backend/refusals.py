"""What cannot be lowered, and what to change."""

from __future__ import annotations

from eer.runtime.errors import ModelError, ParameterError

from ..ir.tensor import Affine, TensorGraph
from .assemble import Target
from .levels import deepest_path, levels_used
from .parameters import deepest


def refuse_constant_outputs(graph: TensorGraph) -> None:
    for output in graph.outputs:
        node = graph.nodes[output.node]
        if isinstance(node.op, Affine) and not any(m.data.any() for m in node.op.matrices):
            raise ModelError(
                f"output '{output.name}' is the same for every input",
                where=str(node.origin),
                hint="leave it out of the model, or look for weights that became zero",
            )


def batch_too_large(target: Target, slots: int) -> ParameterError:
    return ParameterError(
        f"a batch of {target.batch} windows does not fit: a ciphertext has {slots} slots on the "
        f"largest ring that was tried with engine '{target.engine}'",
        hint="compile with a smaller batch, or with --batch auto",
    )


def too_deep(graph: TensorGraph, depth: int, engine: str) -> ParameterError:
    """Name the nodes on the longest path and what each costs."""
    lines = []
    for number in deepest_path(graph):
        node = graph.nodes[number]
        if (cost := levels_used(node)) > 0:
            kind = type(node.op).__name__.lower().replace("core", "activation")
            lines.append(f"{cost} for {kind} {node.origin}")
    limit = deepest(engine)
    fits = (
        f"the deepest that engine '{engine}' can go is about {limit} levels"
        if depth > limit
        else "the noise at this depth is above the tolerance on every ring that is large enough"
    )
    return ParameterError(
        f"the model needs {depth} levels ({'; '.join(lines)}), and {fits}",
        where=", ".join(str(graph.nodes[n].origin) for n in deepest_path(graph)[:1]) or None,
        hint="remove layers, use activations of lower degree (--degree NODE=2, or train with "
        "eer.compiler.training), or raise --tolerance",
    )
