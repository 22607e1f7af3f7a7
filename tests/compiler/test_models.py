"""Whole small models, the engines that share one compiled file, and the references that agree."""

from __future__ import annotations

import warnings
from itertools import pairwise
from pathlib import Path

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eer.compiler import CompiledModel, CompileWarning, Options, compile_model, verify
from eer.compiler.backend.simulate import simulate
from eer.compiler.frontend import Reference, load_onnx
from eer.compiler.ir import interpret
from eer.compiler.recorded import rebuild
from eer.runtime.bundle import load_model
from eer.runtime.client import Client
from eer.runtime.errors import UsageError
from eer.runtime.fields import Json
from eer.runtime.server import Server
from tests.compiler.networks import Build, Net, make, mlp


def deep_mlp(net: Net) -> str:
    x = net.input(12)
    x = net.silu(net.norm(net.linear(x, 12, 10), 10))
    x = net.linear(x, 10, 8)
    return net("Softmax", net.linear(net("Mul", x, x), 8, 3), axis=1)


def cnn(net: Net) -> str:
    x = net.conv(net.input(2, 32), 2, 4, 5, strides=[2], pads=[2, 2])
    x = net("AveragePool", net.silu(net.norm(x, 4)), kernel_shape=[2], strides=[2])
    x = net.conv(x, 4, 4, 3, pads=[1, 1])
    x = net("GlobalAveragePool", net("Mul", x, x))
    return net.linear(net("Flatten", x), 4, 3)


def lenet(net: Net) -> str:
    x = net.conv(net.input(1, 8, 8), 1, 2, 3, 3)
    x = net("AveragePool", net("Mul", x, x), kernel_shape=[2, 2], strides=[2, 2])
    x = net.conv(x, 2, 3, 2, 2)
    x = net("Flatten", net("Mul", x, x))
    return net.linear(net("Relu", net.linear(x, 12, 8)), 8, 3)


def expected_noise(report: Json) -> float:
    """What the library may show where the report simulated its noise on 64 windows."""
    return 3.0 * float(report["accuracy"]["noise"]["max_error"]) + 1e-7


@pytest.mark.parametrize("build", [deep_mlp, cnn, lenet], ids=lambda b: b.__name__)
def test_whole_models_on_seal(build: Build) -> None:
    model, data = make(build)
    options = Options(effort="low", tolerance=0.05, max_degree=8)
    with warnings.catch_warnings():
        # Random weights and 64 windows: a polynomial may miss the tolerance, and says so.
        warnings.simplefilter("ignore", CompileWarning)
        compiled = compile_model(model, data, options)
    found = verify(compiled, data, windows=3)
    assert found.packing is not None
    assert found.packing.max_error < 1e-9
    assert found.noise.max_error < expected_noise(compiled.report)
    assert found.noise.agreement == 1.0
    assert found.total.max_error <= found.approximation.max_error + found.noise.max_error + 1e-9


def test_idle_slots_never_outgrow_the_modulus() -> None:
    """In a slot that holds no element a high degree meets an argument outside its interval."""
    net = Net()
    x = net("Relu", net.linear(net.input(24), 24, 20), name="first")
    x = net("Relu", net.linear(x, 20, 16), name="second")
    model, data = net.model(net.linear(x, 16, 3)), net.data()
    degrees = {"first": 28, "second": 28}
    compiled = compile_model(model, data, Options(effort="low", tolerance=0.05, degrees=degrees))
    rows = {"x": data["x"].reshape(64, -1)}
    for seed in range(1, 5):
        noisy = simulate(compiled.client, compiled.server.program, rows, noise_seed=seed)
        assert noisy.missing_bits() == 0
    found = verify(compiled, data, windows=3)
    assert found.noise.max_error < expected_noise(compiled.report)


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> tuple[CompiledModel, Path, np.ndarray]:
    """The MLP compiled for DESILO FHE, whose parameters every engine but SEAL takes."""
    model, data = make(mlp)
    compiled = compile_model(model, data, Options(engine="desilo", max_degree=4, tolerance=0.05))
    path = tmp_path_factory.mktemp("small") / "model.eer"
    compiled.save(path)
    return compiled, path, data["x"]


@pytest.fixture(scope="module")
def seal_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    model, data = make(mlp)
    path = tmp_path_factory.mktemp("seal") / "model.eer"
    compile_model(model, data, Options(max_degree=4, tolerance=0.05)).save(path)
    return path


@pytest.mark.parametrize("engine", ["seal", "clear"])
def test_one_file_for_seal_and_clear(seal_file: Path, engine: str) -> None:
    _, data = make(mlp)
    found = verify(seal_file, data, engine, windows=4)
    assert found.engine == engine
    assert found.packing is not None
    assert found.packing.max_error < 1e-12
    assert (found.noise.max_error < 1e-12) is (engine == "clear")
    assert found.noise.max_error < expected_noise(load_model(seal_file).report)
    assert found.security_bits == (128 if engine == "seal" else 0)


@pytest.mark.parametrize("engine", ["desilo", "clear"])
def test_one_file_for_desilo_and_clear(
    small: tuple[CompiledModel, Path, np.ndarray], engine: str
) -> None:
    _, path, x = small
    found = verify(path, x, engine, windows=4)
    assert found.engine == engine
    assert found.noise.max_error < 1e-6
    assert found.total.agreement == found.approximation.agreement


def test_the_dry_engine_runs_it_and_has_no_values_to_verify(seal_file: Path) -> None:
    from eer.runtime.engines import open_engine

    bundle = load_model(seal_file)
    _, data = make(mlp)
    client = Client(bundle.client, open_engine(bundle.client.params, "dry"))
    keys = client.generate_keys()
    server = Server(bundle.server, keys.evaluation, open_engine(bundle.server.params, "dry"))
    assert len(server.run(client.encrypt(data["x"][:1]))) > 0
    counted = bundle.report["program"]["operations"]
    assert counted["rotate"] == sum(layer["rotations"] for layer in bundle.report["layers"])
    with pytest.raises(UsageError, match="the engine 'dry' computes no values"):
        verify(seal_file, data, "dry")


def test_the_references_and_what_is_between_them(
    small: tuple[CompiledModel, Path, np.ndarray],
) -> None:
    """onnxruntime, the polynomial model, the slot interpreter and an engine, two at a time."""
    compiled, path, x = small
    bundle = load_model(path)
    assert bundle.onnx is not None
    original = load_onnx(bundle.onnx)
    rebuilt = rebuild(original, bundle.report)
    assert rebuilt is not None
    (name,) = (o.name for o in compiled.client.outputs)
    some = x[:6]
    exact = Reference(original).run({"x": some})[name]
    polynomial = compiled.plaintext(some)[name]
    slots = compiled.simulated(some)[name]
    found = verify(path, some)
    np.testing.assert_array_equal(polynomial.shape, (6, 3))
    # The polynomial model can be had back from the file, to the last bits.
    values = interpret.outputs(rebuilt, {"x": some})[name]
    np.testing.assert_allclose(values, polynomial, atol=1e-12)
    assert found.approximation.max_error == pytest.approx(np.abs(exact - polynomial).max(), 1e-6)
    assert found.packing is not None
    assert found.packing.max_error == pytest.approx(np.abs(polynomial - slots).max(), abs=1e-14)
    assert found.noise.max_error == pytest.approx(np.abs(slots - found.outputs[name]).max())
    assert found.total.max_error == pytest.approx(np.abs(exact - found.outputs[name]).max())


def test_a_batch_answers_every_window_in_order() -> None:
    model, data = make(mlp)
    compiled = compile_model(model, data, Options(batch=4, max_degree=4, tolerance=0.05))
    assert compiled.client.batch == 4
    found = verify(compiled, data, windows=10)
    assert (found.windows, found.batch) == (10, 4)
    assert found.noise.max_error < expected_noise(compiled.report)
    assert found.windows_per_second == pytest.approx(4e3 / found.latency.milliseconds)


def _random_net(net: Net, sizes: list[int], kinds: list[str], skip: bool) -> str:
    x = net.input(sizes[0])
    for (inside, outside), kind in zip(pairwise(sizes), kinds, strict=False):
        before, x = x, net.linear(x, inside, outside)
        match kind:
            case "square":
                x = net("Mul", x, x)
            case "silu":
                x = net.silu(x)
            case "norm":
                x = net.norm(x, outside)
        if skip and inside == outside:
            x = net("Add", x, before)
    return x


@settings(max_examples=8, deadline=None, derandomize=True)
@given(
    sizes=st.lists(st.integers(1, 9), min_size=2, max_size=4),
    kinds=st.lists(st.sampled_from(["square", "silu", "norm", "none"]), min_size=3, max_size=3),
    skip=st.booleans(),
    batch=st.sampled_from([1, 8]),
    seed=st.integers(0, 99),
)
def test_random_networks_in_exact_slots(
    sizes: list[int], kinds: list[str], skip: bool, batch: int, seed: int
) -> None:
    net = Net(seed)
    model: onnx.ModelProto = net.model(_random_net(net, sizes, kinds, skip))
    data = net.data()
    options = Options(effort="low", max_degree=4, tolerance=0.3, batch=batch)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", CompileWarning)
        compiled = compile_model(model, data, options)
    found = verify(compiled, data, "clear", windows=5)
    assert found.packing is not None
    assert found.packing.max_error < 1e-9
    assert found.noise.max_error < 1e-9
    if "silu" not in kinds[: len(sizes) - 1]:
        assert found.total.max_error < 1e-4
