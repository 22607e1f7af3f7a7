"""A personal model: one user's state on the server, ciphertexts only, learned step by step.

Two models may share the state: a step, which renews it, and an inference model, which uses it.
Each has its own parameters and its own keys of the same user. A step leaves ciphertexts that have
no levels left, so between two steps somebody makes fresh ones: the refresh policy says who. With
"client" the step's answer goes to the client, `Client.refresh` answers with an update, and
`commit` makes that the next version.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from .container import Source
from .errors import ArtifactError, EngineError, KeyMismatchError, UsageError
from .files import PathLikeStr
from .personal_files import Index, Part, Pending, RefreshPolicy, Role, Version, VersionInfo
from .personal_store import StateStore
from .server import HeldState, Server
from .state_update import answer_digest, read_update
from .wire import Message, message_to_bytes

HISTORY = 8
"""Versions that are kept, the current one included, where nothing else is asked for."""


class PersonalModel:
    """The state in `folder`, with the servers that compute on it.

    A server that is not given cannot compute; everything else works without it, so that a folder
    can be looked at and rolled back without any key. Raises KeyMismatchError for servers of
    another model or of another user's keys, ArtifactError for a folder that is damaged.
    """

    def __init__(
        self,
        folder: PathLikeStr,
        *,
        step: Server | None = None,
        inference: Server | None = None,
    ) -> None:
        self._store: StateStore = StateStore(Path(folder))
        self._servers: dict[Role, Server] = _servers(step, inference)
        self._held: dict[Role, tuple[VersionInfo, HeldState]] = {}
        parts = {p.role: p for p in self._store.index().parts}
        for role, server in self._servers.items():
            if role not in parts:
                raise UsageError(
                    f"this personal model was made without a model for the role '{role}'",
                    where=str(folder),
                    hint="start anew with both models",
                )
            server.binding.check_same(parts[role].binding, f"{role} model", str(folder))

    @staticmethod
    def create(
        folder: PathLikeStr,
        first: Source,
        *,
        step: Server | None = None,
        inference: Server | None = None,
        history: int = HISTORY,
        refresh: RefreshPolicy = "client",
    ) -> PersonalModel:
        """A new personal model in `folder`, which starts from `first` (`Client.initial_state`).

        `history` is how many versions are kept, the current one included. Raises UsageError where
        there is no model, none with state, or a step without one, EngineError for a refresh policy
        that the step's engine lacks.
        """
        _check_policy(refresh)
        if history < 2:
            raise UsageError(
                f"a history of {history} versions has none to go back to", hint="keep 2 or more"
            )
        servers = _servers(step, inference)
        parts = _parts(servers)
        update = read_update(first)
        messages: dict[str, Message] = {}
        for part in parts:
            message = _message_for(part, update.messages, update.where)
            part.check(message, part.names)
            servers[part.role].load_state(message_to_bytes(message))
            messages[part.binding.model_id] = message
        StateStore.create(Path(folder), parts, Version(1, 0, "", messages), history, refresh)
        return PersonalModel(folder, step=step, inference=inference)

    @property
    def versions(self) -> tuple[VersionInfo, ...]:
        """What is kept, oldest first; the last is the current one."""
        return self._store.index().versions

    @property
    def version(self) -> VersionInfo:
        """The current version."""
        return self._store.index().current

    @property
    def index(self) -> Index:
        """Everything that the folder says of itself."""
        return self._store.index()

    @property
    def pending(self) -> Pending | None:
        """The step that is computed and waits for its refresh."""
        return self._store.pending(self._store.index())

    def run(self, message: Source, on_step: Callable[[int], None] | None = None) -> bytes:
        """The answer to a client's windows with the current state. Raises as `Server.run` does."""
        server, index = self._server("inference"), self._store.index()
        return server.run(message, on_step, state=self._state(index, "inference"))

    def step(self, message: Source, on_step: Callable[[int], None] | None = None) -> bytes:
        """One step of learning on the current state: the answer, for `Client.refresh`.

        The state stays as it is until `commit`; a crash loses this one step at most. The answer is
        kept as `pending`, so that a step is not computed twice because a client went away. Raises
        UsageError where a step waits already, else as `Server.run` does.
        """
        server, index = self._server("step"), self._store.index()
        self._refuse_pending(index)
        base = index.current
        answer = server.run(message, on_step, state=self._state(index, "step"))
        with self._store.writing():
            index = self._store.index()
            if index.current != base:
                raise UsageError(
                    f"the state is at version {index.current.version} meanwhile; this step was "
                    f"computed on version {base.version}",
                    where=str(self._store.folder),
                    hint="let one process at a time teach a personal model",
                )
            self._refuse_pending(index)
            self._store.write_pending(Pending(base.version, base.step + 1, answer))
        return answer

    def commit(self, update: Source) -> VersionInfo:
        """Make a client's refreshed state the next version.

        The update must come from the answer of the step that waits. One that was committed already
        changes nothing, so that a client may send it again. Raises ArtifactError and
        KeyMismatchError for an update that does not belong here; the state is then as before.
        """
        fresh = read_update(update)
        with self._store.writing():
            index = self._store.index()
            current = self._store.load(index, index.current)
            if fresh.answer and fresh.answer == current.answer:
                return index.current
            pending = self._store.pending(index)
            if pending is None or answer_digest(pending.answer) != fresh.answer:
                raise ArtifactError(
                    "this state was not made from the answer of the step that waits",
                    where=fresh.where,
                    hint="refresh the answer of the last eer personal step; "
                    "eer personal status tells what waits",
                )
            messages: dict[str, Message] = {}
            held: dict[Role, HeldState] = {}
            for part in index.parts:
                model_id = part.binding.model_id
                old = current.messages[model_id]
                if part.fed:
                    new = _message_for(part, fresh.messages, fresh.where)
                    part.check(new, part.fed)
                    old = part.merged(old, new)
                messages[model_id] = old
                if part.role in self._servers:
                    server = self._servers[part.role]
                    held[part.role] = server.load_state(message_to_bytes(old))
            version = Version(index.next_version, pending.step, fresh.answer, messages)
            index = self._store.commit(index, version)
        self._held = {role: (index.current, state) for role, state in held.items()}
        return index.current

    def discard(self) -> None:
        """Forget the step that waits for its refresh."""
        with self._store.writing():
            self._store.drop_pending()

    def rollback(self) -> VersionInfo:
        """Go back to the version before, and forget the current one and a step that waits."""
        with self._store.writing():
            return self._store.rollback(self._store.index()).current

    def _server(self, role: Role) -> Server:
        if role not in self._servers:
            raise UsageError(
                f"no {role} model was given",
                hint=f"open the personal model with {role}=Server(...) and its evaluation keys",
            )
        return self._servers[role]

    def _state(self, index: Index, role: Role) -> HeldState:
        """The current state for one of the models, loaded once a version."""
        kept = self._held.get(role)
        if kept is not None and kept[0] == index.current:
            return kept[1]
        server = self._servers[role]
        version = self._store.load(index, index.current)
        message = version.messages[server.model.model_id]
        state = server.load_state(message_to_bytes(message))
        self._held[role] = (index.current, state)
        return state

    def _refuse_pending(self, index: Index) -> None:
        pending = self._store.pending(index)
        if pending is not None:
            raise UsageError(
                f"step {pending.step} was computed and waits for its refresh",
                where=str(self._store.folder),
                hint="refresh its answer and commit that, or forget it: PersonalModel.discard, "
                "or eer personal step --again",
            )


def _servers(step: Server | None, inference: Server | None) -> dict[Role, Server]:
    servers: dict[Role, Server] = {}
    if step is not None:
        servers["step"] = step
    if inference is not None:
        servers["inference"] = inference
    return servers


def _parts(servers: Mapping[Role, Server]) -> tuple[Part, ...]:
    """What the index says of these servers. Raises UsageError where they make no personal model."""
    step = servers.get("step")
    if step is not None and not step.model.is_step:
        raise UsageError(
            f"'{step.model.name}' is no step: no output of it is the next value of a state",
            hint="compile it with its state declared, or give it as the inference model",
        )
    fed = () if step is None else tuple(o.state for o in step.model.state_outputs)
    parts = tuple(Part.of(role, s.model, s.binding, fed) for role, s in servers.items())
    if not parts or len({p.binding.model_id for p in parts}) < len(parts):
        raise UsageError(
            "a personal model has a step, an inference model, or one of each",
            hint="give step=Server(...), inference=Server(...) or both",
        )
    for part in parts:
        if not part.names:
            raise UsageError(
                f"the {part.role} model takes no state",
                hint="a model that has nothing to learn or to remember runs with eer run",
            )
    return parts


def _message_for(part: Part, messages: Mapping[str, Message], where: str) -> Message:
    message = messages.get(part.binding.model_id)
    if message is None:
        raise KeyMismatchError(
            f"the update holds no state for the {part.role} model",
            where=where,
            hint="let the client make it for all models that share the state: "
            "Client.refresh(answer, others), or eer refresh --also",
        )
    return message


def _check_policy(refresh: RefreshPolicy) -> None:
    if refresh == "bootstrap":
        raise EngineError(
            "no engine refreshes state by bootstrapping: the bootstrap keys of DESILO FHE hold a "
            "sparse secret of unknown weight, for which 128 bits of security cannot be shown",
            hint="use refresh='client'; docs/engines.md has the reasons and the figures",
        )
    if refresh != "client":
        raise UsageError(f"refresh is {refresh!r}", hint="use 'client'")
