"""Digests that bind models, parameters, keys and ciphertexts to each other."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from functools import lru_cache

import numpy as np

from .errors import ArtifactError, ParameterError
from .fields import Fields, Json
from .model import InputSpec, OutputSpec
from .params import SECURITY_BITS, CkksLiteral, CkksParams
from .program import Program
from .program_codec import encode_instructions


def params_to_json(params: CkksParams) -> Json:
    """CKKS parameters as they stand in file headers."""
    return {
        "engine": params.engine,
        "log_n": params.log_n,
        "log_q": list(params.log_q),
        "log_p": list(params.log_p),
        "log_scale": params.log_scale,
        "security_bits": params.security_bits,
    }


def params_from_json(fields: Fields) -> CkksParams:
    """Parameters read from a header, checked again for security. Raises ArtifactError."""
    literal = CkksLiteral(
        engine=fields.text("engine", limit=64),
        log_n=fields.integer("log_n", high=64),
        log_q=fields.numbers("log_q"),
        log_p=fields.numbers("log_p"),
        log_scale=fields.number("log_scale"),
    )
    try:
        return literal.check(fields.integer("security_bits", high=SECURITY_BITS * 2))
    except ParameterError as problem:
        raise ArtifactError(
            f"the parameters in the file are refused: {problem.reason}",
            where=fields.where,
            hint="the file was not written by eer, or was changed: compile the model again",
        ) from problem


@lru_cache(maxsize=64)
def params_hash(params: CkksParams) -> str:
    """SHA-256 of the parameters, in hexadecimal."""
    return hashlib.sha256(_canonical(params_to_json(params))).hexdigest()


def compute_model_id(
    params: CkksParams,
    program: Program,
    input_scale: float,
    inputs: Sequence[InputSpec],
    outputs: Sequence[OutputSpec],
) -> str:
    """SHA-256 of everything that decides what a ciphertext of this model means.

    That is the parameters, the program with its weights, the packing, the decoding, and which
    inputs and outputs are state. Calibrated ranges and layer labels are left out: they change no
    ciphertext.
    """
    digest = hashlib.sha256()

    def put(part: bytes) -> None:
        digest.update(len(part).to_bytes(8, "little"))
        digest.update(part)

    put(_canonical(params_to_json(params)))
    put(np.float64(input_scale).astype("<f8").tobytes())
    put(np.asarray([program.slots, *program.input_levels], "<i8").tobytes())
    put(np.asarray(program.outputs, "<i8").tobytes())
    put(encode_instructions(program.instructions).astype("<i8").tobytes())
    for plain in program.plains:
        # Twice as long where it is complex: the lengths before the parts tell one from the other.
        kind = "<c16" if np.iscomplexobj(plain) else "<f8"
        put(np.ascontiguousarray(plain, kind).tobytes())
    for spec in inputs:
        # What is no state, or real, is not spelled out: ids of models without stay what they were.
        role = [] if spec.role == "window" else [spec.role]
        held = [] if not any(r is not None for _, r in spec.rows) else [["imaginary"]]
        put(_canonical([spec.name, list(spec.shape), *role, *held]))
        for row, imaginary in spec.rows:
            put(np.ascontiguousarray(row, "<i8").tobytes())
            if held:
                put(b"" if imaginary is None else np.ascontiguousarray(imaginary, "<i8").tobytes())
    for out in outputs:
        feeds = [out.state] if out.state else []
        put(_canonical([out.name, list(out.shape), out.post, out.axis, list(out.labels), *feeds]))
        put(np.ascontiguousarray(out.elements, "<i8").tobytes())
        put(np.ascontiguousarray(out.ciphers, "<i8").tobytes())
        put(np.ascontiguousarray(out.slots, "<i8").tobytes())
        if len(out.imaginary):
            put(np.ascontiguousarray(out.imaginary, "<i8").tobytes())
    return digest.hexdigest()


def _canonical(value: Json | list[object]) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False).encode()
