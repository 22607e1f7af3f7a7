"""The cost model: milliseconds of CPU time of every operation of an engine, by ring and level.

An operation's time is a polynomial in the number of primes that its operands have. Coefficients
are measured, ring by ring: those in costs/ are shipped, those of a user's own machine come from
`eer calibrate-costs`. Both are the same kind of file (timing/store.py).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files
from types import MappingProxyType

Terms = tuple[float, float, float]
"""Milliseconds that do not depend on the primes p, that go with p, and with p squared."""

Ring = Mapping[str, Terms]
"""Terms by operation."""

LINEAR = (
    "multiply_plain",
    "operand",
    "multiply",
    "square",
    "add",
    "add_plain",
    "rescale",
    "level_down",
    "encode",
    "send",
    "load",
    "save",
    "receive",
)
"""Operations that treat each prime alike."""

SQUARE = ("rotate", "next_rotation", "relinearise")
"""Key switches: each digit, of which there is one for every prime, meets every prime."""

OPERATIONS = (*SQUARE, *LINEAR)


@dataclass(frozen=True, slots=True)
class Costs:
    """Measured costs of one engine. `rings` goes by log2 of the ring dimension.

    `version` and `cpu` say what was measured, and `source` whose measurement it is: "shipped" or
    "calibrated".
    """

    engine: str
    version: str
    cpu: str
    rings: Mapping[int, Ring] = field(repr=False)
    source: str = "calibrated"

    def terms(self, log_n: int) -> Ring:
        """Terms for ring 2^log_n; where it was not measured, the nearest's, by N log N."""
        if log_n in self.rings:
            return self.rings[log_n]
        near = min(self.rings, key=lambda n: (abs(n - log_n), n))
        ratio = (log_n << log_n) / (near << near)
        return {
            name: (a * ratio, b * ratio, c * ratio)
            for name, (a, b, c) in self.rings[near].items()
        }


@cache
def shipped(engine: str) -> Costs:
    """What comes with eer for an engine that programs are compiled for."""
    text = files(__package__).joinpath("costs", f"{engine}.json").read_text(encoding="utf-8")
    data = json.loads(text)
    rings = {int(n): {k: tuple(v) for k, v in ring.items()} for n, ring in data["rings"].items()}
    return Costs(
        data["engine"], data["version"], data["cpu"], MappingProxyType(rings), source="shipped"
    )


@dataclass(frozen=True, slots=True)
class CostModel:
    """Milliseconds of CPU time on one core, for ring dimension 2^log_n; by default SEAL's.

    Operands of level l have l + 1 primes.
    """

    log_n: int
    costs: Costs = field(default_factory=lambda: shipped("seal"))
    _terms: Ring = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_terms", self.costs.terms(self.log_n))

    def rotate(self, level: int) -> float:
        return self._at("rotate", level)

    def rotate_many(self, level: int, count: int) -> float:
        """`count` rotations of one value, asked for at once: engines with hoisting share digits."""
        return self.rotate(level) + (count - 1) * self._at("next_rotation", level)

    def multiply_plain(self, level: int) -> float:
        """A product with a plaintext, within a sum of them."""
        return self._at("multiply_plain", level)

    def operand(self, level: int) -> float:
        """What the first product that reads a ciphertext does to it."""
        return self._at("operand", level)

    def multiply(self, level: int) -> float:
        """A product of two ciphertexts, not relinearised."""
        return self._at("multiply", level)

    def square(self, level: int) -> float:
        """A ciphertext times itself, not relinearised."""
        return self._at("square", level)

    def relinearise(self, level: int) -> float:
        return self._at("relinearise", level)

    def add(self, level: int) -> float:
        return self._at("add", level)

    def add_plain(self, level: int) -> float:
        return self._at("add_plain", level)

    def rescale(self, level: int) -> float:
        return self._at("rescale", level)

    def level_down(self, level: int) -> float:
        """From `level` to any below."""
        return self._at("level_down", level)

    def encode(self, level: int) -> float:
        """A vector to a plaintext: once for each vector of weights, when a server starts."""
        return self._at("encode", level)

    def send(self, level: int) -> float:
        """A vector encrypted and serialised by the client."""
        return self._at("send", level)

    def load(self, level: int) -> float:
        """A client's ciphertext read by the server."""
        return self._at("load", level)

    def encrypt(self, level: int) -> float:
        """A ciphertext's whole way in: by the client and by the server."""
        return self.send(level) + self.load(level)

    def save(self, level: int) -> float:
        """An answer serialised by the server."""
        return self._at("save", level)

    def receive(self, level: int) -> float:
        """An answer read, decrypted and decoded by the client."""
        return self._at("receive", level)

    def _at(self, operation: str, level: int) -> float:
        a, b, c = self._terms[operation]
        primes = level + 1
        return a + primes * (b + primes * c)
