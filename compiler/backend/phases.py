"""Phases: a tensor that is pooled later, ordered so that pooling folds the whole ring.

A pool sums elements that its reader weights alike: groups of so many each. Where the r-th elements
of all groups stand together, and these phases a power of two apart, the sums are a coset fold: they
end in as many replicas as there are phases, without gaps, for the products that follow to use. In
the tensor's own order the sums would stand in gaps between slots that are of no more use.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from math import prod

import numpy as np
from scipy.sparse import csr_array

from ..ir.layout import NOTHING, Index, power_of_two
from ..ir.tensor import Affine, Core, TensorGraph
from .pattern import Pattern, coset_fold
from .prefold import equal_columns


@dataclass(frozen=True, slots=True, eq=False)
class Phases:
    """`elements` [phases, channels, *space] of a tensor: the phases are pooled with each other."""

    elements: Index

    @classmethod
    def of(cls, shape: tuple[int, ...], matrix: csr_array) -> Phases | None:
        """Of a tensor (channels, axes) that `matrix` reads, or None where it pools nothing, or not
        every channel alike."""
        axes = [d for d in shape if d > 1]
        if not 2 <= len(axes) <= 3 or prod(axes) != matrix.shape[1]:
            return None
        groups, reduced = equal_columns(matrix)
        if reduced is None or (groups < 0).any():
            return None
        count = reduced.shape[1]
        members = np.argsort(groups, kind="stable").reshape(count, -1)
        corners = members[:, 0]
        positions = prod(axes[1:])
        if count % axes[0] or (members // positions != corners[:, None] // positions).any():
            return None
        grid = np.unravel_index(corners[: count // axes[0]] % positions, axes[1:])
        space = tuple(len(np.unique(axis)) for axis in grid)
        if prod(space) * axes[0] != count:
            return None
        return cls(members.T.reshape(-1, axes[0], *space))

    @classmethod
    def read(cls, graph: TensorGraph, number: int) -> Phases | None:
        """Of a value that one map reads, by itself or through polynomials, which pools it."""
        node = reader = number
        while len(users := graph.users(reader)) == 1:
            user = graph.nodes[users[0]]
            if isinstance(user.op, Affine):
                matrix = user.op.matrices[user.operands.index(reader)]
                return cls.of(graph.nodes[node].shape, matrix)
            if not isinstance(user.op, Core):
                break
            (reader,) = users
        return None

    @property
    def shape(self) -> tuple[int, ...]:
        """With the channels of each phase as channels of their own."""
        phases, channels, *space = self.elements.shape
        return phases * channels, *space

    def patterns(self, slots: int) -> Iterator[Pattern]:
        """Phases one after another, channels and positions padded to powers of two each."""
        phases, channels, *space = self.elements.shape
        cube = self.elements.reshape(phases, channels, prod(space))
        spare = [(0, 0), *((0, power_of_two(n) - n) for n in cube.shape[1:])]
        for name, axes in (("", (0, 1, 2)), (" channels last", (0, 2, 1))):
            order = np.pad(cube, spare, constant_values=NOTHING).transpose(axes).reshape(-1)
            folds = 0
            while len(order) << folds <= slots:
                ring = np.tile(order, (slots >> folds) // len(order))
                made = coset_fold(ring, slots, folds)
                label = f"{phases} phases{name}, {made.label}"
                yield replace(made, family=f"phases{name}", label=label)
                folds += 1
