"""What costs are measured on, and by which clock."""

from __future__ import annotations

from dataclasses import dataclass, field
from time import sleep
from types import SimpleNamespace
from typing import Any

import pytest

from eer.compiler.clock import clock, on_gpu
from eer.compiler.cost import CostModel
from eer.compiler.options import ENGINES
from eer.compiler.timing import device
from eer.compiler.timing.calls import Call
from eer.compiler.timing.measure import _timed, parameters, rings_of


def test_a_gpu_is_named_before_the_cpu_that_launches_its_kernels(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(device, "gpu_model", lambda: "a GPU")
    assert device.device_of("desilo-gpu") == f"a GPU, {device.cpu_model()}"
    assert device.device_of("desilo") == device.device_of("seal") == device.cpu_model()
    monkeypatch.setattr(device, "gpu_model", lambda: None)
    assert device.device_of("desilo-gpu") == f"no GPU, {device.cpu_model()}"


def test_without_a_driver_there_is_no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    def none(name: str) -> None:
        raise OSError(name)

    monkeypatch.setattr(device, "CDLL", none)
    assert device.gpu_model() is None


def test_a_driver_that_finds_no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    driver = SimpleNamespace(cuInit=lambda flags: 100)
    monkeypatch.setattr(device, "CDLL", lambda name: driver)
    assert device.gpu_model() is None


@dataclass
class _Engine:
    """Takes the call at once, and computes later."""

    asynchronous: bool
    waited: int = 0
    capabilities: Any = field(init=False)

    def __post_init__(self) -> None:
        self.capabilities = SimpleNamespace(asynchronous=self.asynchronous)

    def synchronise(self) -> None:
        self.waited += 1
        sleep(0.02)


@pytest.mark.parametrize("asynchronous", [True, False])
def test_what_a_device_computes_later_is_waited_for(asynchronous: bool) -> None:
    engine: Any = _Engine(asynchronous)
    call = Call(engine, "add", 13, 0, lambda m: m.add(0), lambda x: None, lambda: None)
    taken = _timed(call, 2)
    assert engine.waited == 2
    if asynchronous:
        assert taken >= 10.0
    else:
        assert taken < 10.0, "CPU time does not count waiting"


def test_every_engine_has_rings_to_time_and_a_clock() -> None:
    for engine in ENGINES:
        for log_n in rings_of(engine):
            assert parameters(engine, log_n).log_n == log_n
            assert CostModel(log_n).add(0) > 0
    assert [on_gpu(e) for e in ENGINES] == [False, False, True]
    assert clock("desilo-gpu") == "wall time"
    assert clock("seal") == "CPU time"
