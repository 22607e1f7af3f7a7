"""Replace activations by polynomials, and report what that costs in accuracy."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from eer.runtime.errors import UsageError

from ..ir.tensor import Elementwise, Node, Origin, Polynomial, TensorGraph, Vector
from ..options import Options
from .affine_forms import value_of
from .calibrate import Ranges
from .degree_search import Group, levels, search_degrees
from .fit import HIGHEST_DEGREE
from .rehearsal import Rehearsal
from .verdict import Verdict, judge

SEARCH_ROWS = 512
FINAL_ROWS = 2048
FEWEST_TO_HOLD_OUT = 32
"""With fewer rows than this all are fitted on, and judged by."""

WIDENINGS = (0.0, 0.1, 0.2)
"""Added to the margin, in turn, as long as held-out values fall outside of intervals."""

SHALLOWER = (4, 8, 16)
"""Largest degrees whose agreement is told where the tolerance cannot be met."""

HARMLESS_DEGREE = 4
"""Up to this degree a value outside the interval is off, but does not explode."""


@dataclass(frozen=True, slots=True)
class ActivationFit:
    """What replaced one activation, judged on all calibration rows.

    low, high       the interval of its polynomials: the widest of them
    max_error       on the whole interval
    rms_error       on the inputs seen
    headroom        how much further the interval reaches than the inputs seen, as a share of their
                    spread: the tightest element's
    outside         share of inputs beyond the interval, of rows that the search did not fit on
    grain           one polynomial for the "tensor", for each index of an "axis", or "element"
    """

    node: int
    origin: Origin
    function: str
    degree: int
    grain: str
    low: float
    high: float
    max_error: float
    rms_error: float
    headroom: float
    outside: float

    @property
    def name(self) -> str:
        return ", ".join(self.origin.names) or f"%{self.node}"


@dataclass(frozen=True, slots=True)
class ActivationReport:
    """All replaced activations, and what that did to the outputs.

    `held_out` judges rows that the polynomials were not fitted on, `all_rows` the final
    polynomials on every row. `levels` counts the whole graph's.
    """

    fits: tuple[ActivationFit, ...]
    held_out: Verdict
    all_rows: Verdict
    rows: int
    calibrated: bool
    levels: int
    warnings: tuple[str, ...]

    @property
    def within_tolerance(self) -> bool:
        return self.held_out.accepted


def replace_activations(
    graph: TensorGraph, ranges: Ranges, options: Options
) -> tuple[TensorGraph, ActivationReport]:
    """Return the graph with every Elementwise a Polynomial, and the report.

    Degrees are the cheapest under which the labels of held-out calibration rows agree within
    options.tolerance (see `verdict.judge`), but for nodes in options.degrees. Polynomials that
    were exact already are only moved to the interval that they see. Node numbers stay.

    Raises UsageError for degrees of unknown nodes or out of range. If no degree up to
    options.max_degree is good enough, the best is taken and a warning says how good it is.
    """
    groups = _groups(graph, options)
    order = np.random.default_rng(0).permutation(np.arange(ranges.count, dtype=np.int64))
    for margin in (options.margin + wider for wider in WIDENINGS):
        trial = _trial(graph, _take(ranges, order[:SEARCH_ROWS]), margin)
        judged = _judge(trial, (trial.held_rows, slice(None)), options.tolerance)
        degrees = (
            search_degrees(trial, groups, options.max_degree, judged).degrees if groups else {}
        )
        held_out = _judge(trial, (trial.held_rows,), options.tolerance)(degrees)
        outside = _outside(trial, degrees)
        if not any(outside[n] > 0.0 and d > HARMLESS_DEGREE for n, d in degrees.items()):
            break

    shallower = () if held_out.accepted else _shallower(trial, groups, degrees, options)
    final = trial.on_all(_take(ranges, order[:FINAL_ROWS]))
    verdict = _judge(final, (slice(None),), options.tolerance)(degrees)
    if not verdict.accepted and held_out.accepted:
        # Polynomials that are fitted on all rows may flip other labels: keep the accepted ones.
        on_half = _judge(trial, (slice(None),), options.tolerance)(degrees)
        if on_half.accepted:
            final, verdict = trial, on_half
    fits = tuple(_fit(final, number, degrees, outside[number]) for number in degrees)
    replaced = replace(graph, nodes=tuple(_replaced(final, degrees)))
    report = ActivationReport(
        fits,
        held_out,
        verdict,
        ranges.count,
        ranges.calibrated,
        levels(graph, degrees),
        (*ranges.warnings, *_warnings(held_out, verdict, fits, options, shallower)),
    )
    return replaced, report


def _groups(graph: TensorGraph, options: Options) -> tuple[Group, ...]:
    """Activations by the ONNX nodes that they come from, with the degrees asked for."""
    members: dict[tuple[object, ...], list[int]] = {}
    for number, node in enumerate(graph.nodes):
        if isinstance(node.op, Elementwise):
            # Nodes without names stand for themselves.
            key = (node.origin.names or number, node.op.name)
            members.setdefault(key, []).append(number)
    names = {n for group in members.values() for n in graph.nodes[group[0]].origin.names}
    unknown = sorted(set(options.degrees) - names)
    if unknown:
        raise UsageError(
            f"no activation comes from a node named {', '.join(map(repr, unknown))}",
            where="degrees",
            hint=f"activations here: {', '.join(sorted(names)) or 'none'}",
        )
    for name, degree in options.degrees.items():
        if not 1 <= degree <= HIGHEST_DEGREE:
            raise UsageError(
                f"degree {degree} for '{name}' is not between 1 and {HIGHEST_DEGREE}",
                where="degrees",
            )
    if not 2 <= options.max_degree <= HIGHEST_DEGREE:
        raise UsageError(
            f"the largest degree must be between 2 and {HIGHEST_DEGREE}, got {options.max_degree}"
        )
    groups = []
    for group in members.values():
        asked = [
            options.degrees[n] for n in graph.nodes[group[0]].origin.names if n in options.degrees
        ]
        groups.append(Group(tuple(group), max(asked) if asked else None))
    return tuple(groups)


def _trial(graph: TensorGraph, rows: Mapping[str, Vector], margin: float) -> Rehearsal:
    """A rehearsal that fits on one half of the rows and judges by the other."""
    count = len(next(iter(rows.values())))
    half = count // 2
    if count < FEWEST_TO_HOLD_OUT:
        return Rehearsal(graph, rows, slice(None), slice(None), margin)
    return Rehearsal(graph, rows, slice(0, half), slice(half, None), margin)


def _take(ranges: Ranges, order: NDArray[np.int64]) -> Mapping[str, Vector]:
    return {name: rows[order] for name, rows in ranges.rows.items()}


def _judge(
    rehearsal: Rehearsal, parts: tuple[slice, ...], tolerance: float
) -> Callable[[Mapping[int, int]], Verdict]:
    """Judges degrees by the worst of several parts of the rows."""
    outputs = rehearsal.graph.outputs
    exact = rehearsal.run({})

    def verdict(degrees: Mapping[int, int]) -> Verdict:
        replaced = rehearsal.run(degrees)
        verdicts = [
            judge(
                outputs,
                {name: y[rows] for name, y in exact.items()},
                {name: z[rows] for name, z in replaced.items()},
                tolerance,
            )
            for rows in parts
        ]
        return max(verdicts, key=lambda v: (not v.accepted, v.strain))

    return verdict


def _outside(trial: Rehearsal, degrees: Mapping[int, int]) -> dict[int, float]:
    """Share of held-out inputs of each activation beyond the interval fitted on the others."""
    trial.run(degrees)
    return {n: trial.fitter(n, degrees).outside(d) for n, d in degrees.items()}


def _shallower(
    trial: Rehearsal, groups: tuple[Group, ...], degrees: Mapping[int, int], options: Options
) -> tuple[str, ...]:
    """What smaller degrees than `degrees` come to, of as many levels each as the largest degree."""
    judged = _judge(trial, (trial.held_rows,), options.tolerance)
    told = []
    for largest in SHALLOWER:
        lower = {
            n: degrees[n] if group.degree is not None else min(largest, degrees[n])
            for group in groups
            for n in group.nodes
        }
        saved = levels(trial.graph, degrees) - levels(trial.graph, lower)
        if saved > 0:
            fewer = "a level" if saved == 1 else f"{saved} levels"
            told.append(f"{largest}: {judged(lower).agreement:.1%}, {fewer} fewer")
    return tuple(told)


def _fit(
    final: Rehearsal, number: int, degrees: Mapping[int, int], outside: float
) -> ActivationFit:
    node = final.graph.nodes[number]
    fitter, op = final.fitter(number, degrees), node.op
    assert isinstance(op, Elementwise)
    x = final.value(node.operands[0], degrees)
    polynomial = final.polynomial(number, degrees)
    error = value_of(polynomial, x) - op.function(x)
    low, high = polynomial.center - polynomial.radius, polynomial.center + polynomial.radius
    spread = np.maximum(np.ptp(x, axis=0), 1e-12)
    room = np.minimum(x.min(axis=0) - low, high - x.max(axis=0))
    return ActivationFit(
        node=number,
        origin=node.origin,
        function=op.name,
        degree=polynomial.degree,
        grain=fitter.grain,
        low=float(low.min()),
        high=float(high.max()),
        max_error=fitter.largest(degrees[number]),
        rms_error=float(np.sqrt(np.mean(np.square(error)))),
        headroom=float((room / spread).min()),
        outside=outside,
    )


def _replaced(final: Rehearsal, degrees: Mapping[int, int]) -> list[Node]:
    nodes = []
    for number, node in enumerate(final.graph.nodes):
        match node.op:
            case Elementwise():
                node = replace(node, op=final.polynomial(number, degrees))
            case Polynomial() as polynomial:
                x = final.value(node.operands[0], degrees)
                node = replace(node, op=_moved(polynomial, x, final.margin))
            case _:
                pass
        nodes.append(node)
    return nodes


def _moved(polynomial: Polynomial, x: Vector, margin: float) -> Polynomial:
    """The same polynomial, expanded on the interval that its argument covers."""
    low, high = x.min(axis=0), x.max(axis=0)
    center = (low + high) / 2.0
    radius = np.maximum((0.5 + margin) * (high - low), 1e-3 * np.maximum(1.0, np.abs(center)))
    count = polynomial.degree + 1
    theta = np.pi * (np.arange(count) + 0.5) / count
    values = value_of(polynomial, center + radius * np.cos(theta)[:, None])
    coefficients = np.cos(np.arange(count)[:, None] * theta) @ values * (2.0 / count)
    coefficients[0] /= 2.0
    return Polynomial(coefficients, center, radius, polynomial.name)


def _warnings(
    held_out: Verdict,
    verdict: Verdict,
    fits: tuple[ActivationFit, ...],
    options: Options,
    shallower: tuple[str, ...],
) -> list[str]:
    warnings = []
    if not held_out.accepted:
        quicker = "; ".join(shallower)
        warnings.append(
            f"polynomials up to degree {options.max_degree} do not meet the tolerance of "
            f"{options.tolerance:g}: labels agree on {held_out.agreement:.1%} of held-out "
            f"calibration windows, the largest error is {held_out.error:.2g} of the outputs' "
            "range. Raise the tolerance or the largest degree, give more calibration data, or "
            "train with polynomial activations (eer.compiler.training)"
            + (f". Quicker, by largest degree (--max-degree): {quicker}" if quicker else "")
        )
    elif not verdict.accepted:
        warnings.append(
            f"labels agree on {verdict.agreement:.1%} of all calibration windows, less than on "
            f"those held out from fitting ({held_out.agreement:.1%})"
        )
    warnings += [
        f"{fit.outside:.2%} of held-out inputs of {fit.name} ({fit.function}) are outside the "
        f"interval of its polynomial: calibration data may be too few or too uneven"
        for fit in fits
        if fit.outside > 0.001
    ]
    return warnings
