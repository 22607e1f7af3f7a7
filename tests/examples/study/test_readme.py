"""Figures are put where they belong in a README, and nowhere else."""

from __future__ import annotations

from pathlib import Path

import pytest

from eer.runtime.errors import DataError, FileError
from examples.study.readme import put_block

TEXT = """# Title
<!-- figures: a -->
<!-- end -->
between
<!-- figures: b -->
old
<!-- end -->
after
"""


def test_a_block_is_replaced_and_the_rest_kept(tmp_path: Path) -> None:
    path = tmp_path / "README.md"
    path.write_text(TEXT)
    put_block(path, "b", "| new |")
    put_block(path, "a", "first")
    put_block(path, "a", "second")
    assert path.read_text() == TEXT.replace("old", "| new |").replace(
        "<!-- figures: a -->\n", "<!-- figures: a -->\nsecond\n"
    )
    assert [p.name for p in tmp_path.iterdir()] == ["README.md"]


def test_a_missing_block_or_file_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "README.md"
    path.write_text(TEXT)
    with pytest.raises(DataError, match="no block for the figures of 'c'"):
        put_block(path, "c", "text")
    assert path.read_text() == TEXT
    with pytest.raises(FileError):
        put_block(tmp_path / "none.md", "a", "text")
