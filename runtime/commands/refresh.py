"""What a client does for a personal model: `eer refresh`."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated, Any

import typer

from ..arrays import read_arrays
from ..client import Client
from ..client_bundle import load_client
from ..console import answer, human_size, progress
from ..errors import UsageError
from ..files import write_file
from ..inputs import RangeCheck
from .client import ClientFile, KeyFile, range_policy
from .options import AsJson, EngineName, open_announced


def refresh(
    model: ClientFile,
    key: KeyFile,
    step_answer: Annotated[
        Path | None,
        typer.Argument(
            help="The answer of eer personal step.", metavar="ANSWER", show_default=False
        ),
    ] = None,
    state: Annotated[
        Path | None,
        typer.Option(
            "--state",
            help="Start from this state instead: .npz with an array for each state, or .npy.",
            show_default=False,
        ),
    ] = None,
    also: Annotated[
        list[Path] | None,
        typer.Option("--also", help="Client bundle of a model that shares the state."),
    ] = None,
    also_key: Annotated[
        list[Path] | None, typer.Option("--also-key", help="Its secret key, in the same order.")
    ] = None,
    out: Annotated[Path, typer.Option("-o", "--out", help="Where the update goes.")] = Path(
        "update.eer"
    ),
    range_check: Annotated[
        str, typer.Option(help="State outside its calibrated range: error, warn or off.")
    ] = "error",
    engine: EngineName = None,
    as_json: AsJson = False,
) -> None:
    """Make fresh ciphertexts of a personal model's state, for eer personal init and commit.

    The state is decrypted, checked and encrypted again; what was decrypted stays here.
    """
    if (step_answer is None) == (state is None):
        raise UsageError(
            "an answer or a state is needed, and not both",
            hint="give the answer of eer personal step, or --state to start with",
        )
    bundles, keys = also or [], also_key or []
    if len(bundles) != len(keys):
        raise UsageError(
            f"{len(bundles)} --also and {len(keys)} --also-key were given",
            hint="give the secret key of each, in the same order",
        )
    check = range_policy(range_check)
    client = _client(model, key, engine, check)
    others = [_client(m, k, engine, check) for m, k in zip(bundles, keys, strict=True)]
    started = time.perf_counter()
    with progress("refreshing"):
        if step_answer is not None:
            update = client.refresh(step_answer, others).update
        else:
            assert state is not None
            update = client.initial_state(_read_state(state, [client, *others]), others)
    seconds = time.perf_counter() - started
    write_file(out, update)
    answer(
        f"update in {out} ({human_size(len(update))}), made in {seconds:.2f} s",
        {"file": str(out), "bytes": len(update), "models": 1 + len(others), "seconds": seconds},
        as_json,
    )


def _client(model: Path, key: Path, engine: str | None, check: RangeCheck) -> Client:
    loaded = load_client(model)
    opened = open_announced(loaded.params, engine)
    return Client(loaded, opened, secret_key=key, range_check=check)


def _read_state(path: Path, clients: list[Client]) -> dict[str, Any]:
    shapes = {s.name: s.shape for c in clients for s in c.model.state_inputs}
    if not shapes:
        raise UsageError("none of these models takes a state", hint="use eer encrypt")
    arrays = read_arrays(path, list(shapes), list(shapes.values()))
    return {name: a[0] if len(a) == 1 else a for name, a in arrays.items()}
