"""The project's own source as data: modules, what they import, what they call."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

PACKAGES = {"eer.compiler": ROOT / "compiler", "eer.runtime": ROOT / "runtime"}
"""Installed name and folder of the two halves."""

LOOSE = ("examples", "benchmarks")
"""Folders of code that is run from the clone and not installed."""


@dataclass(frozen=True, slots=True)
class Module:
    """One file. `name` is what it is imported as, `tree` its syntax."""

    name: str
    path: Path
    tree: ast.Module

    @property
    def where(self) -> str:
        return str(self.path.relative_to(ROOT))

    @property
    def package(self) -> str:
        """What relative imports in this file are relative to."""
        if self.path.name == "__init__.py":
            return self.name
        return self.name.rpartition(".")[0]

    def imports(self) -> Iterator[str]:
        """Absolute names of everything imported: modules, and `module.name` for names in them.

        Literal arguments of `import_module` count as well.
        """
        for node in ast.walk(self.tree):
            match node:
                case ast.Import(names):
                    yield from (alias.name for alias in names)
                case ast.ImportFrom(module, names, level):
                    base = module or ""
                    if level:
                        parent = self.package.split(".")
                        parent = parent[: len(parent) - (level - 1)]
                        base = ".".join([*parent, base]).rstrip(".")
                    yield base
                    yield from (f"{base}.{alias.name}" for alias in names)
                case ast.Call(
                    func=ast.Name(id="import_module") | ast.Attribute(attr="import_module"),
                    args=[ast.Constant(value=str(name)), *_],
                ) if not name.startswith("."):
                    yield name

    def libraries(self) -> set[str]:
        """Top-level names of what is imported."""
        return {name.split(".")[0] for name in self.imports() if name}


@cache
def modules() -> tuple[Module, ...]:
    """Every file of the two packages."""
    found = []
    for package, folder in PACKAGES.items():
        for path in sorted(folder.rglob("*.py")):
            parts = path.relative_to(folder).with_suffix("").parts
            parts = parts[:-1] if parts[-1] == "__init__" else parts
            found.append(_module(".".join([package, *parts]), path))
    return tuple(found)


@cache
def loose_modules() -> tuple[Module, ...]:
    """Every file of the examples and benchmarks that runs in our own environment.

    The benchmarks' adapters of peers run in the peers' environments.
    """
    found = []
    for path in sorted(p for folder in LOOSE for p in (ROOT / folder).rglob("*.py")):
        if path.parent == ROOT / "benchmarks" / "peers":
            continue
        parts = path.relative_to(ROOT).with_suffix("").parts
        parts = parts[:-1] if parts[-1] == "__init__" else parts
        found.append(_module(".".join(parts), path))
    return tuple(found)


def _module(name: str, path: Path) -> Module:
    return Module(name, path, ast.parse(path.read_text(encoding="utf-8"), str(path)))


def inside(name: str, package: str) -> bool:
    """Whether `name` is `package` or something in it."""
    return name == package or name.startswith(package + ".")
