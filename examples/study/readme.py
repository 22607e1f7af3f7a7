"""Putting figures into a README, between the marks of a block, so that a run can renew its own."""

from __future__ import annotations

from pathlib import Path

from eer.runtime.errors import DataError, FileError


def put_block(path: Path, name: str, text: str) -> None:
    """Replace what stands between `<!-- figures: NAME -->` and the next `<!-- end -->`.

    Raises DataError where the file has no such marks, FileError where it cannot be read or written.
    """
    try:
        content = path.read_text(encoding="utf-8")
        start, end = f"<!-- figures: {name} -->\n", "<!-- end -->"
        before, found, rest = content.partition(start)
        _, closed, after = rest.partition(end)
        if not (found and closed):
            raise DataError(
                f"there is no block for the figures of {name!r}",
                where=str(path),
                hint=f"add the two lines {start.strip()} and {end} where they belong",
            )
        unfinished = path.with_name(path.name + ".part")
        unfinished.write_text(f"{before}{start}{text}\n{end}{after}", encoding="utf-8")
        unfinished.replace(path)
    except OSError as error:
        raise FileError(f"cannot renew: {error.strerror}", where=str(path)) from error
