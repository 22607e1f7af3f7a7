"""Programs with two real values to a slot: simulated as they run, and their keys counted."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from eer.compiler.backend.simulate import SPARE_BITS, simulate
from eer.compiler.sizes import galois_levels, sizes_json
from eer.runtime.client import Client
from eer.runtime.engines.desilo_library import installed
from eer.runtime.program import Negate, Program
from eer.runtime.server import Server
from tests.runtime.complex_slots import dense, dense_model

X = np.random.default_rng(4).uniform(-1, 1, (600, 8))


def test_the_slot_interpreter_computes_both_parts() -> None:
    halves = dense_model()
    found = simulate(halves.client, halves.server.program, {"x": X})
    np.testing.assert_allclose(found.outputs["scores"], dense(X), atol=1e-12)
    assert found.missing_bits() == 0


def test_noise_of_imaginary_parts_is_simulated() -> None:
    """As large as SEAL's, which comes from both parts in equal shares."""
    halves = dense_model()
    noisy = simulate(halves.client, halves.server.program, {"x": X}, noise_seed=1)
    client = Client(halves.client)
    server = Server(halves.server, client.generate_keys().evaluation)
    answers = [client.decrypt(server.run(m)).outputs["scores"] for m in client.encrypt_all(X)]
    modelled = noisy.outputs["scores"] - dense(X)
    real = np.concatenate(answers) - dense(X)
    assert 0.5 < modelled.std() / real.std() < 2


def test_imaginary_parts_count_for_the_room_in_the_modulus() -> None:
    """A value that is large in its imaginary part wraps as any other does."""
    halves = dense_model()
    program = Program(8, (0,), (Negate(0),), (1,), ())
    client = replace(halves.client, input_levels=(0,))
    spec = replace(client.inputs[0], packing=(np.full(8, -1),))
    client = replace(client, inputs=(spec,), rotations=(), rotation_levels=())
    found = simulate(client, program, {"x": np.full((1, 8), 2.0**13)})
    # 40 bits at level 0, of which a scale of 30 bits, 13 and a sign take 44.
    assert found.missing_bits() == 13 + 30 + 1 + SPARE_BITS - 40
    assert not found.outputs["scores"].any()


@pytest.mark.parametrize("engine", ["seal", "desilo"])
def test_sizes_are_those_of_the_files(engine: str) -> None:
    if engine == "desilo" and not installed():
        pytest.skip("needs desilofhe")
    halves = dense_model(engine)
    sizes = sizes_json(halves.client, halves.server.program)
    assert sizes["galois_keys"] == len(halves.client.rotations) + 1
    assert galois_levels(halves.client) == galois_levels(halves.server.program)
    keys = Client(halves.client).generate_keys().evaluation
    near = 0.1 if engine == "seal" else 0.001
    assert sizes["evaluation_key_bytes"] == pytest.approx(len(keys), rel=near)
