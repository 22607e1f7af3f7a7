"""How many primes there are for a ring: those that are 1 modulo twice its dimension."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from functools import lru_cache

import numpy as np

PLENTY = 28
"""Bits from which on every ring up to 2^15 has more primes than a chain could want."""


def enough_primes(sizes: Iterable[float], log_n: int) -> bool:
    """Whether there are different primes of these sizes in bits for the ring 2^log_n."""
    wanted = Counter(int(bits) for bits in sizes)
    return all(b >= PLENTY or prime_count(b, log_n) >= k for b, k in wanted.items())


@lru_cache
def prime_count(bits: int, log_n: int) -> int:
    """Primes between 2^(bits - 1) and 2^bits that are 1 modulo 2^(log_n + 1), by trial division."""
    step = 2 << log_n
    first = (1 << (bits - 1)) // step * step + 1
    candidates = np.arange(max(first, step + 1), 1 << bits, step, dtype=np.int64)
    for divisor in _primes_below((1 << (bits // 2 + 1)) + 1):
        divides = (candidates % divisor == 0) & (candidates != divisor)
        candidates = candidates[~divides]
    return int((candidates >> (bits - 1) == 1).sum())


@lru_cache(maxsize=4)
def _primes_below(limit: int) -> tuple[int, ...]:
    """The sieve of Eratosthenes."""
    prime = np.ones(limit, dtype=bool)
    prime[:2] = False
    for n in range(2, int(limit**0.5) + 1):
        if prime[n]:
            prime[n * n :: n] = False
    return tuple(int(p) for p in np.flatnonzero(prime))
