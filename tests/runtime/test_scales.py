"""Scales: exact with the true primes, wherever a choice of plaintext scales can make them so."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from math import log2

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

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
)
from eer.runtime.scales import Scales, assign_scales

PRIMES = (1099511480321, 1073692673, 1073643521, 1073479681, 1073430529)
"""True NTT primes for N = 2^13, of 40, 30, 30, 30 and 30 bits."""

MODULI = tuple(float(p) for p in PRIMES)
NOMINAL = 2.0**30
TOP = len(PRIMES) - 1
ONES = np.ones(8)


def program(*instructions: Instruction, inputs: tuple[int, ...] = (TOP,)) -> Program:
    last = len(inputs) + len(instructions) - 1
    return Program(8, inputs, instructions, (last,), (ONES,))


def check(p: Program, scales: Scales) -> None:
    """Every typing rule of scales, with exact primes and rational arithmetic."""
    levels = infer_levels(p)
    values = [Fraction(s) for s in scales.values]
    for number in range(len(p.input_levels)):
        assert scales.values[number] == pytest.approx(NOMINAL, rel=1e-12)
    for number, ins in p:
        wanted: list[Fraction] = []
        match ins:
            case Conjugate(src) | TimesI(src):
                wanted = [values[src]]
            case Rotate(src, _) | Negate(src) | LevelDown(src, _):
                wanted = [values[src]]
            case AddPlain(src, _):
                wanted = [values[src], Fraction(scales.plains[number][0])]
            case Add(a, b) | Sub(a, b):
                wanted = [values[a], values[b]]
            case DotPlain(srcs, _, rescale, _):
                prime = PRIMES[levels[srcs[0]]] if rescale else 1
                used = scales.plains[number]
                products = zip(srcs, used, strict=True)
                wanted = [values[s] * Fraction(u) / prime for s, u in products]
            case DotCipher(pairs, rescale):
                prime = PRIMES[levels[pairs[0][0]]] if rescale else 1
                wanted = [values[a] * values[b] / prime for a, b in pairs]
        for scale in wanted:
            assert abs(scale / values[number] - 1) < Fraction(1, 10**11)
    assert set(scales.plains) == {n for n, i in p if isinstance(i, AddPlain | DotPlain)}


def assigned(p: Program) -> Scales:
    scales = assign_scales(p, MODULI, NOMINAL)
    check(p, scales)
    return scales


def test_a_free_plaintext_product_has_the_nominal_scale_or_the_one_wanted() -> None:
    scales = assigned(program(DotPlain((0,), (0,)), DotPlain((1,), (0,), True, 33.5)))
    assert log2(scales.values[1]) == pytest.approx(30)
    assert list(scales.plains[1]) == [pytest.approx(float(PRIMES[TOP]))]
    assert log2(scales.values[2]) == pytest.approx(33.5)


def test_a_square_is_not_at_the_nominal_scale() -> None:
    """What the best peer takes it for; the difference would be a factor in the result."""
    scales = assigned(program(DotCipher(((0, 0),))))
    assert scales.values[1] == pytest.approx(NOMINAL**2 / PRIMES[TOP], rel=1e-14)
    assert scales.values[1] != NOMINAL


def test_without_a_rescale_nothing_is_divided() -> None:
    scales = assigned(program(DotCipher(((0, 0),), False), DotPlain((1,), (0,), False, 90.0)))
    assert log2(scales.values[1]) == pytest.approx(60)
    assert [log2(s) for s in scales.plains[2]] == [pytest.approx(30.0)]


def test_summands_of_different_history_meet() -> None:
    """A square of a product, and a product: the plaintext of the second makes up for it."""
    scales = assigned(
        program(
            DotPlain((0,), (0,)),
            DotCipher(((1, 1),)),
            LevelDown(0, TOP - 1),
            DotPlain((3,), (0,)),
            Add(2, 4),
            AddPlain(5, 0),
            Negate(6),
            Rotate(7, 1),
        )
    )
    assert scales.values[4] == scales.values[2]
    assert scales.plains[6] == (scales.values[5],)


def test_sums_of_products_of_different_history() -> None:
    """x * y + u * v, where only v is free: it takes up what the others differ by."""
    scales = assigned(
        program(
            DotCipher(((0, 0),)),
            LevelDown(0, TOP - 1),
            DotPlain((0,), (0,)),
            DotCipher(((1, 2), (1, 3))),
            DotCipher(((4, 4),)),
        )
    )
    assert scales.values[3] == pytest.approx(scales.values[2])


def test_a_variable_that_occurs_twice_is_solved_for() -> None:
    """v^2 = q x: half of what is missing goes to each factor."""
    scales = assigned(
        program(DotPlain((0,), (0,)), DotCipher(((1, 1),)), LevelDown(0, TOP - 2), Add(2, 3))
    )
    assert scales.values[1] == pytest.approx((NOMINAL * PRIMES[TOP - 1]) ** 0.5)


def test_what_cannot_meet_is_an_error() -> None:
    """x^2 and x: no plaintext is there to choose."""
    bad = program(DotCipher(((0, 0),)), LevelDown(0, TOP - 1), Add(1, 2))
    with pytest.raises(InternalError, match="%3 adds two values whose scales cannot be made equal"):
        assign_scales(bad, MODULI, NOMINAL)
    pairs = program(DotCipher(((0, 0),)), LevelDown(0, TOP - 1), DotCipher(((1, 1), (2, 2))))
    with pytest.raises(InternalError, match="%3 adds two values"):
        assign_scales(pairs, MODULI, NOMINAL)


def test_equal_primes_make_equal_scales() -> None:
    """With primes of exactly the nominal scale, and only then, x^2 and x do meet."""
    p = program(DotCipher(((0, 0),)), LevelDown(0, TOP - 1), Add(1, 2))
    assert set(assign_scales(p, (2.0**40, *(NOMINAL,) * TOP), NOMINAL).values) == {NOMINAL}


def test_the_scale_of_a_long_chain_drifts_and_is_followed() -> None:
    """Four squares in a row: what the primes lack of 2^30 is doubled each time."""
    squares = [DotCipher(((k, k),)) for k in range(TOP)]
    scales = assigned(program(*squares))
    exact = Fraction(NOMINAL)
    for level in range(TOP, 0, -1):
        exact = exact * exact / PRIMES[level]
    assert abs(Fraction(scales.values[-1]) / exact - 1) < Fraction(1, 10**12)
    assert scales.values[-1] / NOMINAL > 1.001


@st.composite
def programs(draw: st.DrawFn) -> Program:
    """Random well-typed programs; levels drop so far as the chain has primes."""
    inputs = tuple(draw(st.lists(st.integers(2, TOP), min_size=1, max_size=2)))
    p = Program(8, inputs, (), (0,), (ONES,))
    for _ in range(draw(st.integers(1, 14))):
        levels = infer_levels(p)
        numbers = st.integers(0, len(levels) - 1)
        a = draw(numbers)
        alike = st.sampled_from([v for v, level in enumerate(levels) if level == levels[a]])
        rescale = draw(st.booleans()) and levels[a] > 0
        wanted = draw(st.sampled_from((None, 28.0, 31.25)))
        choices: list[Instruction] = [
            Rotate(a, 1),
            Conjugate(a),
            TimesI(a),
            AddPlain(a, 0),
            Add(a, draw(alike)),
            Sub(a, draw(alike)),
            DotPlain((a, draw(alike)), (0, 0), rescale, wanted),
            DotPlain((a,), (0,), rescale, wanted),
            DotCipher(((a, draw(alike)),), rescale),
            DotCipher(((a, draw(alike)), (draw(alike), draw(alike))), rescale),
        ]
        if levels[a]:
            choices.append(LevelDown(a, draw(st.integers(0, levels[a] - 1))))
        chosen = draw(st.sampled_from(choices))
        p = replace(p, instructions=(*p.instructions, chosen))
    return replace(p, outputs=(len(infer_levels(p)) - 1,))


def is_solvable(p: Program) -> bool:
    """Whether any plaintext scales make all sums meet, by linear algebra over log2 of scales."""
    levels = infer_levels(p)
    free = [n for n, ins in p if isinstance(ins, DotPlain)]
    width = len(free) + 1
    rows: list[np.ndarray] = []
    equations: list[np.ndarray] = []

    def prime(value: int, rescale: bool) -> np.ndarray:
        row = np.zeros(width)
        row[-1] = log2(PRIMES[levels[value]]) if rescale else 0.0
        return row

    for _ in p.input_levels:
        rows.append(np.append(np.zeros(len(free)), log2(NOMINAL)))
    for number, ins in p:
        match ins:
            case Conjugate(src) | TimesI(src):
                rows.append(rows[src])
            case Rotate(src, _) | Negate(src) | AddPlain(src, _) | LevelDown(src, _):
                rows.append(rows[src])
            case Add(a, b) | Sub(a, b):
                equations.append(rows[a] - rows[b])
                rows.append(rows[a])
            case DotPlain():
                rows.append(np.eye(width)[free.index(number)])
            case DotCipher(pairs, rescale):
                sums = [rows[a] + rows[b] - prime(a, rescale) for a, b in pairs]
                equations += [s - sums[0] for s in sums[1:]]
                rows.append(sums[0])
    if not equations:
        return True
    system = np.array(equations)
    found, *_ = np.linalg.lstsq(system[:, :-1], -system[:, -1])
    return bool(np.abs(system[:, :-1] @ found + system[:, -1]).max() < 1e-9)


@settings(max_examples=150, deadline=None)
@given(p=programs())
def test_scales_are_exact_wherever_they_can_be(p: Program) -> None:
    if is_solvable(p):
        assigned(p)
    else:
        with pytest.raises(InternalError, match="adds two values whose scales"):
            assign_scales(p, MODULI, NOMINAL)
