"""Models with two real values to a slot, built by hand.

`dense_model`: y = W x + b on 8 inputs, 4 slots for each of 2 outputs, then scores = M y.
`step_model`: a state W of 8 values in 4 slots, W <- 0.75 W + 0.5 X, and "match" = X * W, summed
over the two values of each slot.
`both_parts_model`: outputs in the real and the imaginary parts of an answer.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from eer.runtime.engines import desilo_literal
from eer.runtime.identity import compute_model_id
from eer.runtime.model import ClientModel, Index, InputSpec, OutputSpec, Role, ServerModel
from eer.runtime.params import CkksLiteral
from eer.runtime.program import (
    Add,
    AddPlain,
    Conjugate,
    DotCipher,
    DotPlain,
    Negate,
    Program,
    Rotate,
    TimesI,
    Vector,
)

SLOTS = 8
SIZE = 8
DECAY, RATE = 0.75, 0.5
W = np.random.default_rng(11).uniform(-1, 1, (2, SIZE))
B = np.array([0.2, -0.4])
M = np.array([[0.5, -1.5], [0.25, 1.0]])
U = np.array([1.0, 1j, 0.5 - 0.5j, -0.75])
V = np.array([0.5j, 0.25, 0.0, -1.0 + 0.5j])

PARAMS = {
    "seal": CkksLiteral("seal", 13, (40.0, 30.0, 30.0), (50.0,), 30.0).check(),
    "desilo": desilo_literal(2).check(),
}
PARAMS["clear"] = PARAMS["seal"]


@dataclass(frozen=True)
class Halves:
    """Both halves of one model."""

    client: ClientModel
    server: ServerModel


def dense(x: Vector) -> Vector:
    """What `dense_model` computes in the clear, [windows, 2]."""
    scores: Vector = (x @ W.T + B) @ M.T
    return scores


def dense_model(engine: str = "seal") -> Halves:
    """Slot 2 i + o holds x[i] + i x[4 + i], so that one product serves two inputs."""
    s = np.arange(SLOTS)
    weights = 0.5 * (W[s % 2, s // 2] - 1j * W[s % 2, 4 + s // 2])
    mixing = M[s % 2, s % 2] - 1j * M[s % 2, 1 - s % 2]
    program = Program(
        slots=SLOTS,
        input_levels=(2,),
        instructions=(
            DotPlain((0,), (0,)),
            Rotate(1, 4),
            Add(1, 2),
            Rotate(3, 2),
            Add(3, 4),
            Conjugate(5),
            Add(5, 6),
            AddPlain(7, 1),
            # y[o] + i y[1 - o], times M[o, o] - i M[o, 1 - o].
            TimesI(8),
            Rotate(9, 1),
            Add(8, 10),
            DotPlain((11,), (2,)),
        ),
        outputs=(12,),
        plains=(weights, np.tile(B, 4), mixing),
    )
    two = np.arange(2)
    scores = OutputSpec("scores", (2,), two, np.zeros(2, np.int64), two, "none", 0, ())
    return _halves("dense", engine, program, (_input("x", s // 2, 4 + s // 2),), (scores,))


def step_model(engine: str = "seal") -> Halves:
    program = Program(
        slots=SLOTS,
        input_levels=(2, 2),
        instructions=(
            DotPlain((0, 1), (0, 1)),
            # Imaginary parts of the new state are the real parts of -i times it.
            TimesI(2),
            Negate(3),
            Conjugate(1),
            DotCipher(((0, 5),)),
        ),
        outputs=(2, 4, 6),
        plains=(np.full(SLOTS, RATE), np.full(SLOTS, DECAY)),
    )
    real = np.where(np.arange(SLOTS) < 4, np.arange(SLOTS), -1)
    imaginary = np.where(real < 0, -1, real + 4)
    eight, four = np.arange(SIZE), np.arange(4)
    outputs = (
        OutputSpec("W_next", (SIZE,), eight, eight // 4, eight % 4, "none", 0, (), "W"),
        OutputSpec("match", (4,), four, np.full(4, 2), four, "none", 0, ()),
    )
    inputs = (_input("X", real, imaginary), _input("W", real, imaginary, "state"))
    return _halves("step", engine, program, inputs, outputs)


def both_parts_model(engine: str = "seal") -> Halves:
    """Slot s holds x[s] + i x[4 + s]; outputs are both parts of (U[s] times that)^2 + V[s]."""
    program = Program(
        slots=SLOTS,
        input_levels=(2,),
        instructions=(DotPlain((0,), (0,)), DotCipher(((1, 1),)), AddPlain(2, 1)),
        outputs=(3,),
        plains=(np.append(U, np.ones(4)), np.append(V, np.ones(4))),
    )
    real = np.where(np.arange(SLOTS) < 4, np.arange(SLOTS), -1)
    imaginary = np.where(real < 0, -1, real + 4)
    eight = np.arange(SIZE)
    y = OutputSpec(
        "y", (SIZE,), eight, 0 * eight, eight % 4, "none", 0, (), "", (eight >= 4).astype(np.int64)
    )
    return _halves("both parts", engine, program, (_input("x", real, imaginary),), (y,))


def _input(name: str, real: Index, imaginary: Index, role: Role = "window") -> InputSpec:
    low, high = np.full(SIZE, -2.0), np.full(SIZE, 2.0)
    return InputSpec(name, (SIZE,), (real,), low, high, True, role, (imaginary,))


def _halves(
    name: str,
    engine: str,
    program: Program,
    inputs: tuple[InputSpec, ...],
    outputs: tuple[OutputSpec, ...],
) -> Halves:
    params = PARAMS[engine]
    scale = 2.0**params.log_scale
    client = ClientModel(
        compute_model_id(params, program, scale, inputs, outputs),
        name,
        params,
        program.slots,
        inputs,
        outputs,
        program.input_levels,
        scale,
        program.rotations,
        program.rotation_levels,
        program.conjugation_level,
    )
    return Halves(client, ServerModel.of(client, program))
