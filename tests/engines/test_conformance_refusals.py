"""The suite for every engine, second half: what is saved, loaded, and refused."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from eer.runtime.engines import open_engine
from eer.runtime.errors import ArtifactError, DataError, EerError, EngineError, KeyMismatchError
from eer.runtime.params import CkksLiteral
from eer.runtime.pieces import joined
from tests.engines.rig import CASES, STEPS, TOP, Rig


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


def test_keys_for_low_levels_serve_those(rig: Rig) -> None:
    """And may be smaller; whether they are refused above depends on the engine."""
    engine, x = rig.engine, rig.vector(1)
    steps, levels = (1, 5, 64, 5, 0), (1, 0, TOP, 2, 0)
    key, data = engine.generate_keys(steps, levels)
    ev = engine.evaluator(engine.load_evaluation_keys(data, key.key_id, steps))
    for step, level in ((1, 1), (1, 0), (5, 2), (64, TOP)):
        turned = ev.rotate(engine.encrypt(key, x, level, rig.scale), step)
        assert ev.level(turned) == level
        if engine.capabilities.values:
            found = engine.decrypt(key, turned)
            assert np.abs(found - np.roll(x, -step)).max() <= rig.tolerance
    for turned, step in zip(
        ev.rotate_many(engine.encrypt(key, x, 1, rig.scale), (64, 1, 5)), (64, 1, 5), strict=True
    ):
        if engine.capabilities.values:
            found = engine.decrypt(key, turned)
            assert np.abs(found - np.roll(x, -step)).max() <= rig.tolerance
    for wrong in ((1, 0), (1, 0, 0, 0, TOP + 1), (-1, 0, 0, 0, 0)):
        with pytest.raises(EngineError, match="a level in 0"):
            engine.generate_keys(steps, wrong)


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
        rig.engine.load_evaluation_keys(rig.key_bytes, rig.key.key_id, steps, True)


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
        cut = (joined(data)[:keep],)
        with pytest.raises(ArtifactError):
            engine.load_cipher(cut)
        with pytest.raises(ArtifactError):
            engine.load_secret_key(cut, rig.key.key_id)
        with pytest.raises(ArtifactError):
            engine.load_evaluation_keys(cut, rig.key.key_id, STEPS, True)


def test_changed_frames_are_refused(rig: Rig) -> None:
    """Changed contents too, where the library can tell; else the container does."""
    engine = rig.engine
    data = joined(engine.encrypt_bytes(rig.key, rig.vector(1), 1, rig.scale))
    for place in (0, 9, 12, 60):
        changed = bytearray(data)
        changed[place] ^= 0x55
        with pytest.raises(EerError):
            engine.load_cipher((bytes(changed),))


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
    for pieces in (
        rig.engine.save_cipher(a),
        rig.engine.encrypt_bytes(rig.key, x, level, rig.scale),
        rig.engine.save_cipher(rig.evaluator.rotate(a, 1)),
    ):
        data = joined(pieces)
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
