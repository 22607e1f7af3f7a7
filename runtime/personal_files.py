"""The files of a personal model: its index, its versions, and the step that is not finished.

The index names the current version and those before it, with the hash of each; it is the only
file that is ever replaced, so whatever it names is whole. Versions hold ciphertexts only.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from .container import Source, pack, unpack
from .errors import ArtifactError
from .fields import Fields, Json
from .model import ServerModel, cipher_places
from .pieces import Pieces
from .wire import Binding, Message, message_to_bytes, read_message

Role = Literal["step", "inference"]
"""What a model does for its user: learn the state, or use it."""

ROLES: tuple[Role, ...] = ("step", "inference")

RefreshPolicy = Literal["client", "bootstrap"]
"""Who makes fresh ciphertexts of the state between two steps."""

MAX_VERSIONS = 1 << 16
_AGAIN = "the file was not written by eer, or was changed: go back to a copy, or start anew"


@dataclass(frozen=True, slots=True)
class Part:
    """One of the models that share the state, and what state it takes.

    `names`, `counts` and `levels` are those of its state messages; `fed` are the states that a
    step renews.
    """

    role: Role
    binding: Binding
    names: tuple[str, ...]
    counts: tuple[int, ...]
    levels: tuple[int, ...]
    fed: tuple[str, ...]

    @staticmethod
    def of(role: Role, model: ServerModel, binding: Binding, fed: tuple[str, ...]) -> Part:
        places = cipher_places(model.inputs)
        names = model.state_names
        return Part(
            role,
            binding,
            names,
            tuple(len(places[n]) for n in names),
            tuple(model.program.input_levels[k] for n in names for k in places[n]),
            tuple(n for n in names if n in fed),
        )

    def check(self, message: Message, names: tuple[str, ...]) -> None:
        """Raise ArtifactError unless the header announces exactly the states `names`."""
        message.binding.check_same(self.binding, "state", message.where)
        held = dict(zip(self.names, self.counts, strict=True))
        starts = dict(zip(self.names, _starts(self.counts), strict=True))
        levels = tuple(
            level for n in names for level in self.levels[starts[n] : starts[n] + held[n]]
        )
        counts = tuple(held[n] for n in names)
        if (message.names, message.counts, message.levels) != (names, counts, levels):
            raise ArtifactError(
                f"the state holds {list(message.names)} in {list(message.counts)} ciphertexts of "
                f"levels {list(message.levels)}; {list(names)} in {list(counts)} of levels "
                f"{list(levels)} is wanted",
                where=message.where,
                hint="make it again with the client bundles of the models in use",
            )

    def merged(self, old: Message, new: Message) -> Message:
        """The whole state: what `new` holds, and the rest from `old`."""
        bodies = {n: b for m in (old, new) for n, b in _by_name(m).items()}
        return Message(
            binding=self.binding,
            where=new.where,
            direction="state",
            windows=1,
            names=self.names,
            counts=self.counts,
            levels=self.levels,
            bodies=tuple(b for n in self.names for b in bodies[n]),
        )


def _starts(counts: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(sum(counts[:k]) for k in range(len(counts)))


def _by_name(message: Message) -> dict[str, tuple[Pieces, ...]]:
    starts = _starts(message.counts)
    return {
        name: message.bodies[start : start + count]
        for name, start, count in zip(message.names, starts, message.counts, strict=True)
    }


@dataclass(frozen=True, slots=True)
class VersionInfo:
    """An entry of the index. `step` counts the steps that led to this version."""

    version: int
    step: int
    size: int
    sha256: str

    def to_json(self) -> Json:
        return {
            "version": self.version,
            "step": self.step,
            "bytes": self.size,
            "sha256": self.sha256,
        }


@dataclass(frozen=True, slots=True)
class Index:
    """What a personal model is. The last of `versions` is the current one.

    `history` is how many versions are kept, `next_version` a number that was never used.
    """

    parts: tuple[Part, ...]
    refresh: RefreshPolicy
    history: int
    next_version: int
    versions: tuple[VersionInfo, ...]

    @property
    def current(self) -> VersionInfo:
        return self.versions[-1]


@dataclass(frozen=True, slots=True)
class Version:
    """The state after `step` steps: a state message for each model, by its id.

    `answer` is the digest of the answer that it was refreshed from, or "".
    """

    version: int
    step: int
    answer: str
    messages: Mapping[str, Message] = field(repr=False)


@dataclass(frozen=True, slots=True)
class Pending:
    """A step that was computed on version `base` and waits for its refresh."""

    base: int
    step: int
    answer: bytes = field(repr=False)


def index_to_bytes(index: Index) -> bytes:
    parts = [
        p.binding.to_json()
        | {"role": p.role, "names": list(p.names), "counts": list(p.counts)}
        | {"levels": list(p.levels), "fed": list(p.fed)}
        for p in index.parts
    ]
    meta = {
        "parts": parts,
        "refresh": index.refresh,
        "history": index.history,
        "next_version": index.next_version,
        "versions": [v.to_json() for v in index.versions],
    }
    return pack("personal", meta)


def read_index(source: Source) -> Index:
    """An index, checked in itself. Raises ArtifactError, FileError."""
    container = unpack(source, ("personal",))
    meta = container.meta
    parts = tuple(_part(e) for e in meta.objects("parts"))
    if not parts or len({p.role for p in parts}) != len(parts):
        raise meta.bad("parts", "a list of one model for each role")
    if len({p.binding.model_id for p in parts}) != len(parts):
        raise meta.bad("parts", "a list of different models")
    if meta.text("refresh") != "client":
        raise meta.bad("refresh", "a policy that this eer knows")
    next_version = meta.integer("next_version", low=1)
    versions = tuple(
        VersionInfo(
            e.integer("version", low=1, high=next_version - 1),
            e.integer("step"),
            e.integer("bytes", low=1),
            e.digest("sha256"),
        )
        for e in meta.objects("versions")
    )
    numbers = [v.version for v in versions]
    if not versions or sorted(set(numbers)) != numbers:
        raise meta.bad("versions", "a list of versions in order")
    history = meta.integer("history", low=2, high=MAX_VERSIONS)
    return Index(parts, "client", history, next_version, versions)


def _part(entry: Fields) -> Part:
    role = next((r for r in ROLES if r == entry.text("role")), None)
    if role is None:
        raise entry.bad("role", f"one of {', '.join(ROLES)}")
    names, counts = entry.texts("names"), entry.integers("counts", low=1, high=1 << 16)
    levels, fed = entry.integers("levels", high=64), entry.texts("fed")
    if len(set(names)) != len(names) or len(counts) != len(names) or sum(counts) != len(levels):
        raise entry.bad("counts", "one for each name, and together one for each ciphertext")
    if not set(fed) <= set(names):
        raise entry.bad("fed", "a list of names of states")
    return Part(role, Binding.read(entry), names, counts, levels, fed)


def version_to_bytes(version: Version) -> bytes:
    meta = {"version": version.version, "step": version.step, "answer": version.answer}
    blobs = {model_id: message_to_bytes(m) for model_id, m in version.messages.items()}
    return pack("personal-state", meta, blobs)


def read_version(data: bytes, where: str, info: VersionInfo, parts: tuple[Part, ...]) -> Version:
    """The version that `info` announces, with all state of all `parts`. Raises ArtifactError."""
    if hashlib.sha256(data).hexdigest() != info.sha256:
        raise ArtifactError(
            f"version {info.version} is not the one that the index names: it was damaged or "
            "changed",
            where=where,
            hint=_AGAIN,
        )
    container = unpack(data, ("personal-state",), where=where)
    meta = container.meta
    if (meta.integer("version"), meta.integer("step")) != (info.version, info.step):
        raise meta.bad("version", "the one that the index names")
    messages: dict[str, Message] = {}
    for part in parts:
        model_id = part.binding.model_id
        message = read_message(container.blob(model_id), f"{where}, {part.role} model")
        part.check(message, part.names)
        messages[model_id] = message
    return Version(info.version, info.step, meta.text("answer", limit=64), messages)


def pending_to_bytes(pending: Pending) -> bytes:
    meta = {"base": pending.base, "step": pending.step}
    return pack("personal-step", meta, {"answer": pending.answer})


def read_pending(source: Source) -> Pending:
    """An unfinished step, verified. Raises ArtifactError, FileError."""
    container = unpack(source, ("personal-step",))
    meta = container.meta
    return Pending(
        meta.integer("base", low=1), meta.integer("step", low=1), bytes(container.blob("answer"))
    )


def index_facts(index: Index) -> Json:
    """What an index says, for people and scripts."""
    return {
        "step": index.current.step,
        "version": index.current.version,
        "versions": [v.to_json() for v in index.versions],
        "history": index.history,
        "refresh": index.refresh,
        "models": {p.role: p.binding.to_json() for p in index.parts},
        "states": {p.role: list(p.names) for p in index.parts},
    }


def version_facts(source: Source) -> Json:
    """What a version file says of itself, without its index."""
    container = unpack(source, ("personal-state",))
    meta = container.meta
    states = {m: list(read_message(b).names) for m, b in container.blobs.items()}
    return {"version": meta.integer("version"), "step": meta.integer("step"), "states": states}
