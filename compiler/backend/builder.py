"""The builder: collects instructions over numbered values, and knows depths and scales."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from math import inf

import numpy as np

from eer.runtime.program import (
    Add,
    AddPlain,
    Conjugate,
    DotCipher,
    DotPlain,
    Instruction,
    LevelDown,
    Rotate,
    Slots,
    Sub,
    TimesI,
)

from .schedule import Rescaling
from .vectors import Vectors

TOLERATED = 1.0
"""Bits of scale below which a difference is left to the exact scales of the plaintexts."""

SMALLEST_WEIGHT, USUAL_WEIGHT = 12.0, 18.0
"""Bits that the scale of a plaintext should have, for its rounding not to be felt: where there is
no other way, and where there is."""

COARSEST = 8.0
"""Bits of a plaintext's scale below which its rounding makes a program useless."""


@dataclass(frozen=True, slots=True)
class Value:
    """A value of the program, taken at a depth: the products that remain after it."""

    number: int
    depth: int


@dataclass(slots=True)
class Builder:
    """Instructions so far. Equal instructions are shared: rotations, level drops, products.

    `log_scales[v]` is about log2 of value v's scale, None where the engine decides.
    """

    slots: int
    rescaling: Rescaling
    input_depths: tuple[int, ...]
    vectors: Vectors = field(default_factory=Vectors)
    instructions: list[Instruction] = field(default_factory=list)
    labels: list[str] = field(default_factory=list)
    plains: list[Slots] = field(default_factory=list)
    label: str = ""
    log_scales: list[float | None] = field(default_factory=list)
    _levels: list[int] = field(default_factory=list)
    _plains: dict[int, int] = field(default_factory=dict)
    _shared: dict[Instruction, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.log_scales = [self.rescaling.log_scales[-1]] * len(self.input_depths)
        self._levels = [self.rescaling.level(d) for d in self.input_depths]

    def input(self, number: int) -> Value:
        return Value(number, self.input_depths[number])

    def down(self, value: Value, depth: int) -> Value:
        """`value` at a lower depth: at the level that belongs to it, its scale as it is."""
        level = self.rescaling.level(depth)
        if self._levels[value.number] == level:
            return Value(value.number, depth)
        scale = self.log_scales[value.number]
        return self._emit(LevelDown(value.number, level), depth, scale)

    def settled(self, value: Value, depth: int) -> Value:
        """`value` at a depth as low or lower, with about the scale wanted there, for a product."""
        wanted = self.rescaling.log_scales[depth]
        limit = None if wanted is None else wanted + TOLERATED
        return self._raised(self._below(value, depth, limit), COARSEST)

    def rotate(self, value: Value, step: int) -> Value:
        step %= self.slots
        if not step:
            return value
        scale = self.log_scales[value.number]
        return self._emit(Rotate(value.number, step), value.depth, scale)

    def conjugate(self, value: Value) -> Value:
        return self._emit(Conjugate(value.number), value.depth, self.log_scales[value.number])

    def joined(self, first: Value, second: Value, turn: int) -> Value:
        """first + i * rotate(second, turn)."""
        turned = self.rotate(second, turn)
        scale = self.log_scales[turned.number]
        return self.add(first, self._emit(TimesI(turned.number), turned.depth, scale))

    def add(self, a: Value, b: Value) -> Value:
        a, b = self._addends(a, b)
        return self._emit(Add(a.number, b.number), a.depth, self.log_scales[a.number])

    def sub(self, a: Value, b: Value) -> Value:
        a, b = self._addends(a, b)
        return self._emit(Sub(a.number, b.number), a.depth, self.log_scales[a.number])

    def folded(self, value: Value, strides: tuple[int, ...]) -> Value:
        """Every slot plus the slots at all subset sums of the strides from it."""
        for stride in strides:
            value = self.add(value, self.rotate(value, stride))
        return value

    def add_plain(self, value: Value, values: Slots) -> Value:
        if not self.vectors.any(values):
            return value
        scale = self.log_scales[value.number]
        return self._emit(AddPlain(value.number, self._plain(values)), value.depth, scale)

    def dot_plain(self, terms: Sequence[tuple[Value, Slots]], like: Value | None = None) -> Value:
        """Sum of products with plaintext vectors, those of zeros left out; with the scale of `like`
        where it is to be added to that."""
        kept = self._kept(terms)
        depth = min(v.depth for v, _ in kept)
        wanted = self.rescaling.log_scales[depth - 1]
        if like is not None:
            wanted = self.log_scales[like.number]
        room = None if wanted is None else wanted + self.rescaling.drops[depth] - SMALLEST_WEIGHT
        lowered = [(self._below(v, depth, room), p) for v, p in kept]
        return self._products(lowered, depth, wanted)

    def late_dot_plain(self, terms: Sequence[tuple[Value, Slots]], lowest: int) -> Value:
        """The same at `lowest`, for which products are made as far down as leaves plaintexts their
        precision: all at one depth if that can be."""
        kept = self._kept(terms)
        places = [self._place(v, lowest) for v, _ in kept]
        if None in places:
            return self.dot_plain(kept)
        highest = max(place for place in places if place is not None)
        if all(v.depth >= highest and self._fits(v, highest, lowest) for v, _ in kept):
            places = [highest] * len(kept)
        total: Value | None = None
        for depth in sorted({place for place in places if place is not None}):
            here = [
                (self.down(v, depth), p)
                for (v, p), place in zip(kept, places, strict=True)
                if place == depth
            ]
            made = self._products(here, depth, self.rescaling.log_scales[lowest])
            made = self.down(made, lowest)
            total = made if total is None else self.add(total, made)
        assert total is not None
        return total

    def _kept(self, terms: Sequence[tuple[Value, Slots]]) -> list[tuple[Value, Slots]]:
        """Without products with zeros; one of them where there are no others, which engines know to
        take for zero."""
        return [term for term in terms if self.vectors.any(term[1])] or list(terms[:1])

    def _products(
        self, terms: Sequence[tuple[Value, Slots]], depth: int, log_scale: float | None
    ) -> Value:
        numbers = tuple(v.number for v, _ in terms)
        plains = tuple(self._plain(p) for _, p in terms)
        ins = DotPlain(numbers, plains, self.rescaling.rescales[depth], log_scale)
        return self._emit(ins, depth - 1, log_scale)

    def _place(self, value: Value, lowest: int) -> int | None:
        """The lowest depth where a product with a precise plaintext has the scale of `lowest`."""
        depths = range(lowest + 1, value.depth + 1)
        return next((d for d in depths if self._fits(value, d, lowest)), None)

    def _fits(self, value: Value, depth: int, lowest: int) -> bool:
        wanted, held = self.rescaling.log_scales[lowest], self.log_scales[value.number]
        if wanted is None or held is None:
            return True
        return held <= wanted + self.rescaling.drops[depth] - USUAL_WEIGHT

    def dot_cipher(self, pairs: Sequence[tuple[Value, Value]]) -> Value:
        """Sum of products of ciphertexts. A single product has a lower scale where a factor has."""
        flat = self._lowered([v for pair in pairs for v in pair], exactly=len(pairs) > 1)
        flat = [self._raised(v, TOLERATED if len(pairs) > 1 else COARSEST) for v in flat]
        numbers = [v.number for v in flat]
        depth = flat[0].depth
        paired = tuple(zip(numbers[::2], numbers[1::2], strict=True))
        ins = DotCipher(paired, self.rescaling.rescales[depth])
        wanted = self.rescaling.log_scales[depth - 1]
        if wanted is not None and len(pairs) == 1:
            wanted -= sum(lack for v in flat if (lack := self._lacking(v)) >= TOLERATED)
        return self._emit(ins, depth - 1, wanted)

    def _addends(self, a: Value, b: Value) -> Sequence[Value]:
        """`a` and `b` at the lower of their depths, with the same scale."""
        lowered = self._lowered((a, b), exactly=True)
        less, more = sorted(self._lacking(v) for v in lowered)
        if more - less < TOLERATED:
            return lowered
        return [self._raised(v, TOLERATED) for v in lowered]

    def _lowered(self, values: Sequence[Value], *, exactly: bool) -> list[Value]:
        """The same values at the lowest of their depths, each with the scale wanted there at most,
        about.

        What is added must have the scale `exactly`: a value that primes are dropped from is
        multiplied by one on the way, at whatever scale the true primes call for.
        """
        depth = min(v.depth for v in values)
        wanted = self.rescaling.log_scales[depth]
        limit = None if wanted is None else -inf if exactly else wanted + TOLERATED
        return [self._below(v, depth, limit) for v in values]

    def _lacking(self, value: Value) -> float:
        """Bits that the scale of `value` lacks for what is wanted at its depth."""
        wanted, held = self.rescaling.log_scales[value.depth], self.log_scales[value.number]
        return 0.0 if wanted is None or held is None else wanted - held

    def _raised(self, value: Value, least: float) -> Value:
        """`value` with about the scale that is wanted at its depth, where it lacks `least` bits.

        A value from further up may lack what the products in between have added to the scale: it
        is multiplied by one, encoded at what is missing, at no level. In a product a few bits need
        not be made up for, and one encoded in so few would be none.
        """
        wanted = self.rescaling.log_scales[value.depth]
        if wanted is None or self._lacking(value) < least:
            return value
        return self._times_one(value, value.depth, wanted, rescale=False)

    def _below(self, value: Value, depth: int, limit: float | None) -> Value:
        """`value` at a lower depth, with a scale of at most `limit` where a rescale lies between.

        One rescale on the way is then done, on the value times one: the lowest that drops enough,
        or, where none does, the first, to the scale that belongs there, and another after that.
        """
        held, wanted = self.log_scales[value.number], self.rescaling.log_scales[depth]
        between = [d for d in range(depth + 1, value.depth + 1) if self.rescaling.rescales[d]]
        if limit is None or held is None or wanted is None or held <= limit or not between:
            return self.down(value, depth)
        drops = self.rescaling.drops
        enough = [d for d in between if wanted + drops[d] - held >= SMALLEST_WEIGHT]
        at = enough[0] if enough else between[-1]
        scale = wanted if enough else self.rescaling.log_scales[at - 1]
        assert scale is not None
        smaller = self._times_one(self.down(value, at), at - 1, scale, rescale=True)
        return self.down(smaller, depth) if enough else self._below(smaller, depth, limit)

    def _times_one(self, value: Value, depth: int, log_scale: float, *, rescale: bool) -> Value:
        ones = self._plain(np.ones(self.slots))
        return self._emit(DotPlain((value.number,), (ones,), rescale, log_scale), depth, log_scale)

    def _plain(self, values: Slots) -> int:
        """The number of a plaintext vector; equal vectors share one."""
        key = self.vectors.number(values)
        if key not in self._plains:
            self._plains[key] = len(self.plains)
            self.plains.append(self.vectors.held[key])
        return self._plains[key]

    def _emit(self, instruction: Instruction, depth: int, log_scale: float | None) -> Value:
        if instruction not in self._shared:
            self._shared[instruction] = len(self._levels)
            self.instructions.append(instruction)
            self.labels.append(self.label)
            self._levels.append(self.rescaling.level(depth))
            self.log_scales.append(log_scale)
        return Value(self._shared[instruction], depth)
