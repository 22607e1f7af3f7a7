"""The slot interpreter: numpy vectors with the exact semantics of slots, levels and scales.

Nothing is encrypted. Without a noise model the only error is float64 rounding, so what differs
between this engine and the tensor interpreter is a packing bug, and what differs between this
engine and a real one is CKKS noise.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version as installed_version

import numpy as np

from ..engine import Capabilities, EvaluationKeys, Evaluator
from ..errors import ArtifactError
from ..params import CkksParams
from ..program import Vector
from .checked import CheckedEngine, CheckedEvaluator, Ciphertext, Plaintext, check_vector
from .frame import join_parts, split_parts


@dataclass(frozen=True, slots=True)
class NoiseModel:
    """Gaussian CKKS noise in the slots, reproducible from `seed`.

    Standard deviations of one slot's real part, times the scale: fresh encryption
    sigma*sqrt(N/2); rescaling sqrt((1 + h)/12 * N/2) with h = 2N/3 for a uniform ternary secret;
    key switching by digits of one prime adds sigma*q/P*sqrt(N/12 * digits * N/2) to a rescaling's.
    Derivation as in "Homomorphic Evaluation of the AES circuit", ia.cr/2012/099, appendix A.5, on
    variances.
    """

    seed: int
    sigma: float = 3.2


class ClearEngine(CheckedEngine):
    """Exact slot semantics on any parameters."""

    name = "clear"
    version = installed_version("numpy")
    capabilities = Capabilities(
        encrypted=False, values=True, exact_scale=True, hoisting=False, process_wide_lock=False
    )

    def __init__(self, params: CkksParams, noise: NoiseModel | None = None) -> None:
        super().__init__(params)
        self._noise = noise
        self._rng = np.random.default_rng(noise.seed if noise else 0)

    def noisy(self, values: Vector, variance: float, scale: float) -> Vector:
        """`values` with Gaussian noise of this variance in units of 1/scale."""
        if self._noise is None or variance == 0:
            return values
        return values + self._rng.normal(0.0, math.sqrt(variance) / scale, values.shape)

    def fresh_variance(self) -> float:
        sigma = self._noise.sigma if self._noise else 0.0
        return sigma * sigma * self.params.ring_dimension / 2

    def rescale_variance(self) -> float:
        n = self.params.ring_dimension
        return (1 + 2 * n / 3) / 12 * n / 2

    def switch_variance(self, level: int) -> float:
        sigma = self._noise.sigma if self._noise else 0.0
        n = self.params.ring_dimension
        log_ratio = max(self.params.log_q[: level + 1]) - sum(self.params.log_p)
        ratio: float = sigma * 2.0**log_ratio
        digits = ratio * ratio * n / 12 * (level + 1) * n / 2
        return digits + self.rescale_variance()

    def _generate_keys(self, steps: tuple[int, ...]) -> tuple[None, bytes]:
        return None, np.asarray(steps, dtype="<i8").tobytes()

    def _encrypt(self, secret: None, values: Vector, level: int, scale: float) -> Vector:
        return self.noisy(values.copy(), self.fresh_variance(), scale)

    def _decrypt(self, secret: None, a: Ciphertext) -> Vector:
        values: Vector = a.handle.copy()
        return values

    def _evaluator(self, keys: EvaluationKeys, raw: None) -> Evaluator:
        return ClearEvaluator(self, keys)

    def _save_cipher(self, a: Ciphertext) -> bytes:
        return join_parts([a.handle.astype("<f8").tobytes()])

    def _load_cipher(self, payload: memoryview, level: int, scale: float) -> Vector:
        (part,) = split_parts(payload, "ciphertext", 1)
        if len(part) != 8 * self.slots:
            raise ArtifactError("this ciphertext is for another number of slots")
        return check_vector(np.frombuffer(part, dtype="<f8"), self.slots)

    def _save_secret_key(self, secret: None) -> bytes:
        return b""

    def _load_secret_key(self, payload: memoryview) -> None:
        return None

    def _load_evaluation_keys(self, payload: memoryview, steps: tuple[int, ...]) -> None:
        check_stored_steps(payload, steps)


class ClearEvaluator(CheckedEvaluator):
    _engine: ClearEngine

    def _encode(self, values: Vector, level: int, scale: float) -> Vector:
        return values.copy()

    def _rotate(self, a: Ciphertext, step: int) -> Vector:
        turned = np.roll(a.handle, -step)
        return self._engine.noisy(turned, self._engine.switch_variance(a.level), a.scale)

    def _add(self, a: Ciphertext, b: Ciphertext) -> Vector:
        total: Vector = a.handle + b.handle
        return total

    def _sub(self, a: Ciphertext, b: Ciphertext) -> Vector:
        difference: Vector = a.handle - b.handle
        return difference

    def _negate(self, a: Ciphertext) -> Vector:
        negated: Vector = -a.handle
        return negated

    def _add_plain(self, a: Ciphertext, p: Plaintext) -> Vector:
        total: Vector = a.handle + p.handle
        return total

    def _dot_plain(
        self, cts: Sequence[Ciphertext], pts: Sequence[Plaintext], scale: float
    ) -> Vector:
        total = sum_of_products([(a.handle, p.handle) for a, p in zip(cts, pts, strict=True)])
        return self._engine.noisy(total, self._engine.rescale_variance(), scale)

    def _dot_cipher(self, pairs: Sequence[tuple[Ciphertext, Ciphertext]], scale: float) -> Vector:
        engine, level = self._engine, pairs[0][0].level
        total = sum_of_products([(a.handle, b.handle) for a, b in pairs])
        total = engine.noisy(total, engine.switch_variance(level), scale * self._moduli[level])
        return engine.noisy(total, engine.rescale_variance(), scale)

    def _level_down(self, a: Ciphertext, level: int) -> Vector:
        values: Vector = a.handle
        return values


def sum_of_products(pairs: Sequence[tuple[Vector, Vector]]) -> Vector:
    """Slot-wise sum over k of a_k * b_k."""
    total = pairs[0][0] * pairs[0][1]
    for a, b in pairs[1:]:
        total += a * b
    return total


def check_stored_steps(payload: memoryview, steps: tuple[int, ...]) -> None:
    """ArtifactError unless `payload` lists exactly these rotation steps."""
    if bytes(payload) != np.asarray(steps, dtype="<i8").tobytes():
        raise ArtifactError("these evaluation keys are not for the rotations that are needed")
