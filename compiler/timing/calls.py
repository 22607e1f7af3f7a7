"""What is timed: calls of the engine protocol, and how the cost model writes each of them.

A call is often a sum of the operations that the model names: `dot_plain` of one term is the first
reading of an operand, a product and a rescale. All coefficients are found from all calls together.

Times are to be those within a program, where each rotation has a key of its own and operands come
from all over the memory: rotations go through several keys in turn, and operands are ciphertexts
that no other call has touched.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np

from eer.runtime.container import pack, unpack
from eer.runtime.engine import Cipher, Engine, Evaluator, Plain, SecretKey
from eer.runtime.errors import EngineError
from eer.runtime.pieces import Pieces
from eer.runtime.program import Vector

from ..cost import CostModel

Expression = Callable[[CostModel], float]
"""What the cost model says that a call takes, in milliseconds."""

TERMS = 6
"""Summands of the longer of the two sums of products that are timed."""

STEPS = (1, 2, 4, 8)
"""Rotations, each with a key of its own."""


@dataclass(frozen=True, slots=True)
class Call:
    """One call at one level.

    `run` gets `reads` ciphertexts from `fresh`, which no product has read before: an engine may
    keep what it computes for a product with its operand.
    """

    engine: Engine
    operation: str
    log_n: int
    level: int
    expression: Expression
    run: Callable[[Sequence[Cipher]], Any]
    fresh: Callable[[], Cipher]
    reads: int = 0


def calls_of(engine: Engine, levels: Sequence[int]) -> Iterator[Call]:
    """Every operation at each of `levels`."""
    key, blob = engine.generate_keys(STEPS)
    evaluator = engine.evaluator(engine.load_evaluation_keys(blob, key.key_id, STEPS))
    for level in levels:
        yield from _At(engine, evaluator, key, level).calls()


@dataclass(slots=True)
class _At:
    """One level of an engine."""

    engine: Engine
    ev: Evaluator
    key: SecretKey
    level: int
    values: Vector = field(init=False)
    scale: float = field(init=False)
    sample: Cipher = field(init=False)

    def __post_init__(self) -> None:
        self.values = np.linspace(-1.0, 1.0, self.engine.slots)
        self.scale = 2.0**self.engine.params.log_scale
        self.sample = self.engine.encrypt(self.key, self.values, self.level, self.scale)

    def calls(self) -> Iterator[Call]:
        yield from self._transport()
        yield from self._linear()
        if self.level > 0:
            lazy = self.engine.capabilities.lazy_rescale
            for rescale in (True, False) if lazy else (True,):
                yield from self._products(rescale)

    def _call(self, operation: str, expression: Expression, run: Any, reads: int = 0) -> Call:
        engine, log_n = self.engine, self.engine.params.log_n
        return Call(engine, operation, log_n, self.level, expression, run, self._fresh, reads)

    def _fresh(self) -> Cipher:
        return self.ev.negate(self.sample)

    def _transport(self) -> Iterator[Call]:
        engine, key, level = self.engine, self.key, self.level

        def encrypt(_: Sequence[Cipher]) -> bytes:
            return _message(engine.encrypt_bytes(key, self.values, level, self.scale))

        def save(x: Sequence[Cipher]) -> bytes:
            return _message(engine.save_cipher(x[0]))

        question, answer = encrypt(()), save((self._fresh(),))
        yield self._call("encrypt", lambda m: m.send(level), encrypt)
        yield self._call(
            "load", lambda m: m.load(level), lambda _: engine.load_cipher(_body(question))
        )
        yield self._call("save", lambda m: m.save(level), save, 1)
        yield self._call(
            "decrypt",
            lambda m: m.receive(level),
            lambda _: engine.decrypt(key, engine.load_cipher(_body(answer))),
        )

    def _linear(self) -> Iterator[Call]:
        ev, level = self.ev, self.level
        bias = ev.prepare_plain(self.values, level, self.scale, summand=True)
        yield self._call(
            "encode",
            lambda m: m.encode(level),
            lambda _: ev.prepare_plain(self.values, level, self.scale),
        )
        yield self._call("add", lambda m: m.add(level), lambda x: ev.add(x[0], x[1]), 2)
        yield self._call(
            "add a plaintext", lambda m: m.add_plain(level), lambda x: ev.add_plain(x[0], bias), 1
        )
        if level > 0:
            yield self._call(
                "drop a level",
                lambda m: m.level_down(level),
                lambda x: ev.level_down(x[0], level - 1),
                1,
            )
        if not _rotates(ev, self._fresh()):
            return
        yield self._call(
            "rotate",
            lambda m: len(STEPS) * m.rotate(level),
            lambda x: [ev.rotate(a, s) for a, s in zip(x, STEPS, strict=True)],
            len(STEPS),
        )
        yield self._call(
            "rotate and add",
            lambda m: m.rotate(level) + m.accumulate(level),
            lambda x: ev.rotate_add(x[0], STEPS[-1]),
            1,
        )
        if self.engine.capabilities.hoisting:
            yield self._call(
                "rotate, hoisted",
                lambda m: m.rotate_many(level, len(STEPS)),
                lambda x: ev.rotate_many(x[0], STEPS),
                1,
            )

    def _products(self, rescale: bool) -> Iterator[Call]:
        ev, level, note = self.ev, self.level, "" if rescale else ", not rescaled"
        vectors = [self.values / (k + 1) for k in range(TERMS)]
        plains = [ev.prepare_plain(v, level, self.scale) for v in vectors]
        sample = ev.dot_plain([self._fresh()] * TERMS, plains, rescale)
        # A bias follows: an engine may leave the way back from its transform to the next reader.
        after = ev.prepare_plain(self.values, ev.level(sample), ev.scale(sample), summand=True)
        finish = partial(ev.add_plain, p=after)
        for terms in (1, TERMS):
            yield self._call(
                f"sum of {terms} products with plaintexts{note}",
                partial(_dot_plain_cost, level, rescale, terms, terms),
                partial(_dot_plain, ev, plains[:terms], finish, rescale),
                terms,
            )
        if not rescale:
            return
        yield self._call(
            f"sum of {TERMS} products of one ciphertext",
            partial(_dot_plain_cost, level, rescale, TERMS, 1),
            lambda x: finish(ev.dot_plain([x[0]] * TERMS, plains)),
            1,
        )
        yield self._call(
            f"square{note}",
            lambda m: m.square(level) + m.operand(level) + _after_products(level, rescale, m),
            lambda x: ev.dot_cipher([(x[0], x[0])], rescale),
            1,
        )
        for pairs in (1, TERMS // 2):
            yield self._call(
                f"sum of {pairs} products{note}",
                partial(_dot_cipher_cost, level, rescale, pairs),
                lambda x: ev.dot_cipher(list(zip(x[::2], x[1::2], strict=True)), rescale),
                2 * pairs,
            )


def _message(body: Pieces) -> bytes:
    """A ciphertext as it travels, under a checksum."""
    return pack("ciphertext", {}, {"0": body})


def _body(message: bytes) -> Pieces:
    return (unpack(message, ("ciphertext",)).blob("0"),)


def _dot_plain(
    ev: Evaluator,
    plains: Sequence[Plain],
    finish: Callable[[Cipher], Cipher],
    rescale: bool,
    x: Sequence[Cipher],
) -> Cipher:
    return finish(ev.dot_plain(x, plains, rescale))


def _dot_plain_cost(level: int, rescale: bool, terms: int, operands: int, m: CostModel) -> float:
    products = terms * m.multiply_plain(level) + (terms - 1) * m.accumulate(level)
    last = rescale * m.rescale(level) + m.add_plain(level - rescale)
    return operands * m.operand(level) + products + last


def _dot_cipher_cost(level: int, rescale: bool, pairs: int, m: CostModel) -> float:
    each = m.multiply(level) + 2 * m.operand(level)
    return pairs * each + (pairs - 1) * m.accumulate(level) + _after_products(level, rescale, m)


def _after_products(level: int, rescale: bool, m: CostModel) -> float:
    return m.relinearise(level) + rescale * m.rescale(level)


def _rotates(evaluator: Evaluator, a: Cipher) -> bool:
    """Whether the engine can rotate at the level of `a`; DESILO cannot at the top of its chains."""
    try:
        evaluator.rotate(a, STEPS[0])
    except EngineError:
        return False
    return True
