"""What learning under encryption and asking afterwards take."""

from __future__ import annotations

from dataclasses import asdict, dataclass


@dataclass(frozen=True, slots=True)
class StepCost:
    """One step: seconds at the server and at the client, and bytes that travelled."""

    server: float
    client: float
    up: int
    down: int
    error: float
    """Largest difference of the head from the same step's in the clear."""


@dataclass(frozen=True, slots=True)
class Costs:
    """What learning under encryption took."""

    values_seconds: float
    """The trunk's values of all windows to learn from, encryption and decryption included."""
    pseudo_seconds: float
    """Pseudo-labels of those without labels, likewise, and the scores that later rounds make them
    of."""
    steps: tuple[StepCost, ...]
    ring_dimension: int
    levels: int
    log_qp: float
    key_bytes: int
    """Evaluation keys of all programs together, sent once."""

    @property
    def update_seconds(self) -> float:
        """A whole update: the values, pseudo-labels and all steps."""
        before = self.values_seconds + self.pseudo_seconds
        return before + sum(step.server + step.client for step in self.steps)

    def to_json(self) -> dict[str, object]:
        return asdict(self) | {"update_seconds": self.update_seconds}
