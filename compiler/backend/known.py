"""What is found out about a map in patterns, whatever operations cost: kept from plan to plan."""

from __future__ import annotations

from dataclasses import dataclass, field

from scipy.sparse import csr_array

from .cover import Cover, Source, cover
from .pattern import Pattern
from .sliding import Slide, Slider
from .terms import Terms


@dataclass(frozen=True, slots=True, eq=False)
class Known:
    """Of one map and the layouts that it reads: its patterns' samples, and what their searches
    found."""

    samples: dict[Pattern, Pattern] = field(default_factory=dict)
    covers: dict[tuple[Pattern, int], Cover] = field(default_factory=dict)
    sliders: dict[int, Slider] = field(default_factory=dict)
    slides: dict[Pattern, Slide | None] = field(default_factory=dict)

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
    ) -> Terms | None:
        """See `cover`: the terms of one ciphertext of a pattern."""
        found = self.covers.get((pattern, cipher), Cover(None, 0))
        if found.terms is None and found.needed <= max_terms:
            owner, window = pattern.owner[cipher], pattern.window[cipher]
            found = cover(owner, window, sources, matrices, max_terms, skip)
            self.covers[pattern, cipher] = found
        return found.terms if found.needed <= max_terms else None

    def slide(self, pattern: Pattern, source: Source, matrix: csr_array) -> Slide | None:
        """See `Slider.slide`."""
        if pattern not in self.slides:
            if source.operand not in self.sliders:
                self.sliders[source.operand] = Slider(matrix)
            self.slides[pattern] = self.sliders[source.operand].slide(pattern, source)
        return self.slides[pattern]
