"""The builder: sharing, depths, and scales that meet exactly whatever the primes are."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from eer.compiler.backend.builder import COARSEST, SMALLEST_WEIGHT, Builder
from eer.compiler.backend.levels import steps_of
from eer.compiler.backend.schedule import Rescaling
from eer.compiler.ir.tensor import Polynomial, TensorGraph
from eer.runtime.program import (
    Add,
    AddPlain,
    DotCipher,
    DotPlain,
    Instruction,
    LevelDown,
    Program,
    Rotate,
)
from eer.runtime.scales import assign_scales
from tests.backend.networks import Net, planned, seal_schedules

ONES = np.ones(8)


def started(depth: int) -> Builder:
    return Builder(8, Rescaling.eager(depth), (depth,))


def scheduled(*drops: float, scales: tuple[float, ...]) -> Rescaling:
    """Drops and scales from depth 0 (whose drop is none) upwards."""
    return Rescaling(tuple(bool(d) for d in drops), scales, drops)


def test_equal_instructions_are_shared() -> None:
    builder = started(2)
    x = builder.input(0)
    assert builder.rotate(x, 3) == builder.rotate(x, 11) == builder.rotate(x, -5)
    assert builder.rotate(x, 8) == x
    a, b = builder.dot_plain([(x, ONES)]), builder.dot_plain([(x, np.ones(8))])
    assert a == b
    assert builder.down(x, 0) == builder.down(x, 0)
    assert len(builder.instructions) == 3
    assert len(builder.plains) == 1


def test_nothing_is_added_or_multiplied_by_zeros() -> None:
    builder = started(2)
    x = builder.input(0)
    assert builder.add_plain(x, np.zeros(8)) == x
    builder.dot_plain([(x, ONES), (builder.rotate(x, 1), np.zeros(8))])
    last = builder.instructions[-1]
    assert isinstance(last, DotPlain)
    assert last.srcs == (0,)


def test_folds_add_all_subset_sums() -> None:
    builder = started(1)
    x = builder.input(0)
    builder.folded(x, (1, 2))
    assert builder.instructions == [Rotate(0, 1), Add(0, 1), Rotate(2, 2), Add(2, 3)]


def test_values_of_different_depths_meet_at_the_lower() -> None:
    builder = started(3)
    x = builder.input(0)
    squared = builder.dot_cipher([(x, x)])
    assert squared.depth == 2
    total = builder.add(squared, x)
    assert total.depth == 2
    assert builder.instructions == [DotCipher(((0, 0),)), LevelDown(0, 2), Add(1, 2)]


def test_products_with_plaintexts_wait_for_where_they_are_wanted() -> None:
    builder = started(3)
    x = builder.input(0)
    assert builder.late_dot_plain([(x, ONES)], 1).depth == 1
    assert builder.instructions == [LevelDown(0, 2), DotPlain((1,), (0,))]


@pytest.mark.parametrize(
    ("held", "made"),
    [
        (40.0, [LevelDown(0, 1), DotPlain((1,), (0,), True, 30.0)]),
        (60.0, [DotPlain((0,), (0,), True, 30.0), LevelDown(1, 0)]),
    ],
)
def test_they_wait_as_long_as_plaintexts_can_be_precise(
    held: float, made: list[Instruction]
) -> None:
    # At depth 2, plaintexts of 18 bits leave room for scales of 30 + 40 - 18 bits.
    builder = Builder(8, scheduled(0.0, 0.0, 40.0, 60.0, scales=(30.0, 30.0, 30.0, held)), (3,))
    assert builder.late_dot_plain([(builder.input(0), ONES)], 1).depth == 1
    assert builder.instructions == made


def test_terms_that_cannot_wait_are_added_to_those_that_can() -> None:
    rescaling = scheduled(0.0, 30.0, 30.0, 60.0, scales=(28.0, 28.0, 29.0, 60.0))
    builder = Builder(8, rescaling, (3,))
    x = builder.input(0)
    square = builder.dot_cipher([(x, x)])
    made = builder.late_dot_plain([(square, ONES), (x, 2 * ONES)], 0)
    assert made.depth == 0
    products = [i for i in builder.instructions if isinstance(i, DotPlain)]
    assert [len(i.srcs) for i in products] == [1, 1]
    assert isinstance(builder.instructions[-1], Add)


def test_labels_follow_the_instructions() -> None:
    builder = started(1)
    builder.label = "first"
    x = builder.rotate(builder.input(0), 1)
    builder.label = "second"
    builder.rotate(builder.input(0), 1)
    builder.add_plain(x, ONES)
    assert builder.labels == ["first", "second"]
    assert builder.instructions == [Rotate(0, 1), AddPlain(1, 0)]


def test_a_value_without_a_prime_between_is_raised_by_one_encoded_at_what_lacks() -> None:
    rescaling = scheduled(0.0, 0.0, 0.0, scales=(120.0, 60.0, 30.0))
    builder = Builder(8, rescaling, (2,))
    x = builder.input(0)
    builder.add(builder.dot_cipher([(x, x)]), x)
    square, raised, total = builder.instructions
    assert square == DotCipher(((0, 0),), rescale=False)
    assert raised == DotPlain((0,), (0,), False, 60.0)
    assert total == Add(1, 2)
    assert (builder.plains[0] == 1).all()


def test_a_value_goes_down_by_the_lowest_prime_that_leaves_room_for_a_weight() -> None:
    """From 53 bits to 31: the prime of 31 bits below would leave one of 9, that of 60 one of 38."""
    rescaling = scheduled(0.0, 31.0, 60.0, 60.0, scales=(31.0, 31.0, 46.0, 53.0))
    builder = Builder(8, rescaling, (3,))
    x = builder.input(0)
    low = builder.dot_cipher([(builder.down(x, 1), builder.down(x, 1))])
    start = len(builder.instructions)
    builder.add(low, x)
    new = builder.instructions[start:]
    assert new[0] == LevelDown(0, 2)
    assert new[1] == DotPlain((start + 1,), (0,), True, 31.0)
    assert new[2] == LevelDown(start + 2, 0)
    assert 31.0 + 31.0 - 53.0 < SMALLEST_WEIGHT < 31.0 + 60.0 - 53.0


def test_a_value_goes_down_in_steps_where_no_prime_is_large_enough() -> None:
    rescaling = scheduled(0.0, 20.0, 20.0, 40.0, scales=(22.0, 22.0, 22.0, 36.0))
    builder = Builder(8, rescaling, (3,))
    builder.log_scales[0] = 52.0
    x = builder.input(0)
    low = builder.down(builder.dot_cipher([(x, x)]), 0)
    builder.add(low, x)
    products = [i for i in builder.instructions if isinstance(i, DotPlain)]
    # 22 + 40 - 52 is no room for a weight; from the scale that belongs to depth 2 there is.
    assert [(p.rescale, p.log_scale) for p in products] == [(True, 22.0), (True, 22.0)]
    levels = [i.level for i in builder.instructions if isinstance(i, LevelDown)]
    assert levels == [0, 1]


def test_a_factor_that_lacks_a_few_bits_is_multiplied_as_it_is() -> None:
    """One encoded in four bits would be none; what is added to the product has its scale."""
    rescaling = scheduled(0.0, 0.0, 60.0, scales=(56.0, 28.0, 24.0))
    builder = Builder(8, rescaling, (2, 1, 1))
    x, weight, bias = (builder.input(n) for n in range(3))
    square = builder.dot_cipher([(x, x)])
    product = builder.dot_cipher([(square, builder.settled(weight, 1))])
    total = builder.add(product, builder.dot_plain([(bias, ONES)], product))
    assert [builder.log_scales[v.number] for v in (square, weight, product, total)] == [
        28,
        24,
        52,
        52,
    ]
    plains = [i for i in builder.instructions if isinstance(i, DotPlain)]
    assert plains == [DotPlain((bias.number,), (0,), False, 52.0)]


def test_a_factor_that_lacks_many_bits_is_multiplied_by_one_first() -> None:
    rescaling = scheduled(0.0, 0.0, 0.0, scales=(80.0, 40.0, 20.0))
    builder = Builder(8, rescaling, (2, 1))
    x, weight = builder.input(0), builder.input(1)
    product = builder.dot_cipher([(builder.dot_cipher([(x, x)]), builder.settled(weight, 1))])
    assert DotPlain((1,), (0,), False, 40.0) in builder.instructions
    assert builder.log_scales[product.number] == 80.0


def test_factors_of_a_sum_of_products_all_have_the_scale_that_is_wanted() -> None:
    rescaling = scheduled(0.0, 0.0, 0.0, scales=(56.0, 28.0, 24.0))
    builder = Builder(8, rescaling, (2, 1))
    x, weight = builder.input(0), builder.input(1)
    square = builder.dot_cipher([(x, x)])
    builder.dot_cipher([(square, weight), (square, square)])
    assert DotPlain((1,), (0,), False, 28.0) in builder.instructions


def activation(degree: int, parity: str) -> TensorGraph:
    net = Net(degree)
    h = net.polynomial(net.affine(net.input(3), size=3), degree)
    polynomial = net.nodes[h].op
    assert isinstance(polynomial, Polynomial)
    coefficients = polynomial.chebyshev.copy()
    if parity == "even":
        coefficients[1::2] = 0.0
    if parity == "odd":
        coefficients[0::2] = 0.0
    net.nodes[h] = replace(net.nodes[h], op=replace(polynomial, chebyshev=coefficients))
    return net.graph(net.affine(h, size=2))


def true_moduli(log_q: tuple[float, ...], log_n: int, seed: int) -> list[float]:
    """Like a library's primes: some multiples of 2N below the powers of two, all different."""
    below = np.random.default_rng(seed).choice(np.arange(1, 60), len(log_q), replace=False)
    return [2.0**b - float(k) * 2.0 ** (log_n + 1) + 1 for b, k in zip(log_q, below, strict=True)]


def assert_scales(program: Program, moduli: list[float], scale: float) -> None:
    for scales in assign_scales(program, moduli, scale).plains.values():
        assert min(np.log2(scales)) >= COARSEST


@pytest.mark.parametrize("parity", ["all", "even", "odd"])
@pytest.mark.parametrize("degree", [2, 3, 4, 5, 6, 7, 8, 9, 10, 13, 15, 17, 21, 27, 31])
def test_polynomials_have_exact_scales_on_any_primes(degree: int, parity: str) -> None:
    """No two summands differ, and no plaintext is encoded too coarsely to be of use."""
    graph = activation(degree, parity)
    steps = steps_of(planned(graph, 16)[0])
    found = [s for s in seal_schedules(steps, 6) if min(s.params.log_q) >= 28]
    assert found
    for schedule in found[:2]:
        program = planned(graph, 16, schedule.rescaling)[2].program
        moduli = true_moduli(schedule.params.log_q, schedule.params.log_n, degree)
        assert_scales(program, moduli, 2.0**schedule.params.log_scale)
