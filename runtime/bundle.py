"""`model.eer`: both halves of a compiled model, its report and, where kept, the ONNX original."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path

from .client_bundle import client_to_bytes, load_client
from .container import Source, pack, unpack
from .errors import ArtifactError, UsageError
from .fields import Json
from .files import NewFile, PathLikeStr, make_folder, write_file, write_files
from .model import ClientModel, ServerModel
from .server_bundle import load_server, server_to_bytes

_AGAIN = "the file was not written by eer, or was changed: compile the model again"


@dataclass(frozen=True, slots=True, eq=False)
class Bundle:
    """A compiled model. `onnx` is the file that it was compiled from, where it was kept."""

    client: ClientModel
    server: ServerModel
    report: Json = field(repr=False)
    onnx: bytes | None = field(repr=False)


def model_to_bytes(
    client: ClientModel, server: ServerModel, report: Json, onnx: bytes | None = None
) -> bytes:
    """The bytes of `model.eer`. Raises ArtifactError where the halves do not belong together."""
    _check_halves(client, server, client.name)
    blobs = {
        "client": client_to_bytes(client),
        "server": server_to_bytes(server),
        "report": json.dumps(report, allow_nan=False).encode(),
    }
    if onnx is not None:
        blobs["onnx"] = onnx
    return pack("model", {"model_id": client.model_id, "name": client.name}, blobs)


def save_model(
    path: PathLikeStr,
    client: ClientModel,
    server: ServerModel,
    report: Json,
    onnx: bytes | None = None,
) -> None:
    """Write `model.eer`, whole or not at all."""
    write_file(path, model_to_bytes(client, server, report, onnx))


def load_model(source: Source) -> Bundle:
    """Read and check `model.eer`, bytes or path. Raises ArtifactError, FileError."""
    container = unpack(source, ("model",))
    where = container.where
    client = load_client(container.blob("client"), f"{where}, section 'client'")
    server = load_server(container.blob("server"), f"{where}, section 'server'")
    _check_halves(client, server, where)
    if container.meta.digest("model_id") != client.model_id:
        raise ArtifactError("the model and its parts have different ids", where=where, hint=_AGAIN)
    try:
        report = json.loads(str(container.blob("report"), "utf-8"))
    except (ValueError, RecursionError) as problem:
        raise ArtifactError("the report is not JSON", where=where, hint=_AGAIN) from problem
    if not isinstance(report, dict):
        raise ArtifactError("the report is not a JSON object", where=where, hint=_AGAIN)
    onnx = container.blobs.get("onnx")
    return Bundle(client, server, report, None if onnx is None else bytes(onnx))


def _check_halves(client: ClientModel, server: ServerModel, where: str) -> None:
    wanted = ServerModel.of(client, server.program)
    same = (
        client.model_id == server.model_id
        and client.params == server.params
        and client.slots == server.program.slots
        and client.input_levels == server.program.input_levels
        and client.input_scale == server.input_scale
        and (wanted.inputs, wanted.state_outputs) == (server.inputs, server.state_outputs)
        and _keys_suffice(client, server)
        and max(int(o.ciphers.max()) for o in client.outputs) < len(server.program.outputs)
    )
    if not same:
        raise ArtifactError(
            "the client's and the server's half do not belong together", where=where, hint=_AGAIN
        )


def _keys_suffice(client: ClientModel, server: ServerModel) -> bool:
    """Whether the keys that the client makes serve every rotation and conjugation."""
    program, top = server.program, client.params.max_level
    conjugated = program.conjugation_level
    if conjugated is not None and conjugated > (
        -1 if client.conjugation_level is None else client.conjugation_level
    ):
        return False
    levels = client.rotation_levels or (top,) * len(client.rotations)
    made = dict(zip(client.rotations, levels, strict=True))
    used = zip(program.rotations, program.rotation_levels, strict=True)
    return all(made.get(step, -1) >= level for step, level in used)


def save_client(path: PathLikeStr, client: ClientModel) -> None:
    """Write `client.eer`, whole or not at all."""
    write_file(path, client_to_bytes(client))


def save_server(path: PathLikeStr, server: ServerModel) -> None:
    """Write `server.eer`, whole or not at all."""
    write_file(path, server_to_bytes(server))


def split_model(
    source: PathLikeStr, folder: PathLikeStr, *, overwrite: bool = True
) -> tuple[Path, Path]:
    """Write the client's and the server's half of `model.eer` into `folder`.

    Returns the paths of `client.eer` and `server.eer`. The whole model is checked first.
    """
    bundle = load_model(source)
    out = make_folder(folder)
    client, server = out / "client.eer", out / "server.eer"
    if Path(source).resolve() in (client.resolve(), server.resolve()):
        raise UsageError(
            f"{source} would be overwritten by a part of itself",
            where=str(source),
            hint="choose another folder with --out",
        )
    write_files(
        [
            NewFile(client, client_to_bytes(bundle.client), overwrite=overwrite),
            NewFile(server, server_to_bytes(bundle.server), overwrite=overwrite),
        ]
    )
    return client, server
