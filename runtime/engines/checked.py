"""What every engine checks in the same way, before its library is asked.

`CheckedEngine` and `CheckedEvaluator` implement the protocol of `runtime.engine` with all its
typing rules (level, scale, key, owner, finite values, key present) and leave the arithmetic to a
handful of hooks. CKKS libraries are silent on much of what is refused here.
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
from ..program import Vector
from .frame import Frame, open_frame, seal_frame
from .typed import (
    Bound,
    Ciphertext,
    Plaintext,
    check_owner,
    check_scales,
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
        self, rotations: Sequence[int], levels: Sequence[int] | None = None
    ) -> tuple[SecretKey, bytes]:
        top = self.params.max_level
        highest = [top] * len(rotations) if levels is None else list(levels)
        if len(highest) != len(rotations) or any(not 0 <= level <= top for level in highest):
            raise EngineError(f"a level in 0..{top} is needed for each rotation, got {highest}")
        steps = dict.fromkeys(check_steps(rotations, self.slots), 0)
        for rotation, level in zip(rotations, highest, strict=True):
            step = int(rotation) % self.slots
            if step:
                steps[step] = max(steps[step], level)
        key_id = secrets.token_hex(16)
        raw, payload = self._generate_keys(steps)
        data = seal_frame(Frame("set of evaluation keys", self.space, key_id, 0, 0.0), *payload)
        return SecretKey(Bound(self.space, raw), key_id), data

    def encrypt(self, key: SecretKey, values: Vector, level: int, scale: float) -> Ciphertext:
        vector = self.check_plain(values, level, scale)
        handle = self._encrypt(self._secret(key), vector, level, scale)
        return Ciphertext(handle, level, scale, key.key_id, self.space)

    def encrypt_bytes(self, key: SecretKey, values: Vector, level: int, scale: float) -> bytes:
        vector = self.check_plain(values, level, scale)
        payload = self._encrypt_payload(self._secret(key), vector, level, scale)
        return seal_frame(Frame("ciphertext", self.space, key.key_id, level, scale), payload)

    def decrypt(self, key: SecretKey, a: Ciphertext) -> Vector:
        raw = self._secret(key)
        check_owner(a, Ciphertext, self.space)
        if a.key_id != key.key_id:
            raise other_key("ciphertext")
        return self._decrypt(raw, a)

    def evaluator(self, keys: EvaluationKeys) -> Evaluator:
        if not isinstance(keys.handle, Bound) or keys.handle.space != self.space:
            raise KeyMismatchError("these evaluation keys belong to another engine or parameters")
        return self._evaluator(keys, keys.handle.raw)

    def save_cipher(self, a: Ciphertext) -> bytes:
        check_owner(a, Ciphertext, self.space)
        frame = Frame("ciphertext", self.space, a.key_id, a.level, a.scale)
        return seal_frame(frame, self._save_cipher(a))

    def load_cipher(self, data: bytes) -> Ciphertext:
        frame, payload = open_frame(data, "ciphertext", self.space)
        if frame.level > self.params.max_level or frame.scale <= 0:
            raise ArtifactError(f"a ciphertext of level {frame.level} does not exist here")
        handle = self._load_cipher(payload, frame.level, frame.scale)
        return Ciphertext(handle, frame.level, frame.scale, frame.key_id, self.space)

    def save_secret_key(self, key: SecretKey) -> bytes:
        payload = self._save_secret_key(self._secret(key))
        return seal_frame(Frame("secret key", self.space, key.key_id, 0, 0.0), payload)

    def load_secret_key(self, data: bytes, key_id: str) -> SecretKey:
        payload = self._open_key(data, "secret key", key_id)
        return SecretKey(Bound(self.space, self._load_secret_key(payload)), key_id)

    def load_evaluation_keys(
        self, data: bytes, key_id: str, rotations: tuple[int, ...]
    ) -> EvaluationKeys:
        steps = check_steps(rotations, self.slots)
        payload = self._open_key(data, "set of evaluation keys", key_id)
        raw = self._load_evaluation_keys(payload, steps)
        return EvaluationKeys(Bound(self.space, raw), key_id, steps)

    def check_level_and_scale(self, level: int, scale: float) -> None:
        """Refuse a level that the chain does not have, and a scale that its modulus cannot hold."""
        if not 0 <= level <= self.params.max_level:
            raise EngineError(f"level {level} is outside 0..{self.params.max_level}")
        if not (math.isfinite(scale) and scale >= 1):
            raise EngineError(f"a scale of at least 1 is needed, got {scale}")

    def check_plain(self, values: Vector, level: int, scale: float) -> Vector:
        """Refuse what cannot be encoded.

        A coefficient is at most the mean of |values| times the scale (the inverse of the canonical
        embedding is an average), so that less than half the modulus is certain to fit.
        """
        self.check_level_and_scale(level, scale)
        vector = check_vector(values, self.slots)
        room = math.fsum(math.log2(q) for q in self.moduli[: level + 1]) - 1
        mean = float(np.mean(np.abs(vector)))
        if mean > 0 and math.log2(mean) + math.log2(scale) >= room:
            raise DataError(
                f"values of mean size {mean:.3g} at scale 2^{math.log2(scale):.1f} do not fit into "
                f"the modulus of level {level} (2^{room + 1:.1f})",
                hint="scale the inputs down",
            )
        return vector

    def _secret(self, key: SecretKey) -> Any:
        if not isinstance(key.handle, Bound) or key.handle.space != self.space:
            raise KeyMismatchError("this secret key belongs to another engine or parameters")
        return key.handle.raw

    def _open_key(self, data: bytes, kind: str, key_id: str) -> memoryview:
        frame, payload = open_frame(data, kind, self.space)
        if frame.key_id != key_id:
            raise other_key(kind)
        return payload

    @abstractmethod
    def _generate_keys(self, steps: Mapping[int, int]) -> tuple[Any, Sequence[bytes]]:
        """A secret key, and the pieces of the serialised evaluation keys.

        `steps` are in order, each with the highest level at which it is used.
        """

    @abstractmethod
    def _encrypt(self, secret: Any, values: Vector, level: int, scale: float) -> Any: ...
    def _encrypt_payload(self, secret: Any, values: Vector, level: int, scale: float) -> bytes:
        handle = self._encrypt(secret, values, level, scale)
        return self._save_cipher(Ciphertext(handle, level, scale, "", self.space))

    @abstractmethod
    def _decrypt(self, secret: Any, a: Ciphertext) -> Vector: ...
    @abstractmethod
    def _evaluator(self, keys: EvaluationKeys, raw: Any) -> Evaluator: ...
    @abstractmethod
    def _save_cipher(self, a: Ciphertext) -> bytes: ...
    @abstractmethod
    def _load_cipher(self, payload: memoryview, level: int, scale: float) -> Any: ...
    @abstractmethod
    def _save_secret_key(self, secret: Any) -> bytes: ...
    @abstractmethod
    def _load_secret_key(self, payload: memoryview) -> Any: ...
    @abstractmethod
    def _load_evaluation_keys(self, payload: memoryview, steps: tuple[int, ...]) -> Any: ...


class CheckedEvaluator(ABC):
    """Typing rules of the operations; subclasses do the arithmetic.

    Hooks get operands that are known to be this engine's, under this key, of equal level and scale
    where the operation asks for it. They must not change their operands.
    """

    def __init__(self, engine: CheckedEngine, keys: EvaluationKeys) -> None:
        self._engine = engine
        self._key_id = keys.key_id
        self._steps = frozenset(keys.rotations)
        self._moduli = engine.moduli

    def prepare_plain(
        self, values: Vector, level: int, scale: float, summand: bool = False
    ) -> Plaintext:
        vector = self._engine.check_plain(values, level, scale)
        handle = self._encode(vector, level, scale, summand)
        return Plaintext(handle, level, scale, self._engine.space)

    def rotate(self, a: Ciphertext, step: int) -> Ciphertext:
        self._own(a)
        step = self._step(step)
        return a if step == 0 else self._make(self._rotate(a, step), a.level, a.scale)

    def rotate_many(self, a: Ciphertext, steps: Sequence[int]) -> list[Ciphertext]:
        self._own(a)
        wanted = [self._step(s) for s in steps]
        distinct = sorted(set(wanted) - {0})
        turned = {
            step: self._make(handle, a.level, a.scale)
            for step, handle in zip(distinct, self._rotate_many(a, distinct), strict=True)
        }
        return [turned[s] if s else a for s in wanted]

    def rotate_add(self, a: Ciphertext, step: int) -> Ciphertext:
        self._own(a)
        step = self._step(step)
        if step == 0:
            return self.add(a, a)
        return self._make(self._rotate_add(a, step), a.level, a.scale)

    def add(self, a: Ciphertext, b: Ciphertext) -> Ciphertext:
        self._same(a, b, "add")
        return self._make(self._add(a, b), a.level, a.scale)

    def sub(self, a: Ciphertext, b: Ciphertext) -> Ciphertext:
        self._same(a, b, "subtract")
        return self._make(self._sub(a, b), a.level, a.scale)

    def negate(self, a: Ciphertext) -> Ciphertext:
        self._own(a)
        return self._make(self._negate(a), a.level, a.scale)

    def add_plain(self, a: Ciphertext, p: Plaintext) -> Ciphertext:
        self._own(a)
        self._own_plain(p, a.level)
        check_scales((a.scale, p.scale), "add a plaintext")
        return self._make(self._add_plain(a, p), a.level, a.scale)

    def dot_plain(
        self, cts: Sequence[Ciphertext], pts: Sequence[Plaintext], rescale: bool = True
    ) -> Ciphertext:
        if not cts or len(cts) != len(pts):
            raise EngineError(f"{len(cts)} ciphertexts do not pair with {len(pts)} plaintexts")
        for a in cts:
            self._own(a)
        level = self._one_level([a.level for a in cts], rescale)
        for p in pts:
            self._own_plain(p, level)
        products = [a.scale * p.scale for a, p in zip(cts, pts, strict=True)]
        check_scales(products, "sum products with plaintexts")
        scale = products[0] / self._moduli[level] if rescale else products[0]
        return self._make(self._dot_plain(cts, pts, scale, rescale), level - rescale, scale)

    def dot_cipher(
        self, pairs: Sequence[tuple[Ciphertext, Ciphertext]], rescale: bool = True
    ) -> Ciphertext:
        if not pairs:
            raise EngineError("a sum of no products was asked for")
        for pair in pairs:
            for a in pair:
                self._own(a)
        level = self._one_level([x.level for pair in pairs for x in pair], rescale)
        products = [a.scale * b.scale for a, b in pairs]
        check_scales(products, "sum products of ciphertexts")
        scale = products[0] / self._moduli[level] if rescale else products[0]
        return self._make(self._dot_cipher(pairs, scale, rescale), level - rescale, scale)

    def level_down(self, a: Ciphertext, level: int) -> Ciphertext:
        self._own(a)
        if not 0 <= level <= a.level:
            raise EngineError(f"a ciphertext of level {a.level} cannot go to level {level}")
        return a if level == a.level else self._make(self._level_down(a, level), level, a.scale)

    def level(self, a: Ciphertext) -> int:
        self._own(a)
        return a.level

    def scale(self, a: Ciphertext) -> float:
        self._own(a)
        return a.scale

    def _make(self, handle: Any, level: int, scale: float) -> Ciphertext:
        return Ciphertext(handle, level, scale, self._key_id, self._engine.space)

    def _own(self, a: Ciphertext) -> None:
        check_owner(a, Ciphertext, self._engine.space)
        if a.key_id != self._key_id:
            raise other_key("ciphertext")

    def _own_plain(self, p: Plaintext, level: int) -> None:
        check_owner(p, Plaintext, self._engine.space)
        if p.level != level:
            raise EngineError(f"a plaintext of level {p.level} meets a ciphertext of level {level}")

    def _step(self, step: int) -> int:
        step = int(step) % self._engine.slots
        if step and step not in self._steps:
            raise KeyMismatchError(
                f"there is no key for a rotation by {step} slots",
                hint="make the keys with the rotations that the model lists",
            )
        return step

    def _same(self, a: Ciphertext, b: Ciphertext, what: str) -> None:
        self._own(a)
        self._own(b)
        if a.level != b.level:
            raise EngineError(f"cannot {what}: levels {a.level} and {b.level} differ")
        check_scales((a.scale, b.scale), what)

    def _one_level(self, levels: Sequence[int], rescale: bool) -> int:
        if len(set(levels)) != 1:
            raise EngineError(f"cannot multiply: levels {sorted(set(levels))} differ")
        if not rescale and not self._engine.capabilities.lazy_rescale:
            raise EngineError(f"engine '{self._engine.name}' rescales with every product")
        if rescale and levels[0] == 0:
            raise EngineError("cannot multiply: no level is left to rescale")
        return levels[0]

    def _rotate_many(self, a: Ciphertext, steps: Sequence[int]) -> list[Any]:
        return [self._rotate(a, step) for step in steps]

    def _rotate_add(self, a: Ciphertext, step: int) -> Any:
        return self._add(a, self._make(self._rotate(a, step), a.level, a.scale))

    @abstractmethod
    def _encode(self, values: Vector, level: int, scale: float, summand: bool) -> Any: ...
    @abstractmethod
    def _rotate(self, a: Ciphertext, step: int) -> Any: ...
    @abstractmethod
    def _add(self, a: Ciphertext, b: Ciphertext) -> Any: ...
    @abstractmethod
    def _sub(self, a: Ciphertext, b: Ciphertext) -> Any: ...
    @abstractmethod
    def _negate(self, a: Ciphertext) -> Any: ...
    @abstractmethod
    def _add_plain(self, a: Ciphertext, p: Plaintext) -> Any: ...
    @abstractmethod
    def _dot_plain(
        self, cts: Sequence[Ciphertext], pts: Sequence[Plaintext], scale: float, rescale: bool
    ) -> Any: ...
    @abstractmethod
    def _dot_cipher(
        self, pairs: Sequence[tuple[Ciphertext, Ciphertext]], scale: float, rescale: bool
    ) -> Any: ...
    @abstractmethod
    def _level_down(self, a: Ciphertext, level: int) -> Any: ...
