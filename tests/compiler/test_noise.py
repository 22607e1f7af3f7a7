"""Noise of every layer: the prediction against simulation, and against real libraries."""

from __future__ import annotations

import math

import numpy as np
import pytest

from eer.compiler import CompiledModel, Options, compile_model
from eer.compiler.noise import pack_messages, precisions, tapped
from eer.runtime.engines import open_engine
from eer.runtime.engines.clear import ClearEngine
from eer.runtime.program import Program
from tests.compiler.networks import Array, Net, make

NEAR = 1.0
"""Bits: what two ways of telling noise may differ by, on a few values of a few windows."""


def deep(net: Net) -> str:
    hidden = net.silu(net.linear(net.input(8), 8, 6, "first"))
    return net.linear(net.silu(net.linear(hidden, 6, 5, "second")), 5, 3, "last")


@pytest.fixture(scope="module", params=[("seal", 4), ("desilo", 1)], ids=str)
def compiled(request: pytest.FixtureRequest) -> tuple[CompiledModel, dict[str, Array]]:
    engine, batch = request.param
    model, data = make(deep)
    options = Options(max_degree=3, tolerance=0.05, engine=engine, batch=batch, costs="shipped")
    return compile_model(model, data, options), data


def last_of_each_layer(program: Program) -> dict[str, int]:
    """The number of the value that each layer leaves."""
    first = len(program.input_levels)
    return {label: first + k for k, label in enumerate(program.labels)}


def test_predictions_are_near_a_simulation(
    compiled: tuple[CompiledModel, dict[str, Array]],
) -> None:
    layers = compiled[0].report["layers"]
    # The last layer is in the map before its squares.
    assert len(layers) == 4
    for layer in layers:
        assert layer["predicted_bits"] == pytest.approx(layer["simulated_bits"], abs=NEAR)
    whole = compiled[0].report["accuracy"]["noise"]["precision_bits"]
    assert layers[-1]["predicted_bits"] == pytest.approx(whole, abs=NEAR)


def test_predictions_are_near_what_the_library_does(
    compiled: tuple[CompiledModel, dict[str, Array]],
) -> None:
    """Every layer's ciphertext decrypted on the way. All slots count, also those of no use."""
    model, data = compiled
    client, program = model.client, model.server.program
    numbers = last_of_each_layer(program)
    slots = np.ones(client.slots, dtype=bool)
    inputs = {s.name: data[s.name].reshape(len(data[s.name]), -1) for s in client.inputs}
    found = precisions(client, program, {n: [(n, slots)] for n in numbers.values()}, inputs)
    clear, real = ClearEngine(client.params), open_engine(client.params)
    # DESILO carries the scale squared, so that most of its noise is less than the model says.
    lower = NEAR if client.params.engine == "seal" else 6.0
    messages = pack_messages(client, inputs, 1)
    (wanted,) = tapped(clear, client, program, list(numbers.values()), messages)
    (got,) = tapped(real, client, program, list(numbers.values()), messages)
    for number in numbers.values():
        error = np.sqrt(np.mean((got[number] - wanted[number]) ** 2))
        measured = math.log2(np.sqrt(np.mean(wanted[number] ** 2)) / error)
        assert found[number].predicted - NEAR < measured < found[number].predicted + lower
