"""Calibration: the rows of input data that everything about ranges and accuracy is judged by."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from eer.runtime.errors import DataError

from ..ir.interpret import evaluate
from ..ir.tensor import Elementwise, Input, Node, TensorGraph, Vector
from ..options import Options

FEWEST_ROWS = 8
"""Fewer windows than this say nothing about a range: refused."""

FEW_ROWS = 50
"""Below this a warning is due."""

ASSUMED_ROWS = 512
POLE = 50.0
"""How much larger than seen a function may be between the inputs seen."""

WEIGHT_REACH = 3.0
"""How far a user's weights may move, as a multiple of the largest trained one."""

INPUT_SLACK = 0.25
"""An input's range is widened by at least this share of its spread on each side."""


@dataclass(frozen=True, slots=True, eq=False)
class Ranges:
    """What calibration showed, or what was assumed where there is no data.

    `rows` has the inputs, float64 [windows, size] by name. `input_low` and `input_high` [size] are
    the range to expect of each input element: seen, pooled along the last axis where there are
    several, and widened. `intervals` has the (lowest, highest) [size] input of each Elementwise
    of the exact graph, by node number, `outputs` the graph's outputs [windows, size] by name.
    `calibrated` is False where the rows are made up.
    """

    rows: Mapping[str, Vector]
    input_low: Mapping[str, Vector]
    input_high: Mapping[str, Vector]
    intervals: Mapping[int, tuple[Vector, Vector]]
    outputs: Mapping[str, Vector]
    calibrated: bool
    warnings: tuple[str, ...] = ()

    @property
    def count(self) -> int:
        return len(next(iter(self.rows.values())))


def calibrate(
    graph: TensorGraph,
    data: Mapping[str, Vector] | None,
    options: Options,
    seed: int = 0,
    *,
    weights: Mapping[str, Vector] | None = None,
) -> Ranges:
    """Check the calibration data and find the input range of every Elementwise.

    `data` has an array [windows, ...] for every input of the graph. Raises DataError where it does
    not fit the graph, is not finite, or has fewer than 8 windows. Without data, rows are drawn
    from options.input_range with `seed`: a third independent uniform, a third normal, a third
    shifted as a whole, since inputs whose elements move together reach furthest.

    `weights` has the trained values of inputs that are weights, which stand for those that are
    not in `data`; their range is WEIGHT_REACH times as far as the largest.
    """
    sizes = _input_sizes(graph)
    known = {n: np.ravel(w) for n, w in (weights or {}).items() if n not in (data or {})}
    warnings: list[str] = []
    if data is None:
        low, high = options.input_range
        rows = _assumed_rows(sizes, options.input_range, seed)
        rows |= {name: np.tile(w, (ASSUMED_ROWS, 1)) for name, w in known.items()}
        lows = {name: np.full(size, low) for name, size in sizes.items()}
        highs = {name: np.full(size, high) for name, size in sizes.items()}
        warnings.append(
            f"no calibration data: every input element is assumed to lie in [{low:g}, {high:g}], "
            f"and activation ranges come from {ASSUMED_ROWS} made-up windows; accuracy on real "
            "data is unknown. Give calibration data, or set the input range"
        )
    else:
        given = max((len(np.atleast_1d(array)) for array in data.values()), default=0)
        data = {**data, **{name: np.tile(w, (given, 1)) for name, w in known.items()}}
        rows = _checked_rows(sizes, data)
        count = len(next(iter(rows.values())))
        if count < FEW_ROWS:
            warnings.append(
                f"only {count} calibration windows: activation ranges and accuracy are uncertain; "
                f"give {FEW_ROWS} or more"
            )
        lows, highs = {}, {}
        for number in graph.inputs:
            node = graph.nodes[number]
            assert isinstance(node.op, Input)
            lows[node.op.name], highs[node.op.name] = _expected(
                rows[node.op.name], node.shape, options.margin
            )
    for name, weight in known.items():
        reach = WEIGHT_REACH * max(float(np.abs(weight).max()), 1e-6)
        lows[name], highs[name] = np.full(len(weight), -reach), np.full(len(weight), reach)
    values = evaluate(graph, rows)
    intervals = {}
    for number, node in enumerate(graph.nodes):
        if isinstance(node.op, Elementwise):
            x = values[node.operands[0]]
            intervals[number] = (x.min(axis=0), x.max(axis=0))
            _finite(values[number], str(node.origin))
            _bounded(x, values[number], node)
    outputs = {o.name: values[o.node] for o in graph.outputs}
    return Ranges(rows, lows, highs, intervals, outputs, data is not None, tuple(warnings))


def with_spans(graph: TensorGraph, ranges: Ranges) -> TensorGraph:
    """The graph with outputs that are next values of a state measured by how far a step moves it:
    an error is to be small beside that, not beside the state."""
    if not any(o.state for o in graph.outputs):
        return graph
    outputs = []
    for output in graph.outputs:
        if output.state:
            moved = ranges.outputs[output.name] - ranges.rows[output.state]
            output = replace(output, span=float(np.ptp(moved)))
        outputs.append(output)
    return replace(graph, outputs=tuple(outputs))


def _input_sizes(graph: TensorGraph) -> dict[str, int]:
    nodes = (graph.nodes[i] for i in graph.inputs)
    return {n.op.name: n.size for n in nodes if isinstance(n.op, Input)}


def _checked_rows(sizes: Mapping[str, int], data: Mapping[str, Vector]) -> dict[str, Vector]:
    if set(data) != set(sizes):
        raise DataError(
            f"calibration data is for inputs {sorted(data)}, the model's are {sorted(sizes)}",
            hint="name the arrays in the .npz file as the model's inputs are named",
        )
    rows = {}
    for name, size in sizes.items():
        array = np.asarray(data[name])
        where = f"calibration data for input '{name}'"
        if array.dtype.kind not in "fiub":
            raise DataError(f"values of type {array.dtype} are not numbers", where=where)
        if array.ndim == 0 or array[:1].size != size * min(len(array), 1):
            raise DataError(
                f"an array of shape {list(array.shape)} does not hold windows of {size} elements",
                where=where,
                hint="the first axis counts windows; the others are the model's input shape",
            )
        if len(array) < FEWEST_ROWS:
            raise DataError(
                f"{len(array)} windows are too few to see a range; {FEWEST_ROWS} are the least",
                where=where,
                hint=f"give {FEW_ROWS} windows or more of the kind the model will see, or none "
                "and an input range",
            )
        rows[name] = array.astype(np.float64).reshape(len(array), size)
        _finite(rows[name], where)
    counts = {name: len(array) for name, array in rows.items()}
    if len(set(counts.values())) > 1:
        raise DataError(f"the inputs have different numbers of calibration windows: {counts}")
    return rows


def _finite(values: Vector, where: str) -> None:
    bad = np.argwhere(~np.isfinite(values))
    if len(bad):
        row, element = bad[0]
        raise DataError(
            f"{len(bad)} values are not finite, the first at window {row}, element {element}",
            where=where,
            hint="remove or repair windows with NaN or infinite values",
        )


def _bounded(x: Vector, values: Vector, node: Node) -> None:
    """Refuse a function with a pole between the inputs that it sees: a division by what is now
    positive, now negative. Near it there is no polynomial."""
    assert isinstance(node.op, Elementwise)
    low, high = x.min(axis=0), x.max(axis=0)
    with np.errstate(all="ignore"):
        between = np.abs(node.op.function(low + (high - low) * np.linspace(0.0, 1.0, 129)[:, None]))
    pole = not (between <= POLE * max(float(np.abs(values).max()), 1e-300)).all()
    crossed = node.op.name == "Reciprocal" and values.min() < 0.0 < values.max()
    if pole or crossed:
        raise DataError(
            f"{node.op.name} divides by an encrypted value that comes near zero, or is negative in "
            "some calibration windows and positive in others",
            where=str(node.origin),
            hint="divide by a constant, or by something that stays positive (a sum of squares plus "
            "a constant, say); without calibration data, give some",
        )


def _assumed_rows(
    sizes: Mapping[str, int], input_range: tuple[float, float], seed: int
) -> dict[str, Vector]:
    rng = np.random.default_rng(seed)
    low, high = input_range
    center, half = (low + high) / 2.0, (high - low) / 2.0
    rows = {}
    for name, size in sizes.items():
        third = ASSUMED_ROWS // 3
        uniform = rng.uniform(-1.0, 1.0, (ASSUMED_ROWS - 2 * third, size))
        normal = rng.normal(0.0, 1.0 / 3.0, (third, size))
        together = rng.uniform(-1.0, 1.0, (third, 1)) + rng.normal(0.0, 0.2, (third, size))
        rows[name] = center + half * np.clip(np.concatenate((uniform, normal, together)), -1, 1)
        rng.shuffle(rows[name])
    return rows


def _expected(rows: Vector, shape: tuple[int, ...], margin: float) -> tuple[Vector, Vector]:
    """The range to expect of each element: elements of a signal share one."""
    low, high = rows.min(axis=0), rows.max(axis=0)
    axes = [length for length in shape if length > 1]
    if len(axes) > 1:
        low = np.repeat(low.reshape(-1, axes[-1]).min(axis=1), axes[-1])
        high = np.repeat(high.reshape(-1, axes[-1]).max(axis=1), axes[-1])
    slack = max(margin, INPUT_SLACK) * (high - low)
    return low - slack, high + slack
