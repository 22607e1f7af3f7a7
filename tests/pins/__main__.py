"""The command: see the package's docstring."""

from __future__ import annotations

import argparse
import sys

from tests.pins.golden import accept, accepted, describe, differences, path
from tests.pins.models import PINS


def main() -> int:
    """Show what differs from what is pinned; exit code 1 where something does."""
    parser = argparse.ArgumentParser(prog="python -m tests.pins")
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(PINS)}")
    parser.add_argument("--accept", action="store_true", help="pin what is found")
    given = parser.parse_args()
    if unknown := set(given.names) - set(PINS):
        parser.error(f"there is no pin named {', '.join(sorted(unknown))}")
    changed = False
    for name in given.names or PINS:
        found = describe(name)
        was = accepted(name) if path(name).exists() else {}
        lines = list(differences(was, found))
        changed |= bool(lines)
        print(f"{name}: {'as pinned' if not lines else f'{len(lines)} differences'}")
        for line in lines:
            print(f"  {line}")
        if given.accept and lines:
            accept(name, found)
    return int(changed and not given.accept)


if __name__ == "__main__":
    sys.exit(main())
