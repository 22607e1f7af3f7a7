"""Costs kept on this machine: in the user's cache folder, one file for each engine and device."""

from __future__ import annotations

import hashlib
import os
import warnings
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from eer.runtime.engines import family_of
from eer.runtime.engines.desilo_library import installed
from eer.runtime.errors import ArtifactError, EerError, EerWarning, UsageError
from eer.runtime.files import make_folder, read_file, write_file

from ..cost import Costs, shipped
from .device import device_of

AUTO, SHIPPED = "auto", "shipped"
"""Costs that may be asked for by name: this machine's where it was calibrated, or shipped."""


class CostsWarning(EerWarning):
    """This machine's costs were left aside."""


def choose(wanted: str | Path, engine: str) -> Costs:
    """The costs to plan with: AUTO, SHIPPED, or those in a file.

    AUTO gives a CostsWarning for a file in the cache that cannot be used, and takes what is
    shipped. Raises ArtifactError and FileError for a file that was asked for, UsageError where it
    is another engine's.
    """
    if wanted == SHIPPED:
        return shipped(engine)
    if wanted == AUTO:
        return _of_this_machine(engine) or shipped(engine)
    path = Path(wanted)
    costs = Costs.from_bytes(read_file(path), str(path))
    if costs.engine != engine:
        raise UsageError(
            f"these are costs of engine '{costs.engine}', and '{engine}' is compiled for",
            where=str(path),
            hint=f"make them with eer calibrate-costs --engine {engine}",
        )
    return costs


def keep(costs: Costs, path: Path | None = None) -> Path:
    """Write costs to `path`, or where AUTO will find them; returns where. Raises FileError."""
    if path is None:
        path = cache_path(costs.engine, costs.device)
        make_folder(path.parent)
    write_file(path, costs.to_bytes())
    return path


def cache_path(engine: str, device: str) -> Path:
    """Where costs of an engine on a device are kept."""
    base = os.environ.get("XDG_CACHE_HOME", "")
    folder = Path(base) if Path(base).is_absolute() else Path.home() / ".cache"
    digest = hashlib.sha256(device.encode()).hexdigest()[:12]
    return folder / "eer" / "costs" / f"{engine}-{digest}.json"


def _of_this_machine(engine: str) -> Costs | None:
    path = cache_path(engine, device_of(engine))
    if not path.exists():
        return None
    try:
        costs = Costs.from_bytes(read_file(path), str(path))
        _check(costs, engine, str(path))
    except EerError as problem:
        warnings.warn(
            f"the costs measured on this machine are not used: {problem.reason} ({path}); "
            f"run eer calibrate-costs --engine {engine} again",
            CostsWarning,
            stacklevel=4,
        )
        return None
    return costs


def _check(costs: Costs, engine: str, where: str) -> None:
    if (costs.engine, costs.device) != (engine, device_of(engine)):
        raise ArtifactError("they are another engine's or another device's", where=where)
    present = _installed_version(engine)
    if present is not None and costs.version != present:
        raise ArtifactError(
            f"they are of version {costs.version}, and {present} is installed", where=where
        )


def _installed_version(engine: str) -> str | None:
    """Of the engine's library; None where it is not installed, which compiling does not need."""
    if family_of(engine) == "desilo":
        return next(iter(installed().values()), None)
    try:
        return version("tenseal")
    except PackageNotFoundError:
        return None
