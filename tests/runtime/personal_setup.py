"""A user of the step and the inference model, with keys, servers and a personal model."""

from __future__ import annotations

import typing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from eer.runtime.client import Client, KeyPair
from eer.runtime.engines import open_engine
from eer.runtime.personal import PersonalModel
from eer.runtime.server import Server
from tests.runtime.stateful import Pair, step_model, use_model

RNG = np.random.default_rng(11)
START = RNG.uniform(-0.5, 0.5, 4)
BATCHES = RNG.uniform(-1, 1, (8, 4))
WINDOWS = RNG.uniform(-1, 1, (3, 4))


class Servers(typing.TypedDict, total=False):
    """Keyword arguments of a personal model."""

    step: Server
    inference: Server


@dataclass(frozen=True)
class User:
    """One user's clients and keys for both models, and the servers with those keys."""

    engine: str
    step: Client
    use: Client
    keys: tuple[KeyPair, KeyPair]

    @staticmethod
    def new(engine: str, step: Pair, use: Pair) -> User:
        clients = [Client(p.client, open_engine(p.client.params, engine)) for p in (step, use)]
        keys = (clients[0].generate_keys(), clients[1].generate_keys())
        return User(engine, clients[0], clients[1], keys)

    def servers(self, step: Pair, use: Pair) -> Servers:
        first, second = (
            Server(p.server, k.evaluation, open_engine(p.server.params, self.engine))
            for p, k in zip((step, use), self.keys, strict=True)
        )
        return {"step": first, "inference": second}


@dataclass(frozen=True)
class Setup:
    user: User
    servers: Servers
    first: bytes

    def create(self, folder: Path, **options: Any) -> PersonalModel:
        return PersonalModel.create(folder, self.first, **self.servers, **options)

    def open(self, folder: Path) -> PersonalModel:
        return PersonalModel(folder, **self.servers)

    def advance(self, personal: PersonalModel, x: Any) -> np.ndarray:
        """One whole step; the new weights as the client sees them."""
        answer = personal.step(self.user.step.encrypt({"X": x}))
        refreshed = self.user.step.refresh(answer, [self.user.use])
        personal.commit(refreshed.update)
        return refreshed.state["W"]

    def weights(self, personal: PersonalModel) -> np.ndarray:
        """What the inference model multiplies by, found from the outside."""
        answer = personal.run(self.user.use.encrypt({"X": np.ones((1, 4))}))
        found: np.ndarray = self.user.use.decrypt(answer).outputs["y"][0]
        return found


def build(engine: str) -> Setup:
    step, use = step_model(), use_model()
    user = User.new(engine, step, use)
    return Setup(user, user.servers(step, use), user.step.initial_state({"W": START}, [user.use]))
