"""Pinned plans as files, and the difference between two of them in words."""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from eer.compiler import CompileWarning, compile_model
from tests.compiler.networks import make
from tests.pins.models import PINS

FOLDER = Path(__file__).parent / "golden"

LAYER = ("method", "level_in", "level_out", "input_ciphertexts", "rotations")
PRODUCTS = ("plain_products", "cipher_products")


def describe(name: str) -> dict[str, Any]:
    """What the model compiles to: parameters, operations, levels, keys, layers and bytes."""
    pin = PINS[name]
    model, data = make(pin.build)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", CompileWarning)
        report = compile_model(model, data, pin.options).report
    program = report["program"]
    wanted = ("slots", "depth", "output_level", "operations", "rotation_steps", "plaintexts")
    return {
        "parameters": report["parameters"],
        "program": {key: program[key] for key in wanted},
        "layers": {
            f"{number} {layer['name']}": {key: layer[key] for key in (*LAYER, *PRODUCTS)}
            for number, layer in enumerate(report["layers"])
        },
        "bytes": report["sizes"],
        "server_bytes": report["predicted"]["server_bytes"]["peak"],
    }


def path(name: str) -> Path:
    return FOLDER / f"{name}.json"


def accepted(name: str) -> dict[str, Any]:
    """What is pinned."""
    found: dict[str, Any] = json.loads(path(name).read_text(encoding="utf-8"))
    return found


def accept(name: str, found: dict[str, Any]) -> None:
    FOLDER.mkdir(exist_ok=True)
    path(name).write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


def differences(was: Any, now: Any, where: str = "") -> Iterator[str]:
    """One line for each value that differs: where it stands, what it was and what it is."""
    if isinstance(was, dict) and isinstance(now, dict):
        for key in [*was, *(k for k in now if k not in was)]:
            inner = f"{where}.{key}" if where else key
            yield from differences(was.get(key, "nothing"), now.get(key, "nothing"), inner)
    elif was != now:
        change = ""
        if isinstance(was, int | float) and isinstance(now, int | float) and was:
            change = f" ({now / was - 1:+.1%})"
        yield f"{where}: {was} → {now}{change}"
