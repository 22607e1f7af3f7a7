"""One rig for every engine: keys for a few steps, and what the cases of the suite ask of it."""

from __future__ import annotations

from ctypes import CDLL
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from eer.runtime.engine import Engine, EvaluationKeys, Evaluator, SecretKey
from eer.runtime.engines import desilo_literal
from eer.runtime.engines.desilo_library import installed
from eer.runtime.params import CkksLiteral, CkksParams
from eer.runtime.pieces import Pieces
from eer.runtime.program import Slots, Vector

STEPS = (1, 5, 64, -1, -300)
TOP = 3

SEAL = CkksLiteral("seal", 13, (40.0, 30.0, 30.0, 30.0), (50.0,), 30.0).check()
DESILO = desilo_literal(TOP).check()
CASES: dict[str, tuple[CkksParams, float]] = {
    "clear": (SEAL, 1e-12),
    "dry": (SEAL, 0.0),
    "seal": (SEAL, 2e-4),
    "desilo": (DESILO, 1e-5),
    "desilo-gpu": (DESILO, 1e-5),
}
"""Engine -> parameters, and the largest error allowed on values of size 1 in these short chains."""


def has_cuda_build() -> bool:
    """Whether the library that is installed is one of its CUDA builds."""
    return any(name != "desilofhe" for name in installed())


def has_gpu() -> bool:
    """Whether there is a driver for NVIDIA GPUs."""
    try:
        CDLL("libcuda.so.1")
    except OSError:
        return False
    return True


@dataclass(frozen=True, slots=True)
class Rig:
    """An engine with keys for STEPS and for conjugation, at every level."""

    engine: Engine
    key: SecretKey
    key_bytes: Pieces
    keys: EvaluationKeys
    evaluator: Evaluator
    tolerance: float

    @property
    def scale(self) -> float:
        return float(2.0**self.engine.params.log_scale)

    def vector(self, seed: int) -> Vector:
        return np.random.default_rng(seed).uniform(-1, 1, self.engine.slots)

    def complex_vector(self, seed: int) -> Slots:
        return self.vector(seed) + 1j * self.vector(seed + 1000)

    def encrypt(self, values: Slots, level: int) -> Any:
        return self.engine.encrypt(self.key, values, level, self.scale)

    def plain(self, values: Slots, a: Any, scale: float | None = None) -> Any:
        ev = self.evaluator
        return ev.prepare_plain(values, ev.level(a), self.scale if scale is None else scale)

    def expect(self, a: Any, level: int, wanted: Slots) -> None:
        """Real parts, and imaginary ones where complex values are wanted."""
        assert self.evaluator.level(a) == level
        if self.engine.capabilities.values:
            got = self.engine.decrypt(self.key, a)
            assert got.shape == wanted.shape
            assert got.dtype == np.float64
            assert np.abs(got - wanted.real).max() <= self.tolerance
            both = self.engine.decrypt(self.key, a, imaginary=True)
            assert both.dtype == np.complex128
            assert np.array_equal(both.real, got)
            if np.iscomplexobj(wanted):
                assert np.abs(both - wanted).max() <= 2 * self.tolerance
        if np.iscomplexobj(wanted):
            self.expect(self.evaluator.times_i(a), level, -wanted.imag)

    def needs(self, capability: str) -> None:
        if not getattr(self.engine.capabilities, capability):
            pytest.skip(f"needs {capability}")
