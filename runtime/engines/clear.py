"""The slot interpreter: numpy vectors with the exact semantics of slots, levels and scales.

Nothing is encrypted. Without a noise model the only error is float64 rounding, so what differs
between this engine and the tensor interpreter is a packing bug, and what differs between this
engine and a real one is CKKS noise.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from importlib.metadata import version as installed_version
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..engine import Capabilities, EvaluationKeys, Evaluator
from ..errors import ArtifactError
from ..params import CkksParams
from ..pieces import Pieces
from ..program import Slots, Vector
from .checked import CheckedEngine
from .checked_evaluator import CheckedEvaluator
from .frame import join_parts, split_parts
from .typed import Ciphertext, Plaintext, check_vector


@dataclass(frozen=True, slots=True)
class NoiseModel:
    """Gaussian CKKS noise in the slots, reproducible from `seed`.

    Standard deviations of one slot's real part, times the scale: fresh encryption
    sigma*sqrt(N/2); encoding a plaintext (its coefficients are rounded) sqrt(N/24), or, where it is
    real and has no imaginary parts to err in, sqrt(N/12): one that repeats after p slots has 2p
    coefficients in place of N, and errs the same in every repetition; rescaling
    sqrt((1 + h)/12 * N/2) with h = 2N/3 for a uniform ternary secret, and, with three polynomials,
    sqrt((1 + h + 2h^2)/12 * N/2): the third error comes times the secret's square;
    key switching adds to a rescaling's, for each digit in [0, q), sigma*q/P*sqrt(N/12 * N/2) for
    its deviation from the mean q/2, and sigma*q/(2P)*sqrt(N/2)/|sin(theta/2)| for that mean, theta
    being the angle of the slot's root: it is felt near slot 0 only, and there by far the most.
    Variances as in "Homomorphic Evaluation of the AES Circuit", ia.cr/2012/099, appendix A.5; the
    term of the mean is our own, measured on SEAL. Imaginary parts are as noisy as real ones;
    `imaginary` says whether they are followed, which costs time and matters only where they reach
    real parts (Program.is_complex).
    """

    seed: int
    sigma: float = 3.2
    imaginary: bool = False


POOL = 1 << 18
"""Normal numbers that noise is taken from."""


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
        three_part=True,
        forks=True,
    )

    def __init__(self, params: CkksParams, noise: NoiseModel | None = None) -> None:
        super().__init__(params)
        self._noise = noise
        self._rng = np.random.default_rng(noise.seed if noise else 0)
        self._pool = np.zeros(0)
        if noise:
            self._pool, self._rng.bit_generator.state = _normals(noise.seed)
        self._mean_gain = _mean_gain(self.slots) if noise else np.zeros(0)
        self._switch_deviations: dict[int, float | Vector] = {}

    def stacked(self, ciphers: Sequence[Ciphertext]) -> Ciphertext:
        """Ciphertexts of one key, level and scale as one: what is done to it is done to each."""
        return replace(ciphers[0], handle=np.stack([c.handle for c in ciphers]))

    def unstacked(self, a: Ciphertext) -> list[Ciphertext]:
        return [replace(a, handle=row) for row in a.handle]

    def noisy(self, values: Slots, deviation: float | Vector, scale: float) -> Slots:
        """`values` with Gaussian noise of this deviation (of all slots or each) over the scale."""
        if self._noise is None or (isinstance(deviation, float) and not deviation):
            return values
        deviation = deviation / scale
        imaginary = self._noise.imaginary
        noise = np.empty(values.shape, np.complex128 if imaginary else np.float64)
        for part in (noise.real, noise.imag) if imaginary else (noise.real,):
            rows = part.reshape(-1, self.slots)
            for row, drawn in zip(rows, self._drawn(len(rows)), strict=True):
                np.multiply(drawn, deviation, out=row)
        # In place, unless the values have imaginary parts and their noise does not.
        held = noise if imaginary or not np.iscomplexobj(values) else None
        shifted: Slots = np.add(noise, values, out=held)
        return shifted

    def _drawn(self, count: int) -> Iterator[Vector]:
        """So many [slots]: normal with a deviation of 1. To draw them anew would take most of the
        time of a simulation; stretches of a long pool are as good, since hardly two ever start
        together."""
        slots = self.slots
        for start in self._rng.integers(POOL - slots, size=count).tolist():
            yield self._pool[start : start + slots]

    def slots_of(self, a: Ciphertext) -> Slots:
        """What the slots of `a` hold, imaginary parts as well: [slots], or [ciphertexts, slots]."""
        values: Slots = a.handle
        return values

    def fresh_variance(self) -> float:
        sigma = self._noise.sigma if self._noise else 0.0
        return sigma * sigma * self.params.ring_dimension / 2

    def encoding_variance(self, values: Slots) -> float:
        """Of the real parts of `values`, times the scale's square."""
        return _encoding_variance(_period(values), _is_complex(values))

    def rounded(self, values: Slots, scale: float) -> Slots:
        """`values` as a plaintext of this scale has them."""
        if self._noise is None:
            return values.copy()
        period, is_complex = _period(values), _is_complex(values)
        deviation = math.sqrt(_encoding_variance(period, is_complex)) / scale
        found: Slots = values.copy()
        repeated = found.reshape(-1, period)
        real, imaginary = self._drawn(2)
        repeated.real += real[:period] * deviation
        if self._noise.imaginary and is_complex:
            repeated.imag += imaginary[:period] * deviation
        return found

    def rescale_variance(self, parts: int = 2) -> float:
        n = self.params.ring_dimension
        h = 2 * n / 3
        return (1 + h + (parts - 2) * 2 * h * h) / 12 * n / 2

    def switch_variance(self, level: int) -> float | Vector:
        if self._noise is None:
            return 0.0
        n = self.params.ring_dimension
        log_p = sum(self.params.log_p)
        ratio = math.fsum(4.0 ** (bits - log_p) for bits in self.params.log_q[: level + 1])
        digit = ratio * self._noise.sigma**2 * n / 2
        return digit * (n / 12 + 0.25 * self._mean_gain) + self.rescale_variance()

    def switch_deviation(self, level: int) -> float | Vector:
        """The root of that, taken once."""
        if level not in self._switch_deviations:
            self._switch_deviations[level] = np.sqrt(self.switch_variance(level))
        return self._switch_deviations[level]

    def _generate_keys(
        self, steps: Mapping[int, int], conjugation: int | None
    ) -> tuple[None, Pieces]:
        return None, (key_list(tuple(steps), conjugation is not None),)

    def _encrypt(self, secret: None, values: Slots, level: int, scale: float) -> Slots:
        return self.noisy(values.copy(), math.sqrt(self.fresh_variance()), scale)

    def _decrypt(self, secret: None, a: Ciphertext, imaginary: bool) -> Slots:
        values: Slots = a.handle.astype(np.complex128) if imaginary else a.handle.real.copy()
        return values

    def _evaluator(self, keys: EvaluationKeys, raw: None) -> Evaluator:
        return ClearEvaluator(self, keys)

    def _save_cipher(self, a: Ciphertext) -> bytes:
        kind = "<c16" if np.iscomplexobj(a.handle) else "<f8"
        return join_parts([a.handle.astype(kind).tobytes()])

    def _load_cipher(self, payload: memoryview, level: int, scale: float, parts: int) -> Slots:
        (part,) = split_parts(payload, "ciphertext", 1)
        kind = {8 * self.slots: "<f8", 16 * self.slots: "<c16"}.get(len(part))
        if kind is None:
            raise ArtifactError("this ciphertext is for another number of slots")
        return check_vector(np.frombuffer(part, dtype=kind), self.slots)

    def _save_secret_key(self, secret: None) -> bytes:
        return b""

    def _load_secret_key(self, payload: memoryview) -> None:
        return None

    def _load_evaluation_keys(
        self, payload: memoryview, steps: tuple[int, ...], conjugation: bool
    ) -> None:
        check_key_list(payload, steps, conjugation)


class ClearEvaluator(CheckedEvaluator):
    _engine: ClearEngine

    def _encode(self, values: Slots, level: int, scale: float, summand: bool) -> Slots:
        return self._engine.rounded(values, scale)

    def _rotate(self, a: Ciphertext, step: int) -> Slots:
        turned = np.concatenate((a.handle[..., step:], a.handle[..., :step]), axis=-1)
        return self._engine.noisy(turned, self._engine.switch_deviation(a.level), a.scale)

    def _conjugate(self, a: Ciphertext) -> Slots:
        deviation = self._engine.switch_deviation(a.level)
        return self._engine.noisy(a.handle.conj(), deviation, a.scale)

    def _times_i(self, a: Ciphertext) -> Slots:
        turned: Slots = 1j * a.handle
        return turned

    def _add(self, a: Ciphertext, b: Ciphertext) -> Slots:
        total: Slots = a.handle + b.handle
        return total

    def _sub(self, a: Ciphertext, b: Ciphertext) -> Slots:
        difference: Slots = a.handle - b.handle
        return difference

    def _negate(self, a: Ciphertext) -> Slots:
        negated: Slots = -a.handle
        return negated

    def _add_plain(self, a: Ciphertext, p: Plaintext) -> Slots:
        total: Slots = a.handle + p.handle
        return total

    def _dot_plain(
        self, cts: Sequence[Ciphertext], pts: Sequence[Plaintext], scale: float, rescale: bool
    ) -> Slots:
        total = sum_of_products([(a.handle, p.handle) for a, p in zip(cts, pts, strict=True)])
        parts = max(a.parts for a in cts)
        variance = self._engine.rescale_variance(parts) if rescale else 0.0
        return self._engine.noisy(total, math.sqrt(variance), scale)

    def _dot_cipher(
        self,
        pairs: Sequence[tuple[Ciphertext, Ciphertext]],
        scale: float,
        rescale: bool,
        relinearise: bool,
    ) -> Slots:
        engine, level = self._engine, pairs[0][0].level
        total = sum_of_products([(a.handle, b.handle) for a, b in pairs])
        if relinearise:
            before = scale * self._moduli[level] if rescale else scale
            total = engine.noisy(total, engine.switch_deviation(level), before)
        variance = engine.rescale_variance(2 if relinearise else 3)
        return engine.noisy(total, math.sqrt(variance) if rescale else 0.0, scale)

    def _level_down(self, a: Ciphertext, level: int) -> Slots:
        values: Slots = a.handle
        return values


@lru_cache(maxsize=1)
def _normals(seed: int) -> tuple[Vector, Mapping[str, Any]]:
    """POOL normal numbers, and the state of their generator after them."""
    rng = np.random.default_rng(seed)
    pool = rng.standard_normal(POOL)
    pool.flags.writeable = False
    return pool, rng.bit_generator.state


@lru_cache(maxsize=1)
def _mean_gain(slots: int) -> Vector:
    """|1 + z + ... + z^(N-1)|^2 at the root z of each slot, which is exp(i*pi*3^slot / N)."""
    powers = np.ones(1, dtype=np.int64)
    while len(powers) < slots:
        powers = np.concatenate((powers, powers * pow(3, len(powers), 4 * slots) % (4 * slots)))
    gain: Vector = 1.0 / np.sin(np.pi * powers / (4 * slots)) ** 2
    gain.flags.writeable = False
    return gain


def _encoding_variance(period: int, is_complex: bool) -> float:
    return period / (12.0 if is_complex else 6.0)


def _period(values: Slots) -> int:
    """After how many slots, a power of two, `values` repeats."""
    period = len(values)
    while period > 1 and np.array_equal(values[: period // 2], values[period // 2 : period]):
        period //= 2
    return period


def _is_complex(values: Slots) -> bool:
    return np.iscomplexobj(values) and bool(values.imag.any())


def sum_of_products(pairs: Sequence[tuple[Slots, Slots]]) -> Slots:
    """Slot-wise sum over k of a_k * b_k."""
    kind = np.result_type(*{x.dtype for pair in pairs for x in pair})
    total: NDArray[Any] = np.multiply(*pairs[0], dtype=kind)
    product = np.empty_like(total)
    for a, b in pairs[1:]:
        np.multiply(a, b, out=product)
        total += product
    return total


def key_list(steps: tuple[int, ...], conjugation: bool) -> bytes:
    """What stands for evaluation keys: whether there is one for conjugation, and the steps."""
    return np.asarray([int(conjugation), *steps], dtype="<i8").tobytes()


def check_key_list(payload: memoryview, steps: tuple[int, ...], conjugation: bool) -> None:
    """ArtifactError unless `payload` lists exactly these keys."""
    if bytes(payload) != key_list(steps, conjugation):
        raise ArtifactError("these evaluation keys are not for the rotations that are needed")
