"""The columns of the results: what is shown of a row, and beside which row of eer."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from .result import STAGES, Row

NONE = "–"


@dataclass(frozen=True, slots=True)
class Column:
    """`cell` gets a row, and the row of eer on the same case where there is one to compare with.

    `on_screen` is set for those that a terminal shows.
    """

    name: str
    cell: Callable[[Row, Row | None], str]
    on_screen: bool = False


def number(value: float | None, digits: int = 3) -> str:
    """Three digits that count, without an exponent where that is short."""
    if value is None:
        return NONE
    if value >= 10 ** (digits - 1):
        return f"{value:,.0f}"
    return f"{value:.{digits}g}" if value >= 1e-3 or value == 0 else f"{value:.0e}"


def ours_of(row: Row, rows: Sequence[Row]) -> Row | None:
    """What a peer's row is compared with: eer on the engine that it ran in turn with."""
    if row.is_ours:
        return None
    of_case = [r for r in rows if r.case == row.case and r.is_ours and r.failure is None]
    named = [r for r in of_case if r.contestant == row.against]
    return next(iter(named or of_case), None)


def compared(value: Callable[[Row], float | None]) -> Callable[[Row, Row | None], str]:
    """A cell with a peer's multiple of eer's value behind its own."""

    def cell(row: Row, ours: Row | None) -> str:
        own = value(row)
        other = None if ours is None else value(ours)
        times = f" ({times_text(own / other)})" if own and other else ""
        return number(own) + times

    return cell


def times_text(ratio: float) -> str:
    return f"{number(ratio, 2 if ratio < 10 else 3)}×"


def megabytes(key: str) -> Callable[[Row], float | None]:
    """The bytes under `key` of a row's facts, in MB."""

    def value(row: Row) -> float | None:
        found = row.facts.get(key)
        return None if found is None else float(found) / 1e6

    return value


def fact(key: str) -> Callable[[Row], float | None]:
    def value(row: Row) -> float | None:
        return row.facts.get(key)

    return value


def _plain(value: Callable[[Row], str]) -> Callable[[Row, Row | None], str]:
    return lambda row, _: value(row)


def _parameters(row: Row) -> str:
    p = row.facts.get("parameters", {})
    if "log_n" not in p:
        return NONE
    return f"2^{p['log_n']}, {p['log_scale']:.0f} bit, {p['levels']}; {p['log_qp']:.0f}"


def _stages(row: Row) -> str:
    found = row.wall_ms if row.on_gpu else row.cpu_ms
    return " + ".join(number(found[s]) for s in STAGES) if found else NONE


def _labels(row: Row) -> str:
    return NONE if row.labels is None else f"{row.labels}/{row.windows}"


def _prediction(row: Row) -> str:
    return NONE if row.prediction_error is None else f"{row.prediction_error:+.0%}"


def _against(row: Row) -> str:
    return NONE if row.speedup is None else f"{row.speedup:.2f}×"


def _pool(row: Row) -> str:
    pool = row.facts.get("pool")
    if pool is None:
        return NONE
    return f"{number(pool['all_per_s'])} = {pool['times']:.2f} × one"


def _rotations(row: Row) -> str:
    operations = row.facts.get("operations", {})
    counts = [operations[op] for op in ("rotate", "conjugate") if op in operations]
    return str(sum(counts)) if counts else NONE


COLUMNS: tuple[Column, ...] = (
    Column("case", _plain(lambda r: r.case), True),
    Column("contestant", _plain(lambda r: f"{r.contestant} {r.version}"), True),
    Column("ring, scale, levels; log QP", _plain(_parameters), True),
    Column("ms: encrypt + run + decrypt", _plain(_stages)),
    Column("CPU ms", _plain(lambda r: r.failure or number(r.total_cpu_ms)), True),
    Column("wall ms", _plain(lambda r: number(r.wall_ms.get("total")))),
    Column("eer is faster by", _plain(_against), True),
    Column("windows/s", _plain(lambda r: number(r.windows_per_second)), True),
    Column("largest error", _plain(lambda r: number(r.max_error, 2)), True),
    Column("labels", _plain(_labels), True),
    Column("rotations", _plain(_rotations)),
    Column("rotation keys", _plain(lambda r: str(r.facts.get("rotation_keys", NONE)))),
    Column("rotation keys MB", compared(megabytes("rotation_key_bytes")), True),
    Column("upload MB", compared(megabytes("upload_bytes"))),
    Column("download MB", compared(megabytes("download_bytes"))),
    Column("peak MB", compared(lambda r: r.peak_mb), True),
    Column("peak MB, service", compared(fact("run_peak_mb"))),
    Column("compile CPU s", compared(fact("compile_cpu_s")), True),
    Column("keygen CPU s", compared(fact("keygen_cpu_s"))),
    Column("windows/s, all cores", _plain(_pool)),
    Column("predicted", _plain(_prediction), True),
)
