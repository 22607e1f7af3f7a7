"""What must hold, by the figures of a run: targets set before anything was measured.

The best peer of a case is the one with the least CPU time, whether its labels are right or not.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from .columns import fact, megabytes, number, ours_of, times_text
from .result import Row

Value = Callable[[Row], float | None]

SPEED = ("T1/square", "T2/square", "T3/square", "T1/silu", "T1/silu:2%", "T2/silu")
TASKS = (*SPEED, "T3/silu")


@dataclass(frozen=True, slots=True)
class Verdict:
    """One target; `held` is None where it was not measured."""

    what: str
    target: str
    figure: str
    held: bool | None

    @property
    def answer(self) -> str:
        return {True: "yes", False: "**no**", None: "not measured"}[self.held]


def verdicts(rows: Sequence[Row]) -> list[Verdict]:
    """Every target, in a fixed order: those of GPUs where one computed, else those of CPUs."""
    done = [row for row in rows if row.failure is None]
    on_gpu = [row for row in done if row.on_gpu]
    if on_gpu:
        return [
            _latency(on_gpu, "wesad/mlp", 10.0, "wall time"),
            _latency(on_gpu, "wesad/personal", 15.0, "wall time"),
            _windows(on_gpu, "wesad/mlp", 20_000),
            _labels(on_gpu, "T3/square", 1.0),
            _labels(on_gpu, "T1/silu", 0.95),
            _labels(on_gpu, "T2/silu", 0.95),
            _all(on_gpu, "predicted latency, T1 to T3", "within 20 %", 20.0, _off, " %"),
        ]
    return [
        *(_faster(done, case) for case in SPEED),
        _batch(done, "T1/square/128"),
        _batch(done, "T2/square/16"),
        _error(done, "T1/square"),
        _labels(done, "T3/square", 1.0),
        _labels(done, "T1/silu", 0.95),
        _labels(done, "T1/silu:2%", 0.95),
        _labels(done, "T2/silu", 0.95),
        _size(done, "T3/square: peak memory", "under 8 GB", "T3/square"),
        _share(done, "rotation keys sent", "half of the best peer's or less", 0.5, _KEYS),
        _share(done, "peak memory, service", "a quarter or less", 0.25, fact("run_peak_mb")),
        _share(done, "peak memory, with compiling", "a quarter or less", 0.25, lambda r: r.peak_mb),
        _share(done, "compile CPU time", "no more", 1.0, fact("compile_cpu_s")),
        _all(done, "compile CPU time, T1 to T3", "under 10 s", 10.0, fact("compile_cpu_s"), " s"),
        _all(done, "predicted latency, T1 to T3", "within 20 %", 20.0, _off, " %"),
        _latency(done, "wesad/mlp", 111.0, "CPU time"),
        _latency(done, "wesad/personal", 152.0, "CPU time"),
        _personal(done, "wesad/personal", "wesad/mlp"),
        _throughput(done, ("T1/square", "wesad/mlp")),
    ]


_KEYS = megabytes("rotation_key_bytes")


def best_peer(rows: Sequence[Row], case: str) -> Row | None:
    """The quickest peer that answered."""
    found = [r for r in rows if r.case == case and not r.is_ours and r.speedup is not None]
    return min(found, key=lambda r: r.total_cpu_ms or 0.0, default=None)


def _ours(rows: Sequence[Row], case: str) -> Row | None:
    return next((r for r in rows if r.case == case and r.is_ours), None)


def _faster(rows: Sequence[Row], case: str) -> Verdict:
    what, target = f"{case}: CPU time", "5 times faster than the best peer"
    peer = best_peer(rows, case)
    ours = None if peer is None else ours_of(peer, rows)
    if peer is None or ours is None or peer.speedup is None:
        return Verdict(what, target, "no peer answered", None)
    figure = (
        f"{peer.speedup:.1f}×: {number(ours.total_cpu_ms)} ms, "
        f"{peer.contestant} {number(peer.total_cpu_ms)} ms"
    )
    if peer.labels != peer.windows:
        figure += f" with {peer.labels} of {peer.windows} labels right"
    return Verdict(what, target, figure, peer.speedup >= 5)


def _batch(rows: Sequence[Row], case: str) -> Verdict:
    what, target = f"{case}: windows/s", "5 times the best peer's"
    peer = best_peer(rows, case)
    ours = None if peer is None else ours_of(peer, rows)
    if peer is None or ours is None:
        return Verdict(what, target, "no peer answered", None)
    mine, theirs = ours.windows_per_second or 0.0, peer.windows_per_second or 0.0
    figure = f"{mine / theirs:.1f}×: {number(mine)}, {peer.contestant} {number(theirs)}"
    return Verdict(what, target, figure, mine >= 5 * theirs)


def _error(rows: Sequence[Row], case: str) -> Verdict:
    what, target = f"{case}: largest error", "not larger than the best peer's"
    peer, ours = best_peer(rows, case), _ours(rows, case)
    if peer is None or ours is None or peer.max_error is None or ours.max_error is None:
        return Verdict(what, target, "no peer answered", None)
    figure = f"{number(ours.max_error, 2)}, {peer.contestant} {number(peer.max_error, 2)}"
    return Verdict(what, target, figure, ours.max_error <= peer.max_error)


def _labels(rows: Sequence[Row], case: str, share: float) -> Verdict:
    what = f"{case}: labels right"
    target = "all of them" if share == 1 else "19 of 20"
    ours = _ours(rows, case)
    if ours is None or ours.labels is None:
        return Verdict(what, target, "", None)
    held = ours.labels >= share * ours.windows
    return Verdict(what, target, f"{ours.labels} of {ours.windows}", held)


def _size(rows: Sequence[Row], what: str, target: str, case: str) -> Verdict:
    ours = _ours(rows, case)
    if ours is None or ours.peak_mb is None:
        return Verdict(what, target, "", None)
    return Verdict(what, target, f"{number(ours.peak_mb / 1e3, 2)} GB", ours.peak_mb < 8000)


def _latency(rows: Sequence[Row], case: str, limit: float, clock: str) -> Verdict:
    what, target = f"{case}: {clock} of a window", f"{limit:.0f} ms or less"
    ours = _ours(rows, case)
    if ours is None or ours.total_ms is None:
        return Verdict(what, target, "", None)
    return Verdict(what, target, f"{number(ours.total_ms)} ms", ours.total_ms <= limit)


def _windows(rows: Sequence[Row], case: str, wanted: float) -> Verdict:
    """Of the batch that gives the most."""
    what, target = f"{case}, batched: windows/s", f"{wanted:,.0f} or more"
    batched = [r for r in rows if r.case.startswith(f"{case}/") and r.windows_per_second]
    if not batched:
        return Verdict(what, target, "", None)
    best = max(batched, key=lambda r: r.windows_per_second or 0.0)
    found = best.windows_per_second or 0.0
    return Verdict(what, target, f"{number(found)}, {best.batch:,} a message", found >= wanted)


def _personal(rows: Sequence[Row], personal: str, general: str) -> Verdict:
    what, target = f"{personal}: CPU time", f"1.4 times that of {general} or less"
    own, others = _ours(rows, personal), _ours(rows, general)
    mine = None if own is None else own.total_cpu_ms
    plain = None if others is None else others.total_cpu_ms
    if mine is None or plain is None:
        return Verdict(what, target, "", None)
    return Verdict(what, target, times_text(mine / plain), mine <= 1.4 * plain)


def _throughput(rows: Sequence[Row], cases: Sequence[str]) -> Verdict:
    what, target = "windows/s on two cores", "1.8 times those on one"
    ours = [r for case in cases if (r := _ours(rows, case)) is not None]
    pools = [(r.facts["pool"], r.case) for r in ours if r.facts.get("pool", {}).get("workers") == 2]
    if not pools:
        return Verdict(what, target, "", None)
    figure = ", ".join(f"{pool['times']:.2f}× ({case})" for pool, case in pools)
    return Verdict(what, target, figure, all(pool["times"] >= 1.8 for pool, _ in pools))


def _share(rows: Sequence[Row], what: str, target: str, most: float, value: Value) -> Verdict:
    """eer's value over the best peer's, on the case where that is largest."""
    found = []
    for case in dict.fromkeys(r.case for r in rows):
        peer = best_peer(rows, case)
        ours = None if peer is None else ours_of(peer, rows)
        mine = None if ours is None else value(ours)
        theirs = None if peer is None else value(peer)
        if mine is not None and theirs:
            found.append((mine / theirs, case))
    if not found:
        return Verdict(what, target, "no peer answered", None)
    (most_of_it, worst), (least, best) = max(found), min(found)
    figure = f"{times_text(most_of_it)} ({worst}) to {times_text(least)} ({best})"
    return Verdict(what, target, figure, most_of_it <= most)


def _all(
    rows: Sequence[Row], what: str, target: str, most: float, value: Value, unit: str
) -> Verdict:
    """The largest of eer's values over T1 to T3."""
    ours = [r for case in TASKS if (r := _ours(rows, case)) is not None]
    found = [(v, r.case) for r in ours if (v := value(r)) is not None]
    if not found:
        return Verdict(what, target, "", None)
    worst, case = max(found)
    within = sum(v <= most for v, _ in found)
    figure = f"{within} of {len(found)}; at most {number(worst)}{unit} ({case})"
    return Verdict(what, target, figure, worst <= most)


def _off(row: Row) -> float | None:
    return None if row.prediction_error is None else 100 * abs(row.prediction_error)
