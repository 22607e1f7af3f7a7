"""How much a polynomial's evaluation plan amplifies noise, and how large its registers grow."""

from __future__ import annotations

import numpy as np

from ..ir.poly_plan import Difference, Dot, Shift, Step, Sum, Weighted, run_steps
from ..ir.tensor import Vector

_GRID = 33
"""Chebyshev extremes at which a plan is probed; both ends of the interval are among them."""


def probe(
    steps: tuple[Step, ...], pre_scale: Vector, pre_shift: Vector, post_scale: Vector
) -> tuple[Vector, Vector]:
    """(growth [n], condition [n]) of a plan whose polynomial's argument is t in [-1, 1].

    `pre_scale` and `pre_shift` are with respect to t. Definitions: see PolyPlan. The noise of
    every product is first order, found by one backward sweep through the registers.
    """
    t = np.cos(np.pi * np.arange(_GRID) / (_GRID - 1))[:, None]
    values = run_steps(steps, pre_scale * t + pre_shift)
    growth = np.max([np.abs(v).max(axis=0) for v in values], axis=0)
    variance = np.zeros_like(values[0])
    for register, gain in enumerate(_adjoints(steps, values)):
        if register == 0 or isinstance(steps[register - 1], Dot | Weighted):
            variance += gain**2
    result = post_scale * values[-1]
    half_range = (result.max(axis=0) - result.min(axis=0)) / 2.0
    noise = np.abs(post_scale) * np.sqrt(variance.max(axis=0))
    flat = half_range <= 1e-300
    return growth, np.where(flat, 0.0, noise / np.where(flat, 1.0, half_range))


def _adjoints(steps: tuple[Step, ...], values: list[Vector]) -> list[Vector]:
    """d core / d register, for every register, at every probed argument."""
    gains = [np.zeros_like(v) for v in values]
    gains[-1] = np.ones_like(values[-1])
    for index in range(len(steps) - 1, -1, -1):
        gain = gains[index + 1]
        match steps[index]:
            case Dot(pairs):
                for a, b in pairs:
                    gains[a] = gains[a] + gain * values[b]
                    gains[b] = gains[b] + gain * values[a]
            case Weighted(regs, coefficients):
                for c, r in zip(coefficients, regs, strict=True):
                    gains[r] = gains[r] + gain * c
            case Shift(reg, _):
                gains[reg] = gains[reg] + gain
            case Sum(a, b):
                gains[a], gains[b] = (
                    (gains[a] + 2.0 * gain, gains[a] + 2.0 * gain)
                    if a == b
                    else (gains[a] + gain, gains[b] + gain)
                )
            case Difference(a, b):
                gains[a], gains[b] = gains[a] + gain, gains[b] - gain
    return gains
