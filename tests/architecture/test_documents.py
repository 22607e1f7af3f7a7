"""Documents that must not fall behind: links, commands, tables of codes, engines and limits."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import typer

from eer.runtime.console import EXIT_CODES
from eer.runtime.engines import engine_names
from eer.runtime.errors import EerError
from eer.runtime.params import MAX_LOG_QP_128
from tests.architecture.source import ROOT

DOCUMENTS = sorted(
    [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "examples").rglob("*.md")]
)


def text_of(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda p: str(p.relative_to(ROOT)))
def test_links_lead_somewhere(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    headings: dict[Path, set[str]] = {}
    for target in re.findall(r"\]\(([^)\s]+)\)|src=\"([^\"]+)\"", text):
        link = target[0] or target[1]
        if re.match(r"[a-z]+:", link):
            continue
        file, _, anchor = link.partition("#")
        place = (path.parent / file).resolve() if file else path
        assert place.exists(), link
        if anchor:
            known = headings.setdefault(place, anchors(place))
            assert anchor in known, link


def anchors(path: Path) -> set[str]:
    """Anchors of a Markdown file's headings, as hosts of repositories make them."""
    titles = re.findall(r"^#+ (.+)$", path.read_text(encoding="utf-8"), re.MULTILINE)
    plain = [re.sub(r"[^\w\- ]", "", t.lower()) for t in titles]
    return {t.strip().replace(" ", "-") for t in plain}


def test_commands_in_documents_exist_in_the_makefile() -> None:
    targets = set(re.findall(r"^([a-z][a-z-]*):", text_of("Makefile"), re.MULTILINE))
    assert {"demo", "test", "lint"} <= targets
    for path in DOCUMENTS:
        quoted = re.findall(r"`make ([a-z-]+)", path.read_text(encoding="utf-8"))
        lines = re.findall(r"^make ([a-z-]+)", path.read_text(encoding="utf-8"), re.MULTILINE)
        assert set(quoted + lines) <= targets, path.name
    assert {"demo", "test"} <= set(re.findall(r"^make ([a-z-]+)", text_of("README.md"), re.M))


def test_ci_runs_what_the_readme_tells() -> None:
    script = text_of(".ci/run")
    assert script.startswith("#!/usr/bin/env bash\n")
    assert "set -euo pipefail" in script
    assert (ROOT / ".ci" / "run").stat().st_mode & 0o100
    for target in ("lint", "test", "demo-quick"):
        assert f"make {target}\n" in script


def test_the_changelog_has_a_place_for_what_comes() -> None:
    assert re.search(r"^## Unreleased$", text_of("CHANGELOG.md"), re.MULTILINE)


def test_every_error_and_exit_code_is_documented() -> None:
    text = text_of("docs/errors.md")
    rows = {
        (code, int(number))
        for code, number in re.findall(r"^\| `([a-z-]+)` \| (\d+) \|", text, re.MULTILINE)
    }
    ours = {e for e in descendants(EerError) if e.__module__.startswith("eer.") and e.code != "eer"}
    assert rows == {(e.code, e.exit_code) for e in ours}
    codes = {int(n) for n in re.findall(r"^\| (\d+) \|", text_of("README.md"), re.MULTILINE)}
    assert codes == {number for number, _ in EXIT_CODES}


def descendants(kind: type[EerError]) -> set[type[EerError]]:
    """Errors of the runtime; a subclass with the code of its parent needs no row of its own."""
    return {kind}.union(*(descendants(k) for k in kind.__subclasses__()))


def test_every_engine_is_documented() -> None:
    named = set(re.findall(r"^\| `([a-z-]+)` \|", text_of("docs/engines.md"), re.MULTILINE))
    assert set(engine_names()) <= named


def test_the_security_table_is_the_one_that_is_enforced() -> None:
    for name in ("README.md", "docs/concepts.md"):
        rows = re.findall(r"^\| 2<sup>(\d+)</sup> \| (\d+) \|", text_of(name), re.MULTILINE)
        assert {int(n): int(bits) for n, bits in rows} == MAX_LOG_QP_128, name


def test_the_map_names_every_module_of_the_compiler() -> None:
    text = text_of("docs/architecture.md")
    for path in sorted((ROOT / "compiler").glob("*.py")):
        assert path.stem == "__init__" or f" {path.name} " in text, path.name


def test_adrs_are_numbered_and_listed() -> None:
    adrs = sorted((ROOT / "docs" / "adr").glob("[0-9]*.md"))
    assert [int(p.name[:4]) for p in adrs] == list(range(1, len(adrs) + 1))
    index = text_of("docs/adr/README.md")
    for path in adrs:
        text = path.read_text(encoding="utf-8")
        assert f"({path.name})" in index
        assert all(f"\n## {part}\n" in text for part in ("Context", "Decision", "Consequences"))
        assert len(text.splitlines()) <= 60, f"{path.name} is longer than a page"


def test_every_option_of_the_compiler_is_in_its_help() -> None:
    """The README sends readers to --help for options: it must say something about each."""
    from eer.compiler.cli import app

    command = typer.main.get_command(app)
    for parameter in command.params:
        if getattr(parameter, "param_type_name", "") == "option" and parameter.name != "help":
            assert getattr(parameter, "help", None), parameter.name
