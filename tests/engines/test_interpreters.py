"""What is special to `clear` (noise) and `dry` (counts)."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from eer.runtime.engine import Evaluator
from eer.runtime.engines import open_engine
from eer.runtime.engines.clear import ClearEngine, NoiseModel
from eer.runtime.engines.dry import DryEngine
from eer.runtime.errors import EngineError
from eer.runtime.params import CkksLiteral
from eer.runtime.program import Vector

PARAMS = CkksLiteral("seal", 13, (40.0, 30.0, 30.0), (45.0,), 30.0).check()
SCALE = 2.0**30


def _noise(seed: int) -> NoiseModel:
    return NoiseModel(seed, imaginary=True)


def _errors(engine: Any) -> dict[str, Vector]:
    """Errors, times the scale, of one operation each."""
    key, data = engine.generate_keys((1,), conjugation=2)
    ev: Evaluator = engine.evaluator(engine.load_evaluation_keys(data, key.key_id, (1,), True))
    x = np.random.default_rng(5).uniform(-1, 1, engine.slots)
    a = engine.encrypt(key, x, 2, SCALE)
    turned = ev.rotate(a, 1)
    product = ev.dot_plain([a], [ev.prepare_plain(np.ones(engine.slots), 2, SCALE)])
    square = ev.dot_cipher([(a, a)])
    # Real parts that come from imaginary ones.
    switched = ev.times_i(ev.conjugate(ev.times_i(a)))
    unit = ev.dot_plain([a], [ev.prepare_plain(np.full(engine.slots, 1j), 2, SCALE)])
    return {
        "fresh": (engine.decrypt(key, a) - x) * SCALE,
        "rotate": (engine.decrypt(key, turned) - np.roll(x, -1)) * SCALE,
        "dot_plain": (engine.decrypt(key, product) - x) * SCALE,
        "dot_cipher": (engine.decrypt(key, square) - x * x) * SCALE,
        "times_i": engine.decrypt(key, ev.times_i(a)) * SCALE,
        "conjugate": (engine.decrypt(key, switched) - x) * SCALE,
        "complex": engine.decrypt(key, unit) * SCALE,
        "conjugate_add": (engine.decrypt(key, ev.conjugate_add(a)) - 2 * x) * SCALE,
    }


def test_the_noise_model_is_reproducible() -> None:
    first, again = (_errors(ClearEngine(PARAMS, _noise(1))) for _ in range(2))
    other = _errors(ClearEngine(PARAMS, _noise(2)))
    for name, error in first.items():
        assert np.array_equal(error, again[name])
        assert not np.array_equal(error, other[name])


def test_stacked_ciphertexts_are_each_computed_with() -> None:
    def run(ev: Evaluator, a: Any) -> Any:
        turned = ev.rotate_add(ev.conjugate(a), 1)
        plain = ev.prepare_plain(np.linspace(0, 1, PARAMS.slots), 2, SCALE)
        return ev.dot_cipher([(x, x) for x in [ev.dot_plain([turned, a], [plain, plain])]])

    inputs = np.random.default_rng(5).uniform(-1, 1, (3, PARAMS.slots))
    for noise in (None, _noise(1)):
        engine = ClearEngine(PARAMS, noise)
        key, data = engine.generate_keys((1,), conjugation=2)
        ev = engine.evaluator(engine.load_evaluation_keys(data, key.key_id, (1,), True))
        ciphers = [engine.encrypt(key, x, 2, SCALE) for x in inputs]
        alone = np.array([engine.decrypt(key, run(ev, c)) for c in ciphers])
        stacked = run(ev, engine.stacked(ciphers))
        together = np.array([engine.decrypt(key, c) for c in engine.unstacked(stacked)])
        if noise is None:
            assert np.array_equal(together, alone)
        else:
            errors = together - alone
            deviations = errors.std(axis=1)
            assert deviations.min() > 1e-9
            assert deviations.max() < 1.1 * deviations.min()
            assert np.abs(np.corrcoef(errors)[np.triu_indices(3, 1)]).max() < 0.1


def test_the_noise_model_has_the_size_of_real_noise() -> None:
    modelled = _errors(ClearEngine(PARAMS, _noise(1)))
    real = _errors(open_engine(PARAMS, "seal"))
    for operation, error in real.items():
        assert 0.5 < modelled[operation].std() / error.std() < 2, operation


@pytest.mark.parametrize("period", [1, 64, 4096])
@pytest.mark.parametrize("imaginary", [0.0, 1.0])
def test_weights_are_rounded_as_finely_as_they_vary(period: int, imaginary: float) -> None:
    """At a scale so small that rounding of the weights is all that is felt."""
    rng = np.random.default_rng(period)
    once = rng.uniform(-1, 1, period) + imaginary * 1j * rng.uniform(-1, 1, period)
    weights = np.tile(once if imaginary else once.real, PARAMS.slots // period)
    scale = 2.0**12
    sizes = []
    for engine in (ClearEngine(PARAMS, _noise(1)), open_engine(PARAMS, "seal")):
        key, data = engine.generate_keys(())
        ev = engine.evaluator(engine.load_evaluation_keys(data, key.key_id, ()))
        x = rng.uniform(-1, 1, engine.slots)
        product = ev.dot_plain(
            [engine.encrypt(key, x, 2, SCALE)], [ev.prepare_plain(weights, 2, scale)], False
        )
        sizes.append(np.std(engine.decrypt(key, product) - x * weights.real) * scale)
    modelled, real = sizes
    if period == 1:  # A single coefficient errs, by anything up to a half.
        assert max(sizes) < 1
    else:
        assert 0.5 < modelled / real < 2


def test_noise_of_imaginary_parts_is_left_out_unless_asked_for() -> None:
    """Real values stay real then, and their noise is drawn as it always was."""
    engine = ClearEngine(PARAMS, NoiseModel(seed=1))
    key, _ = engine.generate_keys(())
    x = np.zeros(engine.slots)
    assert engine.slots_of(engine.encrypt(key, x, 2, SCALE)).dtype == np.float64
    noisy = ClearEngine(PARAMS, _noise(1))
    key, _ = noisy.generate_keys(())
    drawn = noisy.slots_of(noisy.encrypt(key, x, 2, SCALE))
    assert drawn.imag.std() == pytest.approx(drawn.real.std(), rel=0.1)
    assert abs(np.corrcoef(drawn.real, drawn.imag)[0, 1]) < 0.1


def test_the_noise_model_knows_of_the_noise_near_slot_0() -> None:
    params = replace(PARAMS, log_p=(40.0,))
    steps = tuple(range(1, 13))
    sizes: list[Any] = []
    for engine in (ClearEngine(params, NoiseModel(seed=1)), open_engine(params, "seal")):
        key, data = engine.generate_keys(steps)
        ev = engine.evaluator(engine.load_evaluation_keys(data, key.key_id, steps))
        x = np.random.default_rng(5).uniform(-1, 1, engine.slots)
        a = engine.encrypt(key, x, 0, SCALE)
        turned = [engine.decrypt(key, ev.rotate(a, s)) - np.roll(x, -s) for s in steps]
        sizes.append(np.sqrt(np.mean(np.square(turned), axis=0)) * SCALE)
    modelled, real = sizes
    assert real[0] > 20 * np.median(real)
    for slots in (slice(0, 1), slice(1, 2), slice(2, 4), slice(100, 4096)):
        ratio = np.sqrt(np.mean(modelled[slots] ** 2) / np.mean(real[slots] ** 2))
        assert 1 / 3 < ratio < 3


def test_without_a_noise_model_nothing_is_lost() -> None:
    for error in _errors(ClearEngine(PARAMS)).values():
        assert np.abs(error).max() <= 1e-5


def test_the_dry_engine_counts() -> None:
    engine = DryEngine(PARAMS)
    key, data = engine.generate_keys((1, 2), conjugation=2)
    ev = engine.evaluator(engine.load_evaluation_keys(data, key.key_id, (1, 2), True))
    x = np.zeros(engine.slots)
    a = engine.encrypt(key, x, 2, SCALE)
    p = ev.prepare_plain(x, 2, SCALE)
    turned = ev.rotate_many(a, (0, 1, 2, 1))
    b = ev.dot_plain(turned[:3], [p, p, p])
    c = ev.dot_cipher([(b, b), (b, ev.negate(b))])
    ev.dot_cipher([(a, a)], rescale=False, relinearise=False)
    ev.add(c, c)
    ev.level_down(a, 0)
    ev.conjugate_add(ev.times_i(ev.conjugate(a)))
    assert engine.counts.ops == Counter(
        {
            ("encode", 2): 1,
            ("rotate", 2): 2,
            ("multiply_plain", 2): 3,
            ("add", 2): 3,
            ("conjugate", 2): 2,
            ("times_i", 2): 1,
            ("rescale", 2): 1,
            ("negate", 1): 1,
            ("square", 1): 1,
            ("square", 2): 1,
            ("multiply_cipher", 1): 1,
            ("add", 1): 1,
            ("relinearize", 1): 1,
            ("rescale", 1): 1,
            ("add", 0): 1,
            ("level_down", 2): 1,
        }
    )
    assert engine.counts.total("add") == 5
    assert engine.counts.rotations == {1, 2}


def test_the_dry_engine_knows_how_many_ciphertexts_live() -> None:
    engine = DryEngine(PARAMS)
    key, data = engine.generate_keys((1,))
    ev = engine.evaluator(engine.load_evaluation_keys(data, key.key_id, (1,)))
    a = engine.load_cipher(engine.encrypt_bytes(key, np.zeros(engine.slots), 2, SCALE))
    assert (engine.counts.live, engine.counts.peak) == (1, 1)
    for _ in range(3):
        a = ev.rotate(a, 1)
    assert (engine.counts.live, engine.counts.peak) == (1, 2)
    held = ev.rotate_many(a, (1, 0))
    assert (engine.counts.live, engine.counts.peak) == (2, 2)
    del held, a
    assert engine.counts.live == 0


def test_the_dry_engine_has_nothing_to_decrypt() -> None:
    engine = open_engine(PARAMS, "dry")
    key, _ = engine.generate_keys(())
    with pytest.raises(EngineError, match="no values"):
        engine.decrypt(key, engine.encrypt(key, np.zeros(engine.slots), 0, SCALE))
