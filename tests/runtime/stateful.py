"""A step and the model that uses what it learns, built by hand.

The step: W <- 0.75 W + 0.5 X + 0.1 and "loss" = W * X, on 4 weights. The use: y = W * X.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from eer.runtime.identity import compute_model_id
from eer.runtime.model import ClientModel, InputSpec, OutputSpec, Role, ServerModel
from eer.runtime.params import CkksLiteral
from eer.runtime.program import Add, AddPlain, DotCipher, DotPlain, Program, Vector

SIZE = 4
SLOTS = 8
SCALE = 2.0**30
DECAY, RATE, SHIFT = 0.75, 0.5, 0.1


@dataclass(frozen=True)
class Pair:
    """Both halves of one model."""

    client: ClientModel
    server: ServerModel


def next_weights(weights: Vector, x: Vector) -> Vector:
    """One step in the clear."""
    return DECAY * weights + RATE * x + SHIFT


def step_model(name: str = "step", shift: float = SHIFT) -> Pair:
    """The step: inputs X (window) and W (state), outputs W_next (feeds W) and loss."""
    program = Program(
        slots=SLOTS,
        input_levels=(2, 2),
        instructions=(
            DotPlain((0, 1), (0, 1)),
            AddPlain(2, 2),
            DotCipher(((0, 1),)),
        ),
        outputs=(3, 4),
        plains=(np.full(SLOTS, RATE), np.full(SLOTS, DECAY), np.full(SLOTS, shift)),
        labels=("update", "update", "loss"),
    )
    outputs = (_output("W_next", 0, "W"), _output("loss", 1))
    return _pair(name, program, (_input("X"), _input("W", "state")), outputs)


def gated_step() -> Pair:
    """A step with a state that it reads and never renews: W <- 0.75 W + A X."""
    program = Program(
        slots=SLOTS,
        input_levels=(2, 2, 2),
        instructions=(DotCipher(((0, 1),)), DotPlain((2,), (0,)), Add(3, 4)),
        outputs=(5,),
        plains=(np.full(SLOTS, DECAY),),
        labels=("gate", "update", "update"),
    )
    inputs = (_input("X"), _input("A", "state"), _input("W", "state"))
    return _pair("gated", program, inputs, (_output("W_next", 0, "W"),))


def use_model(name: str = "use") -> Pair:
    """Inference with the state: y = W * X."""
    program = Program(
        slots=SLOTS,
        input_levels=(1, 1),
        instructions=(DotCipher(((0, 1),)),),
        outputs=(2,),
        plains=(),
        labels=("product",),
    )
    outputs = (_output("y", 0, labels=("calm", "tense", "joy", "bored")),)
    return _pair(name, program, (_input("X"), _input("W", "state")), outputs)


def _input(name: str, role: Role = "window") -> InputSpec:
    packing = (np.arange(SLOTS) % SIZE,)
    return InputSpec(name, (SIZE,), packing, np.full(SIZE, -2.0), np.full(SIZE, 2.0), True, role)


def _output(name: str, cipher: int, state: str = "", labels: tuple[str, ...] = ()) -> OutputSpec:
    ciphers, slots = np.full(SIZE, cipher), np.arange(SIZE)
    return OutputSpec(name, (SIZE,), np.arange(SIZE), ciphers, slots, "none", 0, labels, state)


def _pair(
    name: str,
    program: Program,
    inputs: tuple[InputSpec, ...],
    outputs: tuple[OutputSpec, ...],
) -> Pair:
    params = CkksLiteral("seal", 13, (40, 30, 30), (50,), 30).check()
    model_id = compute_model_id(params, program, SCALE, inputs, outputs)
    client = ClientModel(
        model_id,
        name,
        params,
        program.slots,
        inputs,
        outputs,
        program.input_levels,
        SCALE,
        program.rotations,
    )
    return Pair(client, ServerModel.of(client, program))
