"""The client: it owns the secret key, encrypts windows and decrypts answers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from .container import Source
from .decode import Prediction, decode
from .engine import Engine, SecretKey
from .engines import open_engine
from .errors import ArtifactError, DataError, EngineError, UsageError
from .inputs import RANGE_SHARE, RangeCheck, check_inputs
from .model import ClientModel
from .packing import pack_windows, unpack_windows
from .program import Vector
from .wire import (
    Binding,
    Message,
    evaluation_keys_to_bytes,
    message_to_bytes,
    read_message,
    read_secret_key,
    secret_key_to_bytes,
)


@dataclass(frozen=True, slots=True)
class KeyPair:
    """The contents of a new secret key file, and of the evaluation key file for the server."""

    key_id: str
    secret: bytes = field(repr=False)
    evaluation: bytes = field(repr=False)


class Client:
    """One user of a compiled model.

    `secret_key` is a secret key file (bytes or path) of this model; without it, `generate_keys`
    makes one. `engine` defaults to the one that the model was compiled for. Raises
    KeyMismatchError for the key of another model.
    """

    def __init__(
        self,
        model: ClientModel,
        engine: Engine | None = None,
        *,
        secret_key: Source | None = None,
        range_check: RangeCheck = "error",
        range_share: float = RANGE_SHARE,
    ) -> None:
        self.model = model
        self.range_check: RangeCheck = range_check
        self.range_share = range_share
        self._engine = open_engine(model.params) if engine is None else engine
        self._key: SecretKey | None = None
        if secret_key is not None:
            file = read_secret_key(secret_key)
            file.binding.check_model(model, self._engine.family, "secret key", file.where)
            self._key = self._engine.load_secret_key(file.body, file.binding.key_id)

    @property
    def batch(self) -> int:
        """Windows that fit into one message."""
        return self.model.batch

    @property
    def key_id(self) -> str:
        return self._secret().key_id

    def generate_keys(self) -> KeyPair:
        """Make a new secret key and keep it; return both key files."""
        # Keys are for ring slots; the model lists rotations of the plan, `batch` times as short.
        rotations = tuple(r * self.batch for r in self.model.rotations)
        key, evaluation = self._engine.generate_keys(rotations)
        binding = Binding.of(self.model, self._engine.family, key.key_id)
        pair = KeyPair(
            key.key_id,
            secret_key_to_bytes(binding, self._engine.save_secret_key(key)),
            evaluation_keys_to_bytes(binding, rotations, evaluation),
        )
        self._key = key
        return pair

    def encrypt(self, inputs: Mapping[str, Any] | Any) -> bytes:
        """A message for the server with 1 to `batch` windows.

        `inputs` maps names to arrays [windows, *shape] (or one window [*shape]); a single array
        will do for a model of one input. Raises DataError for inputs that `check_inputs` refuses.
        """
        arrays = self._check(inputs)
        if len(arrays[0]) > self.batch:
            raise DataError(
                f"{len(arrays[0])} windows were given; one message holds {self.batch}",
                hint="encrypt_all makes as many messages as it takes",
            )
        return self._encrypt(arrays)

    def encrypt_all(self, inputs: Mapping[str, Any] | Any) -> Iterator[bytes]:
        """Messages for any number of windows, in order. All inputs are checked first."""
        arrays = self._check(inputs)
        self._secret()
        return self._messages(arrays)

    def _messages(self, arrays: list[Vector]) -> Iterator[bytes]:
        for start in range(0, len(arrays[0]), self.batch):
            yield self._encrypt([a[start : start + self.batch] for a in arrays])

    def _check(self, inputs: Mapping[str, Any] | Any) -> list[Vector]:
        return check_inputs(inputs, self.model.inputs, self.range_check, self.range_share)

    def _encrypt(self, arrays: list[Vector]) -> bytes:
        model, key = self.model, self._secret()
        vectors = [
            pack_windows(values, row, self.batch)
            for values, spec in zip(arrays, model.inputs, strict=True)
            for row in spec.packing
        ]
        bodies = tuple(
            self._engine.encrypt_bytes(key, vector, level, model.input_scale)
            for vector, level in zip(vectors, model.input_levels, strict=True)
        )
        return message_to_bytes(
            Message(
                binding=Binding.of(model, self._engine.family, key.key_id),
                where="",
                direction="input",
                windows=len(arrays[0]),
                names=tuple(s.name for s in model.inputs),
                counts=tuple(len(s.packing) for s in model.inputs),
                levels=model.input_levels,
                bodies=bodies,
            )
        )

    def decrypt(self, message: Source) -> Prediction:
        """The answer in a server's message, bytes or path.

        Raises KeyMismatchError for an answer of another model or key, ArtifactError for one that
        is damaged or that is no answer at all.
        """
        key = self._secret()
        answer = read_message(message)
        self._check_answer(answer, key)
        ciphers = [self._engine.load_cipher(body) for body in answer.bodies]
        decrypted = [self._engine.decrypt(key, cipher) for cipher in ciphers]
        if not all(np.isfinite(vector).all() for vector in decrypted):
            raise EngineError(
                "decryption gave values that are not finite",
                where=answer.where,
                hint="inputs far outside the calibrated range overflow a model: check them",
            )
        scores = {
            spec.name: unpack_windows(decrypted, spec, answer.windows, self.batch)
            for spec in self.model.outputs
        }
        return decode(scores, self.model.outputs, answer.windows)

    def _check_answer(self, answer: Message, key: SecretKey) -> None:
        where = answer.where
        answer.binding.check_model(self.model, self._engine.family, "ciphertext", where)
        answer.binding.check_key(key.key_id, "ciphertext", where)
        if answer.direction != "output":
            raise ArtifactError(
                "this is an encrypted input, not an answer",
                where=where,
                hint="send it through the server first (eer run)",
            )
        wanted = 1 + max(int(spec.ciphers.max()) for spec in self.model.outputs)
        if len(answer.bodies) < wanted or answer.windows > self.batch:
            raise ArtifactError(
                f"the answer holds {len(answer.bodies)} ciphertexts for {answer.windows} windows; "
                f"this model answers with {wanted} for up to {self.batch}",
                where=where,
                hint="run eer run again",
            )

    def _secret(self) -> SecretKey:
        if self._key is None:
            raise UsageError(
                "the client has no secret key",
                hint="give Client(..., secret_key=...) or call generate_keys() first",
            )
        return self._key
