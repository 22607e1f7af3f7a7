"""The slot interpreter: numpy vectors with the exact semantics of slots, levels and scales.

Nothing is encrypted. Without a noise model the only error is float64 rounding, so what differs
between this engine and the tensor interpreter is a packing bug, and what differs between this
engine and a real one is CKKS noise.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version as installed_version

import numpy as np

from ..engine import Capabilities, EvaluationKeys, Evaluator
from ..errors import ArtifactError
from ..params import CkksParams
from ..program import Vector
from .checked import CheckedEngine, CheckedEvaluator
from .frame import join_parts, split_parts
from .typed import Ciphertext, Plaintext, check_vector


@dataclass(frozen=True, slots=True)
class NoiseModel:
    """Gaussian CKKS noise in the slots, reproducible from `seed`.

    Standard deviations of one slot's real part, times the scale: fresh encryption
    sigma*sqrt(N/2); encoding a plaintext (its coefficients are rounded) sqrt(N/24); rescaling
    sqrt((1 + h)/12 * N/2) with h = 2N/3 for a uniform ternary secret;
    key switching adds to a rescaling's, for each digit in [0, q), sigma*q/P*sqrt(N/12 * N/2) for
    its deviation from the mean q/2, and sigma*q/(2P)*sqrt(N/2)/|sin(theta/2)| for that mean, theta
    being the angle of the slot's root: it is felt near slot 0 only, and there by far the most.
    Variances as in "Homomorphic Evaluation of the AES Circuit", ia.cr/2012/099, appendix A.5; the
    term of the mean is our own, measured on SEAL.
    """

    seed: int
    sigma: float = 3.2


class ClearEngine(CheckedEngine):
    """Exact slot semantics on any parameters."""

    name = "clear"
    version = installed_version("numpy")
    capabilities = Capabilities(
        encrypted=False,
        values=True,
        exact_scale=True,
        lazy_rescale=True,
        hoisting=False,
        process_wide_lock=False,
        forks=True,
    )

    def __init__(self, params: CkksParams, noise: NoiseModel | None = None) -> None:
        super().__init__(params)
        self._noise = noise
        self._rng = np.random.default_rng(noise.seed if noise else 0)
        self._mean_gain = _mean_gain(params) if noise else np.zeros(0)

    def noisy(self, values: Vector, variance: float | Vector, scale: float) -> Vector:
        """`values` with Gaussian noise of this variance (of all slots or each) over scale^2."""
        if self._noise is None:
            return values
        noise = self._rng.standard_normal(values.shape) * np.sqrt(variance)
        return values + noise / scale

    def fresh_variance(self) -> float:
        sigma = self._noise.sigma if self._noise else 0.0
        return sigma * sigma * self.params.ring_dimension / 2

    def encoding_variance(self) -> float:
        return self.params.ring_dimension / 24

    def rescale_variance(self) -> float:
        n = self.params.ring_dimension
        return (1 + 2 * n / 3) / 12 * n / 2

    def switch_variance(self, level: int) -> float | Vector:
        if self._noise is None:
            return 0.0
        n = self.params.ring_dimension
        log_p = sum(self.params.log_p)
        ratio = math.fsum(4.0 ** (bits - log_p) for bits in self.params.log_q[: level + 1])
        digit = ratio * self._noise.sigma**2 * n / 2
        return digit * (n / 12 + 0.25 * self._mean_gain) + self.rescale_variance()

    def _generate_keys(self, steps: Mapping[int, int]) -> tuple[None, list[bytes]]:
        return None, [np.asarray(list(steps), dtype="<i8").tobytes()]

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

    def _encode(self, values: Vector, level: int, scale: float, summand: bool) -> Vector:
        return self._engine.noisy(values.copy(), self._engine.encoding_variance(), scale)

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
        self, cts: Sequence[Ciphertext], pts: Sequence[Plaintext], scale: float, rescale: bool
    ) -> Vector:
        total = sum_of_products([(a.handle, p.handle) for a, p in zip(cts, pts, strict=True)])
        variance = self._engine.rescale_variance() if rescale else 0.0
        return self._engine.noisy(total, variance, scale)

    def _dot_cipher(
        self, pairs: Sequence[tuple[Ciphertext, Ciphertext]], scale: float, rescale: bool
    ) -> Vector:
        engine, level = self._engine, pairs[0][0].level
        total = sum_of_products([(a.handle, b.handle) for a, b in pairs])
        before = scale * self._moduli[level] if rescale else scale
        total = engine.noisy(total, engine.switch_variance(level), before)
        return engine.noisy(total, engine.rescale_variance() if rescale else 0.0, scale)

    def _level_down(self, a: Ciphertext, level: int) -> Vector:
        values: Vector = a.handle
        return values


def _mean_gain(params: CkksParams) -> Vector:
    """|1 + z + ... + z^(N-1)|^2 at the root z of each slot, which is exp(i*pi*3^slot / N)."""
    powers = np.empty(params.slots, dtype=np.int64)
    power, n = 1, params.ring_dimension
    for slot in range(params.slots):
        powers[slot] = power
        power = power * 3 % (2 * n)
    gain: Vector = 1.0 / np.sin(np.pi * powers / (2 * n)) ** 2
    return gain


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
