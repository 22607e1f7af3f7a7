"""The engines by name. Each CKKS library is imported only when its engine is opened."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import cast

from ..engine import Engine
from ..errors import UsageError
from ..params import CkksParams
from .desilo_params import desilo_literal

_ENGINES = {
    "clear": ("clear", "ClearEngine"),
    "desilo": ("desilo", "DesiloEngine"),
    "desilo-gpu": ("desilo_gpu", "DesiloGpuEngine"),
    "dry": ("dry", "DryEngine"),
    "seal": ("seal", "SealEngine"),
}

_FAMILIES = {"desilo-gpu": "desilo"}

__all__ = ["desilo_literal", "engine_names", "family_of", "open_engine"]


def engine_names() -> tuple[str, ...]:
    """Every name that `open_engine` knows, installed or not."""
    return tuple(sorted(_ENGINES))


def family_of(name: str) -> str:
    """The engine whose parameters, keys and ciphertexts engine `name` takes: the GPU's are the
    CPU's."""
    return _FAMILIES.get(name, name)


def open_engine(params: CkksParams, name: str | None = None) -> Engine:
    """The engine `name` (default: the one that `params` were chosen for) with these parameters.

    `clear` and `dry` open on any parameters. Raises UsageError for a name that is not known, and
    EngineError where the library is missing or of a refused version.
    """
    name = params.engine if name is None else name
    if name not in _ENGINES:
        raise UsageError(
            f"there is no engine named {name!r}", hint=f"one of: {', '.join(engine_names())}"
        )
    module, attribute = _ENGINES[name]
    factory = getattr(import_module(f".{module}", __package__), attribute)
    return cast(Callable[[CkksParams], Engine], factory)(params)
