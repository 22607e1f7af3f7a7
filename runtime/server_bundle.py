"""The server bundle: the program with its weights. It holds nothing of any user."""

from __future__ import annotations

import numpy as np

from .client_bundle import check_scale, check_slots, read_role
from .container import Container, Source, pack, unpack
from .errors import ArtifactError, InternalError
from .fields import Fields
from .identity import params_from_json, params_to_json
from .model import Index, InputPort, ServerModel, StateOutput
from .params import CkksParams
from .program import LevelDown, Program, Rotate, Slots, Vector, infer_levels, infer_parts
from .program_codec import decode_instructions, encode_instructions

_AGAIN = "the file was not written by eer, or was changed: compile the model again"


def server_to_bytes(model: ServerModel) -> bytes:
    """The bytes of `server.eer`. Equal plaintext vectors are stored once."""
    program = model.program
    real, parts, places = _distinct(program.plains, program.slots)
    names = tuple(dict.fromkeys(program.labels))
    numbers = {name: i for i, name in enumerate(names)}
    meta = {
        "model_id": model.model_id,
        "name": model.name,
        "params": params_to_json(model.params),
        "slots": program.slots,
        "input_levels": list(program.input_levels),
        "input_scale": model.input_scale,
        "outputs": list(program.outputs),
        "labels": list(names),
        "inputs": [{"name": p.name, "role": p.role, "ciphers": p.ciphers} for p in model.inputs],
        "states": [{"state": s.state, "ciphers": list(s.ciphers)} for s in model.state_outputs],
    }
    arrays = {
        "instructions": encode_instructions(program.instructions),
        "plains": real,
        "complex_plains": parts,
        "plain_places": places,
        "label_places": np.asarray([numbers[n] for n in program.labels], np.int64),
    }
    return pack("server", meta, arrays=arrays)


def _distinct(plains: tuple[Slots, ...], slots: int) -> tuple[Vector, Vector, Index]:
    """The distinct vectors, real [distinct, slots] and complex [distinct, slots, 2] with a real and
    an imaginary part to each slot, and for each plaintext its place among both, real ones first."""
    rows: dict[bytes, int] = {}
    kept: list[list[Slots]] = [[], []]
    found: list[tuple[int, int]] = []
    for plain in plains:
        kind = int(np.iscomplexobj(plain))
        vector = np.ascontiguousarray(plain, np.complex128 if kind else np.float64)
        # Their lengths tell a real vector from a complex one.
        row = rows.setdefault(vector.tobytes(), len(kept[kind]))
        if row == len(kept[kind]):
            kept[kind].append(vector)
        found.append((kind, row))
    real = np.stack(kept[0]) if kept[0] else np.zeros((0, slots))
    parts = np.stack(kept[1]) if kept[1] else np.zeros((0, slots), np.complex128)
    places = [row + kind * len(real) for kind, row in found]
    return real, parts.view(np.float64).reshape(-1, slots, 2), np.asarray(places, np.int64)


def load_server(source: Source, where: str | None = None) -> ServerModel:
    """The server's half from `server.eer` or `model.eer`, bytes or path.

    Raises ArtifactError for a file that is damaged, of another kind or inconsistent in itself.
    """
    container = unpack(source, ("server", "model"), where=where, only={"model": ("server",)})
    if container.kind == "model":
        return load_server(container.blob("server"), f"{container.where}, section 'server'")
    meta = container.meta
    params = params_from_json(meta.object("params"))
    program = _program(container, params, check_slots(meta, params))
    inputs = _inputs(meta, program)
    return ServerModel(
        model_id=meta.digest("model_id"),
        name=meta.text("name"),
        params=params,
        input_scale=check_scale(meta),
        program=program,
        inputs=inputs,
        state_outputs=_state_outputs(meta, program, inputs),
    )


def _inputs(meta: Fields, program: Program) -> tuple[InputPort, ...]:
    count = len(program.input_levels)
    ports = tuple(
        InputPort(e.text("name"), read_role(e), e.integer("ciphers", low=1, high=count))
        for e in meta.objects("inputs")
    )
    if len({p.name for p in ports}) != len(ports) or sum(p.ciphers for p in ports) != count:
        raise meta.bad("inputs", "a list of different names that share all input ciphertexts")
    if all(p.role == "state" for p in ports):
        raise meta.bad("inputs", "a list with an input that is no state")
    return ports


def _state_outputs(
    meta: Fields, program: Program, inputs: tuple[InputPort, ...]
) -> tuple[StateOutput, ...]:
    last = len(program.outputs) - 1
    outputs = tuple(
        StateOutput(e.text("state"), e.integers("ciphers", high=last))
        for e in meta.objects("states")
    )
    named = [o.state for o in outputs]
    known = {p.name for p in inputs if p.role == "state"}
    if len(set(named)) != len(named) or not set(named) <= known:
        raise meta.bad("states", "a list that feeds every state input once at most")
    if any(not o.ciphers or tuple(sorted(set(o.ciphers))) != o.ciphers for o in outputs):
        raise meta.bad("states", "a list of sorted output ciphertexts")
    return outputs


def _program(container: Container, params: CkksParams, slots: int) -> Program:
    meta, where = container.meta, container.where
    levels = meta.integers("input_levels", high=params.max_level)
    outputs = meta.integers("outputs")
    if not levels or not outputs:
        raise ArtifactError("the program has no input or no output", where=where, hint=_AGAIN)
    instructions = decode_instructions(container.array("instructions", "<i8", 1), where)
    for number, ins in enumerate(instructions):
        out_of_range = isinstance(ins, Rotate) and not -slots < ins.step < slots
        if out_of_range or (isinstance(ins, LevelDown) and ins.level < 0):
            raise ArtifactError(f"instruction {number} is malformed", where=where, hint=_AGAIN)
    program = Program(
        slots, levels, instructions, outputs, _plains(container, slots), _labels(container)
    )
    if program.labels and len(program.labels) != len(instructions):
        raise ArtifactError("labels and instructions do not pair", where=where, hint=_AGAIN)
    try:
        infer_levels(program)
        infer_parts(program)
    except InternalError as problem:
        raise ArtifactError(
            f"the program breaks its rules: {problem.reason}", where=where, hint=_AGAIN
        ) from problem
    return program


def _plains(container: Container, slots: int) -> tuple[Slots, ...]:
    real = container.array("plains", "<f8", 2)
    parts = container.array("complex_plains", "<f8", 3)
    places = container.array("plain_places", "<i8", 1)
    shapes = real.shape[1:] == (slots,) and parts.shape[1:] == (slots, 2)
    if not (shapes and np.isfinite(real).all() and np.isfinite(parts).all()):
        raise ArtifactError(
            f"the plaintexts are not finite vectors of {slots} slots",
            where=container.where,
            hint=_AGAIN,
        )
    if places.size and (places.min() < 0 or places.max() >= len(real) + len(parts)):
        raise ArtifactError("a plaintext is missing", where=container.where, hint=_AGAIN)
    vectors = (*real, *parts.reshape(-1, 2 * slots).view(np.complex128))
    return tuple(vectors[p] for p in places.tolist())


def _labels(container: Container) -> tuple[str, ...]:
    names = container.meta.texts("labels")
    places = container.array("label_places", "<i8", 1)
    if places.size and (places.min() < 0 or places.max() >= len(names)):
        raise ArtifactError("a layer name is missing", where=container.where, hint=_AGAIN)
    return tuple(names[p] for p in places.tolist())
