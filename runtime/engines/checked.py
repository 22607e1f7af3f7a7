"""What every engine checks in the same way, before its library is asked.

`CheckedEngine` and, beside it, `CheckedEvaluator` implement the protocol of `runtime.engine` with
all its typing rules (level, scale, key, owner, finite values, key present) and leave the arithmetic
to a handful of hooks. CKKS libraries are silent on much of what is refused here.
"""

from __future__ import annotations

import math
import secrets
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ..engine import Capabilities, EvaluationKeys, Evaluator, SecretKey
from ..errors import ArtifactError, DataError, EngineError, KeyMismatchError
from ..params import CkksParams
from ..pieces import Bytes, Pieces
from ..program import Slots
from .frame import Frame, open_frame, seal_frame
from .typed import (
    Bound,
    Ciphertext,
    check_owner,
    check_steps,
    check_vector,
    other_key,
    space_of,
)


class CheckedEngine(ABC):
    """An engine whose arguments are checked before the hooks (`_…`) see them."""

    name: str
    version: str
    params: CkksParams
    capabilities: Capabilities

    def __init__(self, params: CkksParams) -> None:
        self.params = params
        self.space = space_of(self.family, params)
        self._rooms: dict[int, float] = {}

    @property
    def family(self) -> str:
        return self.name

    @property
    def slots(self) -> int:
        return self.params.slots

    @property
    def moduli(self) -> tuple[float, ...]:
        return tuple(2.0**bits for bits in self.params.log_q)

    @property
    def log_qp(self) -> float:
        return self.params.log_qp

    def generate_keys(
        self,
        rotations: Sequence[int],
        levels: Sequence[int] | None = None,
        conjugation: int | None = None,
    ) -> tuple[SecretKey, Pieces]:
        top = self.params.max_level
        highest = [top] * len(rotations) if levels is None else list(levels)
        if len(highest) != len(rotations) or any(not 0 <= level <= top for level in highest):
            raise EngineError(f"a level in 0..{top} is needed for each rotation, got {highest}")
        if conjugation is not None and not 0 <= conjugation <= top:
            raise EngineError(f"a conjugation's level is in 0..{top}, got {conjugation}")
        steps = dict.fromkeys(check_steps(rotations, self.slots), 0)
        for rotation, level in zip(rotations, highest, strict=True):
            step = int(rotation) % self.slots
            if step:
                steps[step] = max(steps[step], level)
        key_id = secrets.token_hex(16)
        raw, payload = self._generate_keys(steps, conjugation)
        data = seal_frame(Frame("set of evaluation keys", self.space, key_id, 0, 0.0), *payload)
        return SecretKey(Bound(self.space, raw), key_id), data

    def encrypt(self, key: SecretKey, values: Slots, level: int, scale: float) -> Ciphertext:
        vector = self.check_plain(values, level, scale)
        handle = self._encrypt(self._secret(key), vector, level, scale)
        return Ciphertext(handle, level, scale, key.key_id, self.space)

    def encrypt_bytes(self, key: SecretKey, values: Slots, level: int, scale: float) -> Pieces:
        vector = self.check_plain(values, level, scale)
        payload = self._encrypt_payload(self._secret(key), vector, level, scale)
        return seal_frame(Frame("ciphertext", self.space, key.key_id, level, scale), payload)

    def decrypt(self, key: SecretKey, a: Ciphertext, *, imaginary: bool = False) -> Slots:
        raw = self._secret(key)
        check_owner(a, Ciphertext, self.space)
        if a.key_id != key.key_id:
            raise other_key("ciphertext")
        return self._decrypt(raw, a, imaginary)

    def evaluator(self, keys: EvaluationKeys) -> Evaluator:
        if not isinstance(keys.handle, Bound) or keys.handle.space != self.space:
            raise KeyMismatchError("these evaluation keys belong to another engine or parameters")
        return self._evaluator(keys, keys.handle.raw)

    def synchronise(self) -> None:
        return

    def save_cipher(self, a: Ciphertext) -> Pieces:
        check_owner(a, Ciphertext, self.space)
        frame = Frame("ciphertext", self.space, a.key_id, a.level, a.scale, a.parts)
        return seal_frame(frame, self._save_cipher(a))

    def load_cipher(self, data: Pieces) -> Ciphertext:
        frame, payload = open_frame(data, "ciphertext", self.space)
        if frame.level > self.params.max_level or frame.scale <= 0:
            raise ArtifactError(f"a ciphertext of level {frame.level} does not exist here")
        if not 2 <= frame.parts <= (3 if self.capabilities.three_part else 2):
            raise ArtifactError(f"a ciphertext of {frame.parts} polynomials does not exist here")
        handle = self._load_cipher(payload, frame.level, frame.scale, frame.parts)
        return Ciphertext(handle, frame.level, frame.scale, frame.key_id, self.space, frame.parts)

    def save_secret_key(self, key: SecretKey) -> Pieces:
        payload = self._save_secret_key(self._secret(key))
        return seal_frame(Frame("secret key", self.space, key.key_id, 0, 0.0), payload)

    def load_secret_key(self, data: Pieces, key_id: str) -> SecretKey:
        payload = self._open_key(data, "secret key", key_id)
        return SecretKey(Bound(self.space, self._load_secret_key(payload)), key_id)

    def load_evaluation_keys(
        self, data: Pieces, key_id: str, rotations: tuple[int, ...], conjugation: bool = False
    ) -> EvaluationKeys:
        steps = check_steps(rotations, self.slots)
        payload = self._open_key(data, "set of evaluation keys", key_id)
        raw = self._load_evaluation_keys(payload, steps, conjugation)
        return EvaluationKeys(Bound(self.space, raw), key_id, steps, conjugation)

    def check_level_and_scale(self, level: int, scale: float) -> None:
        """Refuse a level that the chain does not have, and a scale that its modulus cannot hold."""
        if not 0 <= level <= self.params.max_level:
            raise EngineError(f"level {level} is outside 0..{self.params.max_level}")
        if not (math.isfinite(scale) and scale >= 1):
            raise EngineError(f"a scale of at least 1 is needed, got {scale}")

    def check_plain(self, values: Slots, level: int, scale: float) -> Slots:
        """Refuse what cannot be encoded.

        A coefficient is at most the mean of |values| times the scale (the inverse of the canonical
        embedding is an average), so that less than half the modulus is certain to fit.
        """
        self.check_level_and_scale(level, scale)
        vector = check_vector(values, self.slots)
        room = self._room(level)
        # Their parts' sizes together are never less, and quicker to take.
        mean = float(np.abs(vector.view(np.float64)).sum()) / self.slots
        if mean > 0 and math.log2(mean) + math.log2(scale) >= room:
            mean = float(np.abs(vector).sum()) / self.slots
        if mean > 0 and math.log2(mean) + math.log2(scale) >= room:
            raise DataError(
                f"values of mean size {mean:.3g} at scale 2^{math.log2(scale):.1f} do not fit into "
                f"the modulus of level {level} (2^{room + 1:.1f})",
                hint="scale the inputs down",
            )
        return vector

    def _room(self, level: int) -> float:
        """log2 of half the modulus, looked up after the first time."""
        if level not in self._rooms:
            self._rooms[level] = math.fsum(math.log2(q) for q in self.moduli[: level + 1]) - 1
        return self._rooms[level]

    def _secret(self, key: SecretKey) -> Any:
        if not isinstance(key.handle, Bound) or key.handle.space != self.space:
            raise KeyMismatchError("this secret key belongs to another engine or parameters")
        return key.handle.raw

    def _open_key(self, data: Pieces, kind: str, key_id: str) -> memoryview:
        frame, payload = open_frame(data, kind, self.space)
        if frame.key_id != key_id:
            raise other_key(kind)
        return payload

    @abstractmethod
    def _generate_keys(
        self, steps: Mapping[int, int], conjugation: int | None
    ) -> tuple[Any, Pieces]:
        """A secret key, and the pieces of the serialised evaluation keys.

        `steps` are in order, each with the highest level at which it is used, as `conjugation` is
        (None: no key for it).
        """

    @abstractmethod
    def _encrypt(self, secret: Any, values: Slots, level: int, scale: float) -> Any: ...
    def _encrypt_payload(self, secret: Any, values: Slots, level: int, scale: float) -> Bytes:
        handle = self._encrypt(secret, values, level, scale)
        return self._save_cipher(Ciphertext(handle, level, scale, "", self.space))

    @abstractmethod
    def _decrypt(self, secret: Any, a: Ciphertext, imaginary: bool) -> Slots: ...
    @abstractmethod
    def _evaluator(self, keys: EvaluationKeys, raw: Any) -> Evaluator: ...
    @abstractmethod
    def _save_cipher(self, a: Ciphertext) -> Bytes: ...
    @abstractmethod
    def _load_cipher(self, payload: memoryview, level: int, scale: float, parts: int) -> Any: ...
    @abstractmethod
    def _save_secret_key(self, secret: Any) -> Bytes: ...
    @abstractmethod
    def _load_secret_key(self, payload: memoryview) -> Any: ...
    @abstractmethod
    def _load_evaluation_keys(
        self, payload: memoryview, steps: tuple[int, ...], conjugation: bool
    ) -> Any: ...
