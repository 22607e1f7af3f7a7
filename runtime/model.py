"""What a compiled model is made of: the client's half, which holds no weight, and the server's."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .params import CkksParams
from .program import Program, Vector

Index = NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class InputSpec:
    """How one named input becomes ciphertexts.

    `packing[k][s]` is the flat element (C order, without the batch axis) that slot s of its k-th
    ciphertext holds, or -1 for zero. `low` and `high` [elements] are the calibrated range;
    `calibrated` is False where no data was given and they are an assumption.
    """

    name: str
    shape: tuple[int, ...]
    packing: tuple[Index, ...]
    low: Vector
    high: Vector
    calibrated: bool


@dataclass(frozen=True, slots=True, eq=False)
class OutputSpec:
    """How one named output is read back.

    Element e of the output (flat, C order) is slot `slots[e]` of output ciphertext `ciphers[e]`.
    `post` is what the client computes after decryption: "none", "softmax", "log_softmax",
    "sigmoid" or "argmax", along `axis` of `shape` (without the batch axis).
    `labels` names the classes where the user gave names.
    """

    name: str
    shape: tuple[int, ...]
    ciphers: Index
    slots: Index
    post: str
    axis: int
    labels: tuple[str, ...]


@dataclass(frozen=True, slots=True, eq=False)
class ClientModel:
    """All that a client needs: parameters, packing, key list, decoding. No weights.

    `rotations` are in plan slots; keys are made for `rotation * batch`, where
    `batch = params.slots // slots` windows share a ciphertext. `model_id` is the hex digest that
    binds keys and ciphertexts to this model.
    """

    model_id: str
    name: str
    params: CkksParams
    slots: int
    inputs: tuple[InputSpec, ...]
    outputs: tuple[OutputSpec, ...]
    input_levels: tuple[int, ...]
    input_scale: float
    rotations: tuple[int, ...]

    @property
    def batch(self) -> int:
        """Windows that fit into one ciphertext."""
        return self.params.slots // self.slots


@dataclass(frozen=True, slots=True, eq=False)
class ServerModel:
    """All that a server needs: the program with its weights."""

    model_id: str
    name: str
    params: CkksParams
    input_scale: float
    program: Program
