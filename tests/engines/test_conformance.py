"""One suite for every engine. A case that needs what an engine lacks is skipped by that name.

What the operations compute; `test_conformance_refusals.py` goes on with what travels.
"""

from __future__ import annotations

import numpy as np
import pytest

from eer.runtime.errors import EngineError
from tests.engines.rig import TOP, Rig


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


@pytest.mark.parametrize("level", [0, TOP])
@pytest.mark.parametrize("step", [0, 64, -300])
def test_a_fold_adds_a_value_to_its_rotation(rig: Rig, level: int, step: int) -> None:
    x, ev = rig.vector(1), rig.evaluator
    a = rig.encrypt(x, level)
    for _ in range(2):
        rig.expect(ev.rotate_add(a, step), level, x + np.roll(x, -step))
    rig.expect(a, level, x)
    assert ev.scale(ev.rotate_add(a, step)) == rig.scale


def test_sums_may_cancel(rig: Rig) -> None:
    """What is left is zero, and counts as zero in whatever comes after, on the wire as well."""
    x, y, ev, engine = rig.vector(1), rig.vector(2), rig.evaluator, rig.engine
    a, b = rig.encrypt(x, TOP), rig.encrypt(y, TOP)
    nothing, z = np.zeros(engine.slots), ev.sub(a, a)
    rig.expect(z, TOP, nothing)
    assert ev.scale(z) == rig.scale
    rig.expect(ev.add(a, ev.negate(a)), TOP, nothing)
    for same in (ev.rotate(z, 5), ev.rotate_add(z, 64), ev.negate(z), *ev.rotate_many(z, (1, 5))):
        rig.expect(same, TOP, nothing)
    rig.expect(engine.load_cipher(engine.save_cipher(z)), TOP, nothing)
    rig.expect(ev.level_down(z, 1), 1, nothing)
    rig.expect(ev.add(z, b), TOP, y)
    rig.expect(ev.sub(z, b), TOP, -y)
    rig.expect(ev.sub(b, z), TOP, y)
    rig.expect(ev.add_plain(z, rig.plain(nothing, a)), TOP, nothing)
    weights = [rig.plain(x, a), rig.plain(y, a)]
    rig.expect(ev.dot_plain([z, b], weights), TOP - 1, y * y)
    rig.expect(ev.dot_plain([z], weights[:1]), TOP - 1, nothing)
    rig.expect(ev.dot_cipher([(z, z), (a, b), (z, a)]), TOP - 1, x * y)
    rig.expect(ev.dot_cipher([(z, a)]), TOP - 1, nothing)


def test_products_may_cancel_on_the_way(rig: Rig) -> None:
    x, y, ev = rig.vector(1), rig.vector(2), rig.evaluator
    a, b = rig.encrypt(x, TOP), rig.encrypt(y, TOP)
    w, v = rig.plain(x, a), rig.plain(-x, a)
    rig.expect(ev.dot_plain([a, a, b], [w, v, w]), TOP - 1, y * x)
    rig.expect(ev.dot_plain([b, a, a], [w, v, w]), TOP - 1, y * x)
    rig.expect(ev.dot_plain([a, a], [w, v]), TOP - 1, np.zeros(rig.engine.slots))
    negative = ev.negate(a)
    rig.expect(ev.dot_cipher([(a, b), (negative, b), (b, b)]), TOP - 1, y * y)
    rig.expect(ev.dot_cipher([(a, b), (negative, b)]), TOP - 1, np.zeros(rig.engine.slots))


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
        ev.rotate_add(a, 1)
        ev.add_plain(a, p)
        ev.level_down(a, 0)
    rig.expect(a, TOP, x)
    rig.expect(ev.dot_plain([a], [p]), TOP - 1, x * x)
