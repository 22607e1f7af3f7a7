"""Lowering: a scheduled graph to both halves of a model, on the cheapest parameters that do."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from math import inf, log2

import numpy as np

from eer.runtime.errors import InternalError, ModelError, ParameterError
from eer.runtime.params import CkksParams
from eer.runtime.program import AddPlain, Conjugate, Program, Rotate, infer_levels
from eer.runtime.scales import assign_scales

from ..cost import CostModel
from ..ir.tensor import Affine, TensorGraph, Vector
from .assemble import Lowered, Sample, Target, assemble
from .levels import assign_levels, deepest_path, levels_used, steps_of
from .parameters import deepest, schedules
from .planner import Choices, Plan, plan_graph
from .schedule import Schedule
from .simulate import OTHER_NOISE_BITS, SPARE_BITS, Simulation, simulate

COARSEST = 8.0
"""log2 of the smallest plaintext scale that is worth simulating."""

NEARLY = 1.1
"""How much more work another schedule may make for to be compared with the first accepted."""

UNSURE_BITS = 1.0
"""By how many bits a schedule may be more precise than what another's noise says."""

EXACT = 1e-6
"""Largest difference between the slot and the tensor interpreter, relative to the outputs."""


def lower(graph: TensorGraph, sample: Sample, target: Target) -> Lowered:
    """The model on the smallest ring whose simulated noise `target` accepts.

    Idle slots are given room for other noise than the simulated one; where no ring has that room,
    what the simulation itself calls for. Raises ParameterError where no ring is deep, large or
    precise enough, ModelError where an output does not depend on the inputs, InternalError where
    the program does not compute what the graph does.
    """
    _refuse_constant_outputs(graph)
    plans = _Plans(graph, target, sample)
    try:
        return _lower(plans, SPARE_BITS + OTHER_NOISE_BITS)
    except ParameterError:
        if max(assign_levels(graph)) > deepest(target.engine):
            raise
        return _lower(plans, SPARE_BITS)


@dataclass(slots=True, eq=False)
class _Plans:
    """Plans for one graph, each looked for and simulated on the sample once.

    Costs depend on levels, not on the primes' sizes: so does the plan.
    """

    graph: TensorGraph
    target: Target
    sample: Sample
    found: dict[tuple[int, tuple[bool, ...]], Plan | ParameterError] = field(default_factory=dict)
    choices: dict[int, Choices] = field(default_factory=dict)
    simulated: dict[str, Lowered] = field(default_factory=dict)

    def plan(self, schedule: Schedule) -> Plan:
        """Raises ParameterError where there is none."""
        params, rescaling = schedule.params, schedule.rescaling
        key = (params.log_n, rescaling.rescales)
        if key not in self.found:
            slots = params.slots // self.target.batch
            cost = CostModel(params.log_n, self.target.costs)
            choices = self.choices.setdefault(slots, {})
            try:
                plan = plan_graph(self.graph, slots, cost, self.target.search, rescaling, choices)
            except ParameterError as problem:
                self.found[key] = problem
            else:
                self.found[key] = plan
        known = self.found[key]
        if isinstance(known, ParameterError):
            raise known
        return replace(known, rescaling=rescaling)

    def simulate(self, lowered: Lowered, spare_bits: int) -> Lowered | float:
        """The model as it does on the sample, or the bits that its modulus lacks.

        One whose noise the target does not accept is not run without noise.
        """
        model_id, program = lowered.client.model_id, lowered.server.program
        if model_id not in self.simulated:
            inputs = self.sample.inputs
            # Where bits are missing, this window most often shows how many.
            largest = {name: rows[[self.sample.largest]] for name, rows in inputs.items()}
            alone = simulate(lowered.client, program, largest)
            if missing := alone.missing_bits(spare_bits):
                return missing
            # Idle slots count: one that outgrows the modulus, by noise alone even, wraps all.
            noisy = simulate(lowered.client, program, inputs, 0, spare_bits)
            if missing := noisy.missing_bits(spare_bits):
                return missing
            if not self.target.accepts(noisy.outputs):
                return replace(lowered, noisy=noisy)
            exact = simulate(lowered.client, program, inputs)
            _check_exact(self.sample.outputs, exact.outputs)
            self.simulated[model_id] = replace(lowered, exact=exact, noisy=noisy)
        known = self.simulated[model_id]
        missing = max(s.missing_bits(spare_bits) for s in (known.exact, known.noisy))
        return missing or known


def _lower(plans: _Plans, spare_bits: int) -> Lowered:
    """The first schedule that the target accepts, or another on the same ring that makes for about
    as much work by its own estimate and for less by that of its plan."""
    graph, target, sample = plans.graph, plans.target, plans.sample
    depth = max(assign_levels(graph))
    steps = steps_of(graph)
    headroom = _headroom(sample)
    refused: ParameterError | None = None
    best: tuple[Schedule, Lowered] | None = None
    seen: tuple[Schedule, Simulation] | None = None
    queue = list(schedules(target.engine, steps, headroom, target.security))
    while queue:
        candidate = queue.pop(0)
        trial = candidate.params
        if best is not None and not _as_light(candidate, best[0]):
            break
        if seen is not None and not target.accepts(_at_best(candidate, *seen, sample)):
            continue
        if target.batch > trial.slots:
            refused = _batch_too_large(target, trial.slots)
            continue
        try:
            plan = plans.plan(candidate)
        except ParameterError as problem:
            refused = problem
            continue
        if best is not None and plan.milliseconds >= best[1].plan.milliseconds:
            continue
        made = _try(plans, plan, candidate, spare_bits)
        if isinstance(made, Lowered):
            seen = candidate, made.noisy
            if target.accepts(made.noisy.outputs):
                best = candidate, made
        # DESILO chooses its own primes: there is no headroom to add, only other parameters.
        elif 0 < made < inf and trial.engine == "seal" and best is None:
            headroom += int(made)
            queue = [
                c
                for c in schedules(target.engine, steps, headroom, target.security)
                if c.params.log_n >= trial.log_n
            ]
    if best is not None:
        return best[1]
    if refused is not None and depth <= deepest(target.engine):
        raise refused
    raise _too_deep(graph, depth, target.engine)


def _as_light(candidate: Schedule, best: Schedule) -> bool:
    same_ring = candidate.params.log_n == best.params.log_n
    return same_ring and candidate.work <= NEARLY * best.work


def _at_best(
    candidate: Schedule, seen: Schedule, noisy: Simulation, sample: Sample
) -> dict[str, Vector]:
    """Outputs with no more noise than `candidate` makes, going by what another schedule made."""
    factor = 2.0 ** (seen.precision - candidate.precision - UNSURE_BITS)
    return {
        name: exact + (noisy.outputs[name] - exact) * factor
        for name, exact in sample.outputs.items()
    }


def _try(plans: _Plans, plan: Plan, schedule: Schedule, spare_bits: int) -> Lowered | float:
    """The plan's model, simulated; or the bits that its modulus lacks: none (0) or no number of
    them (inf) would help a schedule that is of no use for other reasons."""
    lowered = assemble(plans.graph, plan, schedule, plans.target)
    program, params = lowered.server.program, lowered.client.params
    if params.engine == "seal" and coarsest(program, params) < COARSEST:
        return 0
    if not schedule.rotates_at_top and _rotates_at_top(program):
        return 0
    if missing := missing_for_constants(program, params):
        return missing
    return plans.simulate(lowered, spare_bits)


def _refuse_constant_outputs(graph: TensorGraph) -> None:
    for output in graph.outputs:
        node = graph.nodes[output.node]
        if isinstance(node.op, Affine) and not any(m.data.any() for m in node.op.matrices):
            raise ModelError(
                f"output '{output.name}' is the same for every input",
                where=str(node.origin),
                hint="leave it out of the model, or look for weights that became zero",
            )


def _batch_too_large(target: Target, slots: int) -> ParameterError:
    return ParameterError(
        f"a batch of {target.batch} windows does not fit: a ciphertext has {slots} slots on the "
        f"largest ring that was tried with engine '{target.engine}'",
        hint="compile with a smaller batch, or with --batch auto",
    )


def coarsest(program: Program, params: CkksParams) -> float:
    """log2 of the smallest scale at which a plaintext of `program` is encoded."""
    moduli = [2.0**bits for bits in params.log_q]
    scales = assign_scales(program, moduli, 2.0**params.log_scale)
    return min((log2(s) for used in scales.plains.values() for s in used), default=COARSEST)


def missing_for_constants(program: Program, params: CkksParams) -> int:
    """Bits that the modulus lacks for the largest constant that is added to a value."""
    capacity = np.cumsum(params.log_q)
    levels = infer_levels(program)
    scales = assign_scales(program, [2.0**b for b in params.log_q], 2.0**params.log_scale)
    missing = 0.0
    for number, ins in program:
        if isinstance(ins, AddPlain):
            mean = float(np.abs(program.plains[ins.plain]).mean())
            (scale,) = scales.plains[number]
            bits = log2(max(mean, 1e-300)) + log2(scale) + 2
            missing = max(missing, bits - float(capacity[levels[ins.src]]))
    return int(np.ceil(missing))


def _rotates_at_top(program: Program) -> bool:
    levels = infer_levels(program)
    return any(
        isinstance(ins, Rotate | Conjugate) and levels[number] == program.depth
        for number, ins in program
    )


def _headroom(sample: Sample) -> int:
    """Bits for the largest output and its sign; what other slots need is found by simulation."""
    largest = max(float(np.abs(v).max()) for v in sample.outputs.values())
    return max(3, int(np.ceil(np.log2(max(largest, 1e-9)))) + 3)


def _check_exact(wanted: dict[str, Vector], found: dict[str, Vector]) -> None:
    for name, values in wanted.items():
        scale = max(1.0, float(np.abs(values).max()))
        error = float(np.abs(values - found[name]).max()) / scale
        if not error <= EXACT:
            raise InternalError(
                f"the compiled program computes output '{name}' with a relative error of "
                f"{error:.2g} even without noise",
                hint="this is a bug in the layouts: please report it with the model",
            )


def _too_deep(graph: TensorGraph, depth: int, engine: str) -> ParameterError:
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
