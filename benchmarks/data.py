"""What a contestant is given: weights and inputs, as arrays in one file. Needs numpy only."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

_WEIGHT = "weight:"

Array = NDArray[np.float32]


@dataclass(frozen=True, slots=True, eq=False)
class TaskData:
    """A network by name, its weights by parameter, and its data.

    `inputs` [windows, ...] are answered under encryption, `calibration` [256, ...] is for fitting
    polynomials, `outputs` [windows, classes] are PyTorch's answers to `inputs`.
    """

    task: str
    variant: str
    weights: dict[str, Array]
    inputs: Array
    calibration: Array
    outputs: Array

    def save(self, path: Path) -> None:
        arrays: dict[str, Any] = {_WEIGHT + name: w for name, w in self.weights.items()}
        np.savez(
            path,
            task=self.task,
            variant=self.variant,
            inputs=self.inputs,
            calibration=self.calibration,
            outputs=self.outputs,
            **arrays,
        )

    @classmethod
    def load(cls, path: Path) -> TaskData:
        with np.load(path, allow_pickle=False) as file:
            weights = {
                name.removeprefix(_WEIGHT): file[name] for name in file if name.startswith(_WEIGHT)
            }
            return cls(
                str(file["task"]),
                str(file["variant"]),
                weights,
                file["inputs"],
                file["calibration"],
                file["outputs"],
            )
