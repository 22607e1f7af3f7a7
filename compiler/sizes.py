"""Bytes of keys and messages, predicted from the parameters as each engine writes them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from eer.runtime.fields import Json
from eer.runtime.model import ClientModel, cipher_places
from eer.runtime.params import CkksParams
from eer.runtime.program import Program, infer_levels, infer_parts

WORD = 8
"""Bytes of one residue before compression."""


def sizes_json(client: ClientModel, program: Program) -> Json:
    """Bytes of what goes over the wire: evaluation keys once, and one message and its answer.

    Exact for DESILO FHE but for headers; within a tenth for SEAL, whose files carry seeds and are
    compressed.
    """
    params = client.params
    seal = params.engine == "seal"
    keys = _seal_keys if seal else _desilo_keys
    fresh = _seal_fresh if seal else _desilo_cipher
    levels, parts, galois = infer_levels(program), infer_parts(program), galois_levels(client)
    # What `fresh` gives is one polynomial on SEAL, the other being a seed, and two on DESILO FHE.
    answer = sum(parts[o] / (1 if seal else 2) * fresh(params, levels[o]) for o in program.outputs)
    kept = kept_inputs(client)
    brought = [level for n, level in enumerate(client.input_levels) if n not in kept]
    return {
        "input_ciphertexts": len(brought),
        "upload_bytes": round(sum(fresh(params, level) for level in brought)),
        "download_bytes": round(answer),
        "galois_keys": len(galois),
        "evaluation_key_bytes": round(keys(params, galois)),
        "evaluation_key_bytes_held": round(key_bytes_held(params, galois)),
    }


def kept_inputs(client: ClientModel) -> frozenset[int]:
    """Input ciphertexts that a message does not bring: state, which the server holds from before. A
    step's is new with every message."""
    if client.is_step:
        return frozenset()
    places = cipher_places(client.inputs)
    return frozenset(n for spec in client.state_inputs for n in places[spec.name])


def galois_levels(model: ClientModel | Program) -> tuple[int, ...]:
    """The highest level at which each Galois key is used: rotations, then the conjugation."""
    last = () if model.conjugation_level is None else (model.conjugation_level,)
    return (*model.rotation_levels, *last)


def key_bytes_held(params: CkksParams, galois: Sequence[int]) -> float:
    """Bytes that the evaluation keys take at the server, which needs both halves of each.

    `galois` has the highest level at which each Galois key is used.
    """
    if params.engine == "desilo":
        return _desilo_keys(params, galois)
    digits = len(params.log_q)
    words = 2 * digits * (digits + len(params.log_p)) * params.ring_dimension
    return float((len(galois) + 1) * words * WORD)


def _seal_keys(params: CkksParams, galois: Sequence[int]) -> float:
    """One half of a pair of polynomials over all primes, for each prime of Q; the other is a seed.

    Galois and relinearisation keys are alike.
    """
    sizes = (*params.log_q, *params.log_p)
    one = len(params.log_q) * sum(_compressed(params, bits) for bits in sizes)
    return (len(galois) + 1) * one


def _seal_fresh(params: CkksParams, level: int) -> float:
    return sum(_compressed(params, bits) for bits in params.log_q[: level + 1])


def _compressed(params: CkksParams, log_prime: float) -> float:
    """Bytes of N residues in 64-bit words after an entropy coder that looks at single bytes."""
    full, rest = divmod(round(log_prime), 8)
    share = np.full(256, full / WORD / 256)
    share[: 1 << rest] += (1 if rest else 0) / WORD / (1 << rest)
    share[0] += (WORD - full - (1 if rest else 0)) / WORD
    seen = share[share > 0]
    bits_a_byte = float(-(seen * np.log2(seen)).sum())
    return params.ring_dimension * WORD * bits_a_byte / 8


def _desilo_keys(params: CkksParams, galois: Sequence[int]) -> float:
    """A Galois key at the highest level of its use, a relinearisation key one below the top.

    Each has a pair of polynomials for every digit, as wide as the special primes are many.
    """
    special = sum(bits > 50 for bits in params.log_p)
    top = params.max_level

    def key(level: int) -> float:
        primes = level + 2
        digits = -(-primes // special)
        return 2.0 * digits * (primes + special) * WORD * params.ring_dimension

    return sum(key(level) for level in galois) + (key(top - 1) if top else 0.0)


def _desilo_cipher(params: CkksParams, level: int) -> float:
    return 2.0 * (level + 2) * WORD * params.ring_dimension
