"""Reading the official archive's pickles without running what they say.

A pickle is a program: it may name any importable function and call it. WESAD's files need three
names only, all of them to rebuild numpy arrays. This reader knows those and refuses every other,
and what it puts in their place is its own code, which builds numeric arrays and nothing else.
"""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from eer.runtime.errors import DataError, FileError

_ARRAY_MODULES = ("numpy.core.multiarray", "numpy._core.multiarray")


class _ArrayType:
    """Stands for `numpy.ndarray`; only ever handed to `_Reconstruct`."""

    __slots__ = ()


class _Reconstruct:
    """Stands for numpy's `_reconstruct`: an empty array that the pickle then fills."""

    __slots__ = ()

    def __call__(self, kind: object, shape: object, code: object) -> np.ndarray[Any, Any]:
        if not isinstance(kind, _ArrayType) or shape != (0,):
            raise pickle.UnpicklingError("an array is rebuilt in a way that numpy does not use")
        return np.empty(0, dtype=np.int8)


class _Dtype:
    """Stands for `numpy.dtype`: booleans, integers and floats only."""

    __slots__ = ()

    def __call__(self, code: object, *flags: object) -> np.dtype[Any]:
        if not isinstance(code, str) or code.lstrip("<>=|")[:1] not in tuple("biuf"):
            raise pickle.UnpicklingError(f"arrays of type {code!r} are not admitted")
        return np.dtype(code, copy=True)


class _Encode:
    """Stands for `_codecs.encode`, in which Python 3 wraps bytes for older protocols."""

    __slots__ = ()

    def __call__(self, text: object, codec: object = "latin1") -> bytes:
        if not isinstance(text, str) or codec != "latin1":
            raise pickle.UnpicklingError("only latin1 text is admitted as bytes")
        return text.encode("latin1")


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if module in _ARRAY_MODULES and name == "_reconstruct":
            return _Reconstruct()
        if (module, name) == ("numpy", "ndarray"):
            return _ArrayType()
        if (module, name) == ("numpy", "dtype"):
            return _Dtype()
        if (module, name) == ("_codecs", "encode"):
            return _Encode()
        raise _ForbiddenError(f"{module}.{name}")


class _ForbiddenError(Exception):
    """The pickle names something that is not an array."""


def read_pickle(path: Path) -> object:
    """The containers, texts, numbers and numeric arrays in a pickle, Python 2's included.

    Raises FileError where the file cannot be opened, and DataError where it is no pickle, is cut
    short, or names anything but numpy's arrays; nothing that it names is ever run.
    """
    try:
        with path.open("rb") as file:
            return _read(file, path)
    except OSError as error:
        raise FileError(f"cannot read: {error.strerror}", where=str(path)) from error


def _read(file: BinaryIO, path: Path) -> object:
    try:
        return _Unpickler(file, encoding="latin1").load()
    except _ForbiddenError as error:
        raise DataError(
            f"this pickle asks for {error}, which WESAD's files do not need",
            where=str(path),
            hint="the file is not from the official archive, and may be an attack: do not open it "
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
