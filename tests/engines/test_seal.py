"""What is special to SEAL: its chain, its serialised forms, its special prime, its refusals."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from math import log2
from typing import Any

import numpy as np
import pytest

from eer.runtime.engines.frame import Frame, join_parts, open_frame, seal_frame
from eer.runtime.engines.memfile import IN_MEMORY
from eer.runtime.engines.seal import SealEngine
from eer.runtime.errors import ArtifactError, EngineError, ParameterError
from eer.runtime.params import CkksLiteral, CkksParams
from eer.runtime.pieces import size_of

PARAMS = CkksLiteral("seal", 13, (40.0, 30.0, 30.0), (45.0,), 30.0).check()
SCALE = 2.0**30
KEYS = "set of evaluation keys"


@pytest.fixture(scope="module")
def engine() -> SealEngine:
    return SealEngine(PARAMS)


def _vector(engine: SealEngine) -> Any:
    return np.random.default_rng(0).uniform(-1, 1, engine.slots)


def test_the_chain_is_read_back(engine: SealEngine) -> None:
    assert [round(log2(q)) for q in engine.moduli] == [40, 30, 30]
    assert len(set(engine.moduli)) == 3
    for q in engine.moduli:
        assert q % (2 * PARAMS.ring_dimension) == 1
    assert engine.log_qp == pytest.approx(145, abs=0.05)


def test_more_modulus_than_the_table_allows_is_refused_by_the_engine_as_well() -> None:
    unchecked = CkksParams("seal", 13, (60.0, 50.0, 50.0), (60.0,), 40.0, 128)
    with pytest.raises(ParameterError, match="above the 214 bits"):
        SealEngine(unchecked)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"log_p": (40.0, 40.0)}, "one special prime"),
        ({"log_p": (30.0,)}, "at least as large"),
        ({"log_n": 16}, "rings 2\\^12 to 2\\^15"),
        ({"log_q": (61.0, 30.0), "log_p": (61.0,)}, "at most 60 bits"),
    ],
)
def test_parameters_that_seal_cannot_have(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ParameterError, match=message):
        SealEngine(replace(PARAMS, **change))


def test_what_is_sent_carries_a_seed(engine: SealEngine) -> None:
    key, data = engine.generate_keys((1, 2))
    sent = engine.encrypt_bytes(key, _vector(engine), 2, SCALE)
    expanded = engine.save_cipher(engine.load_cipher(sent))
    assert size_of(sent) < 0.6 * size_of(expanded)
    raw_key = 2 * 3 * 4 * PARAMS.ring_dimension * 8
    assert size_of(data) < 0.5 * 3 * raw_key


def test_slots_are_the_powers_of_minus_3(engine: SealEngine) -> None:
    """Slot s stands for the root zeta^((-3)^s), at which X^(N/2) is i, and SEAL's encoder agrees:
    the values of a monomial at these roots are encoded as that monomial alone."""
    n = PARAMS.ring_dimension
    powers = np.array([pow(-3, s, 2 * n) for s in range(engine.slots)])
    assert len(set(powers.tolist())) == engine.slots
    key, data = engine.generate_keys((), conjugation=0)
    ev = engine.evaluator(engine.load_evaluation_keys(data, key.key_id, (), True))
    ones = engine.encrypt(key, np.ones(engine.slots), 0, SCALE)
    for degree in (1, 5, n // 2):
        root = np.exp(1j * np.pi * (powers * degree % (2 * n)) / n)
        # At scale 1 whatever is not whole would be rounded: by up to a half, a value of size 1.
        plain = ev.prepare_plain(root, 0, 1.0)
        product = ev.dot_plain([ones], [plain], rescale=False)
        assert ev.scale(product) == SCALE
        real, imaginary = (engine.decrypt(key, x) for x in (product, ev.times_i(product)))
        assert np.abs(real - root.real).max() < 1e-4
        assert np.abs(imaginary + root.imag).max() < 1e-4


@pytest.mark.skipif(not IN_MEMORY, reason="needs memory files")
def test_secrets_do_not_reach_a_disk(engine: SealEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("a temporary folder was asked for")

    monkeypatch.setattr(tempfile, "TemporaryDirectory", refuse)
    key, data = engine.generate_keys((1,))
    engine.load_secret_key(engine.save_secret_key(key), key.key_id)
    engine.load_evaluation_keys(data, key.key_id, (1,))


def test_a_larger_special_prime_keeps_slot_0_clean(engine: SealEngine) -> None:
    """Digits in [0, q) have a mean, which shows near slot 0 unless P is larger than q."""
    x = _vector(engine)
    worst = []
    for log_p in (40.0, 50.0):
        seal = SealEngine(replace(PARAMS, log_p=(log_p,)))
        key, data = seal.generate_keys((1,))
        ev = seal.evaluator(seal.load_evaluation_keys(data, key.key_id, (1,)))
        turned = ev.rotate(seal.encrypt(key, x, 2, SCALE), 1)
        worst.append(np.abs(seal.decrypt(key, turned) - np.roll(x, -1)).max() * SCALE)
    assert worst[1] < 2**14
    assert worst[0] > worst[1]


def test_a_constant_that_is_left_of_a_sum_is_refused(engine: SealEngine) -> None:
    """Nothing encrypted would hold it: SEAL has no ciphertext that does not depend on the key."""
    key, data = engine.generate_keys(())
    ev = engine.evaluator(engine.load_evaluation_keys(data, key.key_id, ()))
    a = engine.encrypt(key, _vector(engine), 1, SCALE)
    with pytest.raises(EngineError, match="a constant that the server knows"):
        ev.add_plain(ev.sub(a, a), ev.prepare_plain(_vector(engine), 1, SCALE))


def test_other_failures_of_sums_are_told(engine: SealEngine) -> None:
    """Only a cancellation is taken for zero: what SEAL says of anything else goes to the caller."""
    key, data = engine.generate_keys(())
    ev = engine.evaluator(engine.load_evaluation_keys(data, key.key_id, ()))
    a, b = (engine.encrypt(key, _vector(engine), level, SCALE) for level in (1, 2))
    forged = replace(b, level=1)
    with pytest.raises(EngineError, match=r"could not add: .*parameter mismatch"):
        ev.add(a, forged)


def test_a_ciphertext_that_claims_another_level_or_scale(engine: SealEngine) -> None:
    key, _ = engine.generate_keys(())
    data = engine.encrypt_bytes(key, _vector(engine), 1, SCALE)
    frame, payload = open_frame(data, "ciphertext", engine.space)
    for false in (
        replace(frame, level=2),
        replace(frame, level=0),
        replace(frame, scale=SCALE * 2),
        replace(frame, level=99),
    ):
        with pytest.raises(ArtifactError):
            engine.load_cipher(seal_frame(false, bytes(payload)))


@pytest.mark.parametrize("content", [b"", b"x" * 1000, b"\x5e\xa1" * 500])
def test_what_is_not_seals_under_a_right_frame(engine: SealEngine, content: bytes) -> None:
    key, _ = engine.generate_keys((1,))
    cipher = seal_frame(Frame("ciphertext", engine.space, key.key_id, 1, SCALE), content)
    with pytest.raises(ArtifactError):
        engine.load_cipher(cipher)
    secret = seal_frame(Frame("secret key", engine.space, key.key_id, 0, 0.0), content)
    with pytest.raises(ArtifactError):
        engine.load_secret_key(secret, key.key_id)
    parts = join_parts([content, content])
    keys = seal_frame(Frame(KEYS, engine.space, key.key_id, 0, 0.0), parts)
    with pytest.raises(ArtifactError):
        engine.load_evaluation_keys(keys, key.key_id, (1,))
