"""The dry run: levels, scales and operation counts of the real executor, without values."""

from __future__ import annotations

import weakref
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ..engine import Capabilities, EvaluationKeys, Evaluator, SecretKey
from ..errors import EngineError
from ..params import CkksParams
from ..pieces import Pieces
from ..program import Slots
from .checked import CheckedEngine
from .checked_evaluator import CheckedEvaluator
from .clear import check_key_list, key_list
from .typed import Ciphertext, Plaintext


@dataclass(slots=True)
class Counts:
    """What a run did. `ops` counts (operation, level of the operands).

    Operations: rotate, conjugate, times_i, add, sub, negate, add_plain, multiply_plain,
    multiply_cipher, square, relinearize, rescale, level_down (by its source level), encode. A sum
    of k products counts k products, k - 1 additions and one rescale. `live` and `peak` count
    ciphertexts that somebody still holds, inputs included.
    """

    ops: Counter[tuple[str, int]] = field(default_factory=Counter)
    rotations: set[int] = field(default_factory=set)
    live: int = 0
    peak: int = 0

    def total(self, op: str) -> int:
        """How often `op` was done, at any level."""
        return sum(n for (name, _), n in self.ops.items() if name == op)

    def follow(self, a: Ciphertext) -> Ciphertext:
        """Count `a` as live until nobody holds it."""
        self.live += 1
        self.peak = max(self.peak, self.live)
        weakref.finalize(a, self._release)
        return a

    def _release(self) -> None:
        self.live -= 1


class DryEngine(CheckedEngine):
    """Counts instead of values. `counts` gathers over the engine's life: open one for each run."""

    name = "dry"
    version = "1"
    capabilities = Capabilities(
        encrypted=False,
        values=False,
        exact_scale=True,
        lazy_rescale=True,
        hoisting=False,
        process_wide_lock=False,
        three_part=True,
        forks=True,
    )

    def __init__(self, params: CkksParams) -> None:
        super().__init__(params)
        self.counts = Counts()

    def encrypt(self, key: SecretKey, values: Slots, level: int, scale: float) -> Ciphertext:
        return self.counts.follow(super().encrypt(key, values, level, scale))

    def load_cipher(self, data: Pieces) -> Ciphertext:
        return self.counts.follow(super().load_cipher(data))

    def _generate_keys(
        self, steps: Mapping[int, int], conjugation: int | None
    ) -> tuple[None, Pieces]:
        return None, (key_list(tuple(steps), conjugation is not None),)

    def _encrypt(self, secret: None, values: Slots, level: int, scale: float) -> None:
        return None

    def _decrypt(self, secret: None, a: Ciphertext, imaginary: bool) -> Slots:
        raise EngineError(
            "the dry engine holds no values to decrypt", hint="use the clear engine for values"
        )

    def _evaluator(self, keys: EvaluationKeys, raw: None) -> Evaluator:
        return DryEvaluator(self, keys)

    def _save_cipher(self, a: Ciphertext) -> bytes:
        return b""

    def _load_cipher(self, payload: memoryview, level: int, scale: float, parts: int) -> None:
        return None

    def _save_secret_key(self, secret: None) -> bytes:
        return b""

    def _load_secret_key(self, payload: memoryview) -> None:
        return None

    def _load_evaluation_keys(
        self, payload: memoryview, steps: tuple[int, ...], conjugation: bool
    ) -> None:
        check_key_list(payload, steps, conjugation)


class DryEvaluator(CheckedEvaluator):
    """`counts` is the engine's."""

    _engine: DryEngine

    def __init__(self, engine: DryEngine, keys: EvaluationKeys) -> None:
        super().__init__(engine, keys)
        self.counts = engine.counts

    def _make(self, handle: Any, level: int, scale: float, parts: int = 2) -> Ciphertext:
        return self.counts.follow(super()._make(handle, level, scale, parts))

    def _count(self, op: str, level: int, times: int = 1) -> None:
        if times:
            self.counts.ops[op, level] += times

    def _encode(self, values: Slots, level: int, scale: float, summand: bool) -> None:
        self._count("encode", level)

    def _rotate(self, a: Ciphertext, step: int) -> None:
        self._count("rotate", a.level)
        self.counts.rotations.add(step)

    def _rotate_add(self, a: Ciphertext, step: int) -> None:
        self._rotate(a, step)
        self._count("add", a.level)

    def _conjugate(self, a: Ciphertext) -> None:
        self._count("conjugate", a.level)

    def _times_i(self, a: Ciphertext) -> None:
        self._count("times_i", a.level)

    def _add(self, a: Ciphertext, b: Ciphertext) -> None:
        self._count("add", a.level)

    def _sub(self, a: Ciphertext, b: Ciphertext) -> None:
        self._count("sub", a.level)

    def _negate(self, a: Ciphertext) -> None:
        self._count("negate", a.level)

    def _add_plain(self, a: Ciphertext, p: Plaintext) -> None:
        self._count("add_plain", a.level)

    def _dot_plain(
        self, cts: Sequence[Ciphertext], pts: Sequence[Plaintext], scale: float, rescale: bool
    ) -> None:
        level = cts[0].level
        self._count("multiply_plain", level, len(cts))
        self._count("add", level, len(cts) - 1)
        self._count("rescale", level, int(rescale))

    def _dot_cipher(
        self,
        pairs: Sequence[tuple[Ciphertext, Ciphertext]],
        scale: float,
        rescale: bool,
        relinearise: bool,
    ) -> None:
        level = pairs[0][0].level
        squares = sum(1 for a, b in pairs if a is b)
        self._count("square", level, squares)
        self._count("multiply_cipher", level, len(pairs) - squares)
        self._count("add", level, len(pairs) - 1)
        self._count("relinearize", level, int(relinearise))
        self._count("rescale", level, int(rescale))

    def _level_down(self, a: Ciphertext, level: int) -> None:
        self._count("level_down", a.level)
