"""Baby-step giant-step: shifts add up, and what is counted is what is turned."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from eer.compiler.backend.bsgs import Split, choose_split, choose_splits
from eer.compiler.backend.terms import Reads, Term
from eer.compiler.cost import CostModel

SLOTS = 64
MASK = np.ones(SLOTS)
SHIFTS = st.lists(
    st.tuples(st.integers(0, 2), st.integers(0, SLOTS - 1)), min_size=1, max_size=40, unique=True
)


def turned(split: Split, shifts: list[tuple[int, int]]) -> tuple[int, int]:
    """(babies, giants): distinct rotations of sources, and of sums."""
    babies = {(source, split.baby(shift)) for source, shift in shifts}
    giants = {split.giant(shift) for _, shift in shifts}
    return len({b for b in babies if b[1]}), len(giants - {0})


@settings(max_examples=80, deadline=None)
@given(shifts=SHIFTS, level=st.integers(1, 6), lazy=st.booleans())
def test_counts_are_of_distinct_rotations(
    shifts: list[tuple[int, int]], level: int, lazy: bool
) -> None:
    terms = [Term.of(source, shift, MASK) for source, shift in shifts]
    low = level if lazy else level - 1
    cost = CostModel(13)
    split, chosen = choose_split([Reads.of(terms)], SLOTS, level, low, cost)
    for _, shift in shifts:
        assert split.giant(shift) + split.baby(shift) == shift
        assert 0 <= split.giant(shift) <= shift
    assert (chosen.babies, chosen.giants) == turned(split, shifts)

    def spent(split: Split) -> float:
        babies, giants = turned(split, shifts)
        sums = len({split.giant(shift) for _, shift in shifts})
        return (
            babies * cost.rotate(level)
            + giants * (cost.rotate(low) + cost.add(low))
            + len(terms) * (cost.multiply_plain(level) + cost.add(level))
            + (0.0 if lazy else sums * cost.rescale(level))
        )

    np.testing.assert_allclose(chosen.milliseconds, spent(split))
    for stride in (1, 2, 8, SLOTS):
        if len({s for _, s in shifts}) > 2 or stride in (1, SLOTS):
            assert chosen.milliseconds <= spent(Split(stride)) + 1e-9


def test_consecutive_shifts_take_about_two_square_roots() -> None:
    terms = [Term.of(0, shift, MASK) for shift in range(36)]
    _, chosen = choose_split([Reads.of(terms)], SLOTS, 3, 2, CostModel(13))
    assert chosen.babies + chosen.giants <= 11


def test_a_single_shift_is_one_rotation() -> None:
    for shift, wanted in ((0, 0), (5, 1)):
        _, chosen = choose_split([Reads.of([Term.of(0, shift, MASK)])], SLOTS, 3, 2, CostModel(13))
        assert chosen.babies + chosen.giants == wanted


def test_rotations_go_where_they_are_cheap() -> None:
    """Two sources turned alike: their sum is turned once, below the rescale."""
    terms = [Term.of(source, 7, MASK) for source in range(2)]
    _, chosen = choose_split([Reads.of(terms)], SLOTS, 3, 2, CostModel(13))
    assert (chosen.babies, chosen.giants) == (0, 1)


def test_without_giants_the_split_is_all_babies() -> None:
    assert Split(0).giant(9) == 0
    assert Split(0).baby(9) == 9


@settings(max_examples=60, deadline=None)
@given(ciphers=st.lists(SHIFTS, min_size=1, max_size=3))
def test_ciphertexts_share_babies(ciphers: list[list[tuple[int, int]]]) -> None:
    cost = CostModel(13)
    reads = [Reads.of([Term.of(*place, MASK) for place in shifts]) for shifts in ciphers]
    splits, chosen = choose_splits(reads, SLOTS, 3, 2, cost)
    babies = {
        (source, split.baby(shift))
        for split, shifts in zip(splits, ciphers, strict=True)
        for source, shift in shifts
    }
    assert chosen.babies == sum(baby > 0 for _, baby in babies)
    each = [turned(split, shifts)[1] for split, shifts in zip(splits, ciphers, strict=True)]
    assert chosen.giants == sum(each)
    apart = [choose_split([own], SLOTS, 3, 2, cost)[1].milliseconds for own in reads]
    assert chosen.milliseconds <= sum(apart) + 1e-9
    assert chosen.milliseconds <= choose_split(reads, SLOTS, 3, 2, cost)[1].milliseconds + 1e-9


def test_what_one_ciphertext_rotates_costs_another_nothing() -> None:
    """The same shifts in many ciphertexts: giants, which each would take for itself, cost more."""
    cost = CostModel(13)
    reads = [Reads.of([Term.of(0, shift, MASK) for shift in range(16)])] * 16
    _, chosen = choose_splits(reads, SLOTS, 3, 2, cost)
    assert (chosen.babies, chosen.giants) == (15, 0)
