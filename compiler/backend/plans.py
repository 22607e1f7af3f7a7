"""Plans for one graph on all rings, and what their programs do on the calibration windows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from math import inf, log2

import numpy as np

from eer.runtime.errors import InternalError, ParameterError
from eer.runtime.params import CkksParams
from eer.runtime.program import AddPlain, Conjugate, Program, Rotate, infer_levels
from eer.runtime.scales import Scales, assign_scales

from ..cost import CostModel
from ..ir.tensor import TensorGraph, Vector
from .assemble import Lowered, Sample, Target, assemble, identified
from .builder import COARSEST
from .candidates import steep
from .emit import emit
from .gains import Gains
from .parameters import drivable, schedules
from .plan import Plan
from .planner import plan_graph, takes_longer
from .predict import predict
from .prices import Prices
from .refusals import batch_too_large
from .schedule import Rescaling, Schedule, Step
from .simulate import Simulation, Simulator, missing_bits, simulate
from .walks import Road

USUAL_PRECISION = 16.0
"""Bits of the schedule that a plan is made for; it is used with others as well."""

HEADROOM = 2
"""Bits for values and their sign to begin with: simulation finds what slots need."""

UNSURE_BITS = 1.0
"""By how many bits a schedule may be more precise than what another's noise says."""

FIRST_LOOKS = (5, 9)
"""Windows after which noise may show already to be far too much."""

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


@dataclass(frozen=True, slots=True, eq=False)
class Tried:
    """How a model does on windows of the sample: `made` is the model as it does on all of them, if
    the target accepts that.

    `noise` [windows, elements] by name is by how much outputs of windows were off, of enough to go
    by. `missing` are the bits that the modulus lacks: none (0) or no number of them (inf) would
    help one that is of no use for other reasons.
    """

    made: Lowered | None = None
    noise: dict[str, Vector] | None = None
    missing: float = 0.0


@dataclass(slots=True, eq=False)
class Plans:
    """Plans for one graph, one on each ring, and how their models do on the sample; a tidy one as
    well where it is asked for.

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
    found: dict[tuple[int, bool], Known | ParameterError | None] = field(default_factory=dict)
    slower: bool = False

    def road(self, log_n: int, headroom: int, known: Known) -> Road:
        return Road(self.steps, headroom, log_n, known.gains)

    def offered(self, log_n: int, headroom: int, known: Known) -> tuple[Schedule, ...]:
        return schedules(self.target.engine, self.road(log_n, headroom, known), known.prices)

    def on_ring(self, log_n: int, headroom: int, *, tidy: bool) -> Known | None:
        """The plan on the ring 2^log_n; None where there are no schedules, or where it is clear
        before that all are slower than the limit. Raises ParameterError where there is no plan."""
        key = log_n, tidy
        if key not in self.found:
            try:
                self.found[key] = self._planned(log_n, headroom, tidy)
            except ParameterError as problem:
                self.found[key] = problem
        known = self.found[key]
        if isinstance(known, ParameterError):
            raise known
        return known

    def untidy(self, log_n: int) -> bool:
        """Whether the plan on this ring has what a tidy one has not."""
        known = self.found.get((log_n, False))
        if not isinstance(known, Known):
            return False
        chosen = known.plan.affine.items()
        return any(made.family == "channels" and steep(self.graph, n) for n, made in chosen)

    def crowded(self, log_n: int) -> bool:
        """Whether values take several ciphertexts on this ring."""
        known = (self.found.get((log_n, tidy)) for tidy in (True, False))
        plan = next((k.plan for k in known if isinstance(k, Known)), None)
        return plan is not None and any(x.ciphers > 1 for x in plan.layouts.values())

    def _planned(self, log_n: int, headroom: int, tidy: bool) -> Known | None:
        graph, target = self.graph, self.target
        cost = CostModel(log_n, target.costs)
        guessed = Prices.guessed(self.steps, cost)
        road = Road(self.steps, headroom, log_n, Gains.none(len(self.steps)))
        offered = schedules(target.engine, road, guessed)
        least = replace(road, gains=Gains.of(graph, self.values))
        if not offered or not drivable(target.engine, least, guessed):
            return None
        slots = offered[0].params.slots
        if target.batch > slots:
            raise batch_too_large(target, slots)
        slots //= target.batch
        if self.limit < inf:
            possible = schedules(target.engine, least, guessed)
            lowest = Rescaling.lowest([s.rescaling for s in possible])
            if takes_longer(graph, slots, cost, target.search, lowest, self.limit):
                self.slower = True
                return None
        usual = next((s for s in offered if s.precision >= USUAL_PRECISION), offered[-1])
        search = replace(target.search, tidy=tidy)
        plan = plan_graph(graph, slots, cost, search, usual.rescaling)
        eager = replace(plan, rescaling=Rescaling.eager(len(self.steps) - 1))
        prices = Prices.of(emit(graph, eager).program, cost)
        return Known(plan, prices, Gains.of(graph, self.values, plan))

    def assembled(self, plan: Plan, schedule: Schedule) -> Lowered:
        """The plan's model with this schedule, not simulated yet."""
        used = replace(plan, rescaling=schedule.rescaling)
        return assemble(self.graph, used, schedule, self.target)

    def milliseconds(self, lowered: Lowered) -> float:
        cost = CostModel(lowered.client.params.log_n, self.target.costs)
        return predict(lowered.server.program, cost).total

    def tried(self, schedule: Schedule, lowered: Lowered, spare_bits: int, *, whole: bool) -> Tried:
        """How the model does on few windows, and, with `whole`, on the others as long as the target
        may accept it."""
        program, params = lowered.server.program, lowered.client.params
        levels, scales = infer_levels(program), nominal_scales(program, params)
        if params.engine == "seal" and coarsest(scales) < COARSEST:
            return Tried()
        if not schedule.rotates_at_top and _rotates_at_top(program, levels):
            return Tried()
        if lacking := _missing_for_constants(program, params, levels, scales):
            return Tried(missing=lacking)
        return self._simulated(lowered, spare_bits, whole)

    def _simulated(self, lowered: Lowered, spare_bits: int, whole: bool) -> Tried:
        sample, batch = self.sample, lowered.client.batch
        order, few = sample.order(self._few), 1 + self._few
        outputs = {name: rows.copy() for name, rows in sample.outputs.items()}
        noise: dict[str, Vector] | None = None
        simulator = Simulator(lowered.client, lowered.server.program, 0)
        looks, at_once = [*FIRST_LOOKS, *range(few, len(order), FEW), len(order)], 0.0
        known = 0
        while known < len(order):
            # The first message, and those up to the next look.
            messages = -(-(looks[0] - known) // batch) if known else 1
            at = order[known : known + messages * batch]
            known += messages * batch
            found = simulator.run({name: rows[at] for name, rows in sample.inputs.items()})
            for name, rows in found.items():
                outputs[name][at] = rows
            # Idle slots count: one that outgrows the modulus, by noise alone even, wraps all.
            missing = missing_bits(simulator.excess, spare_bits)
            at_once = missing if len(at) == known == batch else at_once
            if missing == inf or (at_once and not whole):
                return Tried(missing=missing)
            if known < looks[0]:
                continue
            looks = [look for look in looks if look > known]
            # The first would weigh too much.
            seen = order[1:known] if looks else slice(None)
            noise = {n: rows[seen] - sample.outputs[n][seen] for n, rows in outputs.items()}
            # Windows that are not simulated yet count as if they had no noise.
            if whole and not self.target.accepts(outputs):
                return Tried(noise=noise)
            enough = not looks or known >= few
            if missing and (at_once or enough):
                return Tried(noise=noise, missing=missing)
            if enough and not whole:
                return Tried(noise=noise)
        return Tried(replace(lowered, noisy=Simulation(outputs, simulator.excess)), noise)

    @property
    def _few(self) -> int:
        return max(FEW, self.target.batch)

    def checked(self, lowered: Lowered, spare_bits: int) -> Lowered | None:
        """The model as it does on few windows without noise as well; None where that takes too much
        of its modulus. Raises InternalError where the program does not compute what the graph does.
        """
        few = self.sample.some(self._few)
        exact = simulate(lowered.client, lowered.server.program, few.inputs)
        _check_exact(few.outputs, exact.outputs)
        if exact.missing_bits(spare_bits):
            return None
        return identified(replace(lowered, exact=exact))


def nominal_scales(program: Program, params: CkksParams) -> Scales:
    """Scales on primes of exactly as many bits as they are meant to have."""
    return assign_scales(program, [2.0**bits for bits in params.log_q], 2.0**params.log_scale)


def coarsest(scales: Scales) -> float:
    """log2 of the smallest scale at which a plaintext is encoded."""
    return min((log2(s) for used in scales.plains.values() for s in used), default=COARSEST)


def _missing_for_constants(
    program: Program, params: CkksParams, levels: Sequence[int], scales: Scales
) -> float:
    """Bits that the modulus lacks for the largest constant that is added to a value."""
    capacity = np.cumsum(params.log_q)
    missing = 0.0
    for number, ins in program:
        if isinstance(ins, AddPlain):
            mean = float(np.abs(program.plains[ins.plain]).mean())
            (scale,) = scales.plains[number]
            bits = log2(max(mean, 1e-300)) + log2(scale) + 2
            missing = max(missing, bits - float(capacity[levels[ins.src]]))
    return float(np.ceil(missing))


def _rotates_at_top(program: Program, levels: Sequence[int]) -> bool:
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
