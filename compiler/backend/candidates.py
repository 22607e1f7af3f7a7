"""Patterns worth trying for the outputs of an affine map."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
from scipy.sparse import csr_array

from ..ir.layout import NOTHING, Index, Layout, power_of_two
from ..ir.tensor import Core, TensorGraph
from .pattern import Pattern, coset_fold, explicit, scattered, sliding_fold, summed, windows_from

SKEWS = (0, 1, 2, 3, 4, 8, 16, 32)
"""Slots by which a sliding period exceeds the tensor: replicas then see shifted neighbours."""


def orders(shape: tuple[int, ...]) -> list[Index]:
    """Ways to flatten a tensor: each turn of its (at most three) axes longer than one.

    Where the first axis (channels) comes last it is also padded to a power of two, so that
    positions stand a power of two apart. Padding is NOTHING.
    """
    axes = [d for d in shape if d > 1]
    flat = np.arange(int(np.prod(shape, dtype=np.int64)))
    if not 2 <= len(axes) <= 3:
        return [flat]
    cube = flat.reshape(axes)
    last = np.moveaxis(cube, 0, -1)
    found = [flat, last.reshape(-1)]
    spare = power_of_two(axes[0]) - axes[0]
    if spare:
        widths = [(0, 0)] * (last.ndim - 1) + [(0, spare)]
        found.append(np.pad(last, widths, constant_values=NOTHING).reshape(-1))
    return found


def replicated(order: Index, slots: int, family: str) -> Iterator[Pattern]:
    """Patterns that leave many replicas: coset folds and sliding folds of every length."""
    size = len(order)
    elements = int(order.max()) + 1
    folds = 0
    while slots >> folds >= size:
        period = slots >> folds
        copies = period // power_of_two(size)
        padded = np.full(power_of_two(size), NOTHING, dtype=np.int64)
        padded[:size] = order
        coset = coset_fold(np.tile(padded, copies), slots, folds)
        yield replace(coset, family=f"coset {family}")
        for skew in SKEWS:
            width = size + skew
            # Without a second replica a skew changes nothing.
            if width << folds > slots - width or (width & (width - 1)) == 0:
                continue
            padded = np.full(width, NOTHING, dtype=np.int64)
            padded[:size] = order
            pattern = sliding_fold(padded, slots, folds)
            if Layout(pattern.target).holds(elements):
                yield replace(pattern, family=f"sliding {family}")
        folds += 1


def in_place(layout: Layout, matrix: csr_array) -> Iterator[Pattern]:
    """Outputs of a map that reads one element each, all different, where these stand."""
    if not (np.diff(matrix.indptr) == 1).all() or len(np.unique(matrix.indices)) < matrix.shape[0]:
        return
    output = np.full(matrix.shape[1], NOTHING, dtype=np.int64)
    output[matrix.indices] = np.arange(matrix.shape[0])
    target = np.where(layout.index >= 0, output[np.maximum(layout.index, 0)], NOTHING)
    if Layout(target).holds(matrix.shape[0]):
        yield replace(explicit(target, "in place"), family="in place")


def single_copies(size: int, layouts: list[Index], slots: int) -> Iterator[Pattern]:
    """Patterns for outputs that only the client reads: one copy each, in windows that fit.

    The starts are placed so that each window sees every element of the (only) operand, where it
    has one ciphertext and such starts exist; else evenly.
    """
    if size > slots:
        return
    longest = (slots // size).bit_length() - 1
    extents = _extents(layouts[0]) if len(layouts) == 1 else None
    for folds in range(longest + 1):
        length = 1 << folds
        yield scattered(np.arange(size) * (slots // size), 1, folds, slots)
        if extents is None:
            continue
        chosen = _disjoint(np.flatnonzero(extents <= length), length, size, slots)
        if chosen is not None:
            yield scattered(chosen, 1, folds, slots)
            return


def _extents(layout: Index) -> Index:
    """For each slot s, how many slots from s on it takes to see every element that there is."""
    slots = len(layout)
    ring = np.concatenate([layout, layout])
    held = np.flatnonzero(ring != NOTHING)
    places = held[np.argsort(ring[held], kind="stable")]
    again = ring[places[1:]] == ring[places[:-1]]
    before = np.where(np.append(False, again), np.append(0, places[:-1]), -1)
    # A place is the next of its element for starts after the one before it, up to itself.
    last = np.arange(slots)
    np.maximum.at(last, before[before < slots - 1] + 1, places[before < slots - 1])
    extents: Index = np.maximum.accumulate(last) - np.arange(slots) + 1
    return extents


def client_sums(size: int, layouts: list[Index], slots: int) -> Iterator[Pattern]:
    """Patterns for outputs that only the client reads, in parts that it sums: no fold.

    In windows of the same length; for a single operand ciphertext also in windows that just see
    every element, or around one copy of it, turned.
    """
    if size > slots:
        return
    yield summed(windows_from(np.arange(size) * (slots // size), slots))
    if len(layouts) == 1:
        filled = _filled(_extents(layouts[0]), size)
        if filled is not None:
            yield summed(windows_from(filled, slots))
        else:
            yield from _turned(layouts[0], size)


def _turned(layout: Index, size: int) -> Iterator[Pattern]:
    """Windows of one copy of the operand each, where rotations by multiples of a step bring it."""
    slots = len(layout)
    elements, place = np.unique(layout, return_index=True)
    place = place[elements != NOTHING]
    if not len(place) * size <= slots:
        return
    for step in (*range(1, slots // size), 0):
        places = (place - step * np.arange(size)[:, None]) % slots
        if len(np.unique(places)) == places.size:
            owner = np.full(slots, NOTHING, dtype=np.int64)
            owner[places] = np.arange(size)[:, None]
            yield summed(owner)
            return


def _filled(extents: Index, count: int) -> Index | None:
    """Starts, each as soon as the window before it has seen every element, or None."""
    starts: list[int] = []
    at = 0
    for _ in range(count):
        starts.append(at)
        if at >= len(extents) or (at := at + int(extents[at])) > len(extents):
            return None
    return np.array(starts)


def _disjoint(starts: Index, length: int, count: int, slots: int) -> Index | None:
    """The first `count` starts at least `length` apart and inside the ring, or None."""
    chosen: list[int] = []
    for start in starts[starts + length <= slots]:
        if not chosen or start >= chosen[-1] + length:
            chosen.append(int(start))
        if len(chosen) == count:
            return np.array(chosen)
    return None


def split_over_ciphers(order: Index, slots: int) -> Pattern:
    """Consecutive elements over as many ciphertexts as they need, no fold."""
    ciphers = -(-len(order) // slots)
    target = np.full(ciphers * slots, NOTHING, dtype=np.int64)
    target[: len(order)] = order
    return explicit(target.reshape(ciphers, slots), f"{ciphers} ciphertexts")


def steep(graph: TensorGraph, number: int) -> bool:
    """Whether polynomials of degree 3 or more read a node: they make much of what else is in its
    slots, which need not stay in the interval that they are made for."""
    readers = (graph.nodes[u].op for u in graph.users(number))
    return any(isinstance(op, Core) and op.plan.degree > 2 for op in readers)
