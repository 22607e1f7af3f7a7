"""Programs: what is read, at which level, and what is refused."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from eer.runtime.errors import InternalError
from eer.runtime.program import (
    Add,
    AddPlain,
    Conjugate,
    DotCipher,
    DotPlain,
    Instruction,
    LevelDown,
    Negate,
    Program,
    Rotate,
    Sub,
    TimesI,
    infer_levels,
    infer_parts,
    operands,
)

EVERYTHING = Program(
    slots=8,
    input_levels=(3, 2),
    instructions=(
        Rotate(0, 3),
        Add(0, 2),
        DotPlain((2, 3), (0, 1)),
        Sub(4, 1),
        Negate(5),
        AddPlain(6, 1),
        DotCipher(((5, 7), (4, 4)), rescale=False),
        LevelDown(8, 0),
        DotPlain((8,), (0,), rescale=False, log_scale=31.0),
        DotCipher(((10, 10),)),
    ),
    outputs=(9, 11, 0),
    plains=(np.ones(8), np.arange(8.0)),
)


def test_levels_follow_from_the_instructions() -> None:
    assert infer_levels(EVERYTHING) == (3, 2, 3, 3, 2, 2, 2, 2, 2, 0, 2, 1)
    assert EVERYTHING.depth == 3


@pytest.mark.parametrize(
    ("instruction", "reads"),
    [
        (Rotate(4, 1), (4,)),
        (Negate(4), (4,)),
        (Conjugate(4), (4,)),
        (TimesI(4), (4,)),
        (AddPlain(4, 0), (4,)),
        (LevelDown(4, 0), (4,)),
        (Add(4, 5), (4, 5)),
        (Sub(5, 4), (5, 4)),
        (DotPlain((4, 5, 4), (0, 1, 2)), (4, 5, 4)),
        (DotCipher(((4, 5), (6, 6))), (4, 5, 6, 6)),
    ],
)
def test_operands(instruction: Instruction, reads: tuple[int, ...]) -> None:
    assert operands(instruction) == reads


def test_rotations_have_the_highest_level_of_their_use() -> None:
    instructions = (
        Rotate(0, 8),
        Rotate(0, 3),
        DotPlain((2,), (0,)),
        Rotate(3, 1),
        LevelDown(3, 1),
        Rotate(5, -5),
        Rotate(5, 1),
        Rotate(5, 2),
    )
    program = replace(EVERYTHING, input_levels=(3,), instructions=instructions, outputs=(8,))
    assert dict(zip(program.rotations, program.rotation_levels, strict=True)) == {1: 2, 2: 1, 3: 3}


def test_rotations_are_listed_once_modulo_the_slots() -> None:
    turns = (Rotate(0, 3), Rotate(0, 11), Rotate(0, 0), Rotate(0, 8), Rotate(0, -1), Rotate(1, 1))
    program = Program(8, (1, 1), turns, (2,), ())
    assert program.rotations == (1, 3, 7)


def test_only_products_of_ciphertexts_need_a_relinearisation_key() -> None:
    assert EVERYTHING.multiplies
    assert not replace(EVERYTHING, instructions=EVERYTHING.instructions[:6]).multiplies


def test_values_are_numbered_after_the_inputs() -> None:
    assert [number for number, _ in EVERYTHING] == list(range(2, 12))


def appended(*more: Instruction) -> Program:
    return replace(EVERYTHING, instructions=(*EVERYTHING.instructions, *more))


@pytest.mark.parametrize(
    ("instruction", "problem"),
    [
        (Rotate(12, 1), "%12 reads values that are not defined"),
        (Rotate(-1, 1), "%12 reads values that are not defined"),
        (DotPlain((), ()), "%12 reads values that are not defined"),
        (Conjugate(12), "%12 reads values that are not defined"),
        (TimesI(-1), "%12 reads values that are not defined"),
        (DotCipher(()), "%12 reads values that are not defined"),
        (Add(0, 1), r"%12 mixes levels \[2, 3\]"),
        (DotCipher(((0, 1),)), r"%12 mixes levels \[2, 3\]"),
        (DotPlain((0,), (0, 1)), "%12: operands and plaintexts do not pair"),
        (DotPlain((0,), (2,)), "%12: operands and plaintexts do not pair"),
        (DotPlain((0,), (-1,)), "%12: operands and plaintexts do not pair"),
        (AddPlain(0, 2), "%12 reads a plaintext that is not there"),
        (LevelDown(0, 3), "%12: cannot go from level 3 to 3"),
        (LevelDown(9, 1), "%12: cannot go from level 0 to 1"),
        (LevelDown(0, -1), "%12: cannot go from level 3 to -1"),
        (DotPlain((9,), (0,)), "%12: no level left to rescale"),
        (DotCipher(((9, 9),)), "%12: no level left to rescale"),
    ],
)
def test_broken_instructions_are_refused(instruction: Instruction, problem: str) -> None:
    with pytest.raises(InternalError, match=problem):
        infer_levels(appended(instruction))


def test_conjugations_have_the_highest_level_of_their_use() -> None:
    assert EVERYTHING.conjugation_level is None
    turns = (TimesI(0), Conjugate(1), Conjugate(2), DotPlain((2,), (0,)), Conjugate(5))
    program = replace(EVERYTHING, instructions=turns, outputs=(6,))
    assert infer_levels(program) == (3, 2, 3, 2, 3, 2, 2)
    assert program.conjugation_level == 3
    low = replace(EVERYTHING, instructions=(DotPlain((0,), (0,)), Conjugate(2)), outputs=(3,))
    assert low.conjugation_level == 2


def test_whether_imaginary_parts_matter() -> None:
    assert not EVERYTHING.is_complex
    assert appended(Conjugate(0)).is_complex
    assert appended(TimesI(0)).is_complex
    assert replace(EVERYTHING, plains=(np.ones(8) + 0j, np.ones(8))).is_complex


def test_a_product_at_level_0_may_do_without_a_rescale() -> None:
    assert infer_levels(appended(DotCipher(((9, 9),), rescale=False)))[-1] == 0


def test_parts_follow_from_products() -> None:
    assert infer_parts(EVERYTHING) == (2,) * 12
    more = appended(
        DotCipher(((0, 0),), rescale=False, relinearise=False),
        Negate(12),
        DotPlain((0, 13), (0, 1)),
        DotPlain((0,), (0,)),
        Sub(15, 14),
        LevelDown(16, 0),
    )
    assert infer_levels(more)[12:] == (3, 3, 2, 2, 2, 0)
    assert infer_parts(more)[12:] == (3, 3, 3, 2, 3, 3)


@pytest.mark.parametrize(
    "reader",
    [Rotate(13, 1), Conjugate(13), DotCipher(((0, 13),)), DotCipher(((13, 0),), True, False)],
)
def test_three_parts_are_not_turned_or_multiplied(reader: Instruction) -> None:
    product = DotCipher(((0, 0),), rescale=False, relinearise=False)
    with pytest.raises(InternalError, match="%14 reads a product that is not relinearised"):
        infer_parts(appended(product, Negate(12), reader))


@pytest.mark.parametrize("output", [12, -1])
def test_outputs_are_values(output: int) -> None:
    with pytest.raises(InternalError, match="an output is not a value"):
        infer_levels(replace(EVERYTHING, outputs=(output,)))
