"""Both sides of one compiled model: a user with a secret key, and a server with evaluation keys."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from eer.compiler import CompiledModel
from eer.runtime.client import Client
from eer.runtime.inputs import RANGE_SHARE
from eer.runtime.server import Server

from ..windows import Signal


@dataclass(frozen=True, slots=True, eq=False)
class Party:
    """A client and the server that it asks, in one process."""

    client: Client
    server: Server
    key_bytes: int
    """Evaluation keys, sent once."""

    @staticmethod
    def of(model: CompiledModel, range_share: float = RANGE_SHARE) -> Party:
        """Both sides of the model, with new keys; `range_share` is the client's."""
        client = Client(model.client, range_share=range_share)
        keys = client.generate_keys().evaluation
        return Party(client, Server(model.server, keys), len(keys))

    def answers(
        self, given: Signal, run: Callable[[bytes], bytes] | None = None
    ) -> tuple[Signal, ...]:
        """Each output [w, ...] for the only input [w, ...], encrypted on the way; by `run`, where
        it isn't the server that answers."""
        (question,) = (spec.name for spec in self.client.model.inputs if spec.role == "window")
        answer = run or self.server.run
        found = [
            self.client.decrypt(answer(message)).outputs
            for message in self.client.encrypt_all({question: given})
        ]
        names = [spec.name for spec in self.client.model.outputs]
        return tuple(np.concatenate([np.asarray(one[name]) for one in found]) for name in names)
