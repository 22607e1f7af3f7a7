"""The suite for every engine, third part: slots that hold two real values."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from eer.runtime.errors import ArtifactError, DataError, EngineError, KeyMismatchError
from eer.runtime.pieces import joined
from tests.engines.rig import STEPS, TOP, Rig

SLOW = settings(
    max_examples=10, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@pytest.mark.parametrize("level", [0, TOP])
def test_both_parts_are_encrypted(rig: Rig, level: int) -> None:
    z, engine = rig.complex_vector(1), rig.engine
    rig.expect(rig.encrypt(z, level), level, z)
    sent = engine.load_cipher(engine.encrypt_bytes(rig.key, z, level, rig.scale))
    rig.expect(sent, level, z)
    rig.expect(engine.load_cipher(engine.save_cipher(sent)), level, z)


def test_imaginary_parts_of_real_vectors_are_zero(rig: Rig) -> None:
    x = rig.vector(1)
    rig.expect(rig.encrypt(x, TOP), TOP, x + 0j)


@pytest.mark.parametrize("level", [0, TOP])
def test_conjugates(rig: Rig, level: int) -> None:
    z, ev = rig.complex_vector(1), rig.evaluator
    a = rig.encrypt(z, level)
    rig.expect(ev.conjugate(a), level, z.conj())
    rig.expect(ev.conjugate(ev.conjugate(a)), level, z)
    assert ev.scale(ev.conjugate(a)) == rig.scale
    rig.expect(a, level, z)


@pytest.mark.parametrize("level", [0, TOP])
def test_a_value_and_its_conjugate_are_twice_the_real_part(rig: Rig, level: int) -> None:
    z, ev = rig.complex_vector(1), rig.evaluator
    a = rig.encrypt(z, level)
    for _ in range(2):
        rig.expect(ev.conjugate_add(a), level, 2 * z.real + 0j)
    assert ev.scale(ev.conjugate_add(a)) == rig.scale
    rig.expect(a, level, z)


@pytest.mark.parametrize("level", [0, TOP])
def test_products_with_i_are_exact(rig: Rig, level: int) -> None:
    """Four of them give the ciphertext that was there before, not just one near it."""
    z, ev = rig.complex_vector(1), rig.evaluator
    a = rig.encrypt(z, level)
    turned = ev.times_i(a)
    rig.expect(turned, level, 1j * z)
    assert ev.scale(turned) == rig.scale
    around = turned
    for _ in range(3):
        around = ev.times_i(around)
    assert rig.engine.save_cipher(around) == rig.engine.save_cipher(a)
    rig.expect(ev.add(a, ev.times_i(turned)), level, np.zeros(rig.engine.slots, complex))


def test_rotations_turn_both_parts(rig: Rig) -> None:
    z, ev = rig.complex_vector(1), rig.evaluator
    a = rig.encrypt(z, TOP)
    for step in STEPS:
        rig.expect(ev.rotate(a, step), TOP, np.roll(z, -step))
        rig.expect(ev.rotate_add(a, step), TOP, z + np.roll(z, -step))
    for step, turned in zip(STEPS, ev.rotate_many(a, STEPS), strict=True):
        rig.expect(turned, TOP, np.roll(z, -step))
    rig.expect(ev.conjugate(ev.rotate(ev.times_i(a), 5)), TOP, np.roll(1j * z, -5).conj())


def test_sums_of_both_parts(rig: Rig) -> None:
    z, w, ev = rig.complex_vector(1), rig.complex_vector(2), rig.evaluator
    a, b = rig.encrypt(z, TOP), rig.encrypt(w, TOP)
    rig.expect(ev.add(a, b), TOP, z + w)
    rig.expect(ev.sub(a, b), TOP, z - w)
    rig.expect(ev.negate(a), TOP, -z)
    rig.expect(ev.level_down(a, 0), 0, z)
    x = rig.vector(3)
    summand = ev.prepare_plain(x, TOP, rig.scale, summand=True)
    rig.expect(ev.add_plain(a, summand), TOP, z + x)
    rig.expect(ev.add(rig.encrypt(x, TOP), b), TOP, x + w)


@pytest.mark.parametrize("level", [1, TOP])
@pytest.mark.parametrize("terms", [1, 4])
def test_complex_products_with_plaintexts(rig: Rig, level: int, terms: int) -> None:
    zs = [rig.complex_vector(k) for k in range(terms)]
    ws = [rig.complex_vector(100 + k) for k in range(terms)]
    cts = [rig.encrypt(z, level) for z in zs]
    pts = [rig.plain(w, cts[0]) for w in ws]
    wanted = np.sum([z * w for z, w in zip(zs, ws, strict=True)], axis=0)
    for _ in range(2):
        total = rig.evaluator.dot_plain(cts, pts)
        rig.expect(total, level - 1, wanted)
        rig.expect(rig.evaluator.conjugate_add(total), level - 1, 2 * wanted.real + 0j)


def test_real_and_complex_factors_meet(rig: Rig) -> None:
    x, z, w, ev = rig.vector(1), rig.complex_vector(2), rig.complex_vector(3), rig.evaluator
    a, b = rig.encrypt(x, TOP), rig.encrypt(z, TOP)
    factors = [rig.plain(w, a), rig.plain(x, a)]
    rig.expect(ev.dot_plain([a, b], factors), TOP - 1, x * w + z * x)
    rig.expect(ev.dot_plain([b, a], factors), TOP - 1, z * w + x * x)
    rig.expect(ev.dot_plain([a], factors[:1]), TOP - 1, x * w)


def test_complex_products_of_ciphertexts(rig: Rig) -> None:
    z, w, ev = rig.complex_vector(1), rig.complex_vector(2), rig.evaluator
    a, b = rig.encrypt(z, TOP), rig.encrypt(w, TOP)
    rig.expect(ev.dot_cipher([(a, a)]), TOP - 1, z * z)
    rig.expect(ev.dot_cipher([(a, b), (b, b)]), TOP - 1, z * w + w * w)
    rig.expect(ev.dot_cipher([(a, ev.conjugate(a))]), TOP - 1, np.abs(z) ** 2 + 0j)


def test_products_with_imaginary_zeros(rig: Rig) -> None:
    """A complex plaintext of which nothing is left, or one part alone."""
    z, x, ev = rig.complex_vector(1), rig.vector(2), rig.evaluator
    a = rig.encrypt(z, TOP)
    nothing = np.zeros(rig.engine.slots, complex)
    factors = [rig.plain(w, a) for w in (nothing, 1j * x)]
    rig.expect(ev.dot_plain([a, a], factors), TOP - 1, 1j * x * z)
    rig.expect(ev.dot_plain([a], factors[:1]), TOP - 1, nothing)


def test_zero_stays_zero(rig: Rig) -> None:
    a, ev = rig.encrypt(rig.complex_vector(1), TOP), rig.evaluator
    nothing = ev.sub(a, a)
    for same in (ev.conjugate(nothing), ev.conjugate_add(nothing), ev.times_i(nothing)):
        rig.expect(same, TOP, np.zeros(rig.engine.slots, complex))


def test_a_value_that_is_its_conjugates_opposite(rig: Rig) -> None:
    """i times a real value: the real part is zero but for noise."""
    a, ev = rig.encrypt(rig.vector(1), TOP), rig.evaluator
    rig.expect(ev.conjugate_add(ev.times_i(a)), TOP, np.zeros(rig.engine.slots, complex))


@SLOW
@given(seed=st.integers(0, 2**32), level=st.integers(1, TOP), terms=st.integers(1, 3))
def test_two_real_products_by_one_complex(rig: Rig, seed: int, level: int, terms: int) -> None:
    """Re((x1 + i x2)(w1 - i w2)) = x1 w1 + x2 w2: half as many products for one key switch."""
    rng, slots, ev = np.random.default_rng(seed), rig.engine.slots, rig.evaluator
    x, w = (rng.uniform(-1, 1, (2, terms, slots)) for _ in range(2))
    cts = [rig.encrypt(v, level) for v in x[0] + 1j * x[1]]
    pts = [rig.plain(v, cts[0]) for v in w[0] - 1j * w[1]]
    product = ev.dot_plain(cts, pts)
    wanted = np.sum(x * w, axis=(0, 1))
    if rig.engine.capabilities.values:
        got = rig.engine.decrypt(rig.key, product)
        assert np.abs(got - wanted).max() <= terms * rig.tolerance
        got = rig.engine.decrypt(rig.key, ev.conjugate_add(product))
        assert np.abs(got - 2 * wanted).max() <= 2 * terms * rig.tolerance


@pytest.mark.parametrize("bad", [np.nan, np.inf, 1j * np.nan, complex(0, -np.inf)])
def test_parts_that_are_no_numbers_are_refused(rig: Rig, bad: complex) -> None:
    z = rig.complex_vector(1)
    z[17] = bad
    refused: tuple[Callable[[], object], ...] = (
        lambda: rig.encrypt(z, 1),
        lambda: rig.engine.encrypt_bytes(rig.key, z, 1, rig.scale),
        lambda: rig.evaluator.prepare_plain(z, 1, rig.scale),
    )
    for wrong in refused:
        with pytest.raises(DataError, match="NaN or infinity"):
            wrong()


def test_imaginary_parts_beyond_the_modulus_are_refused(rig: Rig) -> None:
    with pytest.raises(DataError, match="do not fit"):
        rig.encrypt(np.full(rig.engine.slots, 2.0**30 * 1j), 0)


def test_without_its_key_nothing_is_conjugated(rig: Rig) -> None:
    engine, z = rig.engine, rig.complex_vector(1)
    key, data = engine.generate_keys((1,))
    keys = engine.load_evaluation_keys(data, key.key_id, (1,))
    assert not keys.conjugation
    assert rig.keys.conjugation
    ev = engine.evaluator(keys)
    a = engine.encrypt(key, z, 1, rig.scale)
    assert ev.level(ev.times_i(ev.rotate(a, 1))) == 1
    for wrong in (ev.conjugate, ev.conjugate_add):
        with pytest.raises(KeyMismatchError, match="no key for a conjugation"):
            wrong(a)
    with pytest.raises(ArtifactError):
        engine.load_evaluation_keys(data, key.key_id, (1,), conjugation=True)
    with pytest.raises(ArtifactError):
        engine.load_evaluation_keys(rig.key_bytes, rig.key.key_id, STEPS)


def test_a_conjugation_key_alone(rig: Rig) -> None:
    """And for low levels, where it may be smaller."""
    engine, z = rig.engine, rig.complex_vector(1)
    key, data = engine.generate_keys((), conjugation=1)
    ev = engine.evaluator(engine.load_evaluation_keys(data, key.key_id, (), conjugation=True))
    for level in (0, 1):
        a = ev.conjugate_add(engine.encrypt(key, z, level, rig.scale))
        assert ev.level(a) == level
        if engine.capabilities.values:
            assert np.abs(engine.decrypt(key, a) - 2 * z.real).max() <= rig.tolerance
    for wrong in (-1, TOP + 1):
        with pytest.raises(EngineError, match="a conjugation's level is in 0"):
            engine.generate_keys((), conjugation=wrong)


def test_a_conjugation_is_no_rotation(rig: Rig) -> None:
    engine = rig.engine
    key, data = engine.generate_keys((), conjugation=1)
    with pytest.raises(ArtifactError):
        engine.load_evaluation_keys(data, key.key_id, (1,))
    other, data = engine.generate_keys((1,))
    with pytest.raises(ArtifactError):
        engine.load_evaluation_keys(data, other.key_id, (), conjugation=True)


def test_what_is_conjugated_belongs_to_the_key(rig: Rig) -> None:
    other, _ = rig.engine.generate_keys(())
    a = rig.engine.encrypt(other, rig.complex_vector(1), 1, rig.scale)
    for wrong in (rig.evaluator.conjugate, rig.evaluator.conjugate_add, rig.evaluator.times_i):
        with pytest.raises(KeyMismatchError, match="another key"):
            wrong(a)


def test_no_word_of_either_part_stands_in_a_ciphertext(rig: Rig) -> None:
    rig.needs("encrypted")
    z = rig.complex_vector(7) * 3.7
    words = z.view(np.uint64)
    a = rig.encrypt(z, 1)
    for pieces in (
        rig.engine.save_cipher(a),
        rig.engine.encrypt_bytes(rig.key, z, 1, rig.scale),
        rig.engine.save_cipher(rig.evaluator.conjugate(a)),
        rig.engine.save_cipher(rig.evaluator.times_i(a)),
    ):
        data = joined(pieces)
        for offset in range(8):
            usable = (len(data) - offset) // 8
            found = np.frombuffer(data, dtype="<u8", count=usable, offset=offset)
            assert not np.isin(found, words).any()
