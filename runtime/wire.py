"""Keys and ciphertexts as they travel: a header that says what they belong to, and the library's
bytes. The header is checked before the library sees anything."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

from .client_bundle import MAX_OUTPUTS
from .container import Container, Source, pack, unpack
from .errors import ArtifactError, KeyMismatchError
from .fields import Fields, Json
from .identity import params_hash
from .model import ClientModel, ServerModel
from .pieces import Pieces

MAX_WINDOWS = 1 << 16

Direction = Literal["input", "state", "output"]
"""Where ciphertexts go: windows to the server, state for the server to keep, an answer back."""

DIRECTIONS: tuple[Direction, ...] = ("input", "state", "output")


@dataclass(frozen=True, slots=True)
class Binding:
    """What keys and ciphertexts belong to: one model, its parameters, an engine, one secret key."""

    engine: str
    params_hash: str
    model_id: str
    key_id: str

    def to_json(self) -> Json:
        return {
            "engine": self.engine,
            "params_hash": self.params_hash,
            "model_id": self.model_id,
            "key_id": self.key_id,
        }

    @staticmethod
    def of(model: ClientModel | ServerModel, engine: str, key_id: str) -> Binding:
        return Binding(engine, params_hash(model.params), model.model_id, key_id)

    @staticmethod
    def read(meta: Fields) -> Binding:
        return Binding(
            meta.text("engine", limit=64),
            meta.digest("params_hash"),
            meta.digest("model_id"),
            meta.digest("key_id"),
        )

    def check_model(
        self, model: ClientModel | ServerModel, engine: str, what: str, where: str
    ) -> None:
        """Raise KeyMismatchError unless `what` was made for this model and engine."""
        self._check_model(Binding.of(model, engine, ""), f"'{model.name}'", what, where)

    def check_same(self, other: Binding, what: str, where: str) -> None:
        """Raise KeyMismatchError unless `what` belongs to the model and the key of `other`."""
        self._check_model(other, "the model in use", what, where)
        self.check_key(other.key_id, what, where)

    def _check_model(self, other: Binding, name: str, what: str, where: str) -> None:
        if self.model_id != other.model_id:
            raise KeyMismatchError(
                f"{what} of another model: made for {self.model_id[:12]}, "
                f"but {name} is {other.model_id[:12]}",
                where=where,
                hint="use the files made with this model; after compiling again, "
                "run eer keygen and eer encrypt again",
            )
        if self.params_hash != other.params_hash:
            raise KeyMismatchError(
                f"{what} made for other parameters than the model's",
                where=where,
                hint="run eer keygen and eer encrypt again with this model",
            )
        if self.engine != other.engine:
            raise KeyMismatchError(
                f"{what} made with the engine '{self.engine}', but '{other.engine}' is in use",
                where=where,
                hint=f"use --engine {self.engine} here as well, or make it again with "
                f"{other.engine}",
            )

    def check_key(self, key_id: str, what: str, where: str) -> None:
        """Raise KeyMismatchError unless `what` belongs to the key with this id."""
        if self.key_id != key_id:
            raise KeyMismatchError(
                f"{what} of another key: made with {self.key_id[:12]}, "
                f"but the key in use is {key_id[:12]}",
                where=where,
                hint="keys of one eer keygen belong together: use the pair that made this file",
            )


@dataclass(frozen=True, slots=True)
class SecretKeyFile:
    """A secret key as it lies in a file. `body` is what must never leave the client."""

    binding: Binding
    where: str
    body: Pieces = field(repr=False)


@dataclass(frozen=True, slots=True)
class EvaluationKeysFile:
    """Evaluation keys as they travel to the server; `rotations` are steps in ring slots, and
    `conjugation` says whether there is a key for complex conjugation."""

    binding: Binding
    where: str
    rotations: tuple[int, ...]
    conjugation: bool
    body: Pieces = field(repr=False)


@dataclass(frozen=True, slots=True)
class Message:
    """Ciphertexts on their way.

    `windows` says how many windows are packed side by side; `names` and `counts` say how many
    ciphertexts belong to each input (for outputs: one entry, "outputs").
    """

    binding: Binding
    where: str
    direction: Direction
    windows: int
    names: tuple[str, ...]
    counts: tuple[int, ...]
    levels: tuple[int, ...]
    bodies: tuple[Pieces, ...] = field(repr=False)


def secret_key_to_bytes(binding: Binding, body: Pieces) -> bytes:
    return pack("secret-key", binding.to_json(), {"key": body})


def read_secret_key(source: Source) -> SecretKeyFile:
    """A secret key file, verified. Raises ArtifactError, FileError."""
    container = unpack(source, ("secret-key",))
    return SecretKeyFile(Binding.read(container.meta), container.where, (container.blob("key"),))


def evaluation_keys_to_bytes(
    binding: Binding, rotations: Sequence[int], conjugation: bool, body: Pieces
) -> bytes:
    meta = binding.to_json() | {"rotations": list(rotations), "conjugation": conjugation}
    return pack("evaluation-keys", meta, {"keys": body})


def read_evaluation_keys(source: Source) -> EvaluationKeysFile:
    """An evaluation key file, verified. Raises ArtifactError, FileError."""
    container = unpack(source, ("evaluation-keys",))
    rotations = container.meta.integers("rotations", low=1, high=MAX_WINDOWS)
    return EvaluationKeysFile(
        binding=Binding.read(container.meta),
        where=container.where,
        rotations=rotations,
        conjugation=container.meta.flag("conjugation"),
        body=(container.blob("keys"),),
    )


def message_to_bytes(message: Message) -> bytes:
    meta = message.binding.to_json() | {
        "direction": message.direction,
        "windows": message.windows,
        "names": list(message.names),
        "counts": list(message.counts),
        "levels": list(message.levels),
    }
    blobs = {f"cipher{k}": body for k, body in enumerate(message.bodies)}
    return pack("ciphertext", meta, blobs)


def read_message(source: Source, where: str | None = None) -> Message:
    """A ciphertext file, verified. Raises ArtifactError, FileError."""
    container = unpack(source, ("ciphertext",), where=where)
    meta = container.meta
    direction = next((d for d in DIRECTIONS if d == meta.text("direction")), None)
    if direction is None:
        raise meta.bad("direction", f"one of {', '.join(DIRECTIONS)}")
    names, counts = meta.texts("names"), meta.integers("counts", low=1, high=MAX_OUTPUTS)
    levels = meta.integers("levels", high=64)
    if len(names) != len(counts) or sum(counts) != len(levels):
        raise meta.bad("counts", "one for each name, and together one for each ciphertext")
    return Message(
        binding=Binding.read(meta),
        where=container.where,
        direction=direction,
        windows=meta.integer("windows", low=1, high=MAX_WINDOWS),
        names=names,
        counts=counts,
        levels=levels,
        bodies=_bodies(container, len(levels)),
    )


def _bodies(container: Container, count: int) -> tuple[Pieces, ...]:
    if len(container.blobs) != count:
        raise ArtifactError(
            f"{len(container.blobs)} ciphertexts where {count} were announced",
            where=container.where,
            hint="the file was not written by eer, or was changed: make it again",
        )
    return tuple((container.blob(f"cipher{k}"),) for k in range(count))
