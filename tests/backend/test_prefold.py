"""Prefolds: sums of equally weighted elements before the products."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse import csr_array

from eer.compiler.backend.prefold import equal_columns, find_prefold
from eer.compiler.ir.layout import NOTHING, Layout
from eer.compiler.ir.tensor import Vector
from tests.backend.affine import random_layout


def pooled(length: int, width: int, rows: int, seed: int = 0) -> csr_array:
    """A dense map of an average pool: `width` neighbouring columns are the same."""
    weights = np.random.default_rng(seed).normal(size=(rows, length // width))
    return csr_array(np.repeat(weights, width, axis=1))


def check(layout: Layout, matrix: csr_array, seed: int = 0) -> bool:
    """Whether there is a prefold; that it is right is asserted, whatever stands elsewhere."""
    found = find_prefold(layout, *equal_columns(matrix))
    if found is None:
        return False
    rng = np.random.default_rng(seed)
    x = rng.normal(size=matrix.shape[1])
    index = layout.index[0]
    held = np.where(index >= 0, x[np.maximum(index, 0)], rng.normal(size=len(index)) * 1e3)
    for stride in found.strides:
        held = held + np.roll(held, -stride)
    assert found.layout.holds(found.matrix.shape[1])
    where = found.layout.index[0]
    sums: Vector = np.array([held[where == g][0] for g in range(found.matrix.shape[1])])
    for g, value in enumerate(sums):
        np.testing.assert_allclose(held[where == g], value, atol=1e-9)
    np.testing.assert_allclose(found.matrix @ sums, matrix @ x, atol=1e-9)
    return True


def test_a_pool_is_summed_first() -> None:
    layout = Layout(np.tile(np.arange(16), 4)[None, :])
    found = find_prefold(layout, *equal_columns(pooled(16, 4, 3)))
    assert found is not None
    assert sorted(found.strides) == [1, 2]
    assert found.matrix.shape == (3, 4)
    assert check(layout, pooled(16, 4, 3))


def test_a_pool_of_two_axes_is_summed_along_both() -> None:
    """4 x 4 windows of a 2 x 2 pool: strides 1 and 8 in rows of 8."""
    grid = np.arange(64).reshape(4, 2, 4, 2).transpose(0, 2, 1, 3).reshape(16, 4)
    weights = np.random.default_rng(0).normal(size=(5, 16))
    dense = np.zeros((5, 64))
    for window, members in enumerate(grid):
        dense[:, members] = weights[:, [window]]
    layout = Layout(np.tile(np.arange(64), 2)[None, :])
    found = find_prefold(layout, *equal_columns(csr_array(dense)))
    assert found is not None
    assert sorted(found.strides) == [1, 8]
    assert check(layout, csr_array(dense))


def test_weights_that_float32_rounded_apart_are_equal() -> None:
    matrix = pooled(8, 2, 3)
    matrix.data[::2] *= 1 + 1e-9
    layout = Layout(np.arange(8)[None, :])
    found = find_prefold(layout, *equal_columns(matrix))
    assert found is not None
    np.testing.assert_allclose(np.repeat(found.matrix.toarray(), 2, axis=1), matrix.toarray(), 1e-8)


def test_there_is_none_where_weights_or_groups_differ() -> None:
    layout = Layout(np.arange(12)[None, :])
    different = pooled(12, 2, 3)
    different.data[5] += 0.1
    assert find_prefold(layout, *equal_columns(different)) is None
    assert find_prefold(layout, *equal_columns(pooled(12, 3, 2))) is None
    assert find_prefold(layout, *equal_columns(csr_array(np.eye(12)))) is None


def test_sums_are_taken_in_several_ciphertexts_at_once() -> None:
    found = find_prefold(Layout(np.arange(16).reshape(2, 8)), *equal_columns(pooled(16, 2, 3)))
    assert found is not None
    assert found.strides == (1,)
    assert found.layout.index[:, ::2].tolist() == [[0, 1, 2, 3], [4, 5, 6, 7]]
    assert found.sums == ((0,), (1,))


def test_sums_are_taken_across_ciphertexts() -> None:
    """Of pairs in different ones, and of pairs of pairs; not where only some lie so."""
    across = np.arange(16).reshape(8, 2).T
    found = find_prefold(Layout(across), *equal_columns(pooled(16, 2, 3)))
    assert found is not None
    assert (found.sums, found.strides) == (((0, 1),), ())
    assert found.layout.index.tolist() == [list(range(8))]
    found = find_prefold(Layout(across), *equal_columns(pooled(16, 4, 3)))
    assert found is not None
    assert (found.sums, found.strides, found.rotations) == (((0, 1),), (1,), 1)
    mixed = across.copy()
    mixed[:, 6:] = [[12, 13], [14, 15]]
    assert find_prefold(Layout(mixed), *equal_columns(pooled(16, 2, 3))) is None


@settings(max_examples=100, deadline=None)
@given(
    windows=st.integers(1, 8),
    width=st.sampled_from([2, 4, 8]),
    held=st.sampled_from(["first", "coset", "sliding", "scattered", "permuted"]),
    unread=st.integers(0, 3),
    shuffled=st.booleans(),
    seed=st.integers(0, 2**32 - 1),
)
def test_prefolds_are_right_wherever_they_are_found(
    windows: int, width: int, held: str, unread: int, shuffled: bool, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    size = windows * width
    dense = np.pad(pooled(size, width, 3, seed).toarray(), ((0, 0), (0, unread)))
    if shuffled:
        dense = dense[:, rng.permutation(size + unread)]
    if size + unread <= 64:
        check(random_layout(rng, size + unread, 64, held), csr_array(dense), seed)


def test_garbage_between_the_elements_is_not_folded_in() -> None:
    """0 . 1 . : a fold by 2 is right, one by 1 would add what stands between."""
    index = np.array([[0, NOTHING, 1, NOTHING, 2, NOTHING, 3, NOTHING]])
    assert check(Layout(index), pooled(4, 2, 2))
    assert not check(
        Layout(np.array([[0, NOTHING, 1, 2, NOTHING, NOTHING, NOTHING, 3]])), pooled(4, 2, 2)
    )
