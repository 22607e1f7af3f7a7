"""The client bundle: packing, parameters, key list and decoding. It holds no weights."""

from __future__ import annotations

import math

import numpy as np

from .container import Array, Container, Source, pack, unpack
from .errors import ArtifactError
from .fields import Fields, Json
from .identity import params_from_json, params_to_json
from .model import ROLES, ClientModel, Index, InputSpec, OutputSpec, Role
from .params import CkksParams

POSTS = ("none", "softmax", "log_softmax", "sigmoid", "argmax")
"""What a client may compute after decryption."""

MAX_SLOTS = 1 << 16
MAX_OUTPUTS = 1 << 16


def client_to_bytes(model: ClientModel) -> bytes:
    """The bytes of `client.eer`."""
    arrays: dict[str, Array] = {}
    for i, spec in enumerate(model.inputs):
        arrays[f"packing{i}"] = np.stack(spec.packing).astype(np.int64)
        imaginary = [row for row in spec.imaginary if row is not None]
        if imaginary:
            arrays[f"imaginary{i}"] = np.stack(imaginary).astype(np.int64)
        arrays[f"range{i}"] = np.stack([spec.low, spec.high]).astype(np.float64)
    for i, out in enumerate(model.outputs):
        parts = [out.elements, out.ciphers, out.slots]
        parts += [out.imaginary] if len(out.imaginary) else []
        arrays[f"decoding{i}"] = np.stack(parts).astype(np.int64)
    meta: Json = {
        "model_id": model.model_id,
        "name": model.name,
        "params": params_to_json(model.params),
        "slots": model.slots,
        "input_levels": list(model.input_levels),
        "input_scale": model.input_scale,
        "rotations": list(model.rotations),
        "rotation_levels": list(model.rotation_levels),
        "conjugation_levels": [] if model.conjugation_level is None else [model.conjugation_level],
        "inputs": [
            {"name": s.name, "shape": list(s.shape), "calibrated": s.calibrated, "role": s.role}
            | {"complex": [k for k, (_, row) in enumerate(s.rows) if row is not None]}
            for s in model.inputs
        ],
        "outputs": [
            {"name": o.name, "shape": list(o.shape), "post": o.post, "axis": o.axis}
            | {"labels": list(o.labels), "state": o.state}
            for o in model.outputs
        ],
    }
    return pack("client", meta, arrays=arrays)


def load_client(source: Source, where: str | None = None) -> ClientModel:
    """The client's half from `client.eer` or `model.eer`, bytes or path.

    Raises ArtifactError for a file that is damaged, of another kind or inconsistent in itself.
    """
    container = unpack(source, ("client", "model"), where=where, only={"model": ("client",)})
    if container.kind == "model":
        return load_client(container.blob("client"), f"{container.where}, section 'client'")
    return _client(container)


def _client(container: Container) -> ClientModel:
    meta = container.meta
    params = params_from_json(meta.object("params"))
    slots = check_slots(meta, params)
    inputs = tuple(
        _input(entry, container, i, slots) for i, entry in enumerate(meta.objects("inputs"))
    )
    outputs = tuple(
        _output(entry, container, i, slots) for i, entry in enumerate(meta.objects("outputs"))
    )
    for name, specs in (("inputs", inputs), ("outputs", outputs)):
        if not specs or len({s.name for s in specs}) != len(specs):
            raise meta.bad(name, "a list of at least one, under different names")
    if all(s.role == "state" for s in inputs):
        raise meta.bad("inputs", "a list with an input that is no state")
    _check_states(meta, inputs, outputs)
    levels = meta.integers("input_levels", high=params.max_level)
    if len(levels) != sum(len(s.packing) for s in inputs):
        raise meta.bad("input_levels", "one level for each input ciphertext")
    rotations = meta.integers("rotations", low=1, high=slots - 1)
    if tuple(sorted(set(rotations))) != rotations:
        raise meta.bad("rotations", "sorted and without repetition")
    rotation_levels = meta.integers("rotation_levels", high=params.max_level)
    if rotation_levels and len(rotation_levels) != len(rotations):
        raise meta.bad("rotation_levels", "one level for each rotation, or none")
    conjugation_levels = meta.integers("conjugation_levels", high=params.max_level)
    if len(conjugation_levels) > 1:
        raise meta.bad("conjugation_levels", "one level, or none")
    return ClientModel(
        model_id=meta.digest("model_id"),
        name=meta.text("name"),
        params=params,
        slots=slots,
        inputs=inputs,
        outputs=outputs,
        input_levels=levels,
        input_scale=check_scale(meta),
        rotations=rotations,
        rotation_levels=rotation_levels,
        conjugation_level=next(iter(conjugation_levels), None),
    )


def _check_states(
    meta: Fields, inputs: tuple[InputSpec, ...], outputs: tuple[OutputSpec, ...]
) -> None:
    """Every output that is state feeds one state input of its shape, and each is fed once."""
    shapes = {s.name: s.shape for s in inputs if s.role == "state"}
    fed = [o for o in outputs if o.state]
    if len({o.state for o in fed}) != len(fed):
        raise meta.bad("outputs", "a list that feeds every state once at most")
    for out in fed:
        if shapes.get(out.state) != out.shape or out.post != "none" or out.labels:
            raise meta.bad("outputs", f"one in which '{out.name}' can be the next '{out.state}'")


def read_role(entry: Fields) -> Role:
    """The role of an input."""
    text = entry.text("role")
    for role in ROLES:
        if text == role:
            return role
    raise entry.bad("role", f"one of {', '.join(ROLES)}")


def check_slots(meta: Fields, params: CkksParams) -> int:
    """Plan slots: a power of two that the ring has room for."""
    slots = meta.integer("slots", low=1, high=min(params.slots, MAX_SLOTS))
    if slots & (slots - 1):
        raise meta.bad("slots", "a power of two")
    return slots


def check_scale(meta: Fields) -> float:
    """The scale of fresh ciphertexts, between 1 and 2^120."""
    scale = meta.number("input_scale")
    if not 1 < scale < 2.0**120:
        raise meta.bad("input_scale", "between 1 and 2^120")
    return scale


def _elements(entry: Fields) -> tuple[tuple[int, ...], int]:
    shape = entry.integers("shape", low=1)
    if len(shape) > 16:
        raise entry.bad("shape", "of at most 16 dimensions")
    return shape, math.prod(shape)


def _input(entry: Fields, container: Container, index: int, slots: int) -> InputSpec:
    shape, elements = _elements(entry)
    packing = container.array(f"packing{index}", "<i8", 2)
    bounds = container.array(f"range{index}", "<f8", 2)
    _check_rows(container, f"packing{index}", len(packing), slots, elements)
    if bounds.shape != (2, elements):
        raise _wrong(container, f"range{index}", f"[2, {elements}]")
    if not np.isfinite(bounds).all() or (bounds[0] > bounds[1]).any():
        raise _wrong(container, f"range{index}", "made of finite intervals")
    calibrated = entry.flag("calibrated")
    name = entry.text("name")
    role = read_role(entry)
    imaginary = _imaginary(entry, container, index, packing.shape, elements)
    return InputSpec(name, shape, tuple(packing), bounds[0], bounds[1], calibrated, role, imaginary)


def _imaginary(
    entry: Fields, container: Container, index: int, packing: tuple[int, ...], elements: int
) -> tuple[Index | None, ...]:
    """The rows of imaginary parts, for a `packing` of this shape."""
    ciphers, slots = packing
    places = entry.integers("complex", high=ciphers - 1)
    if not places:
        return ()
    if tuple(sorted(set(places))) != places:
        raise entry.bad("complex", "sorted and without repetition")
    name = f"imaginary{index}"
    rows = _check_rows(container, name, len(places), slots, elements)
    found = dict(zip(places, rows, strict=True))
    return tuple(found.get(k) for k in range(ciphers))


def _check_rows(container: Container, name: str, count: int, slots: int, elements: int) -> Array:
    """A section of `count` rows that say which of `elements` elements lies in which slot."""
    rows = container.array(name, "<i8", 2)
    if count < 1 or rows.shape != (count, slots):
        raise _wrong(container, name, f"[{max(count, 1)}, {slots}]")
    if rows.min() < -1 or rows.max() >= elements:
        raise _wrong(container, name, f"made of {elements} elements, or -1")
    return rows


def _output(entry: Fields, container: Container, index: int, slots: int) -> OutputSpec:
    shape, elements = _elements(entry)
    decoding = container.array(f"decoding{index}", "<i8", 2)
    if decoding.shape[0] not in (3, 4) or not decoding.size:
        raise _wrong(container, f"decoding{index}", "[3 or 4, parts]")
    owners, ciphers, places = decoding[:3]
    imaginary = decoding[3:].reshape(-1)
    beyond = places.max() >= slots or ciphers.max() >= MAX_OUTPUTS or imaginary.max(initial=0) > 1
    if decoding.min() < 0 or beyond:
        raise _wrong(container, f"decoding{index}", "made of slots of output ciphertexts")
    # The header's count is not trusted with an allocation: found elements are counted instead.
    if len(np.unique(owners)) != elements or int(owners.max()) != elements - 1:
        raise _wrong(container, f"decoding{index}", f"made of parts of {elements} elements")
    post = entry.text("post")
    if post not in POSTS:
        raise entry.bad("post", f"one of {', '.join(POSTS)}")
    rank = len(shape)
    axis = entry.integer("axis", low=-max(rank, 1), high=max(rank - 1, 0))
    labels, state = entry.texts("labels"), entry.text("state")
    name = entry.text("name")
    return OutputSpec(name, shape, owners, ciphers, places, post, axis, labels, state, imaginary)


def _wrong(container: Container, section: str, wanted: str) -> ArtifactError:
    return ArtifactError(
        f"section '{section}' is not {wanted}",
        where=container.where,
        hint="the file was not written by eer, or was changed: compile the model again",
    )
