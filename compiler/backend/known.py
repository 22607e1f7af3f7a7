"""What is found out about a map in patterns, whatever operations cost: kept from plan to plan."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from scipy.sparse import csr_array

from ..ir.layout import Index
from .cover import Cover, Source, Term, cover
from .pattern import Pattern
from .sliding import Slider


@dataclass(frozen=True, slots=True, eq=False)
class Known:
    """Of one map and the layouts that it reads: its patterns' samples, and what their searches
    found. Masks take much memory and little time: they are made again."""

    samples: dict[Pattern, Pattern] = field(default_factory=dict)
    covers: dict[tuple[Pattern, int], Cover] = field(default_factory=dict)
    sliders: dict[int, Slider] = field(default_factory=dict)
    futile: set[Pattern] = field(default_factory=set)

    def sampled(self, pattern: Pattern, windows: int) -> Pattern:
        """The pattern for some of its windows."""
        if pattern not in self.samples:
            self.samples[pattern] = pattern.sampled(windows)
        return self.samples[pattern]

    def cover(
        self,
        pattern: Pattern,
        cipher: int,
        sources: list[Source],
        matrices: tuple[csr_array, ...],
        max_terms: int,
        skip: frozenset[int],
    ) -> list[Term] | None:
        """See `cover`: the terms of one ciphertext of a pattern."""
        found = self.covers.get((pattern, cipher), Cover(None, 0))
        if found.needed > max_terms:
            return None
        owner, window = pattern.owner[cipher], pattern.window[cipher]
        made = cover(owner, window, sources, matrices, max_terms, skip, found.taken)
        if not found.taken:
            self.covers[pattern, cipher] = replace(made, terms=None)
        return made.terms

    def slide(
        self, pattern: Pattern, source: Source, matrix: csr_array
    ) -> tuple[tuple[Term, ...], Index] | None:
        """See `Slider.slide`."""
        if pattern in self.futile:
            return None
        if source.operand not in self.sliders:
            self.sliders[source.operand] = Slider(matrix)
        found = self.sliders[source.operand].slide(pattern, source)
        if found is None:
            self.futile.add(pattern)
        return found
