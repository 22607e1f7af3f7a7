"""What the planner decides for each node, and what that costs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from eer.runtime.program import Slots

from ..ir.layout import NOTHING, Index, Layout
from .bsgs import Split
from .complex_slots import Join
from .prefold import Prefold
from .terms import Term


@dataclass(frozen=True, slots=True, eq=False)
class CipherPlan:
    """One output ciphertext of an affine map: its terms, and how their rotations are shared.

    Each of `joins` takes the place of its first source. `made` are the masks, once they are made,
    turned back by their giant steps.
    """

    terms: tuple[Term, ...]
    split: Split
    joins: tuple[Join, ...] = ()
    made: tuple[Slots, ...] = ()

    def masks(self) -> Sequence[Slots]:
        """Of all terms, as they are multiplied: before giant steps."""
        return self.made or [np.roll(t.mask, self.split.giant(t.shift)) for t in self.terms]

    def settled(self) -> CipherPlan:
        """The same with masks that are made."""
        terms = tuple(Term.of(t.source, t.shift, t.mask) for t in self.terms)
        done = replace(self, terms=terms)
        return replace(done, made=tuple(done.masks()))


@dataclass(frozen=True, slots=True)
class RunnerUp:
    """What the next best plan would have taken."""

    method: str
    inputs: int
    rotations: int
    products: int
    milliseconds: float


@dataclass(frozen=True, slots=True, eq=False)
class AffinePlan:
    """How an affine map is carried out.

    `prefolds[k]` is how operand k is summed up before anything else.

    `packed[k]` is the client's packing [ciphertexts, slots] for operand k, where that is an input,
    `imaginary[k]` what stands in its slots' imaginary parts, where there is anything. With
    `conjugates`, every output ciphertext is added to its conjugate after the folds.
    Sources are numbered over all ciphertexts of all operands, in order. `ciphers` holds a plan for
    each output ciphertext; all of them are folded by `strides`. `layout` is what comes out.
    `babies` are all rotations before products, those of prefolds too, `giants` those of sums.
    `runner_up` is the cheapest plan found for the same map that takes other rotations, products or
    inputs.
    `owner[k, s]`, where the client sums parts, is the output that slot s of ciphertext k may hold a
    part of.
    """

    layout: Layout
    packed: dict[int, Index]
    prefolds: dict[int, Prefold]
    ciphers: tuple[CipherPlan, ...]
    strides: tuple[int, ...]
    method: str
    family: str
    babies: int
    giants: int
    milliseconds: float
    runner_up: RunnerUp | None = None
    owner: Index | None = None
    imaginary: dict[int, Index] = field(default_factory=dict)
    conjugates: bool = False

    def settled(self) -> AffinePlan:
        """The same with masks that are made: what is emitted."""
        return replace(self, ciphers=tuple(c.settled() for c in self.ciphers))

    @property
    def parts(self) -> Index | None:
        """[k, s]: the output that slot s of ciphertext k holds a part of, where the client sums
        them."""
        if self.owner is None:
            return None
        used = [np.any([t.mask for t in c.terms], axis=0) for c in self.ciphers]
        return np.where(np.array(used) | (self.layout.index >= 0), self.owner, NOTHING)

    @property
    def inputs(self) -> int:
        """Input ciphertexts that the client packs for this map."""
        return sum(len(p) for p in self.packed.values())

    @property
    def products(self) -> int:
        return sum(len(c.terms) for c in self.ciphers)

    @property
    def rotations(self) -> int:
        """Key switches: rotations and conjugations."""
        after = (len(self.strides) + self.conjugates) * len(self.ciphers)
        return self.babies + self.giants + after
