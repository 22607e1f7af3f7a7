"""Options that several commands share."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from ..console import warn
from ..engine import Engine
from ..engines import engine_names, open_engine
from ..params import CkksParams

EngineName = Annotated[
    str | None,
    typer.Option(
        "--engine",
        help=f"Use another engine than the model's ({', '.join(engine_names())}).",
        show_default=False,
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object on stdout.")]
Force = Annotated[bool, typer.Option("--force", help="Replace files that are there already.")]


def open_announced(params: CkksParams, name: str | None) -> Engine:
    """The engine asked for, with a warning where it does not encrypt."""
    engine = open_engine(params, name)
    if not engine.capabilities.encrypted:
        warn(f"the engine '{engine.name}' encrypts nothing: use it for tests only")
    return engine


def numbered(path: Path, count: int) -> list[Path]:
    """`path`, or `count` paths with a number before the ending: windows.001.ct, ..."""
    if count == 1:
        return [path]
    digits = max(3, len(str(count)))
    return [path.with_name(f"{path.stem}.{i + 1:0{digits}}{path.suffix}") for i in range(count)]


def listed(paths: Sequence[Path]) -> str:
    """A few paths for people."""
    if len(paths) <= 2:
        return " and ".join(str(p) for p in paths)
    return f"{paths[0]} to {paths[-1]} ({len(paths)} files)"
