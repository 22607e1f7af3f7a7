"""What the planner decides for each node, and what that costs."""

from __future__ import annotations

from dataclasses import dataclass, field

from ..ir.layout import Index, Layout
from .bsgs import Split
from .complex_slots import Join
from .cover import Term


@dataclass(frozen=True, slots=True, eq=False)
class CipherPlan:
    """One output ciphertext of an affine map: its terms, and how their rotations are shared.

    Each of `joins` takes the place of its first source.
    """

    terms: tuple[Term, ...]
    split: Split
    joins: tuple[Join, ...] = ()


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

    `prefolds[k]` are the strides by which operand k is folded before anything else.

    `packed[k]` is the client's packing [ciphertexts, slots] for operand k, where that is an input,
    `imaginary[k]` what stands in its slots' imaginary parts, where there is anything. With
    `conjugates`, every output ciphertext is added to its conjugate after the folds.
    Sources are numbered over all ciphertexts of all operands, in order. `ciphers` holds a plan for
    each output ciphertext; all of them are folded by `strides`. `layout` is what comes out.
    `runner_up` is the cheapest plan found for the same map that takes other rotations, products or
    inputs.
    `parts[k, s]`, where that is left to the client, is the output that slot s of ciphertext k is a
    part of.
    """

    layout: Layout
    packed: dict[int, Index]
    prefolds: dict[int, tuple[int, ...]]
    ciphers: tuple[CipherPlan, ...]
    strides: tuple[int, ...]
    method: str
    family: str
    babies: int
    giants: int
    milliseconds: float
    runner_up: RunnerUp | None = None
    parts: Index | None = None
    imaginary: dict[int, Index] = field(default_factory=dict)
    conjugates: bool = False

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
        before = sum(len(strides) for strides in self.prefolds.values())
        after = (len(self.strides) + self.conjugates) * len(self.ciphers)
        return before + self.babies + self.giants + after
