"""The client: it owns the secret key, encrypts windows and decrypts answers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from .container import Source
from .decode import Prediction, decode
from .engine import Engine, SecretKey
from .engines import open_engine
from .errors import ArtifactError, DataError, EngineError, UsageError
from .files import read_file
from .inputs import RANGE_SHARE, RangeCheck, check_inputs
from .model import ClientModel, Index, InputSpec, cipher_places
from .packing import pack_repeated, pack_windows, unpack_windows
from .pieces import Bytes
from .program import Slots, Vector
from .state_update import answer_digest, update_to_bytes
from .wire import (
    Binding,
    Direction,
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


@dataclass(frozen=True, slots=True, eq=False)
class Refreshed:
    """A step's new state. `update` goes to the server; the rest was decrypted and stays here:
    `state` [*shape] by name of the state, and what the step says beside it."""

    update: bytes = field(repr=False)
    state: Mapping[str, Vector] = field(repr=False)
    prediction: Prediction = field(repr=False)


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
        """Windows that fit into one message; a step takes one."""
        return self.model.most_windows

    @property
    def key_id(self) -> str:
        return self._secret().key_id

    def generate_keys(self) -> KeyPair:
        """Make a new secret key and keep it; return both key files."""
        # Keys are for ring slots; the model lists rotations of the plan, `batch` times as short.
        rotations = tuple(r * self.model.batch for r in self.model.rotations)
        levels = self.model.rotation_levels or None
        conjugation = self.model.conjugation_level
        key, evaluation = self._engine.generate_keys(rotations, levels, conjugation)
        binding = Binding.of(self.model, self._engine.family, key.key_id)
        pair = KeyPair(
            key.key_id,
            secret_key_to_bytes(binding, self._engine.save_secret_key(key)),
            evaluation_keys_to_bytes(binding, rotations, conjugation is not None, evaluation),
        )
        self._key = key
        return pair

    def encrypt(self, inputs: Mapping[str, Any] | Any) -> bytes:
        """A message for the server with 1 to `batch` windows.

        `inputs` maps names to arrays [windows, *shape] (or one window [*shape]); a single array
        will do for a model of one input. State that the server does not keep may be given along,
        by name, as arrays [*shape]. Raises DataError for inputs that `check_inputs` refuses.
        """
        specs, arrays = self._check(inputs)
        windows = _windows(specs, arrays)
        if windows > self.batch:
            raise DataError(
                f"{windows} windows were given; one message holds {self.batch}",
                hint="encrypt_all makes as many messages as it takes",
            )
        return self._encrypt(specs, arrays, "input")

    def encrypt_state(self, values: Mapping[str, Any] | Any) -> bytes:
        """A message with all of the model's state, for the server to keep.

        `values` maps names of state inputs to arrays [*shape]; a single array will do where there
        is one state. Raises DataError for what `check_inputs` refuses, the range included.
        """
        specs = self.model.state_inputs
        if not specs:
            raise UsageError(
                f"'{self.model.name}' keeps no state", hint="use encrypt for its inputs"
            )
        return self._encrypt(specs, self._checked(values, specs), "state")

    def encrypt_all(self, inputs: Mapping[str, Any] | Any) -> Iterator[bytes]:
        """Messages for any number of windows, in order. All inputs are checked first."""
        specs, arrays = self._check(inputs)
        self._secret()
        return self._messages(specs, arrays)

    def _messages(self, specs: Sequence[InputSpec], arrays: list[Vector]) -> Iterator[bytes]:
        for start in range(0, _windows(specs, arrays), self.batch):
            part = slice(start, start + self.batch)
            yield self._encrypt(
                specs,
                [a[part] if s.role == "window" else a for s, a in zip(specs, arrays, strict=True)],
                "input",
            )

    def _check(self, inputs: Mapping[str, Any] | Any) -> tuple[Sequence[InputSpec], list[Vector]]:
        """The inputs that were given, state being optional, and their checked values."""
        named = inputs if isinstance(inputs, Mapping) else {}
        specs = [s for s in self.model.inputs if s.role == "window" or s.name in named]
        return specs, self._checked(inputs, specs)

    def _checked(self, given: Mapping[str, Any] | Any, specs: Sequence[InputSpec]) -> list[Vector]:
        return check_inputs(given, specs, self.range_check, self.range_share)

    def _encrypt(
        self, specs: Sequence[InputSpec], arrays: list[Vector], direction: Direction
    ) -> bytes:
        model, key = self.model, self._secret()
        places = cipher_places(model.inputs)
        levels = tuple(model.input_levels[k] for s in specs for k in places[s.name])
        vectors = [
            self._packed(spec, values, row, imaginary)
            for spec, values in zip(specs, arrays, strict=True)
            for row, imaginary in spec.rows
        ]
        bodies = tuple(
            self._engine.encrypt_bytes(key, vector, level, model.input_scale)
            for vector, level in zip(vectors, levels, strict=True)
        )
        return message_to_bytes(
            Message(
                binding=Binding.of(model, self._engine.family, key.key_id),
                where="",
                direction=direction,
                windows=_windows(specs, arrays),
                names=tuple(s.name for s in specs),
                counts=tuple(s.ciphers for s in specs),
                levels=levels,
                bodies=bodies,
            )
        )

    def _packed(
        self, spec: InputSpec, values: Vector, row: Index, imaginary: Index | None
    ) -> Slots:
        """State, and a step's one window, are the same in all places of a batch."""
        if spec.role == "state" or self.model.is_step:
            return pack_repeated(values[0], row, self.model.batch, imaginary)
        return pack_windows(values, row, self.model.batch, imaginary)

    def decrypt(self, message: Source) -> Prediction:
        """The answer in a server's message, bytes or path.

        Raises KeyMismatchError for an answer of another model or key, ArtifactError for one that
        is damaged or that is no answer at all.
        """
        answer, scores = self._open(message)
        return decode(scores, self.model.outputs, answer.windows)

    def initial_state(
        self, values: Mapping[str, Any] | Any, others: Sequence[Client] = ()
    ) -> bytes:
        """The state that a personal model starts with, for `PersonalModel.create`.

        `values` maps names to arrays [*shape] and holds all state of this model and of `others`,
        the clients of further models that share it. Raises DataError for what `check_inputs`
        refuses.
        """
        if not isinstance(values, Mapping):
            values = {s.name: values for s in self.model.state_inputs[:1]}
        clients = (self, *others)
        known = {s.name for c in clients for s in c.model.state_inputs}
        unknown = [str(n) for n in values if n not in known]
        if unknown:
            raise DataError(
                f"no state is '{unknown[0]}'", hint=f"the states are: {', '.join(sorted(known))}"
            )
        return _update("", clients, values, known)

    def refresh(self, answer: Source, others: Sequence[Client] = ()) -> Refreshed:
        """Make fresh ciphertexts of the state in a step's answer, bytes or path.

        The new state is decrypted, checked (finite, within the calibrated range as `range_check`
        has it) and encrypted again for this model and for the models of `others`. Nothing that was
        decrypted leaves in the update. Raises DataError for a state that left its range: the
        server then still has the version before. Else raises as `decrypt` does.
        """
        data = answer if isinstance(answer, Bytes) else read_file(answer)
        message, scores = self._open(data, None if answer is data else str(answer))
        state = {o.state: scores[o.name][0] for o in self.model.outputs if o.state}
        if not state:
            raise UsageError(
                f"'{self.model.name}' is no step: its answers hold no state",
                where=message.where,
                hint="decrypt them",
            )
        update = _update(answer_digest(data), (self, *others), state, set(state))
        return Refreshed(update, state, decode(scores, self.model.outputs, message.windows))

    def _open(self, source: Source, where: str | None = None) -> tuple[Message, dict[str, Vector]]:
        """A checked answer, and the values [windows, *shape] of its outputs by name."""
        key = self._secret()
        answer = read_message(source, where)
        self._check_answer(answer, key)
        ciphers = [self._engine.load_cipher(body) for body in answer.bodies]
        both = self.model.complex_answers
        decrypted = [
            self._engine.decrypt(key, cipher, imaginary=number in both)
            for number, cipher in enumerate(ciphers)
        ]
        if not all(np.isfinite(vector).all() for vector in decrypted):
            raise EngineError(
                "decryption gave values that are not finite",
                where=answer.where,
                hint="inputs far outside the calibrated range overflow a model: check them",
            )
        scores = {
            spec.name: unpack_windows(decrypted, spec, answer.windows, self.model.batch)
            for spec in self.model.outputs
        }
        return answer, scores

    def _check_answer(self, answer: Message, key: SecretKey) -> None:
        where = answer.where
        answer.binding.check_model(self.model, self._engine.family, "ciphertext", where)
        answer.binding.check_key(key.key_id, "ciphertext", where)
        if answer.direction != "output":
            raise ArtifactError(
                f"this is an encrypted {answer.direction}, not an answer",
                where=where,
                hint="a state is for the server to keep"
                if answer.direction == "state"
                else "send it through the server first (eer run)",
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


def _update(
    answer: str, clients: Sequence[Client], values: Mapping[str, Any], names: set[str]
) -> bytes:
    """State `names` for the models of all `clients`; checked for all before any is encrypted."""
    checked = []
    for client in clients:
        specs = [s for s in client.model.state_inputs if s.name in names]
        if not specs:
            raise UsageError(
                f"'{client.model.name}' takes none of the state {', '.join(sorted(names))}",
                hint="leave its client out, or name the state alike in both models",
            )
        arrays = client._checked({s.name: values[s.name] for s in specs if s.name in values}, specs)
        checked.append((client, specs, arrays))
    messages = {c.model.model_id: c._encrypt(s, a, "state") for c, s, a in checked}
    return update_to_bytes(answer, messages)


def _windows(specs: Sequence[InputSpec], arrays: Sequence[Vector]) -> int:
    """Windows in a message with these inputs; state alone counts as one."""
    counts = (len(a) for s, a in zip(specs, arrays, strict=True) if s.role == "window")
    return next(counts, 1)
