"""DESILO FHE 1.17.0 on the CPU; `desilo_gpu` has the same on a GPU.

The library fixes the scale (2^40, tracked inside with the true primes), so scales here are nominal.
Its ciphertexts carry the scale squared and lose half of it on entering a product; `level` means
the same as ours throughout.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, ClassVar, TypeVar

import numpy as np

from ..engine import Capabilities, EvaluationKeys, Evaluator
from ..errors import ArtifactError, EngineError, ParameterError
from ..params import CkksLiteral, CkksParams
from ..pieces import Bytes, Pieces
from ..program import Slots
from .checked import CheckedEngine
from .desilo_evaluator import DesiloEvaluator, DesiloKeys, DesiloValue
from .desilo_library import DesiloCall, load_library
from .desilo_params import NOMINAL_LOG_SCALE
from .frame import part_table, split_parts
from .typed import Ciphertext

_HEADER = 34
"""Bytes before the residues in what version 1.17.0 serialises."""

_KEYS = "set of evaluation keys"

Held = TypeVar("Held")


class DesiloEngine(CheckedEngine):
    """DESILO FHE with parameters from `desilo_literal`."""

    name = "desilo"
    mode: ClassVar[str] = "cpu"
    capabilities = Capabilities(
        encrypted=True,
        values=True,
        exact_scale=False,
        lazy_rescale=False,
        hoisting=True,
        process_wide_lock=True,
        three_part=True,
        forks=True,
    )

    def __init__(self, params: CkksParams) -> None:
        super().__init__(params)
        library, self.version = load_library()
        with DesiloCall("set up its engine"):
            self.lib = library.Engine(max_level=params.max_level, mode=self.mode)
            if (self.lib.slot_count, self.lib.max_level) != (params.slots, params.max_level):
                raise ParameterError(
                    f"DESILO FHE takes {self.lib.slot_count} slots for {params.max_level} levels, "
                    f"{params.slots} were asked for",
                    hint="take the parameters from desilo_literal",
                )
            sizes, shared = self._read_chain()
        if params.log_scale != NOMINAL_LOG_SCALE or abs(sum(sizes) - params.log_qp) > 0.1:
            raise ParameterError(
                f"DESILO FHE uses log2(QP) = {sum(sizes):.1f} and scale 2^{NOMINAL_LOG_SCALE:.0f} "
                f"here; {params.log_qp:.1f} and 2^{params.log_scale:.1f} were asked for",
                hint="take the parameters from desilo_literal",
            )
        split = params.max_level + 1
        literal = CkksLiteral(
            "desilo", params.log_n, sizes[:split], sizes[split:], NOMINAL_LOG_SCALE
        )
        self._log_qp = literal.check().log_qp
        self.key_level = params.max_level - 1 if shared else params.max_level

    @property
    def family(self) -> str:
        """The CPU's and the GPU's files are the same."""
        return "desilo"

    @property
    def moduli(self) -> tuple[float, ...]:
        """Nominal: the library corrects for the true primes, so that every scale stays 2^40."""
        return (2.0**60, *(2.0**NOMINAL_LOG_SCALE,) * self.params.max_level)

    @property
    def log_qp(self) -> float:
        return self._log_qp

    def check_level_and_scale(self, level: int, scale: float) -> None:
        super().check_level_and_scale(level, scale)
        if abs(math.log2(scale) - NOMINAL_LOG_SCALE) > 1e-6:
            raise EngineError(
                f"the desilo engine has the scale 2^{NOMINAL_LOG_SCALE:.0f}, "
                f"not 2^{math.log2(scale):.6g}"
            )

    def _read_chain(self) -> tuple[tuple[float, ...], bool]:
        """Sizes in bits of all distinct primes of Q (from the base up) and P, and whether the top
        prime of Q is one of P.

        Residues of the secret key lie in [0, 2q), so that the largest of N tells q to 0.01 bit; a
        prime that occurs twice gives two equal rows. The key made for this is thrown away.
        """
        n, top = self.params.ring_dimension, self.params.max_level
        minus = self.lib.encode(np.full(self.slots, -(2.0**-82)), top)
        q_rows = _residues(bytes(self.lib.serialize_plaintext(minus)), n)
        key_rows = _residues(bytes(self.lib.serialize_secret_key(self.lib.create_secret_key())), n)
        if len(q_rows) != top + 2 or len(key_rows) <= len(q_rows):
            raise EngineError("DESILO FHE built another chain of primes than version 1.17.0 does")
        sizes = [math.log2(row[0]) for row in q_rows]
        special = key_rows[len(q_rows) :]
        shared = any(np.array_equal(key_rows[0], row) for row in special)
        sizes.reverse()
        new = special[:-1] if shared else special
        sizes += [math.log2(int(row.max()) + 1) - 1 for row in new]
        return tuple(sizes), shared

    def _generate_keys(
        self, steps: Mapping[int, int], conjugation: int | None
    ) -> tuple[Any, Pieces]:
        lib, top = self.lib, self.params.max_level
        with DesiloCall("make keys"):
            secret = lib.create_secret_key()
            parts: list[Bytes] = [b""]
            if top:
                # A product is rescaled before it is relinearised: one level below suffices.
                key = lib.create_relinearization_key(secret, top - 1)
                parts = [lib.serialize_relinearization_key(key)]
            for step, level in steps.items():
                level = min(level, self.key_level)
                key = lib.create_fixed_rotation_key(secret, self._delta(step), level)
                parts.append(lib.serialize_fixed_rotation_key(key))
            if conjugation is not None:
                key = lib.create_conjugation_key(secret, min(conjugation, self.key_level))
                parts.append(lib.serialize_conjugation_key(key))
        return secret, (part_table(parts), *parts)

    def _delta(self, step: int) -> int:
        """The library's rotations go right."""
        return self.slots - step

    def _encrypt(self, secret: Any, values: Slots, level: int, scale: float) -> DesiloValue:
        with DesiloCall("encrypt"):
            return DesiloValue(self.lib.encrypt(self.lib.encode(values, level), secret), False)

    def _decrypt(self, secret: Any, a: Ciphertext, imaginary: bool) -> Slots:
        with DesiloCall("decrypt"):
            values = self.lib.decrypt(self.coefficients(a.handle), secret)
        found: Slots = (
            np.array(values, np.complex128)
            if imaginary
            else np.array(values.real, dtype=np.float64)
        )
        return found

    def _evaluator(self, keys: EvaluationKeys, raw: DesiloKeys) -> Evaluator:
        return DesiloEvaluator(self, keys, raw)

    def resident(self, held: Held) -> Held:
        """The library's object `held`, in the memory where it will be computed with; the caller
        holds the lock."""
        return held

    def coefficients(self, value: DesiloValue) -> Any:
        """The ciphertext out of its transformed form; the caller holds the lock."""
        if value.transformed:
            value.cipher, value.transformed = self.lib.intt(value.cipher), False
        return value.cipher

    def _save_cipher(self, a: Ciphertext) -> bytearray:
        with DesiloCall("save a ciphertext"):
            data: bytearray = self.lib.serialize_ciphertext(self.coefficients(a.handle))
        return data

    def _load_cipher(
        self, payload: memoryview, level: int, scale: float, parts: int
    ) -> DesiloValue:
        self._check_loaded_scale(scale)
        cipher = self._load("ciphertext", self.lib.deserialize_ciphertext, payload)
        rows = (level + 2) * parts
        if (
            cipher.level != level
            or cipher.polynomial_count != parts
            or len(payload) // (8 * self.params.ring_dimension) != rows
        ):
            raise ArtifactError("this ciphertext is not of the level or size that it claims")
        return DesiloValue(cipher, False)

    def _check_loaded_scale(self, scale: float) -> None:
        if abs(math.log2(scale) - NOMINAL_LOG_SCALE) > 1e-6:
            raise ArtifactError("this ciphertext is not of the scale that the engine uses")

    def _save_secret_key(self, secret: Any) -> bytearray:
        with DesiloCall("save a secret key"):
            data: bytearray = self.lib.serialize_secret_key(secret)
        return data

    def _load_secret_key(self, payload: memoryview) -> Any:
        secret = self._load("secret key", self.lib.deserialize_secret_key, payload)
        if secret.level != self.params.max_level:
            raise ArtifactError("this secret key is for another number of levels")
        return secret

    def _load_evaluation_keys(
        self, payload: memoryview, steps: tuple[int, ...], conjugation: bool
    ) -> DesiloKeys:
        parts = split_parts(payload, _KEYS, 1 + len(steps) + conjugation)
        last = None
        if conjugation:
            last = self._load(_KEYS, self.lib.deserialize_conjugation_key, parts.pop())
        relin, top = None, self.params.max_level
        if top:
            relin = self._load(_KEYS, self.lib.deserialize_relinearization_key, parts[0])
        rotations = {
            step: self._load(_KEYS, self.lib.deserialize_fixed_rotation_key, part)
            for step, part in zip(steps, parts[1:], strict=True)
        }
        exact = all(k.delta == self._delta(s) for s, k in rotations.items())
        galois = [*rotations.values(), *([last] if conjugation else [])]
        levels = all(0 <= k.level <= self.key_level for k in galois)
        if not (exact and levels and (relin is None or relin.level == top - 1)):
            raise ArtifactError("these evaluation keys are not for the rotations that are needed")
        return DesiloKeys(relin, rotations, last)

    def _load(self, kind: str, deserialize: Any, payload: memoryview) -> Any:
        """The library checks type, sizes and a checksum of what it reads."""
        try:
            with DesiloCall(f"read this {kind}"):
                held = deserialize(bytes(payload))
        except EngineError as error:
            raise ArtifactError(error.reason) from error
        # A GPU without room for it is no fault of what was read.
        with DesiloCall(f"hold this {kind}"):
            return self.resident(held)


def _residues(data: bytes, n: int) -> list[Any]:
    """Rows of `n` residues in a serialised plaintext or secret key."""
    count = (len(data) - _HEADER) // (8 * n)
    words = np.frombuffer(data, dtype="<u8", count=count * n, offset=_HEADER)
    return list(words.reshape(count, n))
