"""Covers: every (window, input) pair exactly once, and no slot claimed that is not right."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse import csr_array

from eer.compiler.backend.candidates import client_sums, orders, replicated, single_copies
from eer.compiler.backend.cover import Source, cover, read
from eer.compiler.backend.packing import pack_for
from eer.compiler.backend.pattern import Pattern, explicit, sliding_fold
from eer.compiler.backend.sliding import Slider
from eer.compiler.backend.terms import Term
from eer.compiler.ir.layout import NOTHING, Index, Layout
from eer.compiler.ir.tensor import Vector
from tests.backend.affine import Case, cases, random_layout, random_matrix


def sums_of(terms: Iterable[Term], reads: list[Vector], strides: tuple[int, ...]) -> Vector:
    """What the terms and then the folds leave, by their definition."""
    total = np.zeros(len(reads[0]))
    for term in terms:
        total += term.mask * np.roll(reads[term.source], -term.shift)
    for stride in strides:
        total = total + np.roll(total, -stride)
    return total


def sources_of(case: Case) -> list[Source]:
    return [
        read(row, k)
        for k, layout in enumerate(case.layouts)
        if layout is not None
        for row in layout.index
    ]


def disjoint_patterns(case: Case) -> list[Pattern]:
    rows = case.matrices[0].shape[0]
    found: list[Pattern] = []
    if rows <= case.slots:
        reads = [s.index for s in sources_of(case)]
        found += single_copies(rows, reads, case.slots)
        found += client_sums(rows, reads, case.slots)
        found += (p for p in replicated(np.arange(rows), case.slots, "") if p.kind == "disjoint")
    return found


@settings(max_examples=60, deadline=None)
@given(case=cases(), data=st.data())
def test_every_pair_is_used_exactly_once(case: Case, data: st.DataObject) -> None:
    """Counted for each window: how often it takes each input of each operand, and which weight."""
    offered = disjoint_patterns(case)
    if not offered:
        return
    pattern = data.draw(st.sampled_from(offered), label="pattern")
    skip = frozenset(k for k, layout in enumerate(case.layouts) if layout is None)
    owner, window, sources = pattern.owner[0], pattern.window[0], sources_of(case)
    terms = cover(owner, window, sources, case.matrices, skip=skip)
    assert terms is not None
    assert len({(t.source, t.shift) for t in terms}) == len(terms)
    assert all(0 <= t.shift < case.slots for t in terms)
    taken: dict[tuple[int, int, int], list[float]] = {}
    for term in terms:
        source = sources[term.source]
        seen = np.roll(source.index, -term.shift)
        for slot in np.flatnonzero(term.mask):
            assert owner[slot] >= 0
            key = (int(window[slot]), source.operand, int(seen[slot]))
            taken.setdefault(key, []).append(float(term.mask[slot]))
    wanted: dict[tuple[int, int, int], list[float]] = {}
    for number, first in zip(*np.unique(window[owner >= 0], return_index=True), strict=True):
        row = owner[owner >= 0][first]
        for k, matrix in enumerate(case.matrices):
            dense = matrix.toarray()[row]
            if k not in skip:
                wanted.update({(int(number), k, int(e)): [dense[e]] for e in np.flatnonzero(dense)})
    assert taken == wanted


def test_a_cover_gives_up_beyond_its_budget() -> None:
    """16 x 16 dense, each output in its slot alone: 16 shifts."""
    matrix = csr_array(np.ones((16, 16)))
    pattern = explicit(np.arange(16)[None, :])
    sources = [read(np.arange(16), 0)]
    at = (pattern.owner[0], pattern.window[0], sources, (matrix,))
    assert len(cover(*at, max_terms=16) or ()) == 16
    assert cover(*at, max_terms=15) is None


def test_a_cover_needs_every_input_somewhere() -> None:
    matrix = csr_array(np.ones((2, 3)))
    index = np.array([0, 1, NOTHING, NOTHING])
    for pattern in replicated(np.arange(2), 4, ""):
        if pattern.kind == "disjoint":
            at = (pattern.owner[0], pattern.window[0])
            assert cover(*at, [read(index, 0)], (matrix,)) is None


def test_a_cover_does_not_despair_over_poor_shifts_at_first() -> None:
    """Rows stored backwards begin with what the last, nearly empty ciphertexts hold."""
    weights = np.ones((16, 35))
    backwards = csr_array(weights)
    for row in range(16):
        part = slice(backwards.indptr[row], backwards.indptr[row + 1])
        backwards.indices[part] = backwards.indices[part][::-1]
    held = np.pad(np.arange(35), (0, 13), constant_values=NOTHING).reshape(3, 16)
    sources = [read(row, k) for k in range(3) for row in held]
    pattern = explicit(np.arange(16)[None, :])
    at = (pattern.owner[0], pattern.window[0], sources, (backwards,) * 3)
    terms = cover(*at, max_terms=200)
    assert terms is not None
    assert sum(int(t.mask.sum()) for t in terms) == 3 * 16 * 35


def test_a_source_knows_its_period() -> None:
    assert read(np.array([0, 1, 0, 1]), 0).period == 2
    assert read(np.array([0, 1, 0, 2]), 0).period == 4
    assert read(np.zeros(8, dtype=np.int64), 0).period == 1
    assert read(np.array([NOTHING, 0, NOTHING, 0]), 0).period == 2


def test_replicas_that_are_turned_take_the_fewest_shifts() -> None:
    """Four replicas, each four further on: in a fold of four, four shifts see all sixteen."""
    matrix = csr_array(np.ones((16, 16)))
    (pattern,) = (
        p for p in replicated(np.arange(16), 64, "") if p.kind == "disjoint" and p.period == 16
    )
    at = np.arange(64)
    turned, alike = read((at + at // 16 * 4) % 16, 0), read(at % 16, 0)
    for source, shifts in ((turned, 4), (alike, 16)):
        terms = cover(pattern.owner[0], pattern.window[0], [source], (matrix,))
        assert terms is not None
        assert len(terms) == shifts


@settings(max_examples=150, deadline=None)
@given(
    size=st.integers(1, 12),
    rows=st.integers(1, 12),
    skew=st.integers(0, 4),
    folds=st.integers(0, 4),
    held=st.sampled_from(["first", "coset", "sliding", "scattered", "permuted"]),
    kind=st.sampled_from(["dense", "sparse", "one each", "holes", "band"]),
    seed=st.integers(0, 2**32 - 1),
)
def test_slides_claim_only_what_is_right(
    size: int, rows: int, skew: int, folds: int, held: str, kind: str, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    slots = 64
    source = random_layout(rng, size, slots, held).index[0]
    matrix = random_matrix(rng, rows, size, kind)
    order = np.pad(rng.permutation(rows), (0, skew), constant_values=NOTHING)
    pattern = sliding_fold(order, slots, folds)
    found = Slider(matrix).slide(pattern, read(source, 0))
    if found is None:
        return
    target = found.target
    assert Layout(target).holds(rows)
    x = rng.integers(-9, 10, size).astype(np.float64)
    values = np.where(source >= 0, x[np.maximum(source, 0)], rng.normal(size=slots) * 1e3)
    sums = sums_of(found.terms, [values], pattern.strides)
    held_slots = target[0] >= 0
    np.testing.assert_allclose(sums[held_slots], (matrix @ x)[target[0][held_slots]], atol=1e-6)


def test_coprime_periods_meet_every_pair_once() -> None:
    """Eight slots, seven apart, see three of five inputs twice; padded to eight, each once."""
    rng = np.random.default_rng(0)
    matrix = random_matrix(rng, 7, 5, "dense")
    pattern = sliding_fold(np.arange(7), 256, 3)
    padded = np.pad(np.arange(5), (0, 3), constant_values=NOTHING)
    assert Slider(matrix).slide(pattern, read(np.arange(256) % 5, 0)) is None
    found = Slider(matrix).slide(pattern, read(np.tile(padded, 32), 0))
    assert found is not None
    assert len(found.terms) == 1
    # Windows end where the ring does: eight slots, seven apart.
    assert (found.target[0] >= 0).sum() == 256 - 7 * 7


@settings(max_examples=60, deadline=None)
@given(
    columns=st.integers(1, 20),
    rows=st.integers(1, 12),
    sliding=st.booleans(),
    choice=st.integers(0, 30),
    kind=st.sampled_from(["dense", "sparse", "holes", "one each"]),
    seed=st.integers(0, 2**32 - 1),
)
def test_packed_inputs_need_no_rotation(
    columns: int, rows: int, sliding: bool, choice: int, kind: str, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    matrix = random_matrix(rng, rows, columns, kind)
    offered = [p for p in replicated(np.arange(rows), 64, "") if (p.kind == "sliding") == sliding]
    if not offered:
        return
    pattern = offered[choice % len(offered)]
    packed = pack_for(pattern, 0, matrix)
    assert all(t.shift == 0 for t in packed.terms)
    x = rng.normal(size=columns)
    reads = [np.where(row >= 0, x[np.maximum(row, 0)], 0.0) for row in packed.index]
    longest = int(np.diff(matrix.indptr).max())
    assert len(reads) == -(-longest // (1 << len(pattern.strides)))
    sums = sums_of(packed.terms, reads or [np.zeros(64)], pattern.strides)
    held = pattern.target[0] >= 0
    np.testing.assert_allclose(sums[held], (matrix @ x)[pattern.target[0][held]], atol=1e-12)


def windows_of(pattern: Pattern) -> list[Index]:
    """The slots that each target slot gathers."""
    offsets = np.zeros(1, dtype=np.int64)
    for stride in pattern.strides:
        offsets = np.concatenate([offsets, offsets + stride])
    slots = pattern.target.shape[1]
    return [(s + offsets) % slots for s in np.flatnonzero(pattern.target[0] >= 0)]


@settings(max_examples=60, deadline=None)
@given(
    size=st.integers(1, 20),
    held=st.sampled_from(["first", "coset", "sliding", "scattered", "permuted", "none", "two"]),
    seed=st.integers(0, 2**32 - 1),
)
def test_single_copies_have_windows_of_their_own(size: int, held: str, seed: int) -> None:
    rng = np.random.default_rng(seed)
    layouts = {
        "none": [],
        "two": [random_layout(rng, 9, 64, k).index[0] for k in ("coset", "first")],
    }
    reads = layouts.get(held) if held in layouts else [random_layout(rng, 9, 64, held).index[0]]
    assert reads is not None
    found = [*single_copies(size, reads, 64), *client_sums(size, reads, 64)]
    assert found
    for pattern in found:
        windows = windows_of(pattern)
        assert len(windows) == size
        assert len(np.unique(np.concatenate(windows))) == sum(len(w) for w in windows)
        for slots in windows:
            assert (pattern.owner[0][slots] == pattern.target[0][slots[0]]).all()
            assert (pattern.window[0][slots] == pattern.window[0][slots[0]]).all()


@pytest.mark.parametrize("shape", [(5,), (2, 3), (3, 4, 2), (3, 1, 4), (1, 1), (2, 2, 2, 2)])
def test_orders_hold_every_element_once(shape: tuple[int, ...]) -> None:
    size = int(np.prod(shape))
    found = orders(shape)
    for order in found:
        assert sorted(order[order >= 0]) == list(range(size))
    assert (found[0] == np.arange(size)).all()
    axes = [d for d in shape if d > 1]
    assert len(found) == (1 if len(axes) not in (2, 3) else 3 if axes[0] & (axes[0] - 1) else 2)


@settings(max_examples=40, deadline=None)
@given(size=st.integers(1, 40), folds_seed=st.integers(0, 2**32 - 1))
def test_replicated_patterns_gather_what_they_own(size: int, folds_seed: int) -> None:
    """Every slot of a window works for the output that its first slot ends up holding."""
    order = np.random.default_rng(folds_seed).permutation(size)
    for pattern in replicated(order, 128, "x"):
        assert Layout(pattern.target).holds(size)
        assert pattern.family in ("coset x", "sliding x")
        for slots in windows_of(pattern):
            assert len(np.unique(slots)) == len(slots)
            assert (pattern.owner[0][slots] == pattern.target[0][slots[0]]).all()
