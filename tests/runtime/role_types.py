"""What a type can hold: for tests that nothing of a server has room for a secret key."""

from __future__ import annotations

import dataclasses
import typing
from typing import Any


def types_within(annotation: Any, seen: set[Any]) -> set[Any]:
    """Every class reachable through annotations, dataclass fields and type arguments."""
    for argument in typing.get_args(annotation):
        types_within(argument, seen)
    if not isinstance(annotation, type) or annotation in seen:
        return seen
    seen.add(annotation)
    if dataclasses.is_dataclass(annotation):
        for hint in typing.get_type_hints(annotation).values():
            types_within(hint, seen)
    return seen
