"""What the engines hand out, with its type, and the checks of one object or number."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import astuple, dataclass
from typing import Any

import numpy as np

from ..errors import DataError, EngineError, KeyMismatchError
from ..params import CkksParams
from ..program import Slots

SCALE_TOLERANCE = 1e-9
"""Scales are equal where they agree to this relative difference (true primes, float64 products)."""


@dataclass(frozen=True, slots=True, eq=False, weakref_slot=True)
class Ciphertext:
    """A library's ciphertext with its type. Never changed after it was made.

    `parts` are its polynomials: 3 where a product was not relinearised, else 2.
    """

    handle: Any
    level: int
    scale: float
    key_id: str
    space: str
    parts: int = 2


@dataclass(frozen=True, slots=True, eq=False)
class Plaintext:
    """A library's encoded vector with its type."""

    handle: Any
    level: int
    scale: float
    space: str


@dataclass(frozen=True, slots=True, eq=False)
class Bound:
    """Key material of the engine space that made it."""

    space: str
    raw: Any


def space_of(name: str, params: CkksParams) -> str:
    """Name of the engine and digest of the parameters: what objects must share to meet."""
    text = json.dumps(astuple(params), separators=(",", ":"))
    return f"{name}:{hashlib.blake2b(text.encode(), digest_size=8).hexdigest()}"


def check_vector(values: Slots, slots: int) -> Slots:
    """`values` as contiguous float64 or complex128 [slots]; DataError for another shape, and for
    NaN or infinity in either part."""
    kind: type[np.float64 | np.complex128] = (
        np.complex128 if np.iscomplexobj(values) else np.float64
    )
    try:
        vector: Slots = np.ascontiguousarray(values, dtype=kind)
    except (TypeError, ValueError) as error:
        raise DataError(f"a vector of numbers was expected: {error}") from error
    if vector.shape != (slots,):
        raise DataError(
            f"a vector of {slots} values was expected, one for each slot, got shape {vector.shape}"
        )
    if not np.isfinite(vector).all():
        raise DataError("the vector holds NaN or infinity", hint="clean the input data")
    return vector


def check_steps(rotations: Iterable[int], slots: int) -> tuple[int, ...]:
    """Left rotation steps, sorted, each once, in 1..slots-1."""
    return tuple(sorted({int(r) % slots for r in rotations} - {0}))


def check_owner(a: object, kind: type[Ciphertext] | type[Plaintext], space: str) -> None:
    """Refuse what is not a `kind` of this engine space."""
    if not isinstance(a, kind) or a.space != space:
        owner = getattr(a, "space", type(a).__name__)
        raise KeyMismatchError(f"a {kind.__name__.lower()} of {space} was expected, got {owner}")


def check_scales(scales: Sequence[float], what: str) -> None:
    """Refuse scales that differ by more than rounding."""
    low, high = min(scales), max(scales)
    if high - low > SCALE_TOLERANCE * high:
        raise EngineError(f"cannot {what}: scales {low:.12g} and {high:.12g} differ")


def other_key(kind: str) -> KeyMismatchError:
    return KeyMismatchError(
        f"this {kind} was made with another key",
        hint="use the secret key, the evaluation keys and the ciphertexts of one key generation",
    )
