"""What is lowered for, and what comes of it: a plan's program becomes both halves of a model."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from math import inf

import numpy as np

from eer.runtime.identity import compute_model_id
from eer.runtime.model import ClientModel, InputSpec, OutputSpec, Role, ServerModel

from ..cost import CostModel, Costs
from ..ir.layout import Index
from ..ir.tensor import Input, Output, TensorGraph, Vector
from .emit import Emitted
from .plan import Plan
from .planner import Search
from .relinearise import emit_sparing
from .schedule import Schedule
from .simulate import Simulation


@dataclass(frozen=True, slots=True, eq=False)
class Sample:
    """Windows to try a program on: inputs [windows, elements], and the graph's outputs for them."""

    inputs: dict[str, Vector]
    outputs: dict[str, Vector]

    def order(self, count: int) -> Index:
        """All windows: the one with the largest output, up to `count` that are spread over them,
        then the others."""
        sizes = [np.abs(values).max(axis=1) for values in self.outputs.values()]
        largest = np.argmax(np.max(sizes, axis=0))
        numbers = np.concatenate(([largest], self._spread(count), np.arange(len(sizes[0]))))
        first = np.unique(numbers, return_index=True)[1]
        ordered: Index = numbers[np.sort(first)]
        return ordered

    def some(self, count: int) -> Sample:
        """At most so many of the windows, spread over them."""
        picked = self._spread(count)
        inputs, outputs = (
            {name: rows[picked] for name, rows in held.items()}
            for held in (self.inputs, self.outputs)
        )
        return Sample(inputs, outputs)

    def _spread(self, count: int) -> Index:
        windows = len(next(iter(self.outputs.values())))
        return np.linspace(0, windows - 1, min(count, windows)).astype(int)


@dataclass(frozen=True, slots=True, eq=False)
class Target:
    """What to lower for. `accepts(outputs)` judges a simulation with noise on the sample.

    Plans are compared by `costs`. `state` names the inputs that are the same for all windows.
    """

    engine: str
    security: int
    batch: int
    search: Search
    labels: tuple[str, ...]
    ranges: Mapping[str, tuple[Vector, Vector]]
    calibrated: bool
    accepts: Callable[[dict[str, Vector]], bool]
    costs: Costs
    state: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True, eq=False)
class Lowered:
    """Both halves, and how they came about: `values[n]` are the ciphertexts of node n.

    `exact` and `noisy` are what the program makes of the sample without noise and with it.
    """

    client: ClientModel
    server: ServerModel
    plan: Plan
    exact: Simulation
    noisy: Simulation
    values: dict[int, tuple[int, ...]]


def assemble(graph: TensorGraph, plan: Plan, schedule: Schedule, target: Target) -> Lowered:
    """Both halves for a plan and a schedule, without an identity; not simulated yet."""
    cost = CostModel(schedule.params.log_n, target.costs)
    emitted, schedule = emit_sparing(graph, plan, schedule, cost)
    plan, params = replace(plan, rescaling=schedule.rescaling), schedule.params
    inputs = _input_specs(graph, emitted, target)
    outputs = _output_specs(graph, plan, emitted, target)
    program = emitted.program
    client = ClientModel(
        "",
        graph.name,
        params,
        program.slots,
        inputs,
        outputs,
        program.input_levels,
        2.0**params.log_scale,
        program.rotations,
        program.rotation_levels,
        program.conjugation_level,
    )
    untried = Simulation({}, -inf)
    server = ServerModel.of(client, program)
    return Lowered(client, server, plan, untried, untried, emitted.values)


def identified(lowered: Lowered) -> Lowered:
    """The same with the identity that the halves share: it takes a look at all that they have."""
    client, program = lowered.client, lowered.server.program
    own = compute_model_id(
        client.params, program, client.input_scale, client.inputs, client.outputs
    )
    client = replace(client, model_id=own)
    return replace(lowered, client=client, server=ServerModel.of(client, program))


def _input_specs(graph: TensorGraph, emitted: Emitted, target: Target) -> tuple[InputSpec, ...]:
    specs = []
    for number in graph.inputs:
        node = graph.nodes[number]
        assert isinstance(node.op, Input)
        low, high = target.ranges[node.op.name]
        held = [e for e in emitted.inputs if e.node == number]
        packing = tuple(e.real for e in held)
        imaginary = tuple(e.imaginary for e in held)
        role: Role = "state" if node.op.name in target.state else "window"
        specs.append(
            InputSpec(
                node.op.name,
                node.shape,
                packing,
                low,
                high,
                target.calibrated,
                role,
                imaginary if any(i is not None for i in imaginary) else (),
            )
        )
    return tuple(specs)


def _output_specs(
    graph: TensorGraph, plan: Plan, emitted: Emitted, target: Target
) -> tuple[OutputSpec, ...]:
    position = {v: k for k, v in enumerate(emitted.program.outputs)}
    specs = []
    for output in graph.outputs:
        parts = plan.output_parts(output.node, graph.nodes[output.node])
        held = np.array([position[v] for v in emitted.values[output.node]], dtype=np.int64)
        specs.append(
            OutputSpec(
                output.name,
                output.shape,
                parts.element,
                held[parts.cipher],
                parts.slot,
                output.post,
                output.axis,
                _labels_for(output, target.labels),
                output.state,
                parts.imaginary if parts.imaginary.any() else parts.imaginary[:0],
            )
        )
    return tuple(specs)


def _labels_for(output: Output, labels: tuple[str, ...]) -> tuple[str, ...]:
    """The class names, for an output that has as many classes; one score tells two apart."""
    classes = output.shape[output.axis] if output.shape else 1
    return labels if len(labels) in (classes, 2 if classes == 1 else classes) else ()
