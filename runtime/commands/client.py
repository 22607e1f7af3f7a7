"""What a client does: `eer keygen`, `eer encrypt`, `eer decrypt`."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from ..arrays import read_arrays
from ..client import Client
from ..client_bundle import load_client
from ..console import answer, human_size, progress, warn
from ..decode import Prediction
from ..errors import DataError, FileError, UsageError
from ..files import NewFile, make_folder, write_files
from ..inputs import RangeCheck
from ..model import OutputSpec
from ..release import Release, check_policy
from .options import AsJson, EngineName, Force, listed, numbered, open_announced

ClientFile = Annotated[
    Path, typer.Argument(help="client.eer or model.eer.", metavar="CLIENT", show_default=False)
]
KeyFile = Annotated[
    Path, typer.Option("--key", help="The secret key that eer keygen made.", show_default=False)
]


def keygen(
    model: ClientFile,
    out: Annotated[
        Path, typer.Option("--out", help="Folder for secret.key and evaluation.key.")
    ] = Path("."),
    secret: Annotated[
        Path | None, typer.Option(help="Path of the secret key.", show_default=False)
    ] = None,
    evaluation: Annotated[
        Path | None, typer.Option(help="Path of the evaluation keys.", show_default=False)
    ] = None,
    force: Force = False,
    engine: EngineName = None,
    as_json: AsJson = False,
) -> None:
    """Make a secret key, and evaluation keys for the server.

    The secret key stays here. Without it nothing that was encrypted with it can ever be read
    again, so files that are there already are replaced only with --force.
    """
    secret_path = secret or out / "secret.key"
    evaluation_path = evaluation or out / "evaluation.key"
    if secret_path.absolute() == evaluation_path.absolute():
        raise UsageError(f"both keys would be written to {secret_path}", hint="name two files")
    for path in (secret_path, evaluation_path):
        if not force and os.path.lexists(path):
            raise FileError(
                f"{path} is there already and was left as it is",
                where=str(path),
                hint="choose another path, or replace it with --force: "
                "what was encrypted with an old key cannot be read with a new one",
            )
    loaded = load_client(model)
    client = Client(loaded, open_announced(loaded.params, engine))
    started = time.perf_counter()
    with progress("making keys"):
        pair = client.generate_keys()
    seconds = time.perf_counter() - started
    if secret is None or evaluation is None:
        make_folder(out)
    write_files(
        [
            NewFile(secret_path, pair.secret, secret=True, overwrite=force),
            NewFile(evaluation_path, pair.evaluation, overwrite=force),
        ]
    )
    answer(
        f"secret key       {secret_path} ({human_size(len(pair.secret))}): keep it here\n"
        f"evaluation keys  {evaluation_path} ({human_size(len(pair.evaluation))}): "
        f"give them to the server\n"
        f"key id           {pair.key_id}, made in {seconds:.1f} s",
        {
            "secret_key": str(secret_path),
            "secret_key_bytes": len(pair.secret),
            "evaluation_keys": str(evaluation_path),
            "evaluation_keys_bytes": len(pair.evaluation),
            "rotations": len(loaded.rotations),
            "conjugation": loaded.conjugation_level is not None,
            "key_id": pair.key_id,
            "model_id": loaded.model_id,
            "seconds": seconds,
        },
        as_json,
    )


def encrypt(
    model: ClientFile,
    key: KeyFile,
    data: Annotated[
        Path,
        typer.Option("--input", help="Windows to encrypt: .npz, .npy or .csv.", show_default=False),
    ],
    out: Annotated[Path, typer.Option("-o", "--out", help="Where the ciphertexts go.")] = Path(
        "windows.ct"
    ),
    rows: Annotated[
        str | None,
        typer.Option(help="Encrypt rows START:STOP only, counted from 0.", show_default=False),
    ] = None,
    range_check: Annotated[
        str, typer.Option(help="Values outside the calibrated range: error, warn or off.")
    ] = "error",
    engine: EngineName = None,
    as_json: AsJson = False,
) -> None:
    """Check windows of data and encrypt them.

    As many windows as fit share one ciphertext; more go to several files: windows.001.ct,
    windows.002.ct, ...
    """
    check = range_policy(range_check)
    loaded = load_client(model)
    client = Client(
        loaded, open_announced(loaded.params, engine), secret_key=key, range_check=check
    )
    specs = loaded.window_inputs
    arrays: dict[str, Any] = dict(
        read_arrays(data, [s.name for s in specs], [s.shape for s in specs])
    )
    if rows is not None:
        arrays = _take_rows(arrays, rows)
    windows = len(arrays[specs[0].name])
    messages: list[bytes] = []
    started = time.perf_counter()
    with progress("encrypting", -(-windows // client.batch)) as done:
        for message in client.encrypt_all(arrays):
            messages.append(message)
            done(len(messages))
    seconds = time.perf_counter() - started
    paths = numbered(out, len(messages))
    write_files([NewFile(p, m) for p, m in zip(paths, messages, strict=True)])
    size = sum(len(m) for m in messages)
    answer(
        f"{windows} windows encrypted to {listed(paths)} ({human_size(size)}) in {seconds:.2f} s",
        {
            "files": [str(p) for p in paths],
            "bytes": size,
            "windows": windows,
            "windows_per_file": client.batch,
            "seconds": seconds,
        },
        as_json,
    )


def decrypt(
    model: ClientFile,
    messages: Annotated[
        list[Path], typer.Argument(help="Answers of the server.", show_default=False)
    ],
    key: KeyFile,
    policy: Annotated[
        str | None,
        typer.Option(
            "--release",
            help="What to show: labels; rounded probabilities or values; or raw, everything as "
            "decrypted.  [default: labels, or rounded where the model has no classes]",
            show_default=False,
        ),
    ] = None,
    digits: Annotated[
        int | None,
        typer.Option(help="Decimal places of rounded values.", show_default=False),
    ] = None,
    engine: EngineName = None,
    as_json: AsJson = False,
) -> None:
    """Decrypt the server's answers to labels.

    Raw values must never reach the server or anyone else who sees the ciphertexts: together they
    can give away the secret key. Labels may be sent on.
    """
    chosen = None if policy is None else check_policy(policy)
    loaded = load_client(model)
    client = Client(loaded, open_announced(loaded.params, engine), secret_key=key)
    whole = _joined([client.decrypt(path) for path in messages])
    if chosen is None:
        chosen = "rounded" if digits is not None or not whole.classes else "labels"
    if chosen == "raw":
        warn("raw values can give away the secret key to whoever has the ciphertexts: keep them")
    release = whole.release(chosen, digits=digits, accept_key_risk=chosen == "raw")
    answer(_table(release, loaded.outputs), release.to_json(), as_json)


def range_policy(text: str) -> RangeCheck:
    """The value of --range-check. Raises UsageError."""
    match text:
        case "error" | "warn" | "off":
            return text
        case _:
            raise UsageError(
                f"--range-check is {text!r}", hint="use --range-check error, warn or off"
            )


def _take_rows(arrays: dict[str, Any], rows: str) -> dict[str, Any]:
    start, colon, stop = rows.partition(":")
    try:
        first = int(start) if start else 0
        last = first + 1 if not colon else int(stop) if stop else None
    except ValueError:
        raise UsageError(f"--rows is {rows!r}", hint="use --rows 0:10, or --rows 3") from None
    if first < 0 or (last is not None and last < first):
        raise UsageError(f"--rows is {rows!r}", hint="use --rows 0:10, or --rows 3")
    taken = {name: array[first:last] for name, array in arrays.items()}
    total = max(len(a) for a in arrays.values())
    if any(not len(a) for a in taken.values()):
        raise DataError(f"rows {rows} are none of the {total} rows", hint="rows count from 0")
    return taken


def _joined(predictions: list[Prediction]) -> Prediction:
    """The windows of several answers in order."""
    first = predictions[0]
    return Prediction(
        windows=sum(p.windows for p in predictions),
        outputs={n: np.concatenate([p.outputs[n] for p in predictions]) for n in first.outputs},
        probabilities={
            n: np.concatenate([p.probabilities[n] for p in predictions])
            for n in first.probabilities
        },
        classes={n: np.concatenate([p.classes[n] for p in predictions]) for n in first.classes},
        labels={n: np.concatenate([p.labels[n] for p in predictions]) for n in first.labels},
        states=first.states,
    )


def _table(release: Release, specs: tuple[OutputSpec, ...]) -> str:
    shown = [s for s in specs if any(s.name in arrays for arrays in release.content.values())]
    lines: list[str] = []
    for window in range(release.windows):
        for spec in shown:
            name = f" {spec.name}" if len(shown) > 1 else ""
            lines.append(f"window {window}{name}: {_describe(release, spec, window)}")
    return "\n".join(lines)


def _describe(release: Release, spec: OutputSpec, window: int) -> str:
    def held(kind: str) -> Any:
        arrays = release.content.get(kind, {})
        return arrays[spec.name][window] if spec.name in arrays else None

    labels, shares = held("labels"), held("probabilities")
    if labels is None:
        return np.array2string(held("outputs"), precision=4, threshold=20)
    text = str(labels) if labels.ndim == 0 else np.array2string(labels)
    if shares is None:
        return text
    if labels.ndim == 0 and shares.ndim == 1:
        names = [spec.labels[i] if i < len(spec.labels) else str(i) for i in range(len(shares))]
        listing = ", ".join(f"{n} {p:.4g}" for n, p in zip(names, shares, strict=True))
        return f"{text} ({listing})"
    return f"{text} {np.array2string(shares, precision=4, threshold=20)}"
