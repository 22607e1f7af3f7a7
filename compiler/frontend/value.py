"""What an ONNX tensor name stands for during import, and where its batch axis lies.

Every tensor of the model has a batch axis of `windows` entries in which nothing is mixed: `windows`
is what the file declares, or 2 where the axis is symbolic, so that a window's own elements can be
told from the next window's. Nodes of the tensor graph hold one window.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .problems import MIXES_WINDOWS, Unsupported

Array = NDArray[Any]
Labels = NDArray[np.int64]
Shape = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Batch:
    """The batch lies in `axis`, `outer` entries of which are outside it (1 unless merged)."""

    axis: int
    outer: int = 1


@dataclass(frozen=True, slots=True)
class Value:
    """An encrypted tensor: a node and the ONNX shape with the batch divided out of its axis."""

    node: int
    shape: Shape
    batch: Batch | None

    @property
    def size(self) -> int:
        return prod(self.shape)

    @property
    def inner(self) -> int:
        """Elements of one window that stand together, inside the batch axis."""
        if self.batch is None:
            return self.size
        axis, outer = self.batch.axis, self.batch.outer
        return self.shape[axis] // outer * prod(self.shape[axis + 1 :])

    @property
    def clean(self) -> bool:
        """Whether the batch has an axis of its own."""
        return self.batch is not None and self.shape[self.batch.axis] == 1

    @property
    def window_shape(self) -> Shape:
        """The shape without the batch axis."""
        if self.batch is None or not self.clean:
            return self.shape
        axis = self.batch.axis
        return self.shape[:axis] + self.shape[axis + 1 :]

    def full_shape(self, windows: int) -> Shape:
        """The shape as ONNX sees it, for so many windows."""
        if self.batch is None:
            return self.shape
        axis = self.batch.axis
        return (*self.shape[:axis], self.shape[axis] * windows, *self.shape[axis + 1 :])


@dataclass(frozen=True, slots=True, eq=False)
class Constant:
    """A known array. `twin` is its value for another number of windows, where that differs."""

    array: Array
    twin: Array | None = None


@dataclass(frozen=True, slots=True)
class Deferred:
    """What the client computes after decryption: `post` of a value along its ONNX `axis`."""

    value: Value
    post: str
    axis: int


@dataclass(frozen=True, slots=True)
class Missing:
    """The result of a node that cannot be compiled, of unknown shape."""


Operand = Value | Constant | Deferred | Missing


def labels(value: Value, windows: int) -> Labels:
    """1 + window * size + element, for every entry of the full tensor."""
    own = np.arange(1, value.size + 1, dtype=np.int64)
    if value.batch is None:
        return own.reshape(value.shape)
    grid = own.reshape(-1, 1, value.inner) + np.arange(windows)[:, None] * value.size
    return grid.reshape(value.full_shape(windows))


def locate(full: Shape, inner: int, windows: int, prefer: int | None = None) -> Batch | None:
    """The axis of a full shape that holds the batch, given how many elements lie inside it."""
    found: list[Batch] = []
    for axis, length in enumerate(full):
        trailing = prod(full[axis + 1 :])
        if inner % trailing or length % (windows * (inner // trailing)):
            continue
        found.append(Batch(axis, length // (windows * (inner // trailing))))
    own = [b for b in found if full[b.axis] == windows]
    preferred = [b for b in own if b.axis == prefer]
    return next(iter(preferred + own + found), None)


@dataclass(frozen=True, slots=True, eq=False)
class Window:
    """Tensors of one full shape, cut to one window: its shape, batch axis, and flat contents."""

    shape: Shape
    batch: Batch | None
    parts: tuple[Array, ...]


def one_window(
    arrays: Sequence[Array], steps: Sequence[int], windows: int, prefer: int | None
) -> Window:
    """Cut arrays of one full shape to their first window.

    steps[k] is by how much the entries of arrays[k] grow from a window to the next: its value's
    size for labels of a batched value, 0 for what must be the same in every window. Label 0
    (padding) may stand anywhere. Raises Unsupported where windows are mixed.
    """
    full = arrays[0].shape
    flat = [a.reshape(-1) for a in arrays]
    if not any(steps):
        return Window(full, None, tuple(flat))
    if windows == 1:
        kept = prefer is not None and prefer < len(full) and full[prefer] == 1
        return Window(full, Batch(prefer) if kept and prefer is not None else None, tuple(flat))
    for inner in _candidates(flat, steps, full, windows):
        cut = [_first(a, s, inner, windows) for a, s in zip(flat, steps, strict=True)]
        batch = locate(full, inner, windows)
        if batch is None or any(c is None for c in cut):
            continue
        axis = batch.axis
        shape = (*full[:axis], full[axis] // windows, *full[axis + 1 :])
        return Window(shape, batch, tuple(c for c in cut if c is not None))
    raise Unsupported(*MIXES_WINDOWS)


def _candidates(
    flat: Sequence[Array], steps: Sequence[int], full: Shape, windows: int
) -> list[int]:
    """Possible numbers of elements inside the batch axis."""
    for array, step in zip(flat, steps, strict=True):
        if step and array.size and array.all():
            window = (array.astype(np.int64) - 1) // step
            run = int(np.argmax(window != window[0]))
            return [run] if run and window[0] == 0 else []
    found = []
    for axis, length in enumerate(full):
        if length % windows == 0:
            trailing, rest = prod(full[axis + 1 :]), length // windows
            found += [trailing * c for c in range(1, rest + 1) if rest % c == 0]
    return found


def _first(array: Array, step: int, inner: int, windows: int) -> Array | None:
    """The first window, if the others are the same up to `step`; None otherwise."""
    if array.size % (inner * windows):
        return None
    cube = array.reshape(-1, windows, inner)
    first = cube[:, :1]
    if step:
        grown = first + np.arange(windows)[None, :, None] * step
        same = np.where(first > 0, grown, 0) == cube
        inside = first <= step
        if not (same.all() and inside.all()):
            return None
    elif not np.array_equal(
        np.broadcast_to(first, cube.shape), cube, equal_nan=cube.dtype.kind == "f"
    ):
        return None
    return first.reshape(-1)
