"""Instructions as one array of integers, for bundles and digests.

Each instruction is `opcode, number of arguments, arguments...`; DotPlain's arguments are
whether it rescales, its wanted scale, its sources and then its plaintexts; DotCipher's whether it
rescales (1) plus whether it goes without relinearisation (2), and its pairs one after the other.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from .errors import ArtifactError
from .program import (
    Add,
    AddPlain,
    Conjugate,
    DotCipher,
    DotPlain,
    Instruction,
    LevelDown,
    Negate,
    Rotate,
    Sub,
    TimesI,
)

SCALE_UNITS = 1 << 20
"""A wanted scale is stored as log2 in these units, rounded."""

MAX_LOG_SCALE = 1000
_NO_SCALE = -1

_ROTATE, _ADD, _SUB, _NEGATE, _ADD_PLAIN, _DOT_PLAIN, _DOT_CIPHER, _LEVEL_DOWN = range(8)
_CONJUGATE, _TIMES_I = 8, 9


def encode_instructions(instructions: Sequence[Instruction]) -> NDArray[np.int64]:
    """Instructions as int64 [words]."""
    words: list[int] = []
    for instruction in instructions:
        opcode, arguments = _encode(instruction)
        words += (opcode, len(arguments), *arguments)
    return np.asarray(words, np.int64)


def _encode(instruction: Instruction) -> tuple[int, tuple[int, ...]]:
    match instruction:
        case Rotate(src, step):
            return _ROTATE, (src, step)
        case Conjugate(src):
            return _CONJUGATE, (src,)
        case TimesI(src):
            return _TIMES_I, (src,)
        case Add(a, b):
            return _ADD, (a, b)
        case Sub(a, b):
            return _SUB, (a, b)
        case Negate(src):
            return _NEGATE, (src,)
        case AddPlain(src, plain):
            return _ADD_PLAIN, (src, plain)
        case DotPlain(srcs, plains, rescale, log_scale):
            wanted = _NO_SCALE if log_scale is None else round(log_scale * SCALE_UNITS)
            return _DOT_PLAIN, (int(rescale), wanted, *srcs, *plains)
        case DotCipher(pairs, rescale, relinearise):
            flags = rescale + 2 * (not relinearise)
            return _DOT_CIPHER, (flags, *(v for pair in pairs for v in pair))
        case LevelDown(src, level):
            return _LEVEL_DOWN, (src, level)


def decode_instructions(words: NDArray[np.int64], where: str) -> tuple[Instruction, ...]:
    """The instructions of int64 [words]; raises ArtifactError where they are not any.

    Only their form is checked here; `infer_levels` and `infer_parts` check what they refer to.
    """
    numbers: list[int] = words.tolist()
    instructions: list[Instruction] = []
    at = 0
    while at < len(numbers):
        header = numbers[at : at + 2]
        if len(header) < 2 or not 0 <= header[1] <= len(numbers) - at - 2:
            raise _broken(len(instructions), where)
        opcode, count = header
        arguments = numbers[at + 2 : at + 2 + count]
        instruction = _decode(opcode, arguments)
        if instruction is None:
            raise _broken(len(instructions), where)
        instructions.append(instruction)
        at += 2 + count
    return tuple(instructions)


def _decode(opcode: int, arguments: list[int]) -> Instruction | None:
    match opcode, arguments:
        case (0, [src, step]):
            return Rotate(src, step)
        case (1, [a, b]):
            return Add(a, b)
        case (2, [a, b]):
            return Sub(a, b)
        case (3, [src]):
            return Negate(src)
        case (4, [src, plain]):
            return AddPlain(src, plain)
        case (5, [0 | 1 as rescale, wanted, _, _, *_]) if len(arguments) % 2 == 0:
            terms = arguments[2:]
            half = len(terms) // 2
            scale = None if wanted == _NO_SCALE else wanted / SCALE_UNITS
            if scale is not None and not 0 <= scale <= MAX_LOG_SCALE:
                return None
            return DotPlain(tuple(terms[:half]), tuple(terms[half:]), bool(rescale), scale)
        case (6, [0 | 1 | 2 | 3 as flags, _, _, *_]) if len(arguments) % 2 == 1:
            pairs = tuple(zip(arguments[1::2], arguments[2::2], strict=True))
            return DotCipher(pairs, bool(flags & 1), not flags & 2)
        case (7, [src, level]):
            return LevelDown(src, level)
        case (8, [src]):
            return Conjugate(src)
        case (9, [src]):
            return TimesI(src)
        case _:
            return None


def _broken(index: int, where: str) -> ArtifactError:
    return ArtifactError(
        f"instruction {index} of the program is malformed",
        where=where,
        hint="the file was not written by eer, or was changed: compile the model again",
    )
