"""The operations of every engine, checked in the same way (see `checked`)."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

from ..engine import EvaluationKeys
from ..errors import EngineError, KeyMismatchError
from ..program import Slots
from .checked import CheckedEngine
from .typed import Ciphertext, Plaintext, check_owner, check_scales, other_key


class CheckedEvaluator(ABC):
    """Typing rules of the operations; subclasses do the arithmetic.

    Hooks get operands that are known to be this engine's, under this key, of equal level and scale
    where the operation asks for it. They must not change their operands.
    """

    def __init__(self, engine: CheckedEngine, keys: EvaluationKeys) -> None:
        self._engine = engine
        self._key_id = keys.key_id
        self._steps = frozenset(keys.rotations)
        self._conjugation = keys.conjugation
        self._moduli = engine.moduli

    def prepare_plain(
        self, values: Slots, level: int, scale: float, summand: bool = False
    ) -> Plaintext:
        vector = self._engine.check_plain(values, level, scale)
        handle = self._encode(vector, level, scale, summand)
        return Plaintext(handle, level, scale, self._engine.space)

    def rotate(self, a: Ciphertext, step: int) -> Ciphertext:
        self._own_pair(a)
        step = self._step(step)
        return a if step == 0 else self._make(self._rotate(a, step), a.level, a.scale)

    def rotate_many(self, a: Ciphertext, steps: Sequence[int]) -> list[Ciphertext]:
        self._own_pair(a)
        wanted = [self._step(s) for s in steps]
        distinct = sorted(set(wanted) - {0})
        turned = {
            step: self._make(handle, a.level, a.scale)
            for step, handle in zip(distinct, self._rotate_many(a, distinct), strict=True)
        }
        return [turned[s] if s else a for s in wanted]

    def rotate_add(self, a: Ciphertext, step: int) -> Ciphertext:
        self._own_pair(a)
        step = self._step(step)
        if step == 0:
            return self.add(a, a)
        return self._make(self._rotate_add(a, step), a.level, a.scale)

    def conjugate(self, a: Ciphertext) -> Ciphertext:
        self._check_conjugation(a)
        return self._make(self._conjugate(a), a.level, a.scale)

    def conjugate_add(self, a: Ciphertext) -> Ciphertext:
        self._check_conjugation(a)
        return self._make(self._conjugate_add(a), a.level, a.scale)

    def times_i(self, a: Ciphertext) -> Ciphertext:
        self._own(a)
        return self._make(self._times_i(a), a.level, a.scale, a.parts)

    def add(self, a: Ciphertext, b: Ciphertext) -> Ciphertext:
        self._same(a, b, "add")
        return self._make(self._add(a, b), a.level, a.scale, max(a.parts, b.parts))

    def sub(self, a: Ciphertext, b: Ciphertext) -> Ciphertext:
        self._same(a, b, "subtract")
        return self._make(self._sub(a, b), a.level, a.scale, max(a.parts, b.parts))

    def negate(self, a: Ciphertext) -> Ciphertext:
        self._own(a)
        return self._make(self._negate(a), a.level, a.scale, a.parts)

    def add_plain(self, a: Ciphertext, p: Plaintext) -> Ciphertext:
        self._own(a)
        self._own_plain(p, a.level)
        check_scales((a.scale, p.scale), "add a plaintext")
        return self._make(self._add_plain(a, p), a.level, a.scale, a.parts)

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
        handle = self._dot_plain(cts, pts, scale, rescale)
        return self._make(handle, level - rescale, scale, max(a.parts for a in cts))

    def dot_cipher(
        self,
        pairs: Sequence[tuple[Ciphertext, Ciphertext]],
        rescale: bool = True,
        relinearise: bool = True,
    ) -> Ciphertext:
        if not pairs:
            raise EngineError("a sum of no products was asked for")
        if not relinearise and not self._engine.capabilities.three_part:
            raise EngineError(f"engine '{self._engine.name}' relinearises every product")
        for pair in pairs:
            for a in pair:
                self._own_pair(a)
        level = self._one_level([x.level for pair in pairs for x in pair], rescale)
        products = [a.scale * b.scale for a, b in pairs]
        check_scales(products, "sum products of ciphertexts")
        scale = products[0] / self._moduli[level] if rescale else products[0]
        handle = self._dot_cipher(pairs, scale, rescale, relinearise)
        return self._make(handle, level - rescale, scale, 2 if relinearise else 3)

    def level_down(self, a: Ciphertext, level: int) -> Ciphertext:
        self._own(a)
        if not 0 <= level <= a.level:
            raise EngineError(f"a ciphertext of level {a.level} cannot go to level {level}")
        if level == a.level:
            return a
        return self._make(self._level_down(a, level), level, a.scale, a.parts)

    def level(self, a: Ciphertext) -> int:
        self._own(a)
        return a.level

    def scale(self, a: Ciphertext) -> float:
        self._own(a)
        return a.scale

    def parts(self, a: Ciphertext) -> int:
        self._own(a)
        return a.parts

    def _make(self, handle: Any, level: int, scale: float, parts: int = 2) -> Ciphertext:
        return Ciphertext(handle, level, scale, self._key_id, self._engine.space, parts)

    def _own(self, a: Ciphertext) -> None:
        check_owner(a, Ciphertext, self._engine.space)
        if a.key_id != self._key_id:
            raise other_key("ciphertext")

    def _own_pair(self, a: Ciphertext) -> None:
        """Refuse three polynomials, which no key switch and no product takes."""
        self._own(a)
        if a.parts != 2:
            raise EngineError("a product has to be relinearised before this")

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

    def _check_conjugation(self, a: Ciphertext) -> None:
        self._own_pair(a)
        if not self._conjugation:
            raise KeyMismatchError(
                "there is no key for a conjugation",
                hint="make the keys with the conjugation that the model lists",
            )

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

    def _conjugate_add(self, a: Ciphertext) -> Any:
        return self._add(a, self._make(self._conjugate(a), a.level, a.scale))

    @abstractmethod
    def _encode(self, values: Slots, level: int, scale: float, summand: bool) -> Any: ...
    @abstractmethod
    def _rotate(self, a: Ciphertext, step: int) -> Any: ...
    @abstractmethod
    def _conjugate(self, a: Ciphertext) -> Any: ...
    @abstractmethod
    def _times_i(self, a: Ciphertext) -> Any: ...
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
        self,
        pairs: Sequence[tuple[Ciphertext, Ciphertext]],
        scale: float,
        rescale: bool,
        relinearise: bool,
    ) -> Any: ...
    @abstractmethod
    def _level_down(self, a: Ciphertext, level: int) -> Any: ...
