"""Rules of the house that a reader relies on: names, sizes, guards, no pickle, no prints."""

from __future__ import annotations

import ast
import doctest
import subprocess
import sys
import tomllib
from importlib import import_module
from pathlib import Path

import pytest

from tests.architecture.source import PACKAGES, ROOT, Module, loose_modules, modules

LONGEST = 400
"""Lines of a file. Past 300 it is worth a look, past this it wants splitting."""

VAGUE = {"utils", "util", "helpers", "helper", "common", "misc"}

PICKLES = {"pickle", "cPickle", "_pickle", "dill", "cloudpickle", "shelve", "marshal", "joblib"}
UNPICKLER = "examples/study/restricted_pickle.py"
"""Reads the data sets' pickles, and admits nothing but what it is told to put in place."""

PICKLERS = ("examples/wesad/synthetic.py", "examples/hideandseek/synthetic_release.py")
"""Write synthetic recordings in the data sets' formats; they read none."""

SPEAKERS = ("eer.compiler.cli", "eer.runtime.console", "eer.runtime.commands")
"""Where something may be printed."""


@pytest.mark.parametrize("package", sorted(PACKAGES))
def test_packages_of_the_wheel_are_the_folders(package: str) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    listed = [n for n in project["tool"]["setuptools"]["packages"] if n.startswith(package)]
    folder = PACKAGES[package]
    found = [
        ".".join([package, *p.parent.relative_to(folder).parts])
        for p in sorted(folder.rglob("__init__.py"))
    ]
    assert sorted(listed) == sorted(found)
    folders = {p.parent for p in folder.rglob("*.py")}
    assert not [f for f in folders if not (f / "__init__.py").exists()]
    assert project["tool"]["setuptools"]["package-dir"][package] == folder.name
    assert (folder / "py.typed").exists()


def test_eer_itself_is_a_namespace() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    assert "eer" not in project["tool"]["setuptools"]["packages"]
    assert not (ROOT / "eer").exists()


@pytest.mark.parametrize("folder", ["compiler", "runtime"])
def test_the_folders_refuse_to_be_imported_under_their_own_names(folder: str) -> None:
    """Or a second copy of every class would come into being."""
    done = subprocess.run(
        [sys.executable, "-c", f"import {folder}"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert f"ImportError: import this package as eer.{folder}" in done.stderr


def test_links_for_type_checkers_point_to_the_folders() -> None:
    for package, folder in PACKAGES.items():
        link = ROOT / ".typing" / Path(*package.split("."))
        assert link.is_symlink()
        assert link.resolve() == folder


def test_no_file_is_named_after_nothing() -> None:
    for module in (*modules(), *loose_modules()):
        assert module.path.stem not in VAGUE, module.where


def test_no_file_is_too_long() -> None:
    files = [m.path for m in (*modules(), *loose_modules())]
    files += sorted((ROOT / "tests").rglob("*.py"))
    long = {
        str(path.relative_to(ROOT)): count
        for path in files
        if (count := len(path.read_text(encoding="utf-8").splitlines())) > LONGEST
    }
    assert not long


def test_every_module_says_what_it_is() -> None:
    for module in (*modules(), *loose_modules()):
        first = module.tree.body[:1]
        guard_only = module.name == "eer.runtime" and bool(first)
        assert ast.get_docstring(module.tree) or guard_only, module.where


def test_nothing_is_pickled() -> None:
    for module in (*modules(), *loose_modules()):
        if module.where in PICKLERS:
            used = {ast.unparse(c.func) for c in calls(module)}
            assert {name for name in used if name.startswith("pickle.")} == {"pickle.dump"}
        elif module.where != UNPICKLER:
            assert not module.libraries() & PICKLES, module.where
        for call in calls(module):
            names = {k.arg: k.value for k in call.keywords}
            for option, safe in (("allow_pickle", False), ("weights_only", True)):
                value = names.get(option)
                assert value is None or getattr(value, "value", None) is safe, module.where


def test_libraries_do_not_print() -> None:
    for module in modules():
        if any(module.name == s or module.name.startswith(s + ".") for s in SPEAKERS):
            continue
        for call in calls(module):
            spoken = ast.unparse(call.func)
            silent = spoken not in ("print", "typer.echo", "sys.stdout.write", "sys.stderr.write")
            assert silent, f"{module.where}:{call.lineno}"


def calls(module: Module) -> list[ast.Call]:
    return [node for node in ast.walk(module.tree) if isinstance(node, ast.Call)]


def test_public_names_are_listed_and_there() -> None:
    """`__all__` is what a package re-exports, no more and no less."""
    for module in modules():
        lists = [
            node.value
            for node in module.tree.body
            if isinstance(node, ast.Assign)
            and [ast.unparse(t) for t in node.targets] == ["__all__"]
        ]
        re_exports = {
            alias.asname or alias.name
            for node in module.tree.body
            if isinstance(node, ast.ImportFrom) and node.level and module.path.stem == "__init__"
            for alias in node.names
        }
        if not lists:
            assert not (re_exports and module.path.stem == "__init__"), module.where
            continue
        listed = ast.literal_eval(lists[0])
        assert list(listed) == sorted(set(listed)), module.where
        loaded = import_module(module.name)
        assert all(hasattr(loaded, name) for name in listed), module.where
        assert not [n for n in listed if n.startswith("_")], module.where


def test_examples_in_docstrings_are_right() -> None:
    for module in modules():
        outcome = doctest.testmod(import_module(module.name))
        assert outcome.failed == 0, module.where


def test_every_library_that_is_imported_is_declared_and_used() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    installed_as = {"protobuf": "google"}

    def names(requirements: list[str]) -> set[str]:
        bare = {r.split(">")[0].split("=")[0].strip() for r in requirements}
        return {installed_as.get(n, n) for n in bare if not n.startswith("eer[")}

    needed = names(project["dependencies"])
    optional = names(extras["torch"]) | names(extras["desilo"])
    used = set[str]().union(*(m.libraries() for m in modules()))
    used -= {*sys.stdlib_module_names, "eer", ""}
    assert used - needed - optional == set()
    assert needed - used == set()
    outside = set[str]().union(*(m.libraries() for m in loose_modules()))
    outside -= {*sys.stdlib_module_names, *needed, "eer", "", "examples", "benchmarks"}
    assert outside - optional - names(extras["examples"]) == set()
