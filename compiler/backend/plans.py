"""Plans for one graph on all rings, and what their programs do on the calibration windows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from math import log2

import numpy as np

from eer.runtime.errors import InternalError, ParameterError
from eer.runtime.params import CkksParams
from eer.runtime.program import AddPlain, Conjugate, Program, Rotate, infer_levels
from eer.runtime.scales import assign_scales

from ..cost import CostModel
from ..ir.tensor import TensorGraph, Vector
from .assemble import Lowered, Sample, Target, assemble
from .builder import COARSEST
from .emit import emit
from .gains import Gains
from .parameters import schedules
from .planner import Plan, plan_graph
from .predict import predict
from .prices import Prices
from .refusals import batch_too_large
from .schedule import Rescaling, Schedule, Step
from .simulate import simulate
from .walks import Road

USUAL_PRECISION = 16.0
"""Bits of the schedule that a plan is made for; it is used with others as well."""

HEADROOM = 2
"""Bits for values and their sign to begin with: simulation finds what slots need."""

UNSURE_BITS = 1.0
"""By how many bits a schedule may be more precise than what another's noise says."""

FEW = 16
"""Windows, or a message of more, that say about what noise a schedule makes, and whether a program
computes what it should."""

EXACT = 1e-6
"""Largest difference between the slot and the tensor interpreter, relative to the outputs."""


@dataclass(frozen=True, slots=True, eq=False)
class Known:
    """A plan on a ring, what it makes of schedules' prices, and what it asks of their scales."""

    plan: Plan
    prices: Prices
    gains: Gains


@dataclass(slots=True, eq=False)
class Plans:
    """Plans for one graph, one on each ring, and what was simulated on the sample.

    The primes' sizes do not matter to a plan, and their number does so little that one is used for
    all schedules. `slower` says that what was left on some ring takes more than `limit`
    milliseconds.
    """

    graph: TensorGraph
    target: Target
    sample: Sample
    steps: tuple[Step, ...]
    values: Sequence[Vector]
    limit: float
    found: dict[int, Known | ParameterError | None] = field(default_factory=dict)
    simulated: dict[tuple[str, int], Lowered] = field(default_factory=dict)
    slower: bool = False

    @property
    def few(self) -> Sample:
        return self.sample.some(max(FEW, self.target.batch))

    def road(self, log_n: int, headroom: int, known: Known) -> Road:
        return Road(self.steps, headroom, log_n, known.gains)

    def offered(self, log_n: int, headroom: int, known: Known) -> tuple[Schedule, ...]:
        return schedules(self.target.engine, self.road(log_n, headroom, known), known.prices)

    def on_ring(self, log_n: int, headroom: int) -> Known | None:
        """The plan on the ring 2^log_n; None where there are no schedules. Raises ParameterError
        where there is no plan."""
        if log_n not in self.found:
            try:
                self.found[log_n] = self._planned(log_n, headroom)
            except ParameterError as problem:
                self.found[log_n] = problem
        known = self.found[log_n]
        if isinstance(known, ParameterError):
            raise known
        return known

    def _planned(self, log_n: int, headroom: int) -> Known | None:
        graph, target = self.graph, self.target
        cost = CostModel(log_n, target.costs)
        guessed = Prices.guessed(self.steps, cost)
        road = Road(self.steps, headroom, log_n, Gains.none(len(self.steps)))
        offered = schedules(target.engine, road, guessed)
        if not offered:
            return None
        slots = offered[0].params.slots
        if target.batch > slots:
            raise batch_too_large(target, slots)
        usual = next((s for s in offered if s.precision >= USUAL_PRECISION), offered[-1])
        plan = plan_graph(graph, slots // target.batch, cost, target.search, usual.rescaling)
        eager = replace(plan, rescaling=Rescaling.eager(len(self.steps) - 1))
        prices = Prices.of(emit(graph, eager).program, cost)
        return Known(plan, prices, Gains.of(graph, plan, self.values))

    def assembled(self, plan: Plan, schedule: Schedule) -> Lowered:
        """The plan's model with this schedule, not simulated yet."""
        used = replace(plan, rescaling=schedule.rescaling)
        return assemble(self.graph, used, schedule, self.target)

    def milliseconds(self, lowered: Lowered) -> float:
        cost = CostModel(lowered.client.params.log_n, self.target.costs)
        return predict(lowered.server.program, cost).total

    def tried(
        self, schedule: Schedule, lowered: Lowered, spare_bits: int, sample: Sample
    ) -> Lowered | float:
        """The model as it does on `sample`; or the bits that its modulus lacks: none (0) or no
        number of them (inf) would help one that is of no use for other reasons.
        """
        program, params = lowered.server.program, lowered.client.params
        if params.engine == "seal" and coarsest(program, params) < COARSEST:
            return 0
        if not schedule.rotates_at_top and _rotates_at_top(program):
            return 0
        if lacking := missing_for_constants(program, params):
            return lacking
        key = lowered.client.model_id, len(next(iter(sample.outputs.values())))
        if key not in self.simulated:
            # Where bits are missing, this window most often shows how many.
            at = [self.sample.largest]
            largest = {name: rows[at] for name, rows in self.sample.inputs.items()}
            alone = simulate(lowered.client, program, largest)
            if missing := alone.missing_bits(spare_bits):
                return missing
            # Idle slots count: one that outgrows the modulus, by noise alone even, wraps all.
            noisy = simulate(lowered.client, program, sample.inputs, 0, spare_bits)
            if missing := noisy.missing_bits(spare_bits):
                return missing
            self.simulated[key] = replace(lowered, noisy=noisy)
        known = self.simulated[key]
        return known.noisy.missing_bits(spare_bits) or known

    def checked(self, lowered: Lowered, spare_bits: int) -> Lowered | None:
        """The model as it does on few windows without noise as well; None where that takes too much
        of its modulus. Raises InternalError where the program does not compute what the graph does.
        """
        few = self.few
        exact = simulate(lowered.client, lowered.server.program, few.inputs)
        _check_exact(few.outputs, exact.outputs)
        return None if exact.missing_bits(spare_bits) else replace(lowered, exact=exact)


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
