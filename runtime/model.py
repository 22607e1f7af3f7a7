"""What a compiled model is made of: the client's half, which holds no weight, and the server's."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from .params import CkksParams
from .program import Program, Vector

Index = NDArray[np.int64]

Role = Literal["window", "state"]
"""What an input is: data of each window, or one value that all windows share, kept by the server
as ciphertexts from message to message (the weights of a personal head, say)."""

ROLES: tuple[Role, ...] = ("window", "state")


@dataclass(frozen=True, slots=True, eq=False)
class InputSpec:
    """How one named input becomes ciphertexts.

    `packing[k][s]` is the flat element (C order, without the batch axis) that slot s of its k-th
    ciphertext holds, or -1 for zero. `low` and `high` [elements] are the calibrated range;
    `calibrated` is False where no data was given and they are an assumption, and `width` is what
    values outside are measured by. An input of the role "state" has no batch axis: its one value is
    repeated for every window of a message.

    `imaginary[k]`, of the form of `packing[k]`, says which elements are the imaginary parts of the
    slots of the k-th ciphertext: two real values to a slot. Where it is None, and in all
    ciphertexts where `imaginary` is empty, slots are real.
    """

    name: str
    shape: tuple[int, ...]
    packing: tuple[Index, ...]
    low: Vector
    high: Vector
    calibrated: bool
    role: Role = "window"
    imaginary: tuple[Index | None, ...] = ()
    width: Vector = field(init=False, repr=False)

    def __post_init__(self) -> None:
        width = self.high - self.low
        # An element that never varied in calibration has no width: take its size for it.
        width = np.where(width > 0, width, np.maximum(np.abs(self.low), 1.0))
        object.__setattr__(self, "width", width)

    @property
    def ciphers(self) -> int:
        """Ciphertexts that hold this input."""
        return len(self.packing)

    @property
    def rows(self) -> tuple[tuple[Index, Index | None], ...]:
        """For each ciphertext, which elements its slots' real and imaginary parts are."""
        imaginary = self.imaginary or (None,) * self.ciphers
        return tuple(zip(self.packing, imaginary, strict=True))


@dataclass(frozen=True, slots=True, eq=False)
class OutputParts:
    """Parts of an output that lie in the real or the imaginary parts of one ciphertext's slots:
    slot `slots[k]` is one of element `elements[k]`."""

    cipher: int
    imaginary: bool
    elements: Index
    slots: Index


@dataclass(frozen=True, slots=True, eq=False)
class OutputSpec:
    """How one named output is read back.

    Element e of the output (flat, C order) is the sum of its parts, part k being slot `slots[k]` of
    output ciphertext `ciphers[k]` and belonging to element `elements[k]`: the slot's real part, or
    its imaginary part where `imaginary[k]` is 1 (nowhere if `imaginary` is empty).
    `post` is what the client computes after decryption: "none", "softmax", "log_softmax",
    "sigmoid" or "argmax", along `axis` of `shape` (without the batch axis).
    `labels` names the classes where the user gave names. `state` is the name of the state input
    that this output feeds in the next step, or "". `parts` says all this by ciphertext.
    """

    name: str
    shape: tuple[int, ...]
    elements: Index
    ciphers: Index
    slots: Index
    post: str
    axis: int
    labels: tuple[str, ...]
    state: str = ""
    imaginary: Index = field(default_factory=lambda: np.zeros(0, np.int64))
    parts: tuple[OutputParts, ...] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "parts", tuple(self._parts()))

    def _parts(self) -> Iterator[OutputParts]:
        kinds = self.imaginary if len(self.imaginary) else np.zeros_like(self.ciphers)
        places = 2 * self.ciphers + kinds
        order = np.argsort(places, kind="stable")
        found, starts = np.unique(places[order], return_index=True)
        for place, held in zip(found.tolist(), np.split(order, starts[1:]), strict=True):
            yield OutputParts(place // 2, place % 2 == 1, self.elements[held], self.slots[held])


@dataclass(frozen=True, slots=True, eq=False)
class ClientModel:
    """All that a client needs: parameters, packing, key list, decoding. No weights.

    `rotations` are in plan slots; keys are made for `rotation * batch`, where
    `batch = params.slots // slots` windows share a ciphertext. `rotation_levels` has the highest
    level at which each is used; where it is empty, keys serve every level. `conjugation_level` is
    the highest level at which a value is conjugated; None where none is, and no key is made for it.
    `model_id` is the hex digest that binds keys and ciphertexts to this model.
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
    rotation_levels: tuple[int, ...] = ()
    conjugation_level: int | None = None

    @property
    def batch(self) -> int:
        """Windows that fit into one ciphertext."""
        return self.params.slots // self.slots

    @property
    def complex_answers(self) -> frozenset[int]:
        """Numbers of the output ciphertexts whose imaginary parts are read."""
        return frozenset(p.cipher for o in self.outputs for p in o.parts if p.imaginary)

    @property
    def is_step(self) -> bool:
        """Whether an output is the next value of a state: a step of training, for instance."""
        return any(o.state for o in self.outputs)

    @property
    def most_windows(self) -> int:
        """Windows that one message may hold. A step takes one, repeated for all `batch` places, so
        that the state that comes out is the same in all of them."""
        return 1 if self.is_step else self.batch

    @property
    def window_inputs(self) -> tuple[InputSpec, ...]:
        return tuple(s for s in self.inputs if s.role == "window")

    @property
    def state_inputs(self) -> tuple[InputSpec, ...]:
        return tuple(s for s in self.inputs if s.role == "state")


@dataclass(frozen=True, slots=True)
class InputPort:
    """What the server knows of an input: its name, its role, and how many ciphertexts it takes."""

    name: str
    role: Role
    ciphers: int


@dataclass(frozen=True, slots=True)
class StateOutput:
    """Numbers of the output ciphertexts that hold the next value of the state input `state`."""

    state: str
    ciphers: tuple[int, ...]


@dataclass(frozen=True, slots=True, eq=False)
class ServerModel:
    """All that a server needs: the program with its weights, and what its ciphertexts are.

    `inputs` lie one after the other among the program's input ciphertexts.
    """

    model_id: str
    name: str
    params: CkksParams
    input_scale: float
    program: Program
    inputs: tuple[InputPort, ...]
    state_outputs: tuple[StateOutput, ...] = ()

    @staticmethod
    def of(client: ClientModel, program: Program) -> ServerModel:
        """The server's half that belongs to a client's half and its program."""
        return ServerModel(
            client.model_id,
            client.name,
            client.params,
            client.input_scale,
            program,
            tuple(InputPort(s.name, s.role, s.ciphers) for s in client.inputs),
            tuple(
                StateOutput(o.state, tuple(int(c) for c in np.unique(o.ciphers)))
                for o in client.outputs
                if o.state
            ),
        )

    @property
    def batch(self) -> int:
        """Windows that fit into one ciphertext."""
        return self.params.slots // self.program.slots

    @property
    def is_step(self) -> bool:
        """Whether an output is the next value of a state."""
        return bool(self.state_outputs)

    @property
    def most_windows(self) -> int:
        """Windows that one message may hold; a step takes one."""
        return 1 if self.is_step else self.batch

    @property
    def state_names(self) -> tuple[str, ...]:
        """Names of the state inputs."""
        return tuple(p.name for p in self.inputs if p.role == "state")


def cipher_places(inputs: Sequence[InputSpec | InputPort]) -> dict[str, range]:
    """Which of a model's input ciphertexts belong to each input."""
    places: dict[str, range] = {}
    start = 0
    for port in inputs:
        places[port.name] = range(start, start + port.ciphers)
        start += port.ciphers
    return places
