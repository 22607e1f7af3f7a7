"""Reading pickles of pandas' tables as plain arrays, without pandas and without running them.

`DataFrame.to_pickle` and `pickle.dump` name some fifteen classes and functions of pandas, numpy
and the standard library; `_NAMES` lists them, and what is put in place of each. None of pandas'
own code runs: the stand-ins only note what the pickle hands them, and a table is put together
from these notes when the whole file has been read. Text columns and row labels are dropped.
Read are tables of pandas 1.1 to 3, of any pickle protocol.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from eer.runtime.errors import DataError

from .restricted_pickle import ARRAYS, CORES, ArrayType, Dtype, RefusedError, array_of, read_pickle

DEEPEST = 20
"""Containers within containers; the files have four."""


@dataclass(frozen=True, slots=True, eq=False)
class Frame:
    """A table of numbers: `columns` by name, all [rows]."""

    columns: Mapping[str, NDArray[Any]]


def read_frames(path: Path) -> object:
    """What `read_pickle` gives, with every DataFrame as a `Frame` and every Series as an array.

    Raises as `read_pickle` does.
    """
    found = read_pickle(path, _NAMES)
    try:
        return _plain(found, DEEPEST)
    except RefusedError as error:
        raise DataError(
            f"this pickle's tables cannot be put together: {error}",
            where=str(path),
            hint="download it again; tables of pandas 1.1 to 3 are read",
        ) from error


class _Objects:
    """Stands for numpy's type of objects, of which pandas makes its texts."""

    def __setstate__(self, state: object) -> None:
        """Byte order and alignment of pointers: of no use here."""


class _AnyDtype(Dtype):
    """Also admits arrays of objects, which `_Array` keeps as texts only."""

    __slots__ = ()

    def __call__(self, code: object, *flags: object) -> Any:
        return _Objects() if code in ("O8", "O", "|O") else super().__call__(code, *flags)


class _Array:
    """Stands for an array until it is known of what: numbers, or texts.

    numpy's own `__setstate__` trusts the length of lists, so lists never reach it.
    """

    values: NDArray[Any] | tuple[object, ...] = ()

    def __setstate__(self, state: object) -> None:
        match state:
            case (int(), shape, dtype, fortran, content):
                self.fill(content, dtype, shape, bool(fortran))
            case _:
                raise RefusedError("an array is rebuilt in a way that numpy does not use")

    def fill(self, content: object, dtype: object, shape: object, fortran: bool) -> None:
        match content, dtype:
            case (bytes() | bytearray(), np.dtype()):
                self.values = array_of(content, dtype, shape, fortran=fortran)
            case (str(), np.dtype()):  # bytes that Python 2, or protocol 0, wrote as text
                self.values = array_of(content.encode("latin1"), dtype, shape, fortran=fortran)
            case (list(), _Objects()):
                self.values = tuple(content)
            case _:
                raise RefusedError("an array is neither of numbers nor of texts")


def _reconstruct(kind: object, shape: object, code: object) -> _Array:
    if not isinstance(kind, ArrayType):
        raise RefusedError("an array is rebuilt in a way that numpy does not use")
    return _Array()


def _frombuffer(content: object, dtype: object, shape: object, order: object) -> _Array:
    array = _Array()
    array.fill(content, dtype, shape, order == "F")
    return array


def _scalar(dtype: object, content: object) -> bool | int | float:
    if isinstance(content, str):
        content = content.encode("latin1")
    if not isinstance(content, bytes) or not isinstance(dtype, np.dtype):
        raise RefusedError("a number is rebuilt in a way that numpy does not use")
    number: bool | int | float = array_of(content, dtype, (1,), fortran=False)[0].item()
    return number


def _slice(*bounds: object) -> slice:
    if not all(bound is None or type(bound) is int for bound in bounds):
        raise RefusedError("a slice of anything but whole numbers")
    return slice(*bounds)


def _dictionary(*given: object) -> dict[object, object]:
    """Stands for the kinds of dictionary whose items the pickle sets one by one."""
    return {}


def _no_bytes(*given: object) -> bytes:
    """Stands for `bytes`, which Python 3 calls for empty ones in older protocols."""
    if given:
        raise RefusedError("bytes are made in a way that pickles do not use")
    return b""


class _Kind:
    """Stands for a class that is only ever handed to a function."""


class _Index:
    """Row labels or column names: those of an `Index` of texts, else none."""

    def __init__(self, names: tuple[object, ...]) -> None:
        self.names = names


def _new_index(kind: object, given: object) -> _Index:
    if not isinstance(kind, _Kind) or not isinstance(given, dict):
        raise RefusedError("an index is rebuilt in a way that pandas does not use")
    data = given.get("data")
    if isinstance(data, _Texts):
        data = data.array
    values = data.values if isinstance(data, _Array) else ()
    return _Index(values if isinstance(values, tuple) else tuple(values.reshape(-1).tolist()))


class _Texts:
    """Stands for pandas' array of texts; its state is its type and an array."""

    array: _Array | None = None

    def __setstate__(self, state: object) -> None:
        if isinstance(state, tuple):
            self.array = next((part for part in state if isinstance(part, _Array)), None)


def _texts(kind: object, checksum: object, state: object) -> _Texts:
    return _Texts()


@dataclass(frozen=True, slots=True)
class _Block:
    """Columns of one type: their values, and their places among the table's columns."""

    values: object
    places: object
    ndim: object


class _Manager:
    """What holds a table's blocks and its axes, given at once or, as older pandas did, later."""

    def __init__(self, blocks: object = (), axes: object = ()) -> None:
        self.blocks, self.axes = blocks, axes

    def __setstate__(self, state: object) -> None:
        match state:
            case (_, _, _, {"0.14.1": {"axes": list(axes), "blocks": list(blocks)}}):
                self.axes = axes
                self.blocks = [_older_block(block, len(axes)) for block in blocks]
            case _:
                raise RefusedError("a table without its columns")


def _older_block(block: object, ndim: int) -> _Block:
    match block:
        case {"values": values, "mgr_locs": places}:
            return _Block(values, places, ndim)
        case _:
            raise RefusedError("a table without its columns")


class _Table:
    """Stands for a DataFrame; a class, for pickles make one without calling it."""

    dimensions: ClassVar[int] = 2
    manager: _Manager | None = None

    def __setstate__(self, state: object) -> None:
        manager = state.get("_mgr") if isinstance(state, dict) else None
        if not isinstance(manager, _Manager):
            raise RefusedError("a table without its columns")
        self.manager = manager


class _Column(_Table):
    """Stands for a Series."""

    dimensions = 1


def _reconstructor(kind: object, base: object, state: object) -> _Table | _Manager:
    """Stands for what protocols 0 and 1 make objects with."""
    for made in (_Table, _Column, _Manager):
        if kind is made:
            return made()
    raise RefusedError("an object is rebuilt that is no table")


_INDEXES = ("base.Index", "range.RangeIndex", "numeric.Int64Index", "numeric.Float64Index")

_NAMES: dict[tuple[str, str], object] = {
    **ARRAYS,
    **{(f"{core}.multiarray", "_reconstruct"): _reconstruct for core in CORES},
    **{(f"{core}.multiarray", "scalar"): _scalar for core in CORES},
    **{(f"{core}.numeric", "_frombuffer"): _frombuffer for core in CORES},
    ("numpy", "dtype"): _AnyDtype(),
    ("copyreg", "_reconstructor"): _reconstructor,
    ("copy_reg", "_reconstructor"): _reconstructor,
    ("builtins", "object"): _Kind(),
    ("__builtin__", "object"): _Kind(),
    ("builtins", "slice"): _slice,
    ("__builtin__", "slice"): _slice,
    ("builtins", "bytes"): _no_bytes,
    ("__builtin__", "bytes"): _no_bytes,
    ("builtins", "dict"): _dictionary,
    ("__builtin__", "dict"): _dictionary,
    ("collections", "OrderedDict"): _dictionary,
    ("collections", "defaultdict"): _dictionary,
    ("pandas", "DataFrame"): _Table,
    ("pandas.core.frame", "DataFrame"): _Table,
    ("pandas", "Series"): _Column,
    ("pandas.core.series", "Series"): _Column,
    ("pandas.core.internals.managers", "BlockManager"): _Manager,
    ("pandas.core.internals.managers", "SingleBlockManager"): _Manager,
    ("pandas._libs.internals", "_unpickle_block"): _Block,
    ("pandas.core.internals.blocks", "new_block"): _Block,
    ("pandas.core.indexes.base", "_new_Index"): _new_index,
    **{
        (f"pandas.core.indexes.{module}", name): _Kind()
        for module, name in (kind.split(".") for kind in _INDEXES)
    },
    **{("pandas", kind.split(".")[1]): _Kind() for kind in _INDEXES},
    ("pandas._libs.arrays", "__pyx_unpickle_NDArrayBacked"): _texts,
    ("pandas.arrays", "StringArray"): _Kind(),
    ("pandas.core.arrays.string_", "StringArray"): _Kind(),
    ("pandas", "StringDtype"): _dictionary,
    ("pandas.core.arrays.string_", "StringDtype"): _dictionary,
}


def _plain(value: object, depth: int) -> object:
    """The value with every stand-in replaced by what it stands for."""
    if depth == 0:
        raise RefusedError("containers lie too deep in one another")
    match value:
        case _Column():
            return _column(value)
        case _Table():
            return _frame(value)
        case _Array():
            return value.values if isinstance(value.values, np.ndarray) else list(value.values)
        case dict():
            return {_key(key): _plain(part, depth - 1) for key, part in value.items()}
        case list() | tuple():
            return [_plain(part, depth - 1) for part in value]
        case None | bool() | int() | float() | str() | bytes():
            return value
        case _:
            raise RefusedError(f"a {type(value).__name__.lstrip('_').lower()} outside a table")


def _key(key: object) -> object:
    if not isinstance(key, int | float | str):
        raise RefusedError("a dictionary with keys that are neither numbers nor texts")
    return key


def _blocks(table: _Table) -> tuple[list[_Block], list[_Index]]:
    manager = table.manager
    if manager is None:
        raise RefusedError("a table without its columns")
    blocks, axes = (
        list(part) if isinstance(part, tuple | list) else [part]
        for part in (manager.blocks, manager.axes)
    )
    found = [block for block in blocks if isinstance(block, _Block)]
    indexes = [axis for axis in axes if isinstance(axis, _Index)]
    if len(found) < len(blocks) or any(block.ndim != table.dimensions for block in found):
        raise RefusedError("a table of something else than columns")
    if not len(indexes) == len(axes) == table.dimensions:
        raise RefusedError("a table without its index")
    return found, indexes


def _column(table: _Table) -> NDArray[Any]:
    blocks, _ = _blocks(table)
    values = blocks[0].values if len(blocks) == 1 else None
    if not isinstance(values, _Array) or not isinstance(values.values, np.ndarray):
        raise RefusedError("a column of something else than numbers")
    return values.values


def _frame(table: _Table) -> Frame:
    blocks, (names, _) = _blocks(table)
    columns: dict[str, NDArray[Any]] = {}
    for block in blocks:
        array = block.values.values if isinstance(block.values, _Array) else ()
        if not isinstance(array, np.ndarray):
            continue
        places = list(_places(block.places, len(names.names)))
        if array.ndim != 2 or len(places) != len(array):
            raise RefusedError("a table whose columns and names differ in number")
        columns |= {str(names.names[place]): row for place, row in zip(places, array, strict=True)}
    return Frame({name: columns[name] for name in map(str, names.names) if name in columns})


def _places(places: object, count: int) -> Iterable[int]:
    if isinstance(places, slice):
        return range(count)[places]
    if isinstance(places, _Array) and isinstance(places.values, np.ndarray):
        found = places.values.reshape(-1).tolist()
        if all(type(place) is int and 0 <= place < count for place in found):
            return found
    raise RefusedError("a column stands at no place of its table")
