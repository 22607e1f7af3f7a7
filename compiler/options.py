"""What a user can ask of a compilation."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import isfinite
from pathlib import Path
from typing import Literal, get_args

from eer.runtime.errors import ParameterError, UsageError
from eer.runtime.params import SECURITY_BITS

ENGINES = ("seal", "desilo", "desilo-gpu")
"""Engines that programs are compiled for; the others run what was compiled for one of these."""

Effort = Literal["low", "normal", "high"]


@dataclass(frozen=True, slots=True)
class Options:
    """Options of `compile_model` and of `eer-compile`.

    tolerance      largest share of calibration windows whose label may change, and, for outputs
                   that are not classes, largest error relative to the outputs' spread
    degrees        polynomial degree by ONNX node name, instead of the search
    input_range    (low, high) assumed for every input element where there is no calibration data
    margin         the calibrated interval of an activation is widened by this share on each side
    engine         "seal", "desilo" or "desilo-gpu": plans go by what operations cost there. What
                   is compiled for one of the last two runs on either
    batch          windows that share one ciphertext, a power of two; or "auto", for the most
                   windows per second
    security       bits of security; there is no other choice than 128
    labels         class names, for the client's answers
    encrypted      graph inputs that come as ciphertexts; empty: all of them. The others are public
                   and compiled in, so calibration data must have one value for each
    encrypt_weights  initialisers (parameters of a module) that come as ciphertexts at run time
    state          which output is which input's next value: a step, run again and again
    effort         how hard to look for a fast program: "low", "normal" or "high"
    costs          what operations cost: "auto" takes what eer calibrate-costs measured on this
                   machine, or else what is shipped; "shipped"; or a file that it wrote
    dump_ir        folder for the IR after every pass
    """

    tolerance: float = 0.01
    degrees: Mapping[str, int] = field(default_factory=dict)
    max_degree: int = 31
    input_range: tuple[float, float] = (-3.0, 3.0)
    margin: float = 0.1
    engine: str = "seal"
    batch: int | Literal["auto"] = 1
    security: int = SECURITY_BITS
    labels: tuple[str, ...] = ()
    encrypted: tuple[str, ...] = ()
    encrypt_weights: tuple[str, ...] = ()
    state: Mapping[str, str] = field(default_factory=dict)
    effort: Effort = "normal"
    costs: str | Path = "auto"
    dump_ir: Path | None = None

    def __post_init__(self) -> None:
        if self.engine not in ENGINES:
            raise UsageError(
                f"nothing is compiled for engine {self.engine!r}",
                hint=f"use one of: {', '.join(ENGINES)} (clear and dry run what is compiled for "
                "any of them)",
            )
        if self.security != SECURITY_BITS:
            raise ParameterError(
                f"{self.security}-bit security was asked for; eer compiles for {SECURITY_BITS} "
                "bits only",
                hint=f"leave the security option out, or set it to {SECURITY_BITS}",
            )
        if not 0 <= self.tolerance < 1:
            raise UsageError(
                f"the tolerance is {self.tolerance}",
                hint="it is a share of windows, at least 0 and below 1: 0.01 admits one in 100",
            )
        low, high = self.input_range
        if not (isfinite(low) and isfinite(high) and low < high):
            raise UsageError(
                f"the input range is {low} to {high}", hint="give low < high, for example -3,3"
            )
        if self.batch != "auto" and (self.batch < 1 or self.batch & (self.batch - 1)):
            raise UsageError(
                f"the batch is {self.batch}",
                hint='use a power of two: 1, 2, 4, 8, ..., or "auto"',
            )
        if not (isfinite(self.margin) and self.margin >= 0):
            raise UsageError(
                f"the margin is {self.margin}",
                hint="it is a share of an interval's width, 0 or more",
            )
        if self.effort not in get_args(Effort):
            raise UsageError(
                f"the effort is {self.effort!r}", hint=f"use {', '.join(get_args(Effort))}"
            )
        if len(set(self.labels)) < len(self.labels) or not all(self.labels):
            raise UsageError(
                f"two labels are the same, or one is empty: {', '.join(map(repr, self.labels))}",
                hint="name every class once, in the order of the model's outputs",
            )
