"""What is the GPU's own; the conformance suite runs on it as on every engine."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from eer.runtime.engines import desilo_gpu, family_of, open_engine
from eer.runtime.engines.desilo import DesiloEngine
from eer.runtime.errors import EngineError
from tests.engines.rig import DESILO, has_cuda_build, has_gpu

SCALE = 2.0**40

needs_gpu = pytest.mark.skipif(
    not (has_cuda_build() and has_gpu()), reason="needs desilofhe-cu130 and a GPU"
)


def test_a_gpu_takes_what_was_made_for_the_cpu() -> None:
    assert family_of("desilo-gpu") == family_of("desilo") == "desilo"
    assert family_of("seal") == "seal"


@pytest.mark.parametrize("found", [{"desilofhe": "1.17.0"}, {}])
def test_no_gpu_is_a_clear_error(found: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(desilo_gpu, "installed", lambda: found)
    with pytest.raises(EngineError, match="needs a CUDA build") as caught:
        open_engine(DESILO, "desilo-gpu")
    assert "pip install desilofhe-cu130==1.17.0" in str(caught.value)


@pytest.mark.parametrize("why", ["CUDA Error: no device", "out of luck"])
def test_a_build_that_finds_no_gpu_says_what_it_takes(
    why: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(self: object, params: object) -> None:
        raise EngineError(why)

    monkeypatch.setattr(desilo_gpu, "installed", lambda: {"desilofhe-cu130": "1.17.0"})
    monkeypatch.setattr(DesiloEngine, "__init__", refuse)
    with pytest.raises(EngineError, match=why) as caught:
        open_engine(DESILO, "desilo-gpu")
    assert ("nvidia-smi" in str(caught.value)) == ("CUDA" in why)


@needs_gpu
def test_keys_and_ciphertexts_go_between_cpu_and_gpu() -> None:
    cpu, gpu = open_engine(DESILO, "desilo"), open_engine(DESILO, "desilo-gpu")
    assert gpu.family == cpu.family
    key, data = cpu.generate_keys((1, -5))
    ev = gpu.evaluator(gpu.load_evaluation_keys(data, key.key_id, (1, -5)))
    x = np.random.default_rng(0).uniform(-1, 1, cpu.slots)
    a = gpu.load_cipher(cpu.encrypt_bytes(key, x, 2, SCALE))
    plain = ev.prepare_plain(x, 2, SCALE)
    answer = ev.rotate(ev.dot_plain([a], [plain]), 1)
    found = cpu.decrypt(key, cpu.load_cipher(gpu.save_cipher(answer)))
    assert np.abs(found - np.roll(x * x, -1)).max() < 1e-6
    again = gpu.load_secret_key(cpu.save_secret_key(key), key.key_id)
    assert np.abs(gpu.decrypt(again, answer) - found).max() < 1e-9


@needs_gpu
def test_what_was_read_lies_on_the_gpu() -> None:
    engine: Any = open_engine(DESILO, "desilo-gpu")
    key, data = engine.generate_keys((1,))
    keys = engine.load_evaluation_keys(data, key.key_id, (1,))
    held = keys.handle.raw
    assert held.relin.is_cuda
    assert all(k.is_cuda for k in held.rotations.values())
    message = engine.encrypt_bytes(key, np.zeros(engine.slots), 1, SCALE)
    assert engine.load_cipher(message).handle.cipher.is_cuda
    engine.synchronise()
