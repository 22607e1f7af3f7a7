"""A personal model at the server: `eer personal init`, `step`, `answer`, `commit`, `run`,
`rollback` and `status`."""

from __future__ import annotations

import time
from pathlib import Path
from statistics import median
from typing import Annotated

import typer

from ..console import answer, human_size, progress
from ..errors import UsageError
from ..fields import Json
from ..files import NewFile, make_folder, write_file, write_files
from ..personal import HISTORY, PersonalModel
from ..personal_files import VersionInfo, index_facts
from ..server import Server
from ..server_bundle import load_server
from .options import AsJson, EngineName, listed, open_announced
from .server import after, answer_paths

app = typer.Typer(
    help="One user's encrypted state: learn it step by step, use it, go back to a version before.",
    no_args_is_help=True,
    rich_markup_mode=None,
)

Folder = Annotated[
    Path, typer.Argument(help="The personal model's folder.", metavar="FOLDER", show_default=False)
]
_STEP = typer.Option("--step", help="server.eer of the step.", show_default=False)
_STEP_KEYS = typer.Option(
    "--step-keys", help="The user's evaluation keys for the step.", show_default=False
)
_INFERENCE = typer.Option(
    "--inference", help="server.eer of the model that uses the state.", show_default=False
)
_INFERENCE_KEYS = typer.Option(
    "--inference-keys", help="The user's evaluation keys for that model.", show_default=False
)
StepModel = Annotated[Path | None, _STEP]
StepKeys = Annotated[Path | None, _STEP_KEYS]
InferenceModel = Annotated[Path | None, _INFERENCE]
InferenceKeys = Annotated[Path | None, _INFERENCE_KEYS]


@app.command()
def init(
    folder: Folder,
    first: Annotated[
        Path,
        typer.Argument(help="The state to start from, of eer refresh --state.", metavar="UPDATE"),
    ],
    step: StepModel = None,
    step_keys: StepKeys = None,
    inference: InferenceModel = None,
    inference_keys: InferenceKeys = None,
    history: Annotated[
        int, typer.Option(help="Versions that are kept, the current one included.")
    ] = HISTORY,
    refresh: Annotated[
        str, typer.Option(help="Who makes fresh ciphertexts between two steps: client.")
    ] = "client",
    engine: EngineName = None,
    as_json: AsJson = False,
) -> None:
    """Start a personal model from a state that the client encrypted."""
    if refresh not in ("client", "bootstrap"):
        raise UsageError(f"--refresh is {refresh!r}", hint="use --refresh client")
    personal = PersonalModel.create(
        folder,
        first,
        step=_server("step", step, step_keys, engine),
        inference=_server("inference", inference, inference_keys, engine),
        history=history,
        refresh="bootstrap" if refresh == "bootstrap" else "client",
    )
    _tell(f"personal model in {folder}", personal.version, as_json)


@app.command("step")
def take_step(
    folder: Folder,
    message: Annotated[
        Path, typer.Argument(help="What eer encrypt made for the step.", metavar="MESSAGE")
    ],
    step: Annotated[Path, _STEP],
    step_keys: Annotated[Path, _STEP_KEYS],
    out: Annotated[
        Path, typer.Option("-o", "--out", help="Where the answer for eer refresh goes.")
    ] = Path("answer.ct"),
    again: Annotated[
        bool, typer.Option("--again", help="Forget a step that waits for its refresh.")
    ] = False,
    engine: EngineName = None,
    as_json: AsJson = False,
) -> None:
    """Compute one step on the current state.

    The state changes only with eer personal commit. The answer is kept in the folder as well.
    """
    server = _loaded(step, step_keys, engine)
    personal = PersonalModel(folder, step=server)
    if again:
        personal.discard()
    started = time.perf_counter()
    with progress("computing", server.steps) as done:
        result = personal.step(message, done)
    seconds = time.perf_counter() - started
    write_file(out, result)
    number = personal.version.step + 1
    answer(
        f"step {number}: answer in {out} ({human_size(len(result))}) after {seconds:.2f} s; "
        "it waits for its refresh",
        {"file": str(out), "bytes": len(result), "step": number, "seconds": seconds},
        as_json,
    )


@app.command("answer")
def write_answer(
    folder: Folder,
    out: Annotated[Path, typer.Option("-o", "--out", help="Where the answer goes.")] = Path(
        "answer.ct"
    ),
    as_json: AsJson = False,
) -> None:
    """Write the answer of the step that waits for its refresh once more."""
    pending = PersonalModel(folder).pending
    if pending is None:
        raise UsageError(
            "no step waits for its refresh",
            where=str(folder),
            hint="compute one: eer personal step",
        )
    write_file(out, pending.answer)
    answer(
        f"step {pending.step}: answer in {out} ({human_size(len(pending.answer))})",
        {"file": str(out), "bytes": len(pending.answer), "step": pending.step},
        as_json,
    )


@app.command()
def commit(
    folder: Folder,
    update: Annotated[Path, typer.Argument(help="What eer refresh made.", metavar="UPDATE")],
    step: StepModel = None,
    step_keys: StepKeys = None,
    inference: InferenceModel = None,
    inference_keys: InferenceKeys = None,
    engine: EngineName = None,
    as_json: AsJson = False,
) -> None:
    """Make a refreshed state the next version.

    With models and keys the ciphertexts themselves are checked too, without them their headers
    and hashes.
    """
    personal = PersonalModel(
        folder,
        step=_server("step", step, step_keys, engine),
        inference=_server("inference", inference, inference_keys, engine),
    )
    _tell("committed", personal.commit(update), as_json)


@app.command()
def run(
    folder: Folder,
    messages: Annotated[
        list[Path], typer.Argument(help="Ciphertexts that eer encrypt made.", show_default=False)
    ],
    inference: Annotated[Path, _INFERENCE],
    inference_keys: Annotated[Path, _INFERENCE_KEYS],
    out: Annotated[
        Path,
        typer.Option("-o", "--out", help="Where the answer goes; a folder for several messages."),
    ] = Path("result.ct"),
    engine: EngineName = None,
    as_json: AsJson = False,
) -> None:
    """Run the inference model on encrypted windows, with the current state."""
    paths = answer_paths(messages, out)
    server = _loaded(inference, inference_keys, engine)
    personal = PersonalModel(folder, inference=server)
    steps = server.steps
    results: list[bytes] = []
    latencies: list[float] = []
    with progress("computing", steps * len(messages)) as done:
        for number, path in enumerate(messages):
            started = time.perf_counter()
            results.append(personal.run(path, after(number * steps, done)))
            latencies.append(1000 * (time.perf_counter() - started))
    if len(messages) > 1:
        make_folder(out)
    write_files([NewFile(p, r) for p, r in zip(paths, results, strict=True)])
    size = sum(len(r) for r in results)
    answer(
        f"answer in {listed(paths)} ({human_size(size)}); {median(latencies):.0f} ms a message",
        {"files": [str(p) for p in paths], "bytes": size, "latency_ms": median(latencies)}
        | _facts(personal.version),
        as_json,
    )


@app.command()
def rollback(folder: Folder, as_json: AsJson = False) -> None:
    """Go back to the version before; a step that waits is forgotten."""
    _tell("back", PersonalModel(folder).rollback(), as_json)


@app.command()
def status(folder: Folder, as_json: AsJson = False) -> None:
    """Say which version is current, which are kept, and what waits."""
    personal = PersonalModel(folder)
    index, pending = personal.index, personal.pending
    lines = [
        f"version {v.version}, after {v.step} steps, {human_size(v.size)}" for v in index.versions
    ]
    lines[-1] += ": current"
    if pending is not None:
        lines.append(f"step {pending.step} was computed and waits for its refresh")
    waiting = {"pending": None if pending is None else pending.step}
    answer("\n".join(lines), index_facts(index) | waiting, as_json)


def _server(role: str, model: Path | None, keys: Path | None, engine: str | None) -> Server | None:
    """The server of a role, or None where neither of its files was given."""
    if model is None and keys is None:
        return None
    if model is None or keys is None:
        raise UsageError(
            f"--{role} and --{role}-keys go together", hint="give both, or neither of them"
        )
    return _loaded(model, keys, engine)


def _loaded(model: Path, keys: Path, engine: str | None) -> Server:
    loaded = load_server(model)
    with progress("loading keys and weights"):
        return Server(loaded, keys, open_announced(loaded.params, engine))


def _facts(version: VersionInfo) -> Json:
    return {"version": version.version, "step": version.step}


def _tell(text: str, version: VersionInfo, as_json: bool) -> None:
    answer(
        f"{text}: version {version.version}, after {version.step} steps", _facts(version), as_json
    )
