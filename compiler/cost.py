"""The cost model: milliseconds of every operation of an engine, by ring and level: of CPU time on
one core, or of wall time where a GPU computes (see `compiler/clock.py`).

An operation's time is a polynomial in the number of primes that its operands have. Coefficients
are measured, ring by ring: those in costs/ are shipped, those of a user's own machine come from
`eer calibrate-costs`. Both are the same kind of file.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files
from math import isfinite

from eer.runtime.errors import ArtifactError
from eer.runtime.fields import Fields, Json

FORMAT = 2
"""Of files of costs; another is not read."""

RINGS = range(10, 18)
"""log2 of ring dimensions that a file may have costs for."""

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
    "accumulate",
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
    """Measured costs of one engine, of version `version` on `device` (see `timing.device`).

    `rings` goes by log2 of the ring dimension. `source` says whose measurement it is: "shipped" or
    "calibrated".
    """

    engine: str
    version: str
    device: str
    rings: Mapping[int, Ring] = field(repr=False)
    source: str = "calibrated"

    @classmethod
    def from_bytes(cls, data: bytes, where: str, source: str = "calibrated") -> Costs:
        """Read what `to_bytes` wrote; ArtifactError for anything else."""
        try:
            values = json.loads(data)
        except (ValueError, RecursionError) as problem:
            raise _not_costs(where, "it is not JSON") from problem
        if type(values) is not dict or values.get("kind") != "eer costs":
            raise _not_costs(where, "it is of another kind")
        found = Fields(values, where)
        if found.integer("format") != FORMAT:
            raise _not_costs(where, f"its format is not {FORMAT}")
        rings = found.object("rings")
        known = {str(n): n for n in RINGS}
        if not rings.values or not rings.values.keys() <= known.keys():
            raise rings.bad("rings", "costs by log2 of a ring dimension")
        measured = {known[name]: _ring(rings.object(name)) for name in rings.values}
        engine, version, device = (found.text(name) for name in ("engine", "version", "device"))
        return cls(engine, version, device, measured, source)

    def to_bytes(self) -> bytes:
        """A JSON file: the same for the same costs."""
        head = {
            "kind": "eer costs",
            "format": FORMAT,
            "engine": self.engine,
            "version": self.version,
            "device": self.device,
        }
        lines = [f" {json.dumps(k)}: {json.dumps(v)}," for k, v in head.items()]
        rings = []
        for log_n in sorted(self.rings):
            rows = (f'   "{o}": {json.dumps(self.rings[log_n][o])}' for o in OPERATIONS)
            rings.append(f'  "{log_n}": {{\n' + ",\n".join(rows) + "\n  }")
        return "\n".join(["{", *lines, ' "rings": {', ",\n".join(rings), " }", "}", ""]).encode()

    def describe(self) -> Json:
        """Which costs these are, for a report: what they were measured on, and a digest."""
        return {
            "source": self.source,
            "engine": self.engine,
            "version": self.version,
            "device": self.device,
            "digest": hashlib.sha256(self.to_bytes()).hexdigest()[:16],
        }

    def terms(self, log_n: int) -> Ring:
        """Terms for ring 2^log_n; where it was not measured, the nearest's, by N log N."""
        if log_n in self.rings:
            return self.rings[log_n]
        near = min(self.rings, key=lambda n: (abs(n - log_n), n))
        ratio = (log_n << log_n) / (near << near)
        return {
            name: (a * ratio, b * ratio, c * ratio) for name, (a, b, c) in self.rings[near].items()
        }


def _ring(fields: Fields) -> Ring:
    def terms(operation: str) -> Terms:
        values = fields.numbers(operation)
        if len(values) != 3 or not all(isfinite(v) and v >= 0 for v in values):
            raise fields.bad(operation, "three numbers, none of them negative")
        return values[0], values[1], values[2]

    return {operation: terms(operation) for operation in OPERATIONS}


def _not_costs(where: str, why: str) -> ArtifactError:
    return ArtifactError(
        f"this is no file of costs: {why}", where=where, hint="make it with eer calibrate-costs"
    )


@cache
def shipped(engine: str) -> Costs:
    """What comes with eer for an engine that programs are compiled for."""
    name = f"{engine}.json"
    data = files(__package__).joinpath("costs", name).read_bytes()
    return Costs.from_bytes(data, name, "shipped")


@dataclass(frozen=True, slots=True)
class CostModel:
    """Milliseconds for ring dimension 2^log_n; by default SEAL's, of CPU time on one core.

    Operands of level l have l + 1 primes. Where an operation asks for `parts`, its operand's
    polynomials, three take half as long again as two, each being treated alike.
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

    def conjugate(self, level: int) -> float:
        """Another automorphism than a rotation, and the same key switch."""
        return self.rotate(level)

    def times_i(self, level: int) -> float:
        """A product with the imaginary unit, as of a value that no product has read."""
        return self.operand(level) + self.multiply_plain(level)

    def multiply_plain(self, level: int, parts: int = 2) -> float:
        """A product with a plaintext, within a sum of them."""
        return self._at("multiply_plain", level) * parts / 2

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

    def add(self, level: int, parts: int = 2) -> float:
        return self._at("add", level) * parts / 2

    def accumulate(self, level: int, parts: int = 2) -> float:
        """A summand added to a sum that is under way: of products, or of a fold."""
        return self._at("accumulate", level) * parts / 2

    def add_plain(self, level: int) -> float:
        return self._at("add_plain", level)

    def rescale(self, level: int, parts: int = 2) -> float:
        return self._at("rescale", level) * parts / 2

    def level_down(self, level: int, parts: int = 2) -> float:
        """From `level` to any below."""
        return self._at("level_down", level) * parts / 2

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

    def save(self, level: int, parts: int = 2) -> float:
        """An answer serialised by the server."""
        return self._at("save", level) * parts / 2

    def receive(self, level: int, parts: int = 2) -> float:
        """An answer read, decrypted and decoded by the client. Half of it is decoding, which is
        the same for three parts as for two."""
        return self._at("receive", level) * (2 + parts) / 4

    def _at(self, operation: str, level: int) -> float:
        a, b, c = self._terms[operation]
        primes = level + 1
        return a + primes * (b + primes * c)
