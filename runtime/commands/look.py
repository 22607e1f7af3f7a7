"""Commands on files alone: `eer split`, `eer inspect`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ..bundle import load_model, split_model
from ..client_bundle import load_client
from ..console import answer, human_size
from ..container import KINDS, Outline, outline, unpack
from ..fields import Json
from ..model import ClientModel, ServerModel
from ..params import MAX_LOG_QP_128, CkksParams
from ..personal_files import index_facts, read_index, read_pending, version_facts
from ..server_bundle import load_server
from ..state_update import read_update, update_facts
from ..wire import read_evaluation_keys, read_message, read_secret_key
from .options import AsJson, Force


def split(
    model: Annotated[Path, typer.Argument(help="model.eer.", metavar="MODEL", show_default=False)],
    out: Annotated[Path, typer.Option("--out", help="Folder for the two files.")] = Path("."),
    force: Force = False,
    as_json: AsJson = False,
) -> None:
    """Split a model into client.eer and server.eer.

    The client's half holds no weights.
    """
    client, server = split_model(model, out, overwrite=force)
    sizes = client.stat().st_size, server.stat().st_size
    answer(
        f"{client} ({human_size(sizes[0])}): for the clients; it holds no weights\n"
        f"{server} ({human_size(sizes[1])}): for the server",
        {
            "client": str(client),
            "client_bytes": sizes[0],
            "server": str(server),
            "server_bytes": sizes[1],
        },
        as_json,
    )


def inspect(
    file: Annotated[
        Path, typer.Argument(help="Any file of eer.", metavar="FILE", show_default=False)
    ],
    as_json: AsJson = False,
) -> None:
    """Check a file of eer and say what it is.

    Shows parameters, security, sizes, and what model and key it belongs to.
    """
    head = outline(file)
    unpack(file, (head.kind,))
    facts: Json = {"kind": head.kind, "bytes": head.size}
    facts |= _facts(file, head)
    answer(_text(head.kind, facts), facts, as_json)


def _facts(file: Path, head: Outline) -> Json:
    match head.kind:
        case "model":
            bundle = load_model(file)
            parts = {s.name: s.length for s in head.sections}
            return _client_facts(bundle.client) | _server_facts(bundle.server) | {"parts": parts}
        case "client":
            return _client_facts(load_client(file))
        case "server":
            return _server_facts(load_server(file))
        case "secret-key":
            return read_secret_key(file).binding.to_json()
        case "evaluation-keys":
            keys = read_evaluation_keys(file)
            return keys.binding.to_json() | {
                "rotations": len(keys.rotations),
                "conjugation": keys.conjugation,
            }
        case "state-update":
            return update_facts(read_update(file))
        case "personal":
            return index_facts(read_index(file))
        case "personal-step":
            pending = read_pending(file)
            return {"step": pending.step, "base": pending.base, "answer": len(pending.answer)}
        case "personal-state":
            return version_facts(file)
        case _:
            message = read_message(file)
            return message.binding.to_json() | {
                "direction": message.direction,
                "windows": message.windows,
                "ciphertexts": dict(zip(message.names, message.counts, strict=True)),
                "levels": list(message.levels),
            }


def _client_facts(model: ClientModel) -> Json:
    return {
        "name": model.name,
        "model_id": model.model_id,
        **_params_facts(model.params),
        "windows_per_ciphertext": model.most_windows,
        "inputs": {s.name: list(s.shape) for s in model.window_inputs},
        "states": {s.name: list(s.shape) for s in model.state_inputs},
        "calibrated": all(s.calibrated for s in model.inputs),
        "outputs": {o.name: list(o.shape) for o in model.outputs},
        "labels": {o.name: list(o.labels) for o in model.outputs if o.labels},
        "rotations": len(model.rotations),
        "conjugation": model.conjugation_level is not None,
    }


def _server_facts(model: ServerModel) -> Json:
    program = model.program
    counts: dict[str, int] = {}
    for instruction in program.instructions:
        name = type(instruction).__name__
        counts[name] = counts.get(name, 0) + 1
    return {
        "name": model.name,
        "model_id": model.model_id,
        **_params_facts(model.params),
        "depth": program.depth,
        "plan_slots": program.slots,
        "instructions": counts,
        "plaintexts": len(program.plains),
        "rotations": len(program.rotations),
        "conjugation": program.conjugation_level is not None,
    }


def _params_facts(params: CkksParams) -> Json:
    return {
        "engine": params.engine,
        "ring_dimension": params.ring_dimension,
        "log_qp": params.log_qp,
        "log_qp_limit": MAX_LOG_QP_128[params.log_n],
        "security_bits": params.security_bits,
        "levels": params.max_level,
        "log_scale": params.log_scale,
    }


def _text(kind: str, facts: Json) -> str:
    lines = [f"{KINDS[kind]}, {human_size(facts['bytes'])}, whole and undamaged"]
    for name, value in facts.items():
        if name in ("kind", "bytes"):
            continue
        lines.append(f"  {name.replace('_', ' '):<24}{_value(value)}")
    return "\n".join(lines)


def _value(value: object) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{k} {_value(v)}" for k, v in value.items())
    if isinstance(value, list):
        return "[" + ", ".join(_value(v) for v in value) + "]"
    return f"{value:.1f}" if isinstance(value, float) else str(value)
