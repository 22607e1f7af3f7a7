"""Reading a data set's pickles without running what they say.

A pickle is a program: it may name any importable function and call it. Files of signals need four
names only, all of them to rebuild numpy arrays. This reader knows those and refuses every other,
and what it puts in their place is its own code, which builds numeric arrays and nothing else.
frames.py adds those of pandas.
"""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from eer.runtime.errors import DataError, FileError

Names = Mapping[tuple[str, str], object]
"""What stands for each (module, name) that a pickle may name."""

CORES = ("numpy.core", "numpy._core")
"""Where numpy keeps the functions that rebuild arrays: before version 2, and since."""


class RefusedError(pickle.UnpicklingError):
    """The pickle uses what it may name in a way that its writers do not."""


class ArrayType:
    """Stands for `numpy.ndarray`; only ever handed to what stands for `_reconstruct`."""

    __slots__ = ()


class _Reconstruct:
    """Stands for numpy's `_reconstruct`: an empty array that the pickle then fills."""

    __slots__ = ()

    def __call__(self, kind: object, shape: object, code: object) -> np.ndarray[Any, Any]:
        if not isinstance(kind, ArrayType) or shape != (0,):
            raise RefusedError("an array is rebuilt in a way that numpy does not use")
        return np.empty(0, dtype=np.int8)


class _FromBuffer:
    """Stands for numpy's `_frombuffer`, of which protocol 5 makes its arrays."""

    __slots__ = ()

    def __call__(
        self, content: object, dtype: object, shape: object, order: object
    ) -> np.ndarray[Any, Any]:
        if not isinstance(content, bytes | bytearray) or not isinstance(dtype, np.dtype):
            raise RefusedError("an array is rebuilt in a way that numpy does not use")
        return array_of(content, dtype, shape, fortran=order == "F")


class Dtype:
    """Stands for `numpy.dtype`: booleans, integers and floats only."""

    __slots__ = ()

    def __call__(self, code: object, *flags: object) -> np.dtype[Any]:
        if not isinstance(code, str) or code.lstrip("<>=|")[:1] not in tuple("biuf"):
            raise RefusedError(f"arrays of type {code!r} are not admitted")
        return np.dtype(code, copy=True)


class _Encode:
    """Stands for `_codecs.encode`, in which Python 3 wraps bytes for older protocols."""

    __slots__ = ()

    def __call__(self, text: object, codec: object = "latin1") -> bytes:
        if not isinstance(text, str) or codec != "latin1":
            raise RefusedError("only latin1 text is admitted as bytes")
        return text.encode("latin1")


ARRAYS: Names = {
    **{(f"{core}.multiarray", "_reconstruct"): _Reconstruct() for core in CORES},
    **{(f"{core}.numeric", "_frombuffer"): _FromBuffer() for core in CORES},
    ("numpy", "ndarray"): ArrayType(),
    ("numpy", "dtype"): Dtype(),
    ("_codecs", "encode"): _Encode(),
}
"""What arrays of numbers need."""


def array_of(
    content: bytes | bytearray, dtype: np.dtype[Any], shape: object, *, fortran: bool
) -> np.ndarray[Any, Any]:
    """A new array of these bytes; they must be exactly as many as the shape takes."""
    if not isinstance(shape, tuple) or not all(type(n) is int and n >= 0 for n in shape):
        raise RefusedError(f"{shape!r} is no shape of an array")
    flat = np.frombuffer(content, dtype=dtype)
    return flat.reshape(shape, order="F" if fortran else "C").copy(order="K")


class _Unpickler(pickle.Unpickler):
    def __init__(self, file: BinaryIO, names: Names) -> None:
        super().__init__(file, encoding="latin1")
        self.names = names

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in self.names:
            raise _ForbiddenError(f"{module}.{name}")
        return self.names[module, name]


class _ForbiddenError(Exception):
    """The pickle names something that is not admitted."""


def read_pickle(path: Path, names: Names = ARRAYS) -> object:
    """The containers, texts, numbers and numeric arrays in a pickle, Python 2's included.

    `names` are all that the pickle may name, with what is put in their place. Raises FileError
    where the file cannot be opened, and DataError where it is no pickle, is cut short, or names
    anything else; nothing that it names is ever run.
    """
    try:
        with path.open("rb") as file:
            return _read(file, path, names)
    except OSError as error:
        raise FileError(f"cannot read: {error.strerror}", where=str(path)) from error


def _read(file: BinaryIO, path: Path, names: Names) -> object:
    try:
        return _Unpickler(file, names).load()
    except _ForbiddenError as error:
        raise DataError(
            f"this pickle asks for {error}, which the data set's files do not need",
            where=str(path),
            hint="the file is not the official one, and may be an attack: do not open it "
            "with pickle",
        ) from error
    except (EOFError, MemoryError) as error:
        raise DataError(
            "this pickle ends too early", where=str(path), hint="download or unpack it again"
        ) from error
    except OSError:
        raise
    except Exception as error:  # a pickle's bytes can make its reader raise nearly anything
        truncated = "truncated" in str(error)
        raise DataError(
            "this pickle ends too early" if truncated else f"this is no readable pickle: {error}",
            where=str(path),
            hint="download or unpack it again",
        ) from error
