"""Outputs that stand in imaginary parts, from the server's answer to the client's files."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from eer.runtime.client import Client
from eer.runtime.client_bundle import client_to_bytes, load_client
from eer.runtime.container import pack, unpack
from eer.runtime.engines import open_engine
from eer.runtime.engines.desilo_library import installed
from eer.runtime.errors import ArtifactError
from eer.runtime.identity import compute_model_id
from eer.runtime.server import Server
from tests.runtime.complex_slots import U, V, both_parts_model

from .test_bundle import assert_same

X = np.random.default_rng(5).uniform(-1, 1, (3, 8))
TOLERANCE = {"seal": 1e-3, "desilo": 1e-5, "clear": 1e-12}


@pytest.mark.parametrize("name", ["clear", "seal", "desilo"])
def test_both_parts_are_read(name: str) -> None:
    if name == "desilo" and not installed():
        pytest.skip("needs desilofhe")
    halves = both_parts_model(name)
    engine = open_engine(halves.client.params, name)
    client = Client(halves.client, engine)
    server = Server(halves.server, client.generate_keys().evaluation, engine)
    found = client.decrypt(server.run(client.encrypt({"x": X}))).outputs["y"]
    z = ((X[:, :4] + 1j * X[:, 4:]) * U) ** 2 + V
    assert np.abs(found - np.hstack([z.real, z.imag])).max() < TOLERANCE[name]


def test_bundles_and_ids_know_of_them() -> None:
    client, server = both_parts_model().client, both_parts_model().server
    assert client.complex_answers == {0}
    assert_same(load_client(client_to_bytes(client)), client)
    real = tuple(replace(o, imaginary=o.imaginary[:0]) for o in client.outputs)
    assert replace(client, outputs=real).complex_answers == frozenset()
    known = (client.params, server.program, client.input_scale, client.inputs)
    assert compute_model_id(*known, client.outputs) != compute_model_id(*known, real)


@pytest.mark.parametrize("wrong", [2, -1])
def test_parts_are_one_or_the_other(wrong: int) -> None:
    container = unpack(client_to_bytes(both_parts_model().client), ("client",))
    decoding = container.arrays["decoding0"].copy()
    assert decoding.shape == (4, 8)
    decoding[3, 0] = wrong
    arrays = dict(container.arrays) | {"decoding0": decoding}
    data = pack("client", dict(container.meta.values), dict(container.blobs), arrays)
    with pytest.raises(ArtifactError, match="section 'decoding0' is not made of slots"):
        load_client(data)
