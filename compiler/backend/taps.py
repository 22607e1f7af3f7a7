"""Taps: convolutions of an input that the client packs so that rotations serve many of them."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from math import prod

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from eer.runtime.program import Slots

from ..ir.layout import NOTHING, Index, Layout
from .convolutions import anchors
from .packing import Packed, ranks
from .pattern import Pattern
from .terms import Terms

NOWHERE = -(1 << 30)
"""Where no slot of a lane stands: no element is so low, of padding either."""

LOOKS = (slice(-32, None), slice(32), slice(None))
"""Slots of a lane to look at: first those at the ring's ends, where most fails that does."""

UNION = 4
"""Taps of all phases together, at most, as a multiple of what one output reads: twice as many along
each axis."""

Lane = tuple[tuple[int, int], ...]
"""Taps that one slot of a window serves by rotations: (slots further on, tap), in order."""


@dataclass(frozen=True, slots=True, eq=False)
class Taps:
    """How a convolution reads its input: the output at position p of a channel reads the elements
    `lowest[p]` + t for every t of `taps`, where there are such (elsewhere it reads padding).

    `pitches` are the elements from one position to the next along each axis of `space`;
    `weights[o, k]` is what output o reads with the k-th of `taps`, `used[k, o]` whether that is not
    zero. Outputs are numbered by channel and position: `number[e]` is that of the matrix's row e.
    """

    space: tuple[int, ...]
    lowest: Index
    taps: Index
    pitches: tuple[int, ...]
    weights: Slots
    used: NDArray[np.bool_]
    number: Index

    @classmethod
    def of(
        cls, shape: tuple[int, ...], matrix: csr_array, order: Index | None = None
    ) -> Taps | None:
        """Of a map to outputs of `shape` (channels, axes), or None where it is no convolution.

        With `order` the outputs by channel and position are those rows of the matrix; channels may
        be phases, which read other taps each.
        """
        space = tuple(d for d in shape[1:] if d > 1)
        positions = prod(space)
        if not space or shape[0] * positions != matrix.shape[0]:
            return None
        number = np.arange(matrix.shape[0]) if order is None else np.argsort(order)
        union = 1 if order is None else UNION
        matrix = matrix if order is None else matrix[order]
        lowest = anchors(space, Layout(np.arange(matrix.shape[1])[None, :]), matrix)
        if lowest is None:
            return None
        counts = np.diff(matrix.indptr)
        rows = np.repeat(np.arange(len(counts)), counts)
        read = matrix.indices - lowest[rows % positions]
        taps = np.unique(read)
        grid = lowest.reshape(space)
        pitches = tuple(int(np.diff(grid, axis=k).flat[0]) for k in range(len(space)))
        if len(taps) > union * counts.max() or not all(pitches):
            return None
        weights = np.zeros((len(counts), len(taps)), matrix.data.dtype)
        weights[rows, np.searchsorted(taps, read)] = matrix.data
        used = np.ascontiguousarray(weights.T != 0)
        return cls(space, lowest, taps, pitches, weights, used, number)

    def classes(self) -> list[dict[int, tuple[int, ...]]]:
        """Taps that lead to each other by pitches, and how many along each axis it takes from the
        first of them: those of an input channel with the same remainder of the stride."""
        left = {int(t) for t in self.taps}
        found: list[dict[int, tuple[int, ...]]] = []
        while left:
            reached = {min(left): (0,) * len(self.pitches)}
            fresh = list(reached)
            while fresh:
                tap = fresh.pop()
                for axis, pitch in enumerate(self.pitches):
                    for sign in (1, -1):
                        other = tap + sign * pitch
                        if other in left and other not in reached:
                            away = list(reached[tap])
                            away[axis] += sign
                            reached[other] = tuple(away)
                            fresh.append(other)
            found.append(reached)
            left -= reached.keys()
        return found

    def lanes(self, steps: tuple[int, ...], size: int) -> list[Lane]:
        """Taps by lane, for windows of `size` slots, if positions lie `steps` slots apart.

        Taps of a class share a lane. Where a window has room, lanes are cut into pieces.
        """
        classes = self.classes()
        pieces = max(1, size // len(classes))
        lanes: list[Lane] = []
        for found in classes:
            ordered = sorted((int(np.dot(away, steps)), tap) for tap, away in found.items())
            length = -(-len(ordered) // pieces)
            lanes += [tuple(ordered[k : k + length]) for k in range(0, len(ordered), length)]
        return lanes


def pack_taps(taps: Taps, pattern: Pattern, matrix: csr_array) -> Packed | None:
    """Let the client arrange a convolution's input so that rotations serve its taps.

    A slot holds what one tap of its output reads. What others read stands at other positions, as
    many slots away for every output, if the taps lie a multiple of the stride apart. The slots of a
    window serve one lane of taps each; where there are more lanes, there are more ciphertexts. None
    where positions do not lie in `pattern` like that, or something that is read stands nowhere.
    """
    if len(pattern.owner) > 1 or pattern.kind == "summed":
        return None
    rank, size = ranks(pattern, 0), pattern.size
    owner = np.where(pattern.owner[0] >= 0, taps.number[pattern.owner[0]], NOTHING)
    steps = _steps(owner, rank, taps.space)
    if steps is None:
        return None
    lanes = taps.lanes(steps, size)
    shares = [lanes[first : first + size] for first in range(0, len(lanes), size)]

    def pack() -> list[_Lanes] | None:
        found = [_pack_lanes(taps, share, owner, rank, matrix.shape[1]) for share in shares]
        return [f for f in found if f is not None] if None not in found else None

    def masks() -> list[Slots]:
        """What they are made of takes much memory: it is found again."""
        return [mask for f in pack() or () for mask in f.masks()]

    packed = pack()
    if packed is None:
        return None
    places = tuple((c, turn) for c, found in enumerate(packed) for turn in found.turns())
    return Packed(np.array([found.index for found in packed]), Terms(places, masks))


@dataclass(frozen=True, slots=True, eq=False)
class _Lanes:
    """A packed ciphertext [slots], and the slots that its rotations are multiplied for, by shift:
    each with the output that it is for, the number of the tap that is read, and whether any of them
    reads it."""

    taps: Taps
    index: Index
    read: dict[int, list[tuple[Index, Index, int, bool]]]

    def turns(self) -> list[int]:
        """Shifts at which there is a weight."""
        return [turn for turn in sorted(self.read) if any(any_ for *_, any_ in self.read[turn])]

    def masks(self) -> Iterator[Slots]:
        """At each of them, [slots]."""
        for turn in self.turns():
            mask: Slots = np.zeros(len(self.index), self.taps.weights.dtype)
            for held, outputs, tap, _ in self.read[turn]:
                mask[held] = self.taps.weights[outputs, tap]
            yield mask


def _pack_lanes(
    taps: Taps, lanes: list[Lane], owner: Index, rank: Index, inputs: int
) -> _Lanes | None:
    """One ciphertext, in which the slots of rank r serve `lanes[r]`, of so many inputs."""
    slots = len(owner)
    made = _Lanes(taps, np.full(slots, NOTHING, dtype=np.int64), {})
    for r, lane in enumerate(lanes):
        held = np.flatnonzero((owner >= 0) & (rank == r))
        outputs = owner[held]
        lowest = taps.lowest[outputs % len(taps.lowest)]
        columns = np.searchsorted(taps.taps, [tap for _, tap in lane])
        used = taps.used[columns].take(outputs, axis=1)
        order = sorted(lane, key=lambda x: _strangeness(lane, x, made.read.keys(), slots))
        found = _standing(lane, order, held, lowest, used, slots)
        if found is None:
            return None
        start, own = found
        made.index[held] = _elements(lowest + own, inputs)
        for (shift, _), column, seen in zip(lane, columns, used, strict=True):
            placed = held, outputs, int(column), bool(seen.any())
            made.read.setdefault((shift - start) % slots, []).append(placed)
    return made


def _standing(
    lane: Lane,
    order: Iterable[tuple[int, int]],
    held: Index,
    lowest: Index,
    used: NDArray[np.bool_],
    slots: int,
) -> tuple[int, int] | None:
    """The first in `order` of a lane's taps that its slots `held` may hold, for rotations to bring
    all that they read, or None; `used[k, n]`: whether the n-th of them reads the lane's k-th."""
    # Half the memory of what counts in 64 bits; twice around, for slots at its end.
    ring = np.full(2 * slots, NOWHERE, dtype=np.int32)
    ring[held] = ring[held + slots] = lowest
    wanted = lowest.astype(np.int32)
    shifts, taps = np.array(lane)[:, :, None].swapaxes(0, 1)

    def brings(start: int, own: int, part: slice) -> bool:
        brought = ring.take(held[part] + (shifts - start) % slots)
        brought -= (taps - own).astype(np.int32)
        return not (used[:, part] & (brought != wanted[part])).any()

    return next(((s, own) for s, own in order if all(brings(s, own, part) for part in LOOKS)), None)


def _strangeness(
    lane: Lane, shown: tuple[int, int], turns: Collection[int], slots: int
) -> tuple[int, int]:
    """Rotations that no lane before has taken, and how far from the lane's middle `shown` is."""
    new = sum((shift - shown[0]) % slots not in turns for shift, _ in lane)
    return new, abs(lane.index(shown) - len(lane) // 2)


def _elements(numbers: Index, count: int) -> Index:
    return np.where((numbers >= 0) & (numbers < count), numbers, NOTHING)


def _steps(owner: Index, rank: Index, space: tuple[int, ...]) -> tuple[int, ...] | None:
    """Slots from one position to the next along each axis, in the first output channel."""
    outputs, first = np.unique(np.where(rank == 0, owner, NOTHING), return_index=True)
    positions = np.arange(prod(space))
    at = np.minimum(np.searchsorted(outputs, positions), len(outputs) - 1)
    if not np.array_equal(outputs[at], positions):
        return None
    grid = first[at].reshape(space)
    return tuple(int(np.diff(grid, axis=k).flat[0]) for k in range(len(space)))
