"""Meetings: a contraction with a computed operand that stays as it lies.

The elements that an output needs have to stand in one window (the slots s + subset sums of the
fold's strides), each once. An input that meets them costs nothing to arrange, and with zeros in it
whatever else lies in the window drops out.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from ..cost import CostModel
from ..ir.layout import NOTHING, Index, Layout
from ..ir.tensor import Contraction
from .contraction import (
    MAX_CIPHERS,
    ContractionPlan,
    ContractionTask,
    pair_at,
    plan_of,
    read_at,
)

Tags = NDArray[np.uint64]

SPARE_FOLDS = 2
"""Folds to try beyond those that an output's pairs need: windows may hold padding."""


def met(task: ContractionTask, cost: CostModel) -> Iterator[ContractionPlan]:
    """Plans that take a computed operand as it lies."""
    op, slots = task.op, task.slots
    sources = _sources(task)
    if sources is None:
        return
    outputs = len(op.bias)
    element = sources.of_pair
    keys = op.owner * (sources.poison + 1) + element
    if len(np.unique(keys)) < len(keys):
        return  # An output that reads an element twice would need it twice in its window.
    rng = np.random.default_rng(0)
    tags = rng.integers(1, 1 << 63, sources.poison + 2, dtype=np.uint64)
    unread = np.ones(len(tags), dtype=bool)
    unread[element] = False
    unread[sources.poison] = None not in sources.ciphers[0]
    free = None in sources.ciphers[0]
    # What no output reads does not matter where the client packs zeros against it.
    tags = np.where(unread & free, np.uint64(0), tags)
    tags[-1] = 0  # NOTHING
    wanted = np.zeros(outputs, dtype=np.uint64)
    np.add.at(wanted, op.owner, tags[element])
    needed = int(np.bincount(op.owner, minlength=outputs).max())
    groups: list[tuple[int, ...]] = [(k,) for k in range(len(sources.ciphers))]
    if len(groups) > 1:
        groups.append(tuple(range(len(sources.ciphers))))
    for several in (False, True):
        chosen = [g for g in groups if (len(g) > 1) == several]
        if not chosen:
            continue
        least = max(0, (-(-needed // len(chosen[0])) - 1).bit_length())
        for folds in range(least, least + SPARE_FOLDS + 1):
            pitch = 1
            while pitch << folds <= slots:
                windows = [_windows(sources, g, tags, wanted, pitch, folds) for g in chosen]
                plan = _assigned(task, sources, chosen, windows, wanted, pitch, folds, cost)
                if plan is not None:
                    yield plan
                if folds == 0:
                    break
                pitch *= 2


def left_to_the_client(task: ContractionTask, cost: CostModel) -> ContractionPlan | None:
    """The computed operand as it lies, and no fold: every pair has a slot of its own, and the
    client sums those of an output. None where both operands are computed, or an element does not
    stand in as many slots as outputs read it."""
    sources = _sources(task)
    if sources is None or None not in sources.ciphers[0]:
        return None
    op, element = task.op, sources.of_pair
    held = sources.index.ravel()
    places = np.argsort(held, kind="stable")
    order = np.lexsort((op.owner, element))
    first, end = (np.searchsorted(held[places], element[order], side) for side in ("left", "right"))
    taken = first + np.arange(len(order)) - np.searchsorted(element[order], element[order])
    if (taken >= end).any():
        return None
    pair = np.full(len(held), NOTHING, dtype=np.int64)
    pair[places[taken]] = order
    used = [k for k, row in enumerate(pair.reshape(sources.index.shape)) if (row >= 0).any()]
    rows = pair.reshape(sources.index.shape)[used]
    parts = read_at(op.owner, rows)
    free = 1 if sources.ciphers[0][1] is None else 0
    known = [next(c for c in sources.ciphers[k] if c is not None) for k in used]
    pairs = tuple(((k, n) if free else (n, k),) for n, k in enumerate(known))
    # The bias, and what else is added, goes to one of an output's slots.
    target = np.full(parts.size, NOTHING, dtype=np.int64)
    outputs, at = np.unique(parts, return_index=True)
    target[at[outputs >= 0]] = outputs[outputs >= 0]
    plan = plan_of(
        task,
        Layout(target.reshape(parts.shape)),
        {free: read_at(op.right if free else op.left, rows)},
        pairs,
        (),
        "as it lies, summed by the client",
        "met for the client",
        cost,
    )
    return None if plan is None else replace(plan, parts=parts)


@dataclass(frozen=True, slots=True, eq=False)
class _Sources:
    """What meets: `index[k, s]` is the element in slot s of source k, or NOTHING.

    Elements are those of the computed operand, or, where both are computed, pairs; `of_pair[j]`
    is pair j's element. `poison` marks slots with a product that no output wants. `ciphers[k]`
    are the ciphertexts (of a, of b) that source k is the product of, None for one yet to pack.
    """

    index: Index
    of_pair: Index
    poison: int
    ciphers: tuple[tuple[int | None, int | None], ...]


def _sources(task: ContractionTask) -> _Sources | None:
    op = task.op
    a, b = task.layouts
    if a is not None and b is not None:
        found = [(_pairs_met(op, a, b, i, j), (i, j)) for i in range(a.ciphers) for j in
                 range(b.ciphers)]  # fmt: skip
        kept = [(row, at) for row, at in found if (row >= 0).any()]
        if not kept:
            return None
        count = len(op.owner)
        index = np.array([row for row, _ in kept])
        return _Sources(index, np.arange(count), count, tuple(at for _, at in kept))
    if a is not None:
        of_pair, layout = op.left, a
        ciphers: list[tuple[int | None, int | None]] = [(c, None) for c in range(a.ciphers)]
    else:
        assert b is not None
        of_pair, layout = op.right, b
        ciphers = [(None, c) for c in range(b.ciphers)]
    return _Sources(layout.index, of_pair, int(layout.index.max()) + 1, tuple(ciphers))


def _pairs_met(op: Contraction, a: Layout, b: Layout, i: int, j: int) -> Index:
    """The pair that slot s of a's ciphertext i times b's ciphertext j is, or the poison."""
    x, y = a.index[i], b.index[j]
    size = int(max(op.right.max(), b.index.max())) + 1
    keys = op.left * size + op.right
    order = np.argsort(keys)
    wanted = np.maximum(x, 0) * size + np.maximum(y, 0)
    place = np.minimum(np.searchsorted(keys[order], wanted), len(keys) - 1)
    hit = (keys[order][place] == wanted) & (x >= 0) & (y >= 0)
    zero = (a.clean & (x < 0)) | (b.clean & (y < 0))
    return np.where(hit, order[place], np.where(zero, NOTHING, len(keys)))


def _windows(
    sources: _Sources, group: tuple[int, ...], tags: Tags, wanted: Tags, pitch: int, folds: int
) -> Tags:
    """[slots]: what the window that starts in a slot sums to, 0 where no output wants that."""
    total = tags[sources.index[list(group)]].sum(axis=0, dtype=np.uint64)
    for k in range(folds):
        total = total + np.roll(total, -(pitch << k))
    return np.where(np.isin(total, wanted), total, np.uint64(0))


def _assigned(
    task: ContractionTask,
    sources: _Sources,
    groups: list[tuple[int, ...]],
    windows: list[Tags],
    wanted: Tags,
    pitch: int,
    folds: int,
    cost: CostModel,
) -> ContractionPlan | None:
    """Outputs to windows, as many ciphertexts as that takes; None where some has no window."""
    slots = task.slots
    whole = pitch << folds == slots
    starts: dict[int, list[tuple[int, int]]] = {}
    for g, sums in enumerate(windows):
        if whole:
            # All slots of a residue see the same window, or it is none.
            found = np.flatnonzero(sums[:pitch])
        else:
            found = _apart(np.flatnonzero(sums), pitch, folds, slots)
        for start in found.tolist():
            starts.setdefault(int(sums[start]), []).append((g, start))
    owners: dict[tuple[int, int], Index] = {}
    for value in np.unique(wanted):
        outputs = np.flatnonzero(wanted == value)
        places = starts.get(int(value))
        if places is None:
            return None
        for n in range(max(len(outputs), len(places))):
            round_, (g, s) = n // len(places), places[n % len(places)]
            row = owners.setdefault((g, round_), np.full(slots, NOTHING, dtype=np.int64))
            row[s] = outputs[n % len(outputs)]
        if len(owners) > MAX_CIPHERS:
            return None
    order = sorted(owners, key=lambda k: (k[1], k[0]))
    target = np.array([owners[k] for k in order])
    offsets = np.zeros(1, dtype=np.int64)
    for k in range(folds):
        offsets = np.concatenate([offsets, offsets + (pitch << k)])
    owner = np.full_like(target, NOTHING)
    for row, held in zip(owner, target, strict=True):
        begun = np.flatnonzero(held >= 0)
        row[(begun[:, None] + offsets) % slots] = held[begun][:, None]
    if whole:
        target = owner
    packed, pairs = _packing(task, sources, groups, order, owner)
    if sum(len(rows) for rows in packed.values()) > MAX_CIPHERS:
        return None
    free = None in sources.ciphers[0]
    layout = Layout(target, clean=whole and free)
    strides = tuple(pitch << k for k in range(folds))
    label = f"as it lies, fold {1 << folds} by {pitch}"
    family = "met whole" if whole else "met"
    return plan_of(task, layout, packed, pairs, strides, label, family, cost)


def _apart(starts: Index, pitch: int, folds: int, slots: int) -> Index:
    """Starts of windows that do not overlap: those in step with the first."""
    if not len(starts):
        return starts
    away = starts - starts[0]
    inside = away + (pitch << folds) - pitch < slots
    apart: Index = starts[inside & ((away // pitch) % (1 << folds) == 0)]
    return apart


def _packing(
    task: ContractionTask,
    sources: _Sources,
    groups: list[tuple[int, ...]],
    order: list[tuple[int, int]],
    owner: Index,
) -> tuple[dict[int, Index], tuple[tuple[tuple[int, int], ...], ...]]:
    """The packing of the operand that is an input, and which ciphertexts are multiplied."""
    op = task.op
    if None not in sources.ciphers[0]:
        both = [[sources.ciphers[k] for k in groups[g]] for g, _ in order]
        return {}, tuple(tuple((i, j) for i, j in row if i is not None and j is not None)
                         for row in both)  # fmt: skip
    free = 1 if sources.ciphers[0][1] is None else 0
    element_of = op.right if free else op.left
    rows: list[Index] = []
    pairs: list[tuple[tuple[int, int], ...]] = []
    for (g, _), row in zip(order, owner, strict=True):
        terms: list[tuple[int, int]] = []
        for k in groups[g]:
            pair = pair_at(op.owner, sources.of_pair, row, sources.index[k])
            known = next(c for c in sources.ciphers[k] if c is not None)
            terms.append((known, len(rows)) if free else (len(rows), known))
            rows.append(read_at(element_of, pair))
        pairs.append(tuple(terms))
    return {free: np.array(rows)}, tuple(pairs)
