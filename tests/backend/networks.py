"""Small random networks as tensor graphs, and programs of them on the slot interpreter."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from scipy.sparse import csr_array

from eer.compiler.backend.absorb import absorb
from eer.compiler.backend.emit import Emitted, emit
from eer.compiler.backend.gains import Gains
from eer.compiler.backend.parameters import SEAL_RINGS, schedules
from eer.compiler.backend.plan import Plan
from eer.compiler.backend.planner import Search, plan_graph
from eer.compiler.backend.prices import Prices
from eer.compiler.backend.schedule import Rescaling, Schedule, Step
from eer.compiler.backend.walks import Road
from eer.compiler.cost import CostModel
from eer.compiler.ir.tensor import (
    Affine,
    Input,
    Node,
    Output,
    Polynomial,
    Product,
    TensorGraph,
    Vector,
)
from eer.runtime.engine import EvaluationKeys, SecretKey
from eer.runtime.engines.clear import ClearEngine
from eer.runtime.executor import Executor
from eer.runtime.packing import pack_windows
from eer.runtime.params import CkksParams
from eer.runtime.program import Program, Slots


class Net:
    """Builds a tensor graph with random weights."""

    def __init__(self, seed: int) -> None:
        self.rng = np.random.default_rng(seed)
        self.nodes: list[Node] = []

    def input(self, *shape: int, name: str = "x") -> int:
        return self._push(Node(Input(name), (), shape))

    def affine(self, *sources: int, size: int, density: float = 1.0) -> int:
        matrices = []
        for source in sources:
            n = self.nodes[source].size
            weights = self.rng.normal(size=(size, n)) / np.sqrt(n)
            weights *= self.rng.random((size, n)) < density
            matrices.append(csr_array(weights))
        bias = self.rng.normal(size=size) * 0.3
        return self._push(Node(Affine(tuple(matrices), bias), sources, (size,)))

    def convolution(self, source: int, channels: int, width: int) -> int:
        """A 1-D convolution with zero padding, stride 1, on (channels, length)."""
        before, length = self.nodes[source].shape
        kernel = self.rng.normal(size=(channels, before, width)) / np.sqrt(before * width)
        dense = np.zeros((channels, length, before, length))
        for at in range(length):
            for k in range(width):
                if 0 <= at + k - width // 2 < length:
                    dense[:, at, :, at + k - width // 2] = kernel[:, :, k]
        matrix = csr_array(dense.reshape(channels * length, before * length))
        bias = np.repeat(self.rng.normal(size=channels), length)
        return self._push(Node(Affine((matrix,), bias), (source,), (channels, length)))

    def polynomial(self, source: int, degree: int) -> int:
        node = self.nodes[source]
        decay = 0.6 ** np.arange(degree + 1)[:, None]
        coefficients = self.rng.normal(size=(degree + 1, 1)) * decay
        coefficients[-1] = np.sign(coefficients[-1]) * np.maximum(np.abs(coefficients[-1]), 0.05)
        columns = np.tile(coefficients, (1, node.size))
        op = Polynomial(columns, np.zeros(node.size), np.full(node.size, 3.0))
        return self._push(Node(op, (source,), node.shape))

    def product(self, a: int, b: int) -> int:
        return self._push(Node(Product(), (a, b), self.nodes[a].shape))

    def graph(self, *outputs: int) -> TensorGraph:
        named = tuple(Output(f"y{k}", o, self.nodes[o].shape) for k, o in enumerate(outputs))
        return TensorGraph("net", tuple(self.nodes), named)

    def _push(self, node: Node) -> int:
        self.nodes.append(node)
        return len(self.nodes) - 1


def planned(
    graph: TensorGraph, slots: int, rescaling: Rescaling | None = None
) -> tuple[TensorGraph, Plan, Emitted]:
    return planned_as(absorb(graph), slots, rescaling)


def planned_as(
    scheduled: TensorGraph, slots: int, rescaling: Rescaling | None = None
) -> tuple[TensorGraph, Plan, Emitted]:
    plan = plan_graph(scheduled, slots, CostModel(13), Search(), rescaling)
    return scheduled, plan, emit(scheduled, plan)


def clear_params(slots: int, levels: int) -> CkksParams:
    """Parameters of a ring with `slots` slots for the slot interpreter: not secure, nor need be."""
    log_n = slots.bit_length()
    sizes = (40.0, *(30.0,) * levels)
    return CkksParams("clear", log_n, sizes, (50.0,), 30.0, 128)


def clear_keys(
    engine: ClearEngine, program: Program, batch: int = 1
) -> tuple[SecretKey, EvaluationKeys]:
    steps = tuple(r * batch for r in program.rotations)
    conjugation = program.conjugation_level
    key, blob = engine.generate_keys(steps, conjugation=conjugation)
    return key, engine.load_evaluation_keys(blob, key.key_id, steps, conjugation is not None)


def run_program(program: Program, ciphers: list[Slots]) -> list[Vector]:
    """Output slot vectors for input slot vectors, on the slot interpreter."""
    params = clear_params(program.slots, max(program.input_levels))
    engine = ClearEngine(params)
    key, keys = clear_keys(engine, program)
    scale = 2.0**params.log_scale
    executor = Executor(engine, engine.evaluator(keys), program, scale)
    inputs = [
        engine.encrypt(key, values, level, scale)
        for values, level in zip(ciphers, program.input_levels, strict=True)
    ]
    return [engine.decrypt(key, c) for c in executor.run(inputs)]


def run_clear(
    scheduled: TensorGraph,
    plan: Plan,
    emitted: Emitted,
    inputs: dict[str, Vector],
    batch: int = 1,
    params: CkksParams | None = None,
) -> dict[str, Vector]:
    """Outputs [windows, size] of up to `batch` windows in one run, with the chain of `params`."""
    program = emitted.program
    own = clear_params(program.slots * batch, max(program.input_levels))
    params = own if params is None else replace(params, engine="clear", log_n=own.log_n)
    engine = ClearEngine(params)
    scale = 2.0**params.log_scale
    key, keys = clear_keys(engine, program, batch)
    executor = Executor(engine, engine.evaluator(keys), program, scale)
    names = {
        n: node.op.name for n, node in enumerate(scheduled.nodes) if isinstance(node.op, Input)
    }
    windows = len(next(iter(inputs.values())))
    ciphers = [
        engine.encrypt(
            key, pack_windows(inputs[names[e.node]], e.real, batch, e.imaginary), level, scale
        )
        for e, level in zip(emitted.inputs, program.input_levels, strict=True)
    ]
    results = dict(zip(program.outputs, executor.run(ciphers), strict=True))
    outputs = {}
    for output in scheduled.outputs:
        size = scheduled.nodes[output.node].size
        parts = plan.output_parts(output.node, scheduled.nodes[output.node])
        vectors = [
            engine.decrypt(key, results[v], imaginary=True).reshape(-1, batch)
            for v in emitted.values[output.node]
        ]
        outputs[output.name] = np.zeros((windows, size))
        where = zip(parts.element, parts.cipher, parts.slot, parts.imaginary, strict=True)
        for element, cipher, slot, imaginary in where:
            held = vectors[cipher][slot, :windows]
            outputs[output.name][:, element] += held.imag if imaginary else held.real
    return outputs


def seal_schedules(
    steps: tuple[Step, ...], headroom: int, rings: tuple[int, ...] = SEAL_RINGS
) -> list[Schedule]:
    """What there is before a plan is known, the smallest ring first."""
    return [
        schedule
        for log_n in rings
        for schedule in schedules(
            "seal",
            Road(steps, headroom, log_n, Gains.none(len(steps))),
            Prices.guessed(steps, CostModel(log_n)),
        )
    ]
