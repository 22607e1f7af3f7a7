"""The compiled program: a flat, typed list of CKKS instructions over numbered values.

Values are numbered from 0: first the input ciphertexts, then one value for each instruction, in
order. A program is planned on `slots` slots, a power of two. An engine with B times as many slots
runs it unchanged with every rotation times B and every vector element repeated B times: slot
s*B + b belongs to window b, so B windows share each ciphertext at the latency of one.

Slots are complex. A model's values stand in real parts; imaginary parts are zero or of no account,
but where a plan says that they hold a second value, and the client keeps real parts alone.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .errors import InternalError

Vector = NDArray[np.float64]

Slots = NDArray[Any]
"""What slots hold, [slots]: real values, or complex ones."""


@dataclass(frozen=True, slots=True)
class Rotate:
    """Left rotation by `step`: slot s of the result is slot (s + step) mod slots of `src`."""

    src: int
    step: int


@dataclass(frozen=True, slots=True)
class Conjugate:
    """Complex conjugate, slot-wise. `Add` of a value and its conjugate is twice its real part."""

    src: int


@dataclass(frozen=True, slots=True)
class TimesI:
    """Product with the imaginary unit, slot-wise: exact, at the same level and scale."""

    src: int


@dataclass(frozen=True, slots=True)
class Add:
    """Slot-wise sum; same level and scale."""

    a: int
    b: int


@dataclass(frozen=True, slots=True)
class Sub:
    """Slot-wise difference a - b; same level and scale."""

    a: int
    b: int


@dataclass(frozen=True, slots=True)
class Negate:
    src: int


@dataclass(frozen=True, slots=True)
class AddPlain:
    """Add the plaintext vector numbered `plain`, encoded at the ciphertext's level and scale."""

    src: int
    plain: int


@dataclass(frozen=True, slots=True)
class DotPlain:
    """Sum over k of srcs[k] * plains[k], slot-wise; with `rescale` one rescale: one level down.

    The result may have any scale, since its plaintexts can be encoded at any; `log_scale` is log2
    of the one wanted, or None for the nominal scale.
    """

    srcs: tuple[int, ...]
    plains: tuple[int, ...]
    rescale: bool = True
    log_scale: float | None = None


@dataclass(frozen=True, slots=True)
class DotCipher:
    """Sum over k of a_k * b_k, slot-wise; with `rescale` one rescale: one level down.

    A pair of the same value twice is a square. Without `relinearise` the result keeps the product's
    three polynomials: it can be decrypted, but neither rotated nor multiplied by a ciphertext.
    """

    pairs: tuple[tuple[int, int], ...]
    rescale: bool = True
    relinearise: bool = True


@dataclass(frozen=True, slots=True)
class LevelDown:
    """Drop primes until `level` is reached; values and scale stay as they are."""

    src: int
    level: int


Instruction = (
    Rotate | Conjugate | TimesI | Add | Sub | Negate | AddPlain | DotPlain | DotCipher | LevelDown
)


def operands(instruction: Instruction) -> tuple[int, ...]:
    """Numbers of the ciphertext values that `instruction` reads."""
    match instruction:
        case Add(a, b) | Sub(a, b):
            return (a, b)
        case Conjugate(src) | TimesI(src) | Negate(src):
            return (src,)
        case Rotate(src, _) | AddPlain(src, _) | LevelDown(src, _):
            return (src,)
        case DotPlain(srcs=srcs):
            return srcs
        case DotCipher(pairs=pairs):
            return tuple(v for pair in pairs for v in pair)


@dataclass(frozen=True, slots=True, eq=False)
class Program:
    """Instructions, their plaintext vectors ([slots] each), inputs and outputs.

    Plaintexts are float64, those of a DotPlain float64 or complex128.

    `input_levels[k]` is the level at which input ciphertext k is encrypted, `outputs` the numbers
    of the values that go back to the client. `labels[i]` names the layer instruction i belongs to.
    """

    slots: int
    input_levels: tuple[int, ...]
    instructions: tuple[Instruction, ...]
    outputs: tuple[int, ...]
    plains: tuple[Slots, ...]
    labels: tuple[str, ...] = field(default=())

    def __iter__(self) -> Iterator[tuple[int, Instruction]]:
        """Pairs of (value number, instruction that defines it)."""
        return iter(enumerate(self.instructions, start=len(self.input_levels)))

    @property
    def rotations(self) -> tuple[int, ...]:
        """The exact set of rotation steps, in plan slots, sorted, each in 1..slots-1."""
        steps = {i.step % self.slots for i in self.instructions if isinstance(i, Rotate)}
        return tuple(sorted(steps - {0}))

    @property
    def rotation_levels(self) -> tuple[int, ...]:
        """The highest level at which each of `rotations` is used."""
        levels = infer_levels(self)
        highest = dict.fromkeys(self.rotations, 0)
        for number, ins in self:
            if isinstance(ins, Rotate) and ins.step % self.slots:
                step = ins.step % self.slots
                highest[step] = max(highest[step], levels[number])
        return tuple(highest.values())

    @property
    def conjugation_level(self) -> int | None:
        """The highest level at which a value is conjugated; None where none is."""
        levels = infer_levels(self)
        return max((levels[n] for n, ins in self if isinstance(ins, Conjugate)), default=None)

    @property
    def is_complex(self) -> bool:
        """Whether imaginary parts of slots reach real ones: by a product, or by an instruction."""
        turns = any(isinstance(ins, Conjugate | TimesI) for ins in self.instructions)
        return turns or any(np.iscomplexobj(plain) for plain in self.plains)

    @property
    def multiplies(self) -> bool:
        """Whether a relinearisation key is needed."""
        return any(isinstance(i, DotCipher) for i in self.instructions)

    @property
    def depth(self) -> int:
        return max(self.input_levels)


def infer_levels(program: Program) -> tuple[int, ...]:
    """Level of every value; raises InternalError where the typing rules are broken."""
    levels = list(program.input_levels)
    n_plain = len(program.plains)
    for number, ins in program:
        reads = operands(ins)
        if not reads or any(not 0 <= r < number for r in reads):
            raise InternalError(f"%{number} reads values that are not defined: {ins}")
        have = {levels[r] for r in reads}
        if len(have) != 1:
            raise InternalError(f"%{number} mixes levels {sorted(have)}: {ins}")
        level = have.pop()
        match ins:
            case DotPlain(srcs, plains, rescale, _):
                if len(srcs) != len(plains) or any(not 0 <= p < n_plain for p in plains):
                    raise InternalError(f"%{number}: operands and plaintexts do not pair: {ins}")
                level -= rescale
            case DotCipher(rescale=rescale):
                level -= rescale
            case AddPlain(_, plain) if not 0 <= plain < n_plain:
                raise InternalError(f"%{number} reads a plaintext that is not there: {ins}")
            case LevelDown(_, to):
                if not 0 <= to < level:
                    raise InternalError(f"%{number}: cannot go from level {level} to {to}")
                level = to
            case _:
                pass
        if level < 0:
            raise InternalError(f"%{number}: no level left to rescale: {ins}")
        levels.append(level)
    if any(not 0 <= o < len(levels) for o in program.outputs):
        raise InternalError("an output is not a value of the program")
    return tuple(levels)


def infer_parts(program: Program) -> tuple[int, ...]:
    """How many polynomials every value has, 2 or 3: InternalError where one of three is rotated,
    conjugated or multiplied by a ciphertext."""
    parts = [2] * len(program.input_levels)
    for number, ins in program:
        most = max(parts[r] for r in operands(ins))
        if most > 2 and isinstance(ins, Rotate | Conjugate | DotCipher):
            raise InternalError(f"%{number} reads a product that is not relinearised: {ins}")
        kept = isinstance(ins, DotCipher) and not ins.relinearise
        parts.append(3 if kept else most)
    return tuple(parts)
