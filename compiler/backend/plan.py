"""A plan: layouts and methods for every value of a graph."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from ..ir.layout import Index, Layout
from ..ir.tensor import Node, Readout
from .contraction import ContractionPlan
from .decision import AffinePlan
from .schedule import Rescaling
from .vectors import Vectors


@dataclass(frozen=True, slots=True, eq=False)
class Plan:
    """A plan for a whole graph: layouts of all values, a plan per affine map and contraction.

    `levels` are the depths of all nodes, in products that remain; `rescaling` says which level of
    ciphertexts that is. `layouts` has inputs where something other than an affine map reads them;
    inputs of affine maps and contractions are packed for each of them (`packed`). `milliseconds`
    is the predicted time of one run, encryption included. `vectors` are those of programs so far.
    """

    slots: int
    levels: tuple[int, ...]
    rescaling: Rescaling
    layouts: dict[int, Layout]
    affine: dict[int, AffinePlan]
    milliseconds: float
    contractions: dict[int, ContractionPlan] = field(default_factory=dict)
    vectors: Vectors = field(default_factory=Vectors)

    def output_parts(self, number: int, node: Node) -> Parts:
        """Where the client finds the value of a node."""
        made = self.affine.get(number) or self.contractions.get(number)
        parts = None if made is None else made.parts
        if isinstance(node.op, Readout):
            cipher, slot = self.layouts[number].first(len(node.op.real))
            read = [(node.op.real, 0), (node.op.imaginary, 1)]
            each = [
                (owner[e], cipher[e], slot[e], np.full(len(e), part))
                for owner, part in read
                for e in [np.flatnonzero(owner >= 0)]
            ]
            return Parts(*(np.concatenate(x) for x in zip(*each, strict=True)))
        if parts is None:
            element, (cipher, slot) = np.arange(node.size), self.layouts[number].first(node.size)
        else:
            cipher, slot = np.nonzero(parts >= 0)
            element = parts[cipher, slot]
        return Parts(element, cipher, slot, np.zeros_like(slot))


@dataclass(frozen=True, slots=True, eq=False)
class Parts:
    """Parts [parts] whose sums by `element` are a value: the real part of slot `slot` of ciphertext
    `cipher`, or its imaginary part where `imaginary` is 1."""

    element: Index
    cipher: Index
    slot: Index
    imaginary: Index
