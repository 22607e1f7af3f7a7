"""Products of three polynomials in files."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from eer.runtime.container import pack, unpack
from eer.runtime.errors import ArtifactError
from eer.runtime.identity import compute_model_id
from eer.runtime.program import DotCipher, Instruction, Negate, Rotate
from eer.runtime.program_codec import decode_instructions, encode_instructions
from eer.runtime.server_bundle import load_server, server_to_bytes

if TYPE_CHECKING:
    from .conftest import Sample


def with_instructions(sample: Sample, *instructions: Instruction) -> bytes:
    held = unpack(server_to_bytes(sample.server), ("server",))
    arrays = {**held.arrays, "instructions": encode_instructions(instructions)}
    return pack("server", dict(held.meta.values), held.blobs, arrays)


def test_all_products_survive() -> None:
    products = tuple(
        DotCipher(((1, 2), (3, 3)), rescale, relinearise)
        for rescale in (True, False)
        for relinearise in (True, False)
    )
    words = encode_instructions(products)
    assert decode_instructions(words, "here") == products
    # What is relinearised is written as it was before there was a choice: ids of models stay.
    assert [words[2 + 7 * k] for k in range(4)] == [1, 3, 0, 2]


def test_model_ids_depend_on_relinearisation(sample: Sample) -> None:
    client, program = sample.client, sample.server.program
    *others, square = program.instructions
    assert isinstance(square, DotCipher)
    lazy = replace(program, instructions=(*others, replace(square, relinearise=False)))
    rest = (client.input_scale, client.inputs, client.outputs)
    assert compute_model_id(client.params, lazy, *rest) != client.model_id


@pytest.mark.parametrize("relinearise", [True, False])
def test_a_server_rotates_what_was_relinearised(sample: Sample, relinearise: bool) -> None:
    product = DotCipher(((0, 0),), rescale=False, relinearise=relinearise)
    negations = [Negate(k) for k in range(2, 7)]
    data = with_instructions(sample, product, Rotate(1, 1), *negations)
    if relinearise:
        assert load_server(data).program.instructions[0] == product
        return
    with pytest.raises(ArtifactError, match="breaks its rules: %2 reads a product that is not"):
        load_server(data)
