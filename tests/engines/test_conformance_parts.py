"""The suite for every engine, fourth part: products that are not relinearised."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from eer.runtime.errors import ArtifactError, EngineError
from eer.runtime.pieces import joined
from tests.engines.rig import TOP, Rig


@pytest.fixture
def rig(rig: Rig) -> Rig:
    """Rescaling errs by the secret's size in a slot, sqrt(2N/3), times as much."""
    size = (2 * rig.engine.params.ring_dimension / 3) ** 0.5
    return replace(rig, tolerance=rig.tolerance * size)


@pytest.fixture
def three(rig: Rig) -> Any:
    """x * y with three polynomials, of level TOP - 1; x and y are vectors 1 and 2."""
    rig.needs("three_part")
    a, b = rig.encrypt(rig.vector(1), TOP), rig.encrypt(rig.vector(2), TOP)
    return rig.evaluator.dot_cipher([(a, b)], relinearise=False)


def test_products_are_decrypted_as_they_are(rig: Rig, three: Any) -> None:
    assert rig.evaluator.parts(three) == 3
    rig.expect(three, TOP - 1, rig.vector(1) * rig.vector(2))


def test_sums_of_products_and_squares(rig: Rig, three: Any) -> None:
    x, y, ev = rig.vector(1), rig.vector(2), rig.evaluator
    a, b = rig.encrypt(x, TOP), rig.encrypt(y, TOP)
    total = ev.dot_cipher([(a, b), (a, a)], relinearise=False)
    rig.expect(total, TOP - 1, x * y + x * x)
    assert ev.parts(total) == 3
    assert ev.scale(total) == ev.scale(ev.dot_cipher([(a, b), (a, a)]))


def test_linear_operations_take_three_parts(rig: Rig, three: Any) -> None:
    """By themselves, and with operands of two, in either order."""
    x, y, ev = rig.vector(1), rig.vector(2), rig.evaluator
    pair = ev.dot_cipher([(rig.encrypt(x, TOP), rig.encrypt(y, TOP))])
    assert ev.parts(pair) == 2
    xy = x * y
    for a, b in ((three, pair), (pair, three), (three, three)):
        rig.expect(ev.add(a, b), TOP - 1, 2 * xy)
        rig.expect(ev.sub(ev.add(a, b), b), TOP - 1, xy)
        assert ev.parts(ev.add(a, b)) == ev.parts(ev.sub(a, b)) == 3
        weights = [rig.plain(rig.vector(k), a, rig.scale) for k in (3, 4)]
        total = ev.dot_plain([a, b], weights)
        rig.expect(total, TOP - 2, xy * (rig.vector(3) + rig.vector(4)))
        assert ev.parts(total) == 3
    rig.expect(ev.negate(three), TOP - 1, -xy)
    rig.expect(ev.times_i(three), TOP - 1, 1j * xy)
    summand = rig.plain(rig.vector(5), three, ev.scale(three))
    rig.expect(ev.add_plain(three, summand), TOP - 1, xy + rig.vector(5))
    rig.expect(ev.level_down(three, 0), 0, xy)
    for result in (ev.negate(three), ev.times_i(three), ev.level_down(three, 0)):
        assert ev.parts(result) == 3
    rig.expect(three, TOP - 1, xy)


def test_a_single_product_with_a_plaintext(rig: Rig, three: Any) -> None:
    ev = rig.evaluator
    wanted = rig.vector(1) * rig.vector(2) * rig.vector(3)
    weighted = ev.dot_plain([three], [rig.plain(rig.vector(3), three, rig.scale)])
    rig.expect(weighted, TOP - 2, wanted)
    rig.expect(ev.level_down(weighted, 0), 0, wanted)


def test_three_parts_are_saved_and_loaded(rig: Rig, three: Any) -> None:
    engine = rig.engine
    loaded = engine.load_cipher(engine.save_cipher(three))
    assert rig.evaluator.parts(loaded) == 3
    rig.expect(loaded, TOP - 1, rig.vector(1) * rig.vector(2))
    pair = engine.load_cipher(engine.encrypt_bytes(rig.key, rig.vector(1), TOP, rig.scale))
    assert rig.evaluator.parts(pair) == 2


def test_a_product_that_is_zero(rig: Rig, three: Any) -> None:
    """What cancels, and what comes of it, are saved and loaded as well."""
    ev, engine = rig.evaluator, rig.engine
    nothing = ev.sub(three, three)
    product = ev.dot_cipher([(rig.encrypt(rig.vector(1), TOP), rig.encrypt(rig.vector(2), TOP))])
    rig.expect(engine.load_cipher(engine.save_cipher(nothing)), TOP - 1, 0 * rig.vector(1))
    rest = ev.add(nothing, product)
    wanted = rig.vector(1) * rig.vector(2)
    rig.expect(engine.load_cipher(engine.save_cipher(rest)), TOP - 1, wanted)


def test_key_switches_and_products_refuse_three_parts(rig: Rig, three: Any) -> None:
    ev = rig.evaluator
    pair = ev.level_down(rig.encrypt(rig.vector(1), TOP), TOP - 1)
    mistakes: tuple[Callable[[], object], ...] = (
        lambda: ev.rotate(three, 1),
        lambda: ev.rotate(three, 0),
        lambda: ev.rotate_many(three, [1, 5]),
        lambda: ev.rotate_add(three, 1),
        lambda: ev.conjugate(three),
        lambda: ev.conjugate_add(three),
        lambda: ev.dot_cipher([(three, pair)]),
        lambda: ev.dot_cipher([(pair, three)], relinearise=False),
    )
    for wrong in mistakes:
        with pytest.raises(EngineError, match="relinearised"):
            wrong()


def test_false_claims_about_parts_are_refused(rig: Rig, three: Any) -> None:
    """SEAL and DESILO FHE know better; the interpreters have nothing to tell by."""
    rig.needs("encrypted")
    engine = rig.engine
    data = bytes(joined(engine.save_cipher(three)))
    for claim in (b'"parts":2', b'"parts":4', b'"parts":1'):
        with pytest.raises(ArtifactError):
            engine.load_cipher((data.replace(b'"parts":3', claim, 1),))
