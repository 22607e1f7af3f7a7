"""The JSON of headers: written, parsed, and read with types, for it is not to be trusted."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from .errors import ArtifactError
from .pieces import Bytes

Json = dict[str, Any]

_INTEGER_LIMIT = 1 << 53
_HEXADECIMAL = re.compile("[0-9a-f]+")


def _refuse(constant: str) -> float:
    raise ValueError(f"{constant} is no JSON")


# Made once: to make one takes as long as to use it, where a library has just emptied the caches.
_ENCODER = json.JSONEncoder(allow_nan=False, separators=(",", ":"))
_DECODER = json.JSONDecoder(parse_constant=_refuse)


def dump_header(values: Json) -> bytes:
    """A header's bytes. Raises ValueError for what JSON has no form for, such as NaN."""
    return _ENCODER.encode(values).encode()


def parse_header(data: Bytes) -> Any:
    """What a header holds. Raises ValueError or RecursionError for what is no JSON."""
    return _DECODER.decode(str(data, "utf-8"))


@dataclass(frozen=True, slots=True)
class Fields:
    """One JSON object. Every getter raises ArtifactError where the value is missing or of the
    wrong type; `where` names the file."""

    values: Mapping[str, Any]
    where: str

    def bad(self, name: str, wanted: str) -> ArtifactError:
        return ArtifactError(
            f"header field '{name}' is not {wanted}",
            where=self.where,
            hint="the file was not written by eer, or was changed: make it again",
        )

    def text(self, name: str, limit: int = 4096) -> str:
        value = self.values.get(name)
        if not isinstance(value, str) or len(value) > limit:
            raise self.bad(name, f"a text of at most {limit} characters")
        return value

    def digest(self, name: str) -> str:
        """A SHA-256 or shorter identifier: lower-case hexadecimal digits."""
        value = self.text(name, limit=64)
        if not _HEXADECIMAL.fullmatch(value):
            raise self.bad(name, "a hexadecimal identifier")
        return value

    def integer(self, name: str, low: int = 0, high: int = _INTEGER_LIMIT) -> int:
        value = self.values.get(name)
        if type(value) is not int or not low <= value <= high:
            raise self.bad(name, f"an integer between {low} and {high}")
        return value

    def number(self, name: str) -> float:
        value = self.values.get(name)
        if not (type(value) is int or type(value) is float) or not _finite(value):
            raise self.bad(name, "a finite number")
        return float(value)

    def flag(self, name: str) -> bool:
        value = self.values.get(name)
        if type(value) is not bool:
            raise self.bad(name, "true or false")
        return value

    def items(self, name: str) -> list[Any]:
        value = self.values.get(name)
        if type(value) is not list:
            raise self.bad(name, "a list")
        return value

    def texts(self, name: str) -> tuple[str, ...]:
        values = self.items(name)
        if any(type(v) is not str for v in values):
            raise self.bad(name, "a list of texts")
        return tuple(values)

    def numbers(self, name: str) -> tuple[float, ...]:
        values = self.items(name)
        if any(type(v) not in (int, float) or not _finite(v) for v in values):
            raise self.bad(name, "a list of finite numbers")
        return tuple(float(v) for v in values)

    def integers(self, name: str, low: int = 0, high: int = _INTEGER_LIMIT) -> tuple[int, ...]:
        values = self.items(name)
        if any(type(v) is not int or not low <= v <= high for v in values):
            raise self.bad(name, f"a list of integers between {low} and {high}")
        return tuple(values)

    def objects(self, name: str) -> tuple[Fields, ...]:
        values = self.items(name)
        if any(type(v) is not dict for v in values):
            raise self.bad(name, "a list of objects")
        return tuple(Fields(v, self.where) for v in values)

    def object(self, name: str) -> Fields:
        value = self.values.get(name)
        if type(value) is not dict:
            raise self.bad(name, "an object")
        return Fields(value, self.where)


def _finite(value: int | float) -> bool:
    try:
        return math.isfinite(value)
    except OverflowError:
        return False
