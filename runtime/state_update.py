"""State on its way from a client to a personal model: fresh ciphertexts for every model that uses
it, in one file."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field

from .container import Source, pack, unpack
from .fields import Json
from .pieces import Bytes
from .wire import Message, read_message


@dataclass(frozen=True, slots=True)
class StateUpdate:
    """Messages of the direction "state", by model id.

    `answer` is the `answer_digest` of the step's answer that the state comes from, and "" for the
    state that a personal model starts with.
    """

    answer: str
    messages: Mapping[str, Message] = field(repr=False)
    where: str = ""


def answer_digest(answer: Bytes) -> str:
    """What ties an update to the step whose answer it was made from."""
    return hashlib.sha256(answer).hexdigest()


def update_to_bytes(answer: str, messages: Mapping[str, bytes]) -> bytes:
    """The bytes of an update; `messages` are those of `Client.encrypt_state`, by model id."""
    return pack("state-update", {"answer": answer}, messages)


def read_update(source: Source) -> StateUpdate:
    """An update, verified as `read_message` verifies messages. Raises ArtifactError, FileError."""
    container = unpack(source, ("state-update",))
    meta, where = container.meta, container.where
    messages: dict[str, Message] = {}
    for model_id, blob in container.blobs.items():
        message = read_message(blob, f"{where}, section '{model_id[:12]}'")
        if message.direction != "state" or message.binding.model_id != model_id:
            raise meta.bad("sections", "a list of states under their models' ids")
        messages[model_id] = message
    answer = meta.digest("answer") if meta.values.get("answer") else meta.text("answer")
    return StateUpdate(answer, messages, where)


def update_facts(update: StateUpdate) -> Json:
    """What an update is, for people and scripts."""
    return {
        "answer": update.answer,
        "states": {m: list(message.names) for m, message in update.messages.items()},
    }
