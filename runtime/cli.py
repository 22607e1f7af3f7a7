"""The `eer` command: keys, encryption, running, decryption, and what other packages add.

Commands of other packages stand in the entry-point group "eer.commands": a function that typer
can read, or a typer app. One is imported only when it is called, so `eer keygen` needs no more
than the runtime, and a broken one breaks nothing else.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from importlib.metadata import EntryPoint, entry_points

import typer

from .commands import client, look, personal, refresh, server
from .console import EPILOG, run_app
from .errors import EngineError

GROUP = "eer.commands"

_COMMANDS: dict[str, Callable[..., None]] = {
    "keygen": client.keygen,
    "encrypt": client.encrypt,
    "run": server.run,
    "decrypt": client.decrypt,
    "refresh": refresh.refresh,
    "split": look.split,
    "inspect": look.inspect,
}

_HELP = {
    "verify": "Run the encrypted model over a data set and compare it with the original.",
    "explain": "Show what a compiled model does, layer by layer, and what it costs.",
    "calibrate-costs": "Measure what each operation of an engine costs on this machine.",
}
"""Short help for known commands of other packages, so that `eer --help` imports none of them."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run `eer` and return its exit code."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    called = next((a for a in arguments if not a.startswith("-")), None)
    return run_app(build_app(called), "eer", arguments)


def build_app(called: str | None = None) -> typer.Typer:
    """The app, with the command `called` imported if it is another package's."""
    app = typer.Typer(
        name="eer",
        help="Keys, encryption and encrypted inference for models compiled by eer-compile.",
        epilog=EPILOG,
        no_args_is_help=True,
        add_completion=False,
        rich_markup_mode=None,
    )
    # Something that takes a sub-command in any case, however many there are.
    app.callback()(_root)
    for name, command in _COMMANDS.items():
        app.command(name)(command)
    app.add_typer(personal.app, name="personal")
    for point in sorted(entry_points(group=GROUP), key=lambda p: p.name):
        if point.name not in (*_COMMANDS, "personal"):
            _attach(app, point, called)
    return app


def _root() -> None:
    """Keys, encryption and encrypted inference for models compiled by eer-compile."""


def _attach(app: typer.Typer, point: EntryPoint, called: str | None) -> None:
    if point.name != called:
        summary = _HELP.get(point.name, f"From another package: eer {point.name} --help.")
        app.command(point.name, help=summary)(_root)
        return
    try:
        target = point.load()
    except Exception as problem:
        cause = problem
        failure = EngineError(
            f"the command '{point.name}' cannot be loaded: {type(problem).__name__}: {problem}",
            where=point.value,
            hint="install the package that it comes from with all that it needs",
        )

        def unavailable() -> None:
            raise failure from cause

        anything = {
            "allow_extra_args": True,
            "ignore_unknown_options": True,
            "help_option_names": [],
        }
        app.command(point.name, context_settings=anything)(unavailable)
        return
    if isinstance(target, typer.Typer):
        app.add_typer(target, name=point.name)
    else:
        app.command(point.name)(target)


if __name__ == "__main__":
    sys.exit(main())
