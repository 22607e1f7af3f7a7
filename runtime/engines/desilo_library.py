"""DESILO FHE itself: which versions are let in, and one at a time into it."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from importlib import import_module
from importlib.metadata import distributions
from types import TracebackType
from typing import Any

from ..errors import EerError, EngineError

VERSION = "1.17.0"
"""The only version that is let in."""

_LOCK = threading.RLock()
"""The library releases the interpreter lock but is not thread-safe: it crashes the process."""


class DesiloCall:
    """Holds the process-wide lock inside a `with` block, and turns what is raised there into an
    EngineError that names the operation."""

    __slots__ = ("_what",)

    def __init__(self, what: str) -> None:
        self._what = what

    def __enter__(self) -> None:
        _LOCK.acquire()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        _LOCK.release()
        if isinstance(error, Exception) and not isinstance(error, EerError):
            raise EngineError(f"DESILO FHE could not {self._what}: {error}") from error


def installed() -> dict[str, str]:
    """Every installed distribution of DESILO FHE (CPU or CUDA, one import name) and its version."""
    return {
        name: d.version
        for d in distributions()
        if (name := d.name or "").replace("_", "-").lower().split("-")[0] == "desilofhe"
    }


def check_versions(found: Mapping[str, str]) -> str:
    """The version to be used; EngineError where it is missing or must not be used."""
    if not found:
        raise EngineError(
            "the desilo engine needs DESILO FHE, which is not installed",
            hint=f"pip install desilofhe=={VERSION} (free for non-commercial use only)",
        )
    for name, version in found.items():
        if version.split(".")[0] == "2":
            raise EngineError(
                f"{name} {version} is refused: its fresh ciphertexts carry uninitialised memory "
                "that often holds the plaintext, and it damages products of ciphertexts",
                hint=f"pip install {name}=={VERSION}",
            )
        if version != VERSION:
            raise EngineError(
                f"{name} {version} is refused: eer is tested with {VERSION} only, and versions "
                "differ in the direction of rotations and in what ciphertexts carry",
                hint=f"pip install {name}=={VERSION}",
            )
    return VERSION


def load_library() -> tuple[Any, str]:
    """The module `desilofhe` and its version, after the check and never before."""
    version = check_versions(installed())
    try:
        return import_module("desilofhe"), version
    except ImportError as error:
        raise EngineError(f"DESILO FHE {version} cannot be loaded: {error}") from error
