"""CKKS parameters: what somebody typed (`CkksLiteral`) against what is valid (`CkksParams`)."""

from __future__ import annotations

from dataclasses import dataclass

from .errors import ParameterError

MAX_LOG_QP_128: dict[int, int] = {12: 106, 13: 214, 14: 430, 15: 868, 16: 1747, 17: 3523}
"""log2(N) -> the largest log2(Q*P) with 128-bit classical security, uniform ternary secret.

Source: "Security Guidelines for Implementing Homomorphic Encryption", ia.cr/2024/463.
"""

SECURITY_BITS = 128
"""The only security level on offer. Asking for less is refused."""


@dataclass(frozen=True, slots=True)
class CkksParams:
    """Parameters that passed `CkksLiteral.check`; nothing later checks them again.

    `log_q[0]` is the base prime, `log_q[i]` the prime that a rescale from level i drops, `log_p`
    the special primes of key switching (all sizes in bits). `log_scale` is the nominal scale.
    """

    engine: str
    log_n: int
    log_q: tuple[float, ...]
    log_p: tuple[float, ...]
    log_scale: float
    security_bits: int

    @property
    def ring_dimension(self) -> int:
        return 1 << self.log_n

    @property
    def slots(self) -> int:
        return 1 << (self.log_n - 1)

    @property
    def max_level(self) -> int:
        """Rescales that a fresh ciphertext allows."""
        return len(self.log_q) - 1

    @property
    def log_qp(self) -> float:
        return sum(self.log_q) + sum(self.log_p)


@dataclass(frozen=True, slots=True)
class CkksLiteral:
    """Parameters as typed, or as read from a file: not to be trusted before `check`."""

    engine: str
    log_n: int
    log_q: tuple[float, ...]
    log_p: tuple[float, ...]
    log_scale: float

    def check(self, security: int = SECURITY_BITS) -> CkksParams:
        """Return the same values as `CkksParams`.

        Raises ParameterError when the security asked for is below 128 bits, or when log2(Q*P)
        exceeds what the table allows at this ring dimension.
        """
        if security != SECURITY_BITS:
            raise ParameterError(
                f"{security}-bit security was asked for; eer compiles for {SECURITY_BITS} bits "
                "only",
                hint=f"leave the security option out, or set it to {SECURITY_BITS}",
            )
        if self.log_n not in MAX_LOG_QP_128:
            raise ParameterError(
                f"ring dimension 2^{self.log_n} is outside the security table (2^12 to 2^17)"
            )
        sizes = (*self.log_q, *self.log_p)
        if not self.log_q or not self.log_p or any(not 2 <= b <= 61 for b in sizes):
            raise ParameterError(f"prime sizes must be between 2 and 61 bits, got {sizes}")
        if not 10 <= self.log_scale <= 60:
            raise ParameterError(f"the scale must be 2^10 to 2^60, got 2^{self.log_scale}")
        limit = MAX_LOG_QP_128[self.log_n]
        if sum(sizes) > limit:
            raise ParameterError(
                f"log2(QP) = {sum(sizes):.1f} bits at ring dimension 2^{self.log_n} is above the "
                f"{limit} bits that {SECURITY_BITS}-bit security allows",
                hint="use a larger ring, fewer levels or smaller primes",
            )
        # As floats always: digests of parameters must not depend on how they were typed.
        log_q, log_p = tuple(map(float, self.log_q)), tuple(map(float, self.log_p))
        return CkksParams(self.engine, self.log_n, log_q, log_p, float(self.log_scale), security)
