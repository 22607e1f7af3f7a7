"""ONNX to the tensor graph: one walk over the nodes, that folds, translates and collects errors."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
import onnx
from onnx import numpy_helper

from eer.runtime.errors import InternalError, ModelError

from ..ir.tensor import Output, TensorGraph
from .builder import Builder
from .call import Call, Condition
from .evaluate import evaluate_node
from .fuse import fuse_elementwise
from .inference import inferred_shapes
from .load import OnnxModel
from .op_table import FINAL_ONLY, HANDLERS, PASSIVE, RANDOM, UNKNOWN, UNSUPPORTED
from .problems import MIXES_WINDOWS, Problem, Unsupported, listing
from .source import node_name, node_origin
from .univariate import Univariate
from .value import Array, Batch, Constant, Deferred, Missing, Operand, Value

# A symbolic batch is imported as this many windows; constants are checked against another number.
PRETENDED, OTHER = 2, 3


def import_graph(model: OnnxModel) -> TensorGraph:
    """The tensor graph of one window of the model.

    Elementwise expressions of one value are fused, constants folded, and a final softmax, sigmoid
    or argmax is left to the client (`Output.post`; `Output.axis` counts in `Output.shape`, which
    has no batch axis, and is -1 where there is no axis). Every node that cannot be compiled is
    listed in one ModelError.
    """
    walk = _Walk(model)
    walk.run()
    nodes = tuple(walk.build.nodes)
    if walk.problems:
        # Step functions are judged by where they lead to, which is not known here.
        early = [c for c in walk.conditions if c.kind != "fused"]
        problems = walk.problems + _broken(TensorGraph(model.name, nodes, ()), early)
        raise listing(_in_order(problems, model), model.where)
    outputs = tuple(walk.output(o.name) for o in model.proto.graph.output)
    graph = TensorGraph(model.name, nodes, outputs)
    problems = _broken(graph, walk.conditions)
    if problems:
        raise listing(_in_order(problems, model), model.where)
    return fuse_elementwise(graph.pruned())


@dataclass(slots=True)
class _Walk:
    """The state of one import: what every ONNX tensor name stands for."""

    model: OnnxModel
    build: Builder = field(init=False)
    values: dict[str, Operand] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)
    conditions: list[Condition] = field(default_factory=list)
    inferred: dict[str, Value] | None = None

    def __post_init__(self) -> None:
        self.build = Builder(self.model.batch or PRETENDED, symbolic=self.model.batch is None)

    def run(self) -> None:
        graph = self.model.proto.graph
        given = {spec.name for spec in self.model.inputs}
        for tensor in graph.initializer:
            if tensor.name not in given:
                self.values[tensor.name] = Constant(numpy_helper.to_array(tensor))
        for spec in self.model.inputs:
            batch = Batch(0) if spec.batched else None
            shape = (1, *spec.shape) if spec.batched else spec.shape
            self.values[spec.name] = self.build.input(spec.name, shape, batch)
        nodes = _needed(graph)
        final = _final_names(graph, nodes)
        for node in nodes:
            self.node(node, all(o in final for o in node.output if o))

    def node(self, node: onnx.NodeProto, final: bool) -> None:
        operands = tuple(self.values[name] if name else None for name in node.input)
        origin = node_origin(node)
        try:
            results = self.results(node, operands, final)
        except Unsupported as error:
            self.problems.append(Problem(origin, error.reason, error.advice))
            results = tuple(self.placeholder(name) for name in node.output)
        for name, result in zip(node.output, results, strict=False):
            self.values[name] = result

    def results(
        self, node: onnx.NodeProto, operands: tuple[Operand | None, ...], final: bool
    ) -> tuple[Operand, ...]:
        standard = node.domain in ("", "ai.onnx")
        if standard and node.op_type in ("Shape", "Size"):
            return (self.shape_of(node, operands[0]),)
        known = [o for o in operands if o is None or isinstance(o, Constant)]
        if standard and node.op_type == "If" and isinstance(operands[0], Constant):
            return self.branch(node, bool(np.all(operands[0].array)))
        foldable = standard and node.op_type not in RANDOM and not list(_subgraphs(node))
        if foldable and len(known) == len(operands):
            return self.folded(node, known)
        handler = HANDLERS.get(node.op_type) if standard else None
        if handler is None:
            raise Unsupported(*(UNSUPPORTED.get(node.op_type, UNKNOWN) if standard else UNKNOWN))
        if any(isinstance(o, Missing) for o in operands):
            if node.op_type in FINAL_ONLY and not final:
                raise Unsupported(*FINAL_ONLY[node.op_type])
            return tuple(Missing() for _ in node.output)
        call = Call(
            node, operands, self.model.opset, self.build, node_origin(node), final, self.conditions
        )
        return handler(call)

    def folded(self, node: onnx.NodeProto, operands: list[Constant | None]) -> tuple[Operand, ...]:
        opset = self.model.opset_of(node.domain)
        here = evaluate_node(node, opset, [None if o is None else o.array for o in operands])
        if not any(o is not None and o.twin is not None for o in operands):
            return tuple(Constant(a) for a in here)
        twins: list[Array | None] = []
        for o in operands:
            twins.append(None if o is None else o.array if o.twin is None else o.twin)
        there = evaluate_node(node, opset, twins)
        return tuple(
            Constant(a, None if np.array_equal(a, b) else b)
            for a, b in zip(here, there, strict=True)
        )

    def branch(self, node: onnx.NodeProto, taken: bool) -> tuple[Operand, ...]:
        """The branch of an If whose condition is known; its names are the graph's own."""
        wanted = "then_branch" if taken else "else_branch"
        graph = next(a.g for a in node.attribute if a.name == wanted)
        for tensor in graph.initializer:
            self.values[tensor.name] = Constant(numpy_helper.to_array(tensor))
        for inner in graph.node:
            self.node(inner, final=False)
        return tuple(self.values[o.name] for o in graph.output)

    def shape_of(self, node: onnx.NodeProto, operand: Operand | None) -> Constant | Missing:
        """Shape and Size are known, up to the number of windows."""
        if isinstance(operand, Missing):
            return operand
        arrays = []
        for windows in (self.build.windows, OTHER):
            full: tuple[int, ...] = ()
            if isinstance(operand, Constant):
                full = operand.array.shape
                if windows == OTHER and operand.twin is not None:
                    full = operand.twin.shape
            elif operand is not None:
                value = operand.value if isinstance(operand, Deferred) else operand
                full = value.full_shape(windows)
            arrays.append(np.asarray(_sizes(node, full), dtype=np.int64))
        symbolic = self.model.batch is None and not np.array_equal(arrays[0], arrays[1])
        return Constant(arrays[0], arrays[1] if symbolic else None)

    def placeholder(self, name: str) -> Operand:
        """Stands for the result of an unsupported node, so that the nodes after it are checked."""
        if self.inferred is None:
            self.inferred = inferred_shapes(self.model)
        known = self.inferred.get(name)
        if known is None:
            return Missing()
        return self.build.input(name, known.shape, known.batch)

    def output(self, name: str) -> Output:
        operand = self.values[name]
        if isinstance(operand, Constant):
            raise ModelError(
                f"output '{name}' is a constant: it does not depend on the input",
                where=self.model.where,
                hint="return something computed from the input, or leave this output out",
            )
        post, axis, value = "none", -1, operand
        if isinstance(operand, Deferred):
            post, axis, value = operand.post, operand.axis, operand.value
        if not isinstance(value, Value):
            raise InternalError(f"output '{name}' has no value")
        shape, drop = self.without_batch(name, value)
        if post in ("none", "sigmoid"):
            axis = -1
        elif axis == drop:
            reason, advice = MIXES_WINDOWS
            raise ModelError(f"the {post} '{name}' {reason}", where=self.model.where, hint=advice)
        elif drop is not None and axis > drop:
            axis -= 1
        return Output(name, value.node, shape, post, axis)

    def without_batch(self, name: str, value: Value) -> tuple[tuple[int, ...], int | None]:
        """An output's shape without its batch axis, and which axis that was."""
        batch = value.batch
        if batch is not None and batch.axis == 0 and value.clean:
            return value.shape[1:], 0
        if self.build.windows == 1 and any(spec.batched for spec in self.model.inputs):
            # One window may be returned with or without its batch axis, wherever that went.
            return (value.shape[1:], 0) if value.shape[:1] == (1,) else (value.shape, None)
        if batch is None:
            return value.shape, None
        raise ModelError(
            f"output '{name}' does not have the windows of the batch on its first axis",
            where=self.model.where,
            hint="transpose or reshape it to [batch, ...] before it is returned",
        )


def _subgraphs(node: onnx.NodeProto) -> Iterator[onnx.GraphProto]:
    return (a.g for a in node.attribute if a.type == onnx.AttributeProto.GRAPH)


def _reads(node: onnx.NodeProto) -> set[str]:
    """What a node reads, its branches included."""
    names = set(node.input)
    for graph in _subgraphs(node):
        names.update(name for inner in graph.node for name in _reads(inner))
        names.update(o.name for o in graph.output)
    return names


def _sizes(node: onnx.NodeProto, full: tuple[int, ...]) -> object:
    if node.op_type == "Size":
        return int(np.prod(full, dtype=np.int64))
    ends = {a.name: a.i for a in node.attribute}
    return full[ends.get("start", 0) : ends.get("end", len(full))]


def _needed(graph: onnx.GraphProto) -> list[onnx.NodeProto]:
    """The nodes that some output depends on, in their order."""
    wanted = {o.name for o in graph.output}
    kept = []
    for node in reversed(graph.node):
        if wanted.intersection(node.output):
            wanted.update(_reads(node))
            kept.append(node)
    return kept[::-1]


def _final_names(graph: onnx.GraphProto, nodes: list[onnx.NodeProto]) -> set[str]:
    """Tensors that reach outputs only, through nothing but passive ops."""
    consumed_elsewhere: set[str] = set()
    for node in reversed(nodes):
        passive = node.op_type in PASSIVE and not consumed_elsewhere.intersection(node.output)
        consumed_elsewhere.update(node.input[1:] if passive else _reads(node))
    names = {o for node in nodes for o in node.output if o}
    return names - consumed_elsewhere


def _in_order(problems: list[Problem], model: OnnxModel) -> list[Problem]:
    place = {node_name(node): k for k, node in enumerate(model.proto.graph.node)}
    return sorted(problems, key=lambda p: place.get(p.origin.names[0], len(place)))


def _broken(graph: TensorGraph, conditions: list[Condition]) -> list[Problem]:
    """Divisions, roots and steps that are not part of a function of one encrypted value."""
    found = []
    univariate = Univariate.of(graph)
    for condition in conditions:
        reasons = univariate.violation(condition.kind, condition.value.node)
        if reasons is not None:
            found.append(Problem(condition.origin, *reasons))
    return found
