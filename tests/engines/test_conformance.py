"""One suite for every engine. A case that needs what an engine lacks is skipped by that name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from eer.runtime.engine import Engine, EvaluationKeys, Evaluator, SecretKey
from eer.runtime.engines import desilo_literal, open_engine
from eer.runtime.engines.desilo_library import installed
from eer.runtime.errors import ArtifactError, DataError, EerError, EngineError, KeyMismatchError
from eer.runtime.params import CkksLiteral, CkksParams
from eer.runtime.program import Vector

STEPS = (1, 5, 64, -1, -300)
TOP = 3

SEAL = CkksLiteral("seal", 13, (40.0, 30.0, 30.0, 30.0), (50.0,), 30.0).check()
DESILO = desilo_literal(TOP).check()
CASES: dict[str, tuple[CkksParams, float]] = {
    "clear": (SEAL, 1e-12),
    "dry": (SEAL, 0.0),
    "seal": (SEAL, 2e-4),
    "desilo": (DESILO, 1e-5),
}
"""Engine -> parameters, and the largest error allowed on values of size 1 in these short chains."""


@dataclass(frozen=True, slots=True)
class Rig:
    """An engine with keys for STEPS."""

    engine: Engine
    key: SecretKey
    key_bytes: bytes
    keys: EvaluationKeys
    evaluator: Evaluator
    tolerance: float

    @property
    def scale(self) -> float:
        return float(2.0**self.engine.params.log_scale)

    def vector(self, seed: int) -> Vector:
        return np.random.default_rng(seed).uniform(-1, 1, self.engine.slots)

    def encrypt(self, values: Vector, level: int) -> Any:
        return self.engine.encrypt(self.key, values, level, self.scale)

    def plain(self, values: Vector, a: Any, scale: float | None = None) -> Any:
        ev = self.evaluator
        return ev.prepare_plain(values, ev.level(a), self.scale if scale is None else scale)

    def expect(self, a: Any, level: int, wanted: Vector) -> None:
        assert self.evaluator.level(a) == level
        if self.engine.capabilities.values:
            got = self.engine.decrypt(self.key, a)
            assert got.shape == wanted.shape
            assert got.dtype == np.float64
            assert np.abs(got - wanted).max() <= self.tolerance

    def needs(self, capability: str) -> None:
        if not getattr(self.engine.capabilities, capability):
            pytest.skip(f"needs {capability}")


@pytest.fixture(scope="module", params=list(CASES))
def rig(request: pytest.FixtureRequest) -> Rig:
    name: str = request.param
    if name == "desilo" and not installed():
        pytest.skip("needs desilofhe")
    params, tolerance = CASES[name]
    engine = open_engine(params, name)
    key, data = engine.generate_keys(STEPS)
    keys = engine.load_evaluation_keys(data, key.key_id, STEPS)
    return Rig(engine, key, data, keys, engine.evaluator(keys), tolerance)


@pytest.mark.parametrize("level", [0, TOP])
def test_encryption_returns_the_values_at_the_level(rig: Rig, level: int) -> None:
    x = rig.vector(1)
    rig.expect(rig.encrypt(x, level), level, x)
    assert rig.evaluator.scale(rig.encrypt(x, level)) == rig.scale


@pytest.mark.parametrize("level", [0, TOP])
def test_sums(rig: Rig, level: int) -> None:
    x, y, ev = rig.vector(1), rig.vector(2), rig.evaluator
    a, b = rig.encrypt(x, level), rig.encrypt(y, level)
    rig.expect(ev.add(a, b), level, x + y)
    rig.expect(ev.sub(a, b), level, x - y)
    rig.expect(ev.negate(a), level, -x)
    rig.expect(ev.add_plain(a, rig.plain(y, a)), level, x + y)
    rig.expect(a, level, x)


@pytest.mark.parametrize("level", [0, TOP])
@pytest.mark.parametrize("step", [1, 5, 64, -1, -300, 10**6])
def test_rotation_is_to_the_left(rig: Rig, level: int, step: int) -> None:
    x, slots = rig.vector(1), rig.engine.slots
    if step == 10**6:
        step = 64 + 1000 * slots
    rig.expect(rig.evaluator.rotate(rig.encrypt(x, level), step), level, np.roll(x, -step))


def test_rotation_by_nothing_is_elided(rig: Rig) -> None:
    a = rig.encrypt(rig.vector(1), TOP)
    assert rig.evaluator.rotate(a, 0) is a
    assert rig.evaluator.rotate(a, rig.engine.slots) is a


@pytest.mark.parametrize("level", [0, TOP])
def test_many_rotations_keep_their_order(rig: Rig, level: int) -> None:
    x = rig.vector(1)
    steps = (64, 1, 0, -300, 1, -1)
    turned = rig.evaluator.rotate_many(rig.encrypt(x, level), steps)
    for step, a in zip(steps, turned, strict=True):
        rig.expect(a, level, np.roll(x, -step))


@pytest.mark.parametrize("level", [1, TOP])
@pytest.mark.parametrize("terms", [1, 4])
def test_products_with_plaintexts(rig: Rig, level: int, terms: int) -> None:
    xs = [rig.vector(k) for k in range(terms)]
    ws = [rig.vector(100 + k) for k in range(terms)]
    cts = [rig.encrypt(x, level) for x in xs]
    pts = [rig.plain(w, cts[0]) for w in ws]
    wanted = np.sum([x * w for x, w in zip(xs, ws, strict=True)], axis=0)
    for _ in range(2):
        rig.expect(rig.evaluator.dot_plain(cts, pts), level - 1, wanted)
    result = rig.evaluator.dot_plain(cts, pts)
    assert rig.evaluator.scale(result) == pytest.approx(
        rig.scale**2 / rig.engine.moduli[level], rel=1e-12
    )


@pytest.mark.parametrize("zeros", [1, 2])
def test_products_with_zero(rig: Rig, zeros: int) -> None:
    x, w = rig.vector(1), rig.vector(2)
    a, b = rig.encrypt(x, TOP), rig.encrypt(x, TOP)
    nothing = np.zeros(rig.engine.slots)
    weights = [nothing] * zeros + [w] * (2 - zeros)
    result = rig.evaluator.dot_plain([a, b], [rig.plain(v, a) for v in weights])
    rig.expect(result, TOP - 1, x * w * (2 - zeros))
    rig.expect(rig.evaluator.add_plain(a, rig.plain(nothing, a)), TOP, x)


@pytest.mark.parametrize("level", [1, TOP])
def test_products_of_ciphertexts(rig: Rig, level: int) -> None:
    x, y, z = (rig.vector(k) for k in (1, 2, 3))
    a, b, c = (rig.encrypt(v, level) for v in (x, y, z))
    ev = rig.evaluator
    rig.expect(ev.dot_cipher([(a, a)]), level - 1, x * x)
    rig.expect(ev.dot_cipher([(a, b)]), level - 1, x * y)
    total = ev.dot_cipher([(a, b), (c, c), (b, a), (c, a)])
    rig.expect(total, level - 1, 2 * x * y + z * z + z * x)
    assert ev.scale(total) == pytest.approx(rig.scale**2 / rig.engine.moduli[level], rel=1e-12)


def test_levels_can_be_dropped(rig: Rig) -> None:
    x, ev = rig.vector(1), rig.evaluator
    a = rig.encrypt(x, TOP)
    for level in range(TOP, -1, -1):
        rig.expect(ev.level_down(a, level), level, x)
    assert ev.scale(ev.level_down(a, 0)) == ev.scale(a)
    b = ev.level_down(ev.dot_cipher([(a, a)]), 0)
    rig.expect(ev.rotate(b, 5), 0, np.roll(x * x, -5))


def test_a_chain_to_the_last_level(rig: Rig) -> None:
    """A convolution, a square, a product with a rotated branch, and what an affine layer does."""
    x, w, v, u = (rig.vector(k) for k in (1, 2, 3, 4))
    ev = rig.evaluator
    a = rig.encrypt(x, 3)
    turned = ev.rotate_many(a, (0, 1, -1))
    h = ev.dot_plain(turned, [rig.plain(m, a) for m in (w, v, u)])
    h = ev.add(h, ev.rotate(h, 64))
    hidden = x * w + np.roll(x, -1) * v + np.roll(x, 1) * u
    hidden = hidden + np.roll(hidden, -64)
    rig.expect(h, 2, hidden)

    h = ev.add_plain(h, rig.plain(v, h, ev.scale(h)))
    hidden = hidden + v
    once = ev.sub(ev.dot_cipher([(h, h), (h, h)]), ev.dot_cipher([(ev.negate(h), ev.negate(h))]))
    rig.expect(once, 1, hidden**2)

    s = ev.dot_cipher([(h, h)])
    branch = ev.dot_plain([h], [rig.plain(w, h, ev.scale(h))])
    out = ev.dot_cipher([(ev.rotate(s, 5), branch)])
    rig.expect(out, 0, np.roll(hidden**2, -5) * hidden * w)
    rig.expect(
        ev.add(out, ev.rotate(out, -300)),
        0,
        (wanted := np.roll(hidden**2, -5) * hidden * w) + np.roll(wanted, 300),
    )


def test_scales_of_summands_are_matched_by_plaintexts(rig: Rig) -> None:
    rig.needs("exact_scale")
    x, w = rig.vector(1), rig.vector(2)
    ev = rig.evaluator
    a = rig.encrypt(x, 2)
    square = ev.dot_cipher([(a, a)])
    product = ev.dot_plain([a], [rig.plain(w, a, ev.scale(a) / 3.0)])
    with pytest.raises(EngineError, match="scales"):
        ev.add(square, product)
    wanted = ev.scale(square) * rig.engine.moduli[2] / ev.scale(a)
    product = ev.dot_plain([a], [rig.plain(w, a, wanted)])
    rig.expect(ev.add(square, product), 1, x * x + x * w)


def test_operands_stay_as_they_are(rig: Rig) -> None:
    x, ev = rig.vector(1), rig.evaluator
    a = rig.encrypt(x, TOP)
    p = rig.plain(x, a)
    for _ in range(2):
        ev.dot_plain([a, a], [p, p])
        ev.dot_cipher([(a, a), (a, a)])
        ev.rotate(a, 1)
        ev.add_plain(a, p)
        ev.level_down(a, 0)
    rig.expect(a, TOP, x)
    rig.expect(ev.dot_plain([a], [p]), TOP - 1, x * x)


@pytest.mark.parametrize("level", [0, TOP])
def test_ciphertexts_can_be_saved_and_loaded(rig: Rig, level: int) -> None:
    x, engine, ev = rig.vector(1), rig.engine, rig.evaluator
    sent = engine.encrypt_bytes(rig.key, x, level, rig.scale)
    a = engine.load_cipher(sent)
    rig.expect(a, level, x)
    assert ev.scale(a) == rig.scale
    turned = engine.load_cipher(engine.save_cipher(ev.rotate(a, 5)))
    rig.expect(turned, level, np.roll(x, -5))
    if level:
        product = engine.load_cipher(engine.save_cipher(ev.dot_cipher([(a, a)])))
        rig.expect(product, level - 1, x * x)
        assert ev.scale(product) == pytest.approx(rig.scale**2 / engine.moduli[level], rel=1e-12)


def test_a_saved_secret_key_still_decrypts(rig: Rig) -> None:
    rig.needs("values")
    x, engine = rig.vector(1), rig.engine
    key = engine.load_secret_key(engine.save_secret_key(rig.key), rig.key.key_id)
    a = rig.encrypt(x, 1)
    assert np.abs(engine.decrypt(key, a) - x).max() <= rig.tolerance
    rig.expect(engine.encrypt(key, x, 1, rig.scale), 1, x)


def test_keys_are_for_exactly_the_steps_asked_for(rig: Rig) -> None:
    slots = rig.engine.slots
    assert rig.keys.rotations == tuple(sorted(s % slots for s in STEPS))
    with pytest.raises(KeyMismatchError, match="no key for a rotation by 7 "):
        rig.evaluator.rotate(rig.encrypt(rig.vector(1), 1), 7)
    with pytest.raises(KeyMismatchError, match="no key for a rotation by 2 "):
        rig.evaluator.rotate_many(rig.encrypt(rig.vector(1), 1), [1, 2])


def test_keys_without_rotations(rig: Rig) -> None:
    engine, x = rig.engine, rig.vector(1)
    key, data = engine.generate_keys(())
    keys = engine.load_evaluation_keys(data, key.key_id, ())
    ev = engine.evaluator(keys)
    a = engine.encrypt(key, x, 1, rig.scale)
    product = ev.dot_cipher([(a, a)])
    assert ev.level(product) == 0
    with pytest.raises(KeyMismatchError, match="rotation"):
        ev.rotate(a, 1)
    with pytest.raises(ArtifactError):
        engine.load_evaluation_keys(data, key.key_id, (1,))


@pytest.mark.parametrize("steps", [STEPS[:-1], (*STEPS, 7), (*STEPS[:-1], 7)])
def test_evaluation_keys_of_other_steps_are_refused(rig: Rig, steps: tuple[int, ...]) -> None:
    with pytest.raises(ArtifactError):
        rig.engine.load_evaluation_keys(rig.key_bytes, rig.key.key_id, steps)


def test_objects_of_another_key_are_refused(rig: Rig) -> None:
    engine = rig.engine
    other, data = engine.generate_keys(())
    a = engine.encrypt(other, rig.vector(1), 1, rig.scale)
    mine = rig.encrypt(rig.vector(1), 1)
    mistakes: tuple[Callable[[], object], ...] = (
        lambda: engine.decrypt(rig.key, a),
        lambda: rig.evaluator.rotate(a, 1),
        lambda: rig.evaluator.add(mine, a),
        lambda: rig.evaluator.dot_cipher([(mine, a)]),
        lambda: engine.load_evaluation_keys(data, rig.key.key_id, ()),
        lambda: engine.load_secret_key(engine.save_secret_key(other), rig.key.key_id),
    )
    for wrong in mistakes:
        with pytest.raises(KeyMismatchError, match="another key"):
            wrong()


def test_objects_of_other_parameters_are_refused(rig: Rig) -> None:
    engine = rig.engine
    literal = CkksLiteral("clear", 13, (40.0, 30.0), (40.0,), 30.0)
    other = open_engine(literal.check(), "clear")
    key, data = other.generate_keys(())
    a = other.encrypt(key, np.zeros(other.slots), 1, rig.scale)
    keys = other.load_evaluation_keys(data, key.key_id, ())
    mistakes: tuple[Callable[[], object], ...] = (
        lambda: engine.decrypt(rig.key, a),
        lambda: engine.decrypt(key, rig.encrypt(rig.vector(1), 1)),
        lambda: engine.load_cipher(other.save_cipher(a)),
        lambda: engine.load_evaluation_keys(data, key.key_id, ()),
        lambda: engine.evaluator(keys),
        lambda: rig.evaluator.negate(a),
        lambda: engine.save_cipher(a),
    )
    for wrong in mistakes:
        with pytest.raises(KeyMismatchError):
            wrong()


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_values_that_are_no_numbers_are_refused(rig: Rig, bad: float) -> None:
    x = rig.vector(1)
    x[17] = bad
    with pytest.raises(DataError, match="NaN or infinity"):
        rig.encrypt(x, 1)
    with pytest.raises(DataError, match="NaN or infinity"):
        rig.evaluator.prepare_plain(x, 1, rig.scale)
    with pytest.raises(DataError, match="NaN or infinity"):
        rig.engine.encrypt_bytes(rig.key, x, 1, rig.scale)


@pytest.mark.parametrize("extra", [-1, 1])
def test_vectors_of_another_length_are_refused(rig: Rig, extra: int) -> None:
    x = np.zeros(rig.engine.slots + extra)
    with pytest.raises(DataError, match="one for each slot"):
        rig.encrypt(x, 1)
    with pytest.raises(DataError, match="one for each slot"):
        rig.evaluator.prepare_plain(x, 1, rig.scale)


def test_values_beyond_the_modulus_are_refused(rig: Rig) -> None:
    x = np.full(rig.engine.slots, 2.0**30)
    with pytest.raises(DataError, match="do not fit"):
        rig.encrypt(x, 0)
    fits = np.full(rig.engine.slots, 2.0**8)
    a = rig.encrypt(fits, 0)
    if rig.engine.capabilities.values:
        assert np.abs(rig.engine.decrypt(rig.key, a) - fits).max() < rig.tolerance * 2**8


@pytest.mark.parametrize("level", [-1, TOP + 1])
def test_levels_outside_the_chain_are_refused(rig: Rig, level: int) -> None:
    with pytest.raises(EngineError, match="level"):
        rig.encrypt(rig.vector(1), level)
    with pytest.raises(EngineError, match="level"):
        rig.evaluator.prepare_plain(rig.vector(1), level, rig.scale)


def test_mistyped_operations_are_refused(rig: Rig) -> None:
    x, ev = rig.vector(1), rig.evaluator
    high, low = rig.encrypt(x, 2), rig.encrypt(x, 1)
    bottom = rig.encrypt(x, 0)
    mistakes: tuple[Callable[[], object], ...] = (
        lambda: ev.add(high, low),
        lambda: ev.sub(low, high),
        lambda: ev.add_plain(high, rig.plain(x, low)),
        lambda: ev.dot_plain([high], [rig.plain(x, low)]),
        lambda: ev.dot_plain([high, low], [rig.plain(x, high), rig.plain(x, low)]),
        lambda: ev.dot_plain([high], []),
        lambda: ev.dot_plain([], []),
        lambda: ev.dot_plain([bottom], [rig.plain(x, bottom)]),
        lambda: ev.dot_cipher([(high, low)]),
        lambda: ev.dot_cipher([(bottom, bottom)]),
        lambda: ev.dot_cipher([]),
        lambda: ev.level_down(low, 2),
        lambda: ev.level_down(low, -1),
    )
    for wrong in mistakes:
        with pytest.raises(EngineError):
            wrong()


@pytest.mark.parametrize("keep", [0, 1, 9, 40, -1])
def test_truncated_bytes_are_refused(rig: Rig, keep: int) -> None:
    engine = rig.engine
    cipher = engine.encrypt_bytes(rig.key, rig.vector(1), 1, rig.scale)
    secret = engine.save_secret_key(rig.key)
    for data in (cipher, secret, rig.key_bytes):
        cut = data[:keep]
        with pytest.raises(ArtifactError):
            engine.load_cipher(cut)
        with pytest.raises(ArtifactError):
            engine.load_secret_key(cut, rig.key.key_id)
        with pytest.raises(ArtifactError):
            engine.load_evaluation_keys(cut, rig.key.key_id, STEPS)


def test_changed_bytes_are_refused(rig: Rig) -> None:
    engine = rig.engine
    data = engine.encrypt_bytes(rig.key, rig.vector(1), 1, rig.scale)
    for place in (0, 9, 12, 60, len(data) // 2, len(data) - 1):
        changed = bytearray(data)
        changed[place] ^= 0x55
        with pytest.raises(EerError):
            engine.load_cipher(bytes(changed))


def test_one_kind_of_object_is_not_taken_for_another(rig: Rig) -> None:
    engine = rig.engine
    cipher = engine.encrypt_bytes(rig.key, rig.vector(1), 1, rig.scale)
    with pytest.raises(ArtifactError, match="expected"):
        engine.load_secret_key(cipher, rig.key.key_id)
    with pytest.raises(ArtifactError, match="expected"):
        engine.load_cipher(rig.key_bytes)


@pytest.mark.parametrize("level", [0, 1, 2, TOP])
def test_no_word_of_the_input_stands_in_a_ciphertext(rig: Rig, level: int) -> None:
    """DESILO 2.0.0 left uninitialised memory, often the input itself, in fresh ciphertexts."""
    rig.needs("encrypted")
    x = rig.vector(7) * 3.7
    words = x.view(np.uint64)
    a = rig.encrypt(x, level)
    for data in (
        rig.engine.save_cipher(a),
        rig.engine.encrypt_bytes(rig.key, x, level, rig.scale),
        rig.engine.save_cipher(rig.evaluator.rotate(a, 1)),
    ):
        for offset in range(8):
            usable = (len(data) - offset) // 8
            found = np.frombuffer(data, dtype="<u8", count=usable, offset=offset)
            assert not np.isin(found, words).any()


def test_encryption_is_randomised(rig: Rig) -> None:
    rig.needs("encrypted")
    x = rig.vector(1)
    first, second = (rig.engine.encrypt_bytes(rig.key, x, 1, rig.scale) for _ in range(2))
    assert first != second


def test_what_the_engine_says_of_itself(rig: Rig) -> None:
    engine = rig.engine
    assert engine.slots == engine.params.slots
    assert len(engine.moduli) == engine.params.max_level + 1
    for prime, bits in zip(engine.moduli, engine.params.log_q, strict=True):
        assert np.log2(prime) == pytest.approx(bits, abs=0.02)
    assert engine.log_qp == pytest.approx(engine.params.log_qp, abs=0.2)
    assert engine.name in CASES
    assert engine.version
