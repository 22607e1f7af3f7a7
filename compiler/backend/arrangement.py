"""Arrangements: how the terms of an affine map are carried out, in real or in complex slots."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Literal

import numpy as np

from eer.runtime.program import Slots

from ..cost import CostModel
from ..ir.layout import NOTHING, Index
from .bsgs import Split, choose_split, choose_splits
from .complex_slots import Ciphers, Join, best_join, joined, two_by_two
from .decision import CipherPlan
from .terms import Reads, Term

LEANING = 1e-3
"""Milliseconds by which complex slots must be cheaper: their weights take twice the bytes."""

Levels = tuple[int, int]
"""Of a map's operands, and of its sums."""


Joining = Literal["never", "apart", "together"]
"""Whether sources that the server has are joined, for each output ciphertext or for all."""


@dataclass(frozen=True, slots=True, eq=False)
class Draft:
    """Terms of each output ciphertext of an affine map.

    Sources are numbered over all ciphertexts of all operands. `packed[k]` has the client's packing
    [ciphertexts, slots] of operand k, `imaginary[k]` that of the second values of its slots, and
    `first[k]` is the number of its first source. `groups` lists sources that are packed for one
    operand and one output ciphertext, side by side; `natural` those that the client packs for one
    operand to be rotated (in its own order, or by taps); `covered` those that hold what the server
    has computed.
    """

    terms: Ciphers
    sources: int
    covered: Sequence[int]
    natural: Sequence[Sequence[int]]
    groups: Sequence[Sequence[int]]
    packed: dict[int, Index]
    first: dict[int, int]
    imaginary: dict[int, Index] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, eq=False)
class Arrangement:
    """A draft, and how its terms are shared out, in real or in `complex_slots`. Where `conjugates`,
    every sum is added to its conjugate, and masks are halved. `milliseconds` leaves folds out."""

    draft: Draft
    shares: tuple[tuple[Sequence[Term], Split, tuple[Join, ...]], ...]
    complex_slots: bool
    conjugates: bool
    babies: int
    giants: int
    milliseconds: float

    def ciphers(self) -> tuple[CipherPlan, ...]:
        """A plan for each output ciphertext."""

        def term(t: Term) -> Term:
            return Term(t.source, t.shift, partial(_half, t)) if self.conjugates else t

        return tuple(
            CipherPlan(tuple(map(term, terms)), split, joins) for terms, split, joins in self.shares
        )


def _half(term: Term) -> Slots:
    half: Slots = term.mask / 2
    return half


def arrange(
    draft: Draft, levels: Levels, slots: int, shown: bool, cost: CostModel, real: bool = True
) -> Arrangement:
    """The cheapest arrangement. What is `shown` to the client alone may keep imaginary parts. Sums
    that are not `real` need theirs: their slots are not shared."""
    drafts = (draft, _joined_by_client(draft, levels, slots, cost)) if real else (draft,)
    ways: list[Joining] = ["never"]
    if real:
        ways.append("together")
        # Those that read the same are joined alike.
        if len({id(reads) for reads in Reads.of_all(draft.terms)}) > 1:
            ways.append("apart")
    found = [
        made
        for chosen in drafts
        for joining in ways
        if chosen is not None
        and (made := _arranged(chosen, levels, slots, shown, joining, cost)) is not None
    ]
    return min(found, key=lambda a: a.milliseconds)


def _joined_by_client(draft: Draft, levels: Levels, slots: int, cost: CostModel) -> Draft | None:
    """The same draft with two of the client's values in each slot, or None."""

    def price(reads: Sequence[Reads], _: Join) -> float:
        return choose_split(reads, slots, *levels, cost)[1].milliseconds

    joins = [Join(a, b, 0) for g in draft.groups for a, b in two_by_two(g) if a != b]
    terms = [list(t) for t in draft.terms]
    for join in joins:
        terms = [joined(t, join, slots) for t in terms]
    for sources in draft.natural:
        for pair in two_by_two(sources):
            best = best_join(terms, pair, slots, price)
            if best is not None:
                joins.append(best[0])
                terms = best[1]
    return _packed(draft, joins, terms) if joins else None


def _packed(draft: Draft, joins: Sequence[Join], terms: Ciphers) -> Draft:
    """The draft after the client's joins, its sources numbered anew."""
    join_of = {join.first: join for join in joins}
    gone = {join.second for join in joins if join.second != join.first}
    number = {s: n for n, s in enumerate(s for s in range(draft.sources) if s not in gone)}
    packed = dict(draft.packed)
    imaginary = dict(draft.imaginary)
    for k, rows in draft.packed.items():
        first = draft.first[k]
        own = range(first, first + len(rows))
        kept = [s for s in own if s not in gone]
        seconds = np.full((len(kept), rows.shape[1]), NOTHING, dtype=np.int64)
        for row, source in enumerate(kept):
            if source in join_of:
                join = join_of[source]
                seconds[row] = np.roll(rows[join.second - first], -join.turn)
        packed[k] = rows[[s - first for s in kept]]
        if (seconds >= 0).any():
            imaginary[k] = seconds
    return replace(
        draft,
        terms=[[replace(t, source=number[t.source]) for t in c] for c in terms],
        sources=len(number),
        covered=[number[s] for s in draft.covered],
        natural=(),
        groups=(),
        packed=packed,
        imaginary=imaginary,
    )


def _arranged(
    draft: Draft, levels: Levels, slots: int, shown: bool, joining: Joining, cost: CostModel
) -> Arrangement | None:
    """With joins wherever one is of use, or without; None where none is anywhere."""
    joins: list[tuple[Join, ...]] = [()] * len(draft.terms)
    left: Ciphers = draft.terms
    if joining == "together":
        made, left = _joins(draft, draft.terms, levels, slots, cost)
        joins = [made] * len(left)
    elif joining == "apart":
        each = [_joins(draft, [terms], levels, slots, cost) for terms in draft.terms]
        joins = [made for made, _ in each]
        left = [terms for _, (terms,) in each]
    if joining != "never" and not any(joins):
        return None
    different = {join for made in joins for join in made}
    read = _told_apart(left, joins, draft.sources)
    splits, found = choose_splits(Reads.of_all(read), slots, *levels, cost)
    milliseconds = (
        sum(len(rows) for rows in draft.packed.values()) * cost.encrypt(levels[0])
        + found.milliseconds
        + sum(_price(join, levels[0], cost) for join in different)
    )
    complex_slots = any(joins) or bool(draft.imaginary)
    if complex_slots:
        milliseconds += LEANING
    conjugates = complex_slots and not shown
    if conjugates:
        milliseconds += len(left) * (cost.conjugate(levels[1]) + cost.add(levels[1]))
    return Arrangement(
        draft,
        tuple(zip(left, splits, joins, strict=True)),
        complex_slots,
        conjugates,
        found.babies + sum(join.turn != 0 for join in different),
        found.giants,
        milliseconds,
    )


def _told_apart(ciphers: Ciphers, joins: Sequence[tuple[Join, ...]], sources: int) -> Ciphers:
    """The same terms with numbers of their own for what is joined, each join another: ciphertexts
    share rotations only of what is the same in both."""
    if all(made == joins[0] for made in joins):
        return ciphers
    number = {
        join: sources + n for n, join in enumerate(dict.fromkeys(j for c in joins for j in c))
    }
    own = [{join.first: number[join] for join in made} for made in joins]
    return [
        [replace(t, source=new.get(t.source, t.source)) for t in terms]
        for terms, new in zip(ciphers, own, strict=True)
    ]


def _joins(
    draft: Draft, ciphers: Ciphers, levels: Levels, slots: int, cost: CostModel
) -> tuple[tuple[Join, ...], Ciphers]:
    """Joins of the sources that the server has, and the terms of all `ciphers` with them."""

    def price(reads: Sequence[Reads], join: Join) -> float:
        split = choose_split(reads, slots, *levels, cost)[1]
        return split.milliseconds + _price(join, levels[0], cost)

    joins: list[Join] = []
    read = {t.source for terms in ciphers for t in terms}
    for pair in two_by_two([s for s in draft.covered if s in read]):
        best = best_join(ciphers, pair, slots, price)
        if best is not None:
            joins.append(best[0])
            ciphers = best[1]
    return tuple(joins), ciphers


def _price(join: Join, level: int, cost: CostModel) -> float:
    """Milliseconds that a join takes on the server."""
    turned = cost.rotate(level) if join.turn else 0.0
    return turned + cost.times_i(level) + cost.add(level)
