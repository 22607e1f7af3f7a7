"""Tables, numbers and parameters as people read them; nothing is printed here."""

from __future__ import annotations

from collections.abc import Sequence
from io import StringIO
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console, Group, RenderableType
from rich.table import Table

from eer.runtime.fields import Json

LEFT_ALIGNED = 1
"""Columns that hold names; the others hold numbers."""


def to_text(*parts: RenderableType, width: int, styled: bool = False) -> str:
    """What `parts` look like on a terminal of this width, without trailing blanks."""
    stream = StringIO()
    console = Console(file=stream, width=width, force_terminal=styled, highlight=False)
    console.print(Group(*parts))
    return "\n".join(line.rstrip() for line in stream.getvalue().rstrip().splitlines())


def security(params: Json) -> str:
    return (
        f"{params['security_bits']} bits: log2(QP) = {params['log_qp']:.0f} of the "
        f"{params['log_qp_limit']} that ring dimension {params['ring_dimension']} allows"
    )


def parameters(params: Json) -> str:
    levels = counted(params["levels"], "level")
    return (
        f"{params['slots']} slots, {levels}, scale 2^{params['log_scale']:g}, "
        f"{windows(params['batch'])} a ciphertext"
    )


def depth(program: Json) -> str:
    """Products on the longest path, and how many times it rescales."""
    products = counted(program["products_deep"], "product")
    return f"{products} one after another, rescaled {counted(program['depth'], 'time')}"


def one_step(found: Json) -> str:
    """What a step of a model with state takes, and what must be done before the next."""
    return (
        f"{counted(found['levels'], 'level')}, from {found['level_in']} to {found['level_out']}; "
        f"then {counted(found['refreshes'], 'refresh')} by the {found['refresh']}, "
        f"{counted(found['ciphertexts'], 'ciphertext')} of state; {ms(found['server_ms'])} at the "
        f"server and {ms(found['client_ms'])} at the client each time, and "
        f"{ms(found['lesson_ms'])} to encrypt what is learned from (predicted)"
    )


def windows(count: int) -> str:
    return counted(count, "window")


def counted(number: int, name: str) -> str:
    return f"{number} {name}" if number == 1 else f"{number} {name}s"


def ms(value: float) -> str:
    """As people read them: 12.3 s, 345 ms, 6.78 ms."""
    if value >= 10_000:
        return f"{value / 1000:.1f} s"
    return f"{value:.0f} ms" if value >= 100 else f"{value:.3g} ms"


def new_table(*columns: str) -> Table:
    table = Table(box=SIMPLE_HEAD, pad_edge=False, padding=(0, 1))
    for k, name in enumerate(columns):
        table.add_column(name, justify="left" if k < LEFT_ALIGNED else "right", overflow="fold")
    return table


def pairs(*pairs: Sequence[Any]) -> Table:
    table = Table(box=None, show_header=False, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column(style="bold")
    table.add_column()
    for name, value in pairs:
        table.add_row(name, value)
    return table
