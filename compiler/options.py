"""What a user can ask of a compilation."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from eer.runtime.errors import UsageError
from eer.runtime.params import SECURITY_BITS


@dataclass(frozen=True, slots=True)
class Options:
    """Options of `compile_model` and of `eer-compile`.

    tolerance      largest share of calibration windows whose label may change, and, for outputs
                   that are not classes, largest error relative to the outputs' spread
    degrees        polynomial degree by ONNX node name, instead of the search
    input_range    (low, high) assumed for every input element where there is no calibration data
    margin         the calibrated interval of an activation is widened by this share on each side
    engine         "seal" or "desilo"
    batch          windows that share one ciphertext, a power of two
    labels         class names, for the client's answers
    dump_ir        folder for the IR after every pass
    """

    tolerance: float = 0.01
    degrees: Mapping[str, int] = field(default_factory=dict)
    max_degree: int = 31
    input_range: tuple[float, float] = (-3.0, 3.0)
    margin: float = 0.1
    engine: str = "seal"
    batch: int = 1
    security: int = SECURITY_BITS
    labels: tuple[str, ...] = ()
    dump_ir: Path | None = None

    def __post_init__(self) -> None:
        if not 0 <= self.tolerance < 1:
            raise UsageError(f"tolerance must be in [0, 1), got {self.tolerance}")
        low, high = self.input_range
        if not low < high:
            raise UsageError(f"input range must be low < high, got {low}, {high}")
        if self.batch < 1 or self.batch & (self.batch - 1):
            raise UsageError(f"the batch must be a power of two, got {self.batch}")
        if self.margin < 0:
            raise UsageError(f"margin must not be negative, got {self.margin}")
