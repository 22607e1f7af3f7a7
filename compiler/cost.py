"""The cost model: milliseconds of one engine operation, by ring and level."""

from __future__ import annotations

from dataclasses import dataclass
from math import log2


@dataclass(frozen=True, slots=True)
class CostModel:
    """Costs in milliseconds of CPU time on one core, for ring dimension 2^log_n.

    Key switching at level l does (l + 1)(l + 2) transforms of size N for the products and l + 1
    for the decomposition; the coefficients are per N log2(N) / 1e5 of work, fitted to
    measurements of the engine (benchmarks/costs.py).
    """

    log_n: int
    key_switch_product: float = 0.176
    key_switch_digit: float = 0.082
    plain_product: float = 0.053
    cipher_product: float = 0.115
    addition: float = 0.0163
    rescale_prime: float = 0.27
    encryption_prime: float = 0.52
    decode: float = 2.6

    @property
    def _work(self) -> float:
        return (1 << self.log_n) * log2(1 << self.log_n) / 1e5

    def rotate(self, level: int) -> float:
        primes = level + 1
        products = self.key_switch_product * primes * (primes + 1)
        return self._work * (products + self.key_switch_digit * primes)

    def multiply_plain(self, level: int) -> float:
        return self._work * self.plain_product * (level + 1)

    def multiply(self, level: int) -> float:
        return self._work * self.cipher_product * (level + 1)

    def relinearise(self, level: int) -> float:
        return self.rotate(level)

    def add(self, level: int) -> float:
        return self._work * self.addition * (level + 1)

    def rescale(self, level: int) -> float:
        return self._work * self.rescale_prime * (level + 1)

    def encrypt(self, level: int) -> float:
        return self._work * self.encryption_prime * (level + 1)

    def decrypt(self) -> float:
        return self._work * self.decode
