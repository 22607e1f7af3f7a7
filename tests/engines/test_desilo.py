"""DESILO FHE: the version gate, its parameter sets, and every hazard that we guard against."""

from __future__ import annotations

import threading
import time
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from eer.runtime.engine import Evaluator, SecretKey
from eer.runtime.engines import desilo_literal, open_engine
from eer.runtime.engines.desilo_library import DesiloCall, check_versions, installed
from eer.runtime.engines.frame import Frame, join_parts, open_frame, seal_frame, split_parts
from eer.runtime.errors import ArtifactError, EngineError, ParameterError
from eer.runtime.params import CkksLiteral
from eer.runtime.pieces import joined, size_of

needs_library = pytest.mark.skipif(not installed(), reason="needs desilofhe")
SCALE = 2.0**40
KEYS = "set of evaluation keys"


@pytest.mark.parametrize(
    ("found", "reason"),
    [
        ({}, "not installed"),
        ({"desilofhe": "2.0.0"}, "uninitialised memory"),
        ({"desilofhe-cu130": "2.0.0"}, "uninitialised memory"),
        ({"desilofhe": "1.17.0", "desilofhe-cu130": "2.1.3"}, "uninitialised memory"),
        ({"desilofhe": "1.16.2"}, "direction of rotations"),
        ({"desilofhe": "1.17.1"}, "direction of rotations"),
    ],
)
def test_other_versions_are_refused(found: dict[str, str], reason: str) -> None:
    with pytest.raises(EngineError, match=reason) as caught:
        check_versions(found)
    assert "==1.17.0" in (caught.value.hint or "")


@pytest.mark.parametrize("name", ["desilofhe", "desilofhe-cu130"])
def test_the_pinned_version_is_let_in(name: str) -> None:
    assert check_versions({name: "1.17.0"}) == "1.17.0"


@pytest.mark.parametrize("rotates_at_top", [True, False])
def test_every_depth_has_secure_parameters(rotates_at_top: bool) -> None:
    for depth in range(36):
        params = desilo_literal(depth, rotates_at_top=rotates_at_top).check()
        assert params.max_level >= depth


@pytest.mark.parametrize(
    ("depth", "slots", "rotates_at_top", "log_n", "levels"),
    [
        (0, 1, True, 13, 0),
        (1, 1, True, 13, 1),
        (2, 1, True, 14, 3),
        (2, 1, False, 13, 2),
        (7, 1, False, 14, 7),
        (7, 1, True, 15, 8),
        (1, 8192, True, 14, 3),
        (17, 1, True, 16, 18),
    ],
)
def test_the_smallest_ring_is_taken(
    depth: int, slots: int, rotates_at_top: bool, log_n: int, levels: int
) -> None:
    literal = desilo_literal(depth, slots, rotates_at_top)
    assert (literal.log_n, len(literal.log_q) - 1) == (log_n, levels)


@pytest.mark.parametrize(("depth", "slots"), [(37, 1), (36, 1), (-1, 1), (1, 65536)])
def test_what_no_ring_has_is_refused(depth: int, slots: int) -> None:
    with pytest.raises(ParameterError, match="no parameters"):
        desilo_literal(depth, slots)


@needs_library
@pytest.mark.parametrize(
    ("depth", "rotates_at_top"),
    [(0, True), (1, True), (2, False), (3, True), (6, True), (7, False), (8, True), (17, False)],
)
def test_the_chain_read_back_is_the_one_documented(depth: int, rotates_at_top: bool) -> None:
    params = desilo_literal(depth, rotates_at_top=rotates_at_top).check()
    engine = open_engine(params)
    assert engine.log_qp == pytest.approx(params.log_qp, abs=0.05)
    assert engine.slots == params.slots


@needs_library
def test_parameters_that_are_not_the_librarys_are_refused() -> None:
    params = desilo_literal(4).check()
    for wrong in (
        replace(params, log_n=15),
        replace(params, log_q=(*params.log_q[:-1], 30.0)),
        replace(params, log_p=(60.0,)),
        replace(params, log_scale=30.0),
        CkksLiteral("seal", 13, (40.0, 30.0), (45.0,), 30.0).check(),
    ):
        with pytest.raises(ParameterError, match=r"desilo_literal|slots"):
            open_engine(wrong, "desilo")


@pytest.fixture(scope="module")
def shared() -> tuple[Any, SecretKey, Evaluator]:
    """The deepest set of the smallest ring, where keys stop below the top."""
    if not installed():
        pytest.skip("needs desilofhe")
    engine: Any = open_engine(desilo_literal(2, rotates_at_top=False).check())
    key, data = engine.generate_keys((1, -5))
    keys = engine.load_evaluation_keys(data, key.key_id, (1, -5))
    return engine, key, engine.evaluator(keys)


def test_a_rotation_at_the_top_would_cost_a_level(
    shared: tuple[Any, SecretKey, Evaluator],
) -> None:
    engine, key, ev = shared
    x = np.random.default_rng(0).uniform(-1, 1, engine.slots)
    top = engine.encrypt(key, x, 2, SCALE)
    for wrong in (lambda: ev.rotate(top, 1), lambda: ev.rotate_many(top, (1, -5))):
        with pytest.raises(EngineError, match="would cost a level"):
            wrong()
    fixed = engine.lib.create_fixed_rotation_key(key.handle.raw, 1)
    assert engine.lib.rotate(top.handle.cipher, fixed).level == 1, "the library's way"

    lower = ev.rotate(ev.level_down(top, 1), -5)
    assert np.abs(engine.decrypt(key, lower) - np.roll(x, 5)).max() < 1e-6


@needs_library
def test_keys_for_low_levels_are_smaller_and_refused_above() -> None:
    engine: Any = open_engine(desilo_literal(3).check())
    key, low = engine.generate_keys((1, 2), (0, 1))
    _, full = engine.generate_keys((1, 2))
    assert size_of(low) < 0.5 * size_of(full)
    ev = engine.evaluator(engine.load_evaluation_keys(low, key.key_id, (1, 2)))
    a = engine.encrypt(key, np.zeros(engine.slots), 1, SCALE)
    wrong: tuple[Any, ...] = (
        lambda: ev.rotate(a, 1),
        lambda: ev.rotate_many(a, (1, 2)),
        lambda: ev.rotate_add(a, 1),
    )
    for rotate in wrong:
        with pytest.raises(EngineError, match=r"by 1 slots serves up to level 0, .* of level 1"):
            rotate()


@needs_library
def test_conjugation_keys_for_low_levels_are_smaller_and_refused_above() -> None:
    engine: Any = open_engine(desilo_literal(3).check())
    key, low = engine.generate_keys((), conjugation=0)
    _, full = engine.generate_keys((), conjugation=3)
    _, none = engine.generate_keys(())
    assert size_of(low) - size_of(none) < 0.3 * (size_of(full) - size_of(none))
    ev = engine.evaluator(engine.load_evaluation_keys(low, key.key_id, (), True))
    z = np.random.default_rng(1).uniform(-1, 1, (2, engine.slots))
    a = engine.encrypt(key, z[0] + 1j * z[1], 1, SCALE)
    for conjugate in (ev.conjugate, ev.conjugate_add):
        with pytest.raises(EngineError, match=r"a conjugation serves up to level 0, .* of level 1"):
            conjugate(a)
    twice = engine.decrypt(key, ev.conjugate_add(ev.level_down(a, 0)))
    assert np.abs(twice - 2 * z[0]).max() < 1e-6


def test_a_conjugation_at_the_top_would_cost_a_level(
    shared: tuple[Any, SecretKey, Evaluator],
) -> None:
    engine, _, _ = shared
    key, data = engine.generate_keys((), conjugation=2)
    ev = engine.evaluator(engine.load_evaluation_keys(data, key.key_id, (), True))
    x = np.random.default_rng(0).uniform(-1, 1, engine.slots)
    top = engine.encrypt(key, x, 2, SCALE)
    with pytest.raises(EngineError, match="a conjugation at level 2 would cost a level"):
        ev.conjugate(top)
    lower = ev.conjugate(ev.times_i(ev.level_down(top, 1)))
    assert np.abs(engine.decrypt(key, ev.times_i(lower)) - x).max() < 1e-6


def test_products_at_the_top_of_a_full_chain(shared: tuple[Any, SecretKey, Evaluator]) -> None:
    engine, key, ev = shared
    x = np.random.default_rng(0).uniform(-1, 1, engine.slots)
    top = engine.encrypt(key, x, 2, SCALE)
    p = ev.prepare_plain(x, 2, SCALE)
    products = [ev.dot_plain([top], [p]), ev.dot_plain([top], [p]), ev.dot_cipher([(top, top)])]
    for product in products:
        assert ev.level(product) == 1
        assert np.abs(engine.decrypt(key, product) - x * x).max() < 1e-6
    total = ev.dot_cipher([(ev.rotate(products[0], 1), products[2])])
    wanted = np.roll(x * x, -1) * x * x
    assert np.abs(engine.decrypt(key, total) - wanted).max() < 1e-6


def test_cached_factors_give_what_the_library_gives(
    shared: tuple[Any, SecretKey, Evaluator],
) -> None:
    engine, key, ev = shared
    rng = np.random.default_rng(3)
    x, w = (rng.uniform(-1, 1, engine.slots) for _ in range(2))
    a = engine.encrypt(key, x, 1, SCALE)
    p = ev.prepare_plain(w, 1, SCALE)
    lib = engine.lib
    plain = engine.encrypt(key, x, 1, SCALE).handle.cipher
    theirs = lib.decrypt(lib.multiply(plain, lib.encode(w, 1)), key.handle.raw)
    for terms in (1, 2, 1):
        ours = engine.decrypt(key, ev.dot_plain([a] * terms, [p] * terms))
        assert np.abs(ours - terms * theirs).max() < 1e-6


def test_plaintexts_are_encoded_when_they_are_prepared(
    shared: tuple[Any, SecretKey, Evaluator], monkeypatch: pytest.MonkeyPatch
) -> None:
    """And not when a message waits; what was prepared for the other use still works."""
    engine, key, ev = shared
    x, w = (np.random.default_rng(k).uniform(-1, 1, engine.slots) for k in (1, 2))
    a = engine.encrypt(key, x, 1, SCALE)
    factor, summand = (ev.prepare_plain(w, 1, SCALE, added) for added in (False, True))

    class NoEncoding:
        def __getattr__(self, name: str) -> Any:
            assert name != "encode", "encoded too late"
            return getattr(engine.lib, name)

    with monkeypatch.context() as patch:
        patch.setattr(ev, "_lib", NoEncoding())
        product, total = ev.dot_plain([a, a], [factor, factor]), ev.add_plain(a, summand)
    assert np.abs(engine.decrypt(key, product) - 2 * x * w).max() < 1e-6
    assert np.abs(engine.decrypt(key, total) - x - w).max() < 1e-6
    product, total = ev.dot_plain([a], [summand]), ev.add_plain(a, factor)
    assert np.abs(engine.decrypt(key, product) - x * w).max() < 1e-6
    assert np.abs(engine.decrypt(key, total) - x - w).max() < 1e-6


def test_values_in_any_form_can_be_used_again(shared: tuple[Any, SecretKey, Evaluator]) -> None:
    engine, key, ev = shared
    x = np.random.default_rng(4).uniform(-1, 1, engine.slots)
    a = engine.encrypt(key, x, 2, SCALE)
    p = ev.prepare_plain(x, 2, SCALE)
    product = ev.dot_plain([a, a], [p, p])
    fresh = engine.encrypt(key, x, 1, SCALE)
    square = 2 * x * x
    steps: list[tuple[Any, Any]] = [
        (ev.negate(product), -square),
        (ev.add(product, ev.negate(ev.dot_plain([a], [p]))), square / 2),
        (ev.sub(fresh, product), x - square),
        (ev.add_plain(product, ev.prepare_plain(x, 1, SCALE)), x + square),
        (ev.add(product, fresh), x + square),
        (ev.times_i(ev.negate(ev.times_i(product))), square),
        (ev.rotate(product, 1), np.roll(square, -1)),
        (ev.negate(ev.times_i(ev.times_i(product))), square),
        (ev.level_down(product, 0), square),
        (ev.dot_cipher([(product, fresh)]), square * x),
        (engine.load_cipher(engine.save_cipher(product)), square),
        (product, square),
    ]
    for got, wanted in steps:
        assert np.abs(engine.decrypt(key, got) - wanted).max() < 1e-6


def test_another_scale_is_refused(shared: tuple[Any, SecretKey, Evaluator]) -> None:
    engine, key, ev = shared
    x = np.zeros(engine.slots)
    with pytest.raises(EngineError, match="has the scale 2\\^40"):
        engine.encrypt(key, x, 1, 2.0**30)
    with pytest.raises(EngineError, match="has the scale 2\\^40"):
        ev.prepare_plain(x, 1, 2.0**41)


def test_false_claims_about_a_ciphertext(shared: tuple[Any, SecretKey, Evaluator]) -> None:
    engine, key, _ = shared
    data = engine.encrypt_bytes(key, np.zeros(engine.slots), 1, SCALE)
    frame, payload = open_frame(data, "ciphertext", engine.space)
    for false in (replace(frame, level=2), replace(frame, level=0), replace(frame, scale=2.0**30)):
        with pytest.raises(ArtifactError):
            engine.load_cipher(seal_frame(false, bytes(payload)))
    lib = engine.lib
    half = lib.rescale(engine.load_cipher(data).handle.cipher)
    triple = lib.multiply(half, half)
    for cipher in (half, triple):
        forged = seal_frame(
            replace(frame, level=cipher.level), bytes(lib.serialize_ciphertext(cipher))
        )
        with pytest.raises(ArtifactError):
            engine.load_cipher(forged)


def test_what_is_not_the_librarys_under_a_right_frame(
    shared: tuple[Any, SecretKey, Evaluator],
) -> None:
    engine, key, _ = shared
    for content in (b"", b"x" * 40, bytes(100_000)):
        frame = Frame("ciphertext", engine.space, key.key_id, 1, SCALE)
        with pytest.raises(ArtifactError):
            engine.load_cipher(seal_frame(frame, content))
        frame = Frame("secret key", engine.space, key.key_id, 0, 0.0)
        with pytest.raises(ArtifactError):
            engine.load_secret_key(seal_frame(frame, content), key.key_id)
        frame = Frame(KEYS, engine.space, key.key_id, 0, 0.0)
        forged = seal_frame(frame, join_parts([content] * 2))
        with pytest.raises(ArtifactError):
            engine.load_evaluation_keys(forged, key.key_id, (1,))
        with pytest.raises(ArtifactError):
            engine.load_evaluation_keys(forged, key.key_id, (), True)


def test_no_word_of_the_secret_stands_in_what_is_sent(
    shared: tuple[Any, SecretKey, Evaluator],
) -> None:
    engine, _, _ = shared
    key, data = engine.generate_keys((1,), conjugation=1)
    saved = engine.save_secret_key(key)
    _, payload = open_frame(saved, "secret key", engine.space)
    words = np.frombuffer(payload, dtype="<u8", offset=34, count=(len(payload) - 34) // 8)
    # Residues of 60-bit primes: a chance hit among these is out of the question.
    words = words[words > 2**50]
    assert words.size > engine.slots
    parts = split_parts(open_frame(data, KEYS, engine.space)[1], KEYS, 3)
    fresh = engine.encrypt_bytes(key, np.zeros(engine.slots), 2, SCALE)
    for sent in (*parts, joined(fresh)):
        for offset in range(8):
            found = np.frombuffer(sent, "<u8", (len(sent) - offset) // 8, offset)
            assert not np.isin(found, words).any()


def test_the_secret_is_not_sparse(shared: tuple[Any, SecretKey, Evaluator]) -> None:
    """Rescaling by rounding leaves noise of variance (1 + h)/12 * N/2 for h coefficients of +-1;
    the security table holds for uniform ternary secrets, h about 2N/3."""
    engine, key, _ = shared
    n = 2 * engine.slots
    lib = engine.lib
    errors = []
    for seed in range(4):
        x = np.random.default_rng(seed).uniform(-1, 1, engine.slots)
        half = lib.rescale(lib.encrypt(lib.encode(x, 1), key.handle.raw))
        errors.append((lib.decrypt(half, key.handle.raw).real - x) * SCALE)
    weight = np.var(errors) * 12 / (n / 2) - 1
    assert 0.5 * n < weight < 0.9 * n


def test_one_thread_at_a_time() -> None:
    inside: list[str] = []

    def other() -> None:
        with DesiloCall("wait"):
            inside.append("other")

    with DesiloCall("hold the lock"):
        thread = threading.Thread(target=other)
        thread.start()
        time.sleep(0.05)
        inside.append("first")
    thread.join()
    assert inside == ["first", "other"]


def test_threads_share_an_evaluator(shared: tuple[Any, SecretKey, Evaluator]) -> None:
    engine, key, ev = shared
    x = np.random.default_rng(0).uniform(-1, 1, engine.slots)
    a = engine.encrypt(key, x, 1, SCALE)
    results: list[Any] = []

    def work() -> None:
        for _ in range(10):
            results.append(ev.dot_cipher([(ev.rotate(a, 1), a)]))

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(results) == 30
    for result in results:
        assert np.abs(engine.decrypt(key, result) - np.roll(x, -1) * x).max() < 1e-6


def test_what_the_library_raises_is_named() -> None:
    with (
        pytest.raises(EngineError, match="could not fold the paper: too thick"),
        DesiloCall("fold the paper"),
    ):
        raise RuntimeError("too thick")
