"""Whether there are enough primes for a ring: those that are 1 modulo twice its dimension."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from functools import lru_cache
from itertools import islice

import numpy as np

from ..ir.layout import Index

PLENTY = 28
"""Bits from which on every ring up to 2^15 has more primes than a chain could want."""


def enough_primes(sizes: Iterable[float], log_n: int) -> bool:
    """Whether there are different primes of these sizes in bits for the ring 2^log_n."""
    wanted = Counter(int(bits) for bits in sizes)
    return all(b >= PLENTY or _there_are(k, b, log_n) for b, k in wanted.items())


@lru_cache
def _there_are(count: int, bits: int, log_n: int) -> bool:
    return sum(1 for _ in islice(primes(bits, log_n), count)) == count


def primes(bits: int, log_n: int) -> Iterator[int]:
    """Primes between 2^(bits - 1) and 2^bits that are 1 modulo 2^(log_n + 1), by trial division of
    what passes Fermat's test."""
    step = 2 << log_n
    first = -(-(1 << (bits - 1)) // step) * step + 1
    divisors = _primes_below((1 << (bits // 2 + 1)) + 1)
    for number in range(max(first, step + 1), 1 << bits, step):
        if pow(2, number - 1, number) == 1 and (number % divisors[divisors < number]).all():
            yield number


@lru_cache(maxsize=4)
def _primes_below(limit: int) -> Index:
    """The sieve of Eratosthenes."""
    prime = np.ones(limit, dtype=bool)
    prime[:2] = False
    for n in range(2, int(limit**0.5) + 1):
        if prime[n]:
            prime[n * n :: n] = False
    return np.flatnonzero(prime)
