"""Microsoft SEAL 4 through `tenseal.sealapi`: the CPU engine that is always there.

Keys and fresh ciphertexts travel with a seed in place of their uniform half. SEAL keeps one special
prime, has no hoisting and no bootstrapping, and works in rings up to 2^15.

Choose the special prime P some bits larger than every other. SEAL's key switching takes digits in
[0, q) and not in [-q/2, q/2); their mean is a constant that one key turns into the same error every
time, in the slots whose root lies near 1: in slot 0 some hundred times the usual noise where P is
no larger than q, and below it where P has 6 bits more.

SEAL's slots stand for the roots zeta^(3^s), zeta a primitive root of unity of order 2N. There the
monomial X^(N/2) is i in every second slot and -i in the others, and no polynomial with whole
coefficients is i in all. Here slot s stands for zeta^((-3)^s), where that monomial is i: odd slots
hold SEAL's conjugated, and a rotation by one slot is the automorphism -3. Real values are the same.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib.metadata import version as installed_version
from typing import Any

import numpy as np

from ..engine import Capabilities, EvaluationKeys, Evaluator
from ..errors import ArtifactError, EngineError, ParameterError
from ..params import CkksLiteral, CkksParams
from ..pieces import Pieces
from ..program import Slots
from .checked import CheckedEngine
from .frame import part_table, split_parts
from .memfile import bytes_saved, load_bytes
from .seal_evaluator import GaloisKey, SealEvaluator, SealKeys
from .seal_library import SealCall, sealapi
from .typed import Ciphertext

_GENERATOR = -3
"""Galois element, modulo 2N, of a left rotation by one slot."""

_CONJUGATION = -1
"""Galois element of complex conjugation."""

_ZERO = b"zero"
"""What stands for a ciphertext that is zero (see `SealEvaluator`) where it is saved."""


@dataclass(frozen=True, slots=True, eq=False)
class _Secret:
    key: Any
    encryptor: Any
    decryptor: Any


class SealEngine(CheckedEngine):
    """SEAL with the chain [log_q[0], log_q[1], ..., log_q[L], log_p[0]]."""

    name = "seal"
    version = installed_version("tenseal")
    capabilities = Capabilities(
        encrypted=True,
        values=True,
        exact_scale=True,
        lazy_rescale=True,
        hoisting=False,
        process_wide_lock=False,
        three_part=True,
        forks=True,
    )

    def __init__(self, params: CkksParams) -> None:
        super().__init__(params)
        bits = _chain(params)
        n = params.ring_dimension
        with SealCall("set up its context"):
            parms = sealapi.EncryptionParameters(sealapi.SCHEME_TYPE.CKKS)
            parms.set_poly_modulus_degree(n)
            parms.set_coeff_modulus(sealapi.CoeffModulus.Create(n, bits))
            # No check of SEAL's own: the table in runtime.params is stricter, and applied below.
            self.context = sealapi.SEALContext(parms, True, sealapi.SEC_LEVEL_TYPE.NONE)
        if not (self.context.parameters_set() and self.context.using_keyswitching()):
            raise ParameterError(f"SEAL refuses: {self.context.parameters_error_message()}")
        self.encoder = sealapi.CKKSEncoder(self.context)
        self.parms_ids, self._primes = self._read_chain()
        self._units: dict[int, Any] = {}
        key_primes = _primes_of(self.context.key_context_data())
        true_sizes = tuple(math.log2(p) for p in key_primes)
        if key_primes[:-1] != self._primes or self.context.key_context_data().parms().scheme() != (
            sealapi.SCHEME_TYPE.CKKS
        ):
            raise EngineError("SEAL built another chain of primes than it was asked for")
        self._log_qp = (
            CkksLiteral("seal", params.log_n, true_sizes[:-1], true_sizes[-1:], params.log_scale)
            .check()
            .log_qp
        )

    @property
    def moduli(self) -> tuple[float, ...]:
        return tuple(float(p) for p in self._primes)

    @property
    def log_qp(self) -> float:
        return self._log_qp

    def galois_element(self, step: int) -> int:
        """Element of the automorphism that rotates left by `step`, which may be negative."""
        return pow(_GENERATOR, step % self.slots, 2 * self.params.ring_dimension)

    @property
    def conjugation_element(self) -> int:
        return _CONJUGATION % (2 * self.params.ring_dimension)

    def encode(self, values: Slots, level: int, scale: float) -> Any:
        if np.iscomplexobj(values):
            values = values.copy()
            values[1::2] = values[1::2].conj()
            numbers: Any = values.tolist()
        else:
            # A view gives one number after the other, without a list of them all.
            numbers = values.data
        plain = sealapi.Plaintext()
        with SealCall("encode a vector"):
            self.encoder.encode(numbers, self.parms_ids[level], scale, plain)
        return plain

    def unit(self, level: int) -> Any:
        """The monomial X^(N/2), i in every slot, as a plaintext of scale 1."""
        if level not in self._units:
            self._units[level] = self.encode(np.full(self.slots, 1j), level, 1.0)
        return self._units[level]

    def _read_chain(self) -> tuple[list[Any], tuple[int, ...]]:
        """parms_id of each level, and the prime that each level has more than the one below."""
        ids: list[Any] = []
        chains: list[tuple[int, ...]] = []
        data = self.context.first_context_data()
        while data is not None:
            ids.append(data.parms_id())
            chains.append(_primes_of(data))
            data = data.next_context_data()
        ids.reverse()
        chains.reverse()
        top = chains[-1]
        if len(top) != len(self.params.log_q) or any(
            chain != top[: level + 1] for level, chain in enumerate(chains)
        ):
            raise EngineError("SEAL does not drop the primes in the order expected")
        return ids, top

    def _generate_keys(
        self, steps: Mapping[int, int], conjugation: int | None
    ) -> tuple[_Secret, Pieces]:
        """Every Galois key is made, and later loaded, by itself: all at once, in SEAL's own
        form, would take twice the memory. Keys for fewer levels than all SEAL does not make."""
        with SealCall("make keys"):
            generator = sealapi.KeyGenerator(self.context)
            secret = self._with_tools(generator.secret_key())
            parts = [bytes_saved(generator.create_relin_keys().save)]
            for element in self._elements(steps, conjugation is not None):
                key = generator.create_galois_keys([element])
                parts.append(bytes_saved(key.save))
        return secret, (part_table(parts), *parts)

    def _elements(self, steps: Iterable[int], conjugation: bool) -> list[int]:
        """Galois elements of the rotations, and the conjugation's after them."""
        last = [self.conjugation_element] if conjugation else []
        return [*(self.galois_element(step) for step in steps), *last]

    def _with_tools(self, key: Any) -> _Secret:
        encryptor = sealapi.Encryptor(self.context, key)
        return _Secret(key, encryptor, sealapi.Decryptor(self.context, key))

    def _encrypt(self, secret: _Secret, values: Slots, level: int, scale: float) -> Any:
        plain = self.encode(values, level, scale)
        cipher = sealapi.Ciphertext()
        with SealCall("encrypt"):
            secret.encryptor.encrypt_symmetric(plain, cipher)
        return cipher

    def _encrypt_payload(self, secret: _Secret, values: Slots, level: int, scale: float) -> bytes:
        plain = self.encode(values, level, scale)
        with SealCall("encrypt"):
            return bytes_saved(secret.encryptor.encrypt_symmetric(plain).save)

    def _decrypt(self, secret: _Secret, a: Ciphertext, imaginary: bool) -> Slots:
        if a.handle is None:
            return np.zeros(self.slots, np.complex128 if imaginary else np.float64)
        plain = sealapi.Plaintext()
        with SealCall("decrypt"):
            secret.decryptor.decrypt(a.handle, plain)
            if not imaginary:
                real = np.empty(self.slots)
                # Twice as fast as numpy.fromiter.
                struct.pack_into(f"{self.slots}d", real.data, 0, *self.encoder.decode_double(plain))
                return real
            found = np.fromiter(self.encoder.decode_complex(plain), np.complex128, self.slots)
        found[1::2] = found[1::2].conj()
        return found

    def _evaluator(self, keys: EvaluationKeys, raw: SealKeys) -> Evaluator:
        return SealEvaluator(self, keys, raw)

    def _save_cipher(self, a: Ciphertext) -> bytes:
        if a.handle is None:
            return _ZERO
        with SealCall("save a ciphertext"):
            return bytes_saved(a.handle.save)

    def _load_cipher(self, payload: memoryview, level: int, scale: float, parts: int) -> Any:
        if payload == _ZERO:
            return None
        cipher = self._load(sealapi.Ciphertext(), payload, "ciphertext")
        if (
            list(cipher.parms_id()) != list(self.parms_ids[level])
            or not 2 <= cipher.size() <= parts
            or not cipher.is_ntt_form()
            or cipher.is_transparent()
            or cipher.scale != scale
        ):
            raise ArtifactError("this ciphertext is not of the level, size or scale that it claims")
        return cipher

    def _save_secret_key(self, secret: _Secret) -> bytes:
        with SealCall("save a secret key"):
            return bytes_saved(secret.key.save)

    def _load_secret_key(self, payload: memoryview) -> _Secret:
        return self._with_tools(self._load(sealapi.SecretKey(), payload, "secret key"))

    def _load_evaluation_keys(
        self, payload: memoryview, steps: tuple[int, ...], conjugation: bool
    ) -> SealKeys:
        kind = "set of evaluation keys"
        elements = self._elements(steps, conjugation)
        relin_part, *galois_parts = split_parts(payload, kind, 1 + len(elements))
        relin = self._load(sealapi.RelinKeys(), relin_part, kind)
        exact = relin.size() == 1 and relin.has_key(2)
        galois: list[GaloisKey] = []
        for element, part in zip(elements, galois_parts, strict=True):
            key = self._load(sealapi.GaloisKeys(), part, kind)
            exact = exact and key.size() == 1 and key.has_key(element)
            galois.append((element, key))
        if not exact:
            raise ArtifactError("these evaluation keys are not for the rotations that are needed")
        last = galois.pop() if conjugation else None
        return SealKeys(relin, dict(zip(steps, galois, strict=True)), last)

    def _load(self, target: Any, payload: memoryview, kind: str) -> Any:
        """`target.load`, which validates what it reads against the context."""
        try:
            load_bytes(lambda path: target.load(self.context, path), payload)
        except (ValueError, RuntimeError, IndexError, MemoryError) as error:
            raise ArtifactError(f"SEAL cannot read this {kind}: {error}") from error
        return target


def _primes_of(context_data: Any) -> tuple[int, ...]:
    return tuple(int(m.value()) for m in context_data.parms().coeff_modulus())


def _chain(params: CkksParams) -> list[int]:
    if len(params.log_p) != 1:
        raise ParameterError(f"SEAL has one special prime, {len(params.log_p)} were asked for")
    if not 12 <= params.log_n <= 15:
        raise ParameterError(f"SEAL works in rings 2^12 to 2^15, 2^{params.log_n} was asked for")
    bits = [math.ceil(size) for size in (*params.log_q, *params.log_p)]
    if max(bits) > 60:
        raise ParameterError(f"SEAL's primes have at most 60 bits, {max(bits)} were asked for")
    if params.log_p[0] < max(params.log_q):
        raise ParameterError(
            "the special prime must be at least as large as the others",
            hint="raise log_p to the largest of log_q",
        )
    return bits
