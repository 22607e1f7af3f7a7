"""What the noise of encryption may do to outputs, beside the errors that polynomials make."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import hypot

import numpy as np

from ..ir.tensor import Output, Vector
from .verdict import judge, rms, spread

NOISE_SHARE = 0.25
"""What noise may be of the tolerance whatever errors polynomials make."""

FAINTEST = 1e-3
"""Noise, in standard deviations of an output, that no tolerance is too small for."""


@dataclass(frozen=True, slots=True, eq=False)
class NoiseBudget:
    """Judges outputs with noise, for a graph with polynomials.

    `exact` are the original's outputs [windows, size] by name on calibration windows, `polynomial`
    those with polynomials in place of activations. Labels may change as `judge` has it. They would
    stand more noise than scores, which are to be trusted, and noise falls anew on every run. So
    noise (root mean square, in standard deviations of an output over windows) is at most
    NOISE_SHARE of the tolerance, or FAINTEST; or no larger than the polynomials' own errors, where
    both together are still within the tolerance.
    """

    outputs: Sequence[Output]
    exact: Mapping[str, Vector]
    polynomial: Mapping[str, Vector]
    tolerance: float
    errors: Mapping[str, float] = field(init=False)
    strain: float = field(init=False)

    def __post_init__(self) -> None:
        errors = _relative(self.polynomial, self.exact)
        verdict = judge(self.outputs, self.exact, self.polynomial, self.tolerance)
        object.__setattr__(self, "errors", errors)
        object.__setattr__(self, "strain", verdict.strain)

    def accepts(self, clear: Mapping[str, Vector], noisy: Mapping[str, Vector]) -> bool:
        """Whether outputs of some windows, `clear` without noise, may be as `noisy` has them."""
        verdict = judge(self.outputs, clear, noisy, self.tolerance, self.polynomial)
        if not verdict.accepted:
            return False
        faint = max(NOISE_SHARE * self.tolerance, FAINTEST)
        noise = _relative(noisy, clear)
        if all(share <= faint for share in noise.values()):
            return True
        alike = all(share <= max(faint, self.errors[name]) for name, share in noise.items())
        return alike and hypot(verdict.strain, self.strain) <= 1.0


def _relative(given: Mapping[str, Vector], wanted: Mapping[str, Vector]) -> dict[str, float]:
    """Root mean square errors, in standard deviations of what is wanted."""
    return {
        name: rms(given[name] - y) / max(spread(y), np.finfo(np.float64).tiny)
        for name, y in wanted.items()
    }
