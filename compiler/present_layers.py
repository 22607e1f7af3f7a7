"""A compiled model layer by layer, as people read it: what it does, and where the time goes."""

from __future__ import annotations

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from eer.runtime.fields import Json

from .clock import clock, on_gpu
from .tables import counted, depth, ms, new_table, one_step, pairs, parameters, security


def layers(found: Json) -> list[RenderableType]:
    """What every layer does and costs, what was not chosen, and the totals."""
    params = found["parameters"]
    parts: list[RenderableType] = [Text(f"{found['model']} on {found['engine']}"), _layers(found)]
    if any(row["runner_up"] for row in found["layers"]):
        parts.append(_runners_up(found["layers"]))
    parts.append(
        pairs(
            ("security", security(params)),
            ("parameters", parameters(params)),
            ("program", depth(found["program"])),
            *([("a step", one_step(found["step"]))] if found["step"] else []),
            ("products", "p: ciphertext by plaintext; c: ciphertext by ciphertext"),
            ("precision", "of a layer's values above the noise, predicted for calibration windows"),
            ("times", f"predicted {_clock(found['engine'])}, with {_costs(found['costs'])} costs"),
        )
    )
    return parts


def _clock(engine: str) -> str:
    return clock(engine) if on_gpu(engine) else f"{clock(engine)} of one core"


def _layers(found: Json) -> Table:
    rows, totals = found["layers"], found["totals"]
    table = new_table(
        "layer", "method", "level", "in", "rotations", "products", "precision", "time", "share"
    )
    before, after = (
        [row for row in found["stages"] if row["before"] is first] for first in (True, False)
    )
    for row in before:
        _stage(table, row)
    table.add_section()
    for row in rows:
        table.add_row(
            _name(row),
            row["method"] or row["kind"],
            f"{row['level_in']} → {row['level_out']}",
            str(row["input_ciphertexts"] or ""),
            str(row["rotations"] or ""),
            _products(row),
            f"{row['predicted_bits']:.1f} bits",
            ms(row["predicted_ms"]),
            f"{row['share']:.0%}",
        )
    table.add_section()
    for row in after:
        _stage(table, row)
    table.add_section()
    table.add_row(
        "a whole message",
        "",
        f"{found['program']['depth']} → {found['program']['output_level']}",
        str(totals["input_ciphertexts"]),
        str(totals["rotations"]),
        _products(totals),
        "",
        ms(totals["predicted_ms"]),
        "100%",
    )
    return table


def _stage(table: Table, row: Json) -> None:
    blank = [""] * 6
    table.add_row(row["name"], *blank, ms(row["predicted_ms"]), f"{row['share']:.0%}")


def _runners_up(rows: list[Json]) -> Table:
    """The planner's own estimates, inputs included, of what it chose and of the next best."""
    table = new_table("not chosen", "chosen", "it takes", "next best", "it would take", "that is")
    for row in rows:
        other = row["runner_up"]
        if other is not None:
            table.add_row(
                _name(row),
                _plan(row),
                ms(row["planned_ms"]),
                _plan(other),
                ms(other["planned_ms"]),
                f"{other['planned_ms'] / row['planned_ms'] - 1:+.0%}",
            )
    return table


def _plan(row: Json) -> str:
    counts = (
        (row["input_ciphertexts"], "input"),
        (row["rotations"], "rotation"),
        (row["plain_products"], "product"),
    )
    return f"{row['method']}: " + ", ".join(counted(n, what) for n, what in counts if n)


def _name(row: Json) -> str:
    names = row["name"].split(", ")
    return names[0] if len(names) == 1 else f"{names[0]} … {names[-1]}"


def _products(row: Json) -> str:
    counts = ((row["plain_products"], "p"), (row["cipher_products"], "c"))
    return " + ".join(f"{n}{kind}" for n, kind in counts if n)


def _costs(costs: Json) -> str:
    whose = "shipped" if costs["source"] == "shipped" else "calibrated"
    return f"{whose} ({costs['engine']} {costs['version']}, {costs['device']})"
