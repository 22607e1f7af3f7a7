"""The server: it computes on ciphertexts and holds nothing that could open one.

No attribute of `Server` and no type that it takes has room for a secret key; a file that holds one
is refused by its kind.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import islice

from .container import Source
from .engine import Cipher, Engine, Evaluator
from .engines import open_engine
from .errors import ArtifactError, KeyMismatchError
from .executor import Executor
from .model import ServerModel, cipher_places
from .wire import Binding, Direction, Message, message_to_bytes, read_evaluation_keys, read_message

SCALE_TOLERANCE = 1e-6
"""Relative difference at which the scale of an input ciphertext is still the model's."""

_CALLED: dict[Direction, str] = {"output": "answer", "state": "state"}
_ELSEWHERE: dict[Direction, str] = {
    "output": "decrypt it with the client (eer decrypt)",
    "state": "give windows here; Server.load_state takes the state",
}
_ABOUT_NAMES = {
    "missing": "a model with state needs its state too: eer personal keeps it at the server, and "
    "Client.encrypt takes it along with the windows",
    "unasked": "the server holds this state already: encrypt the windows alone",
    "order": "run eer encrypt again with this model's client bundle",
}


@dataclass(frozen=True, slots=True, eq=False)
class HeldState:
    """Ciphertexts of all of a model's state inputs, by name, checked and loaded."""

    ciphers: Mapping[str, tuple[Cipher, ...]]


class Server:
    """A compiled model bound to the evaluation keys (bytes or path) of one user.

    `engine` defaults to the one that the model was compiled for. Raises ArtifactError for a
    damaged key file, KeyMismatchError for keys of another model, or that lack a rotation or the
    conjugation.
    """

    def __init__(
        self, model: ServerModel, evaluation_keys: Source, engine: Engine | None = None
    ) -> None:
        self.model = model
        self._engine: Engine = open_engine(model.params) if engine is None else engine
        file = read_evaluation_keys(evaluation_keys)
        file.binding.check_model(model, self._engine.family, "evaluation keys", file.where)
        missing = {r * model.batch for r in model.program.rotations} - set(file.rotations)
        if missing:
            raise KeyMismatchError(
                f"the evaluation keys lack {len(missing)} of the model's rotations",
                where=file.where,
                hint="run eer keygen again with this model's client bundle",
            )
        if model.program.conjugation_level is not None and not file.conjugation:
            raise KeyMismatchError(
                "the evaluation keys lack the one for the model's conjugations",
                where=file.where,
                hint="run eer keygen again with this model's client bundle",
            )
        key_id = file.binding.key_id
        self._binding: Binding = Binding.of(model, self._engine.family, key_id)
        keys = self._engine.load_evaluation_keys(
            file.body, key_id, file.rotations, file.conjugation
        )
        # The file's bytes are not needed beside the library's keys: make room for the weights.
        del file
        self._evaluator: Evaluator = self._engine.evaluator(keys)
        self._executor: Executor = Executor(
            self._engine, self._evaluator, model.program, model.input_scale
        )

    @property
    def binding(self) -> Binding:
        """The model, the parameters, the engine and the one key that this server computes for."""
        return self._binding

    @property
    def steps(self) -> int:
        """Instructions of the program: what `on_step` of `run` counts up to."""
        return len(self.model.program.instructions)

    def load_state(self, message: Source) -> HeldState:
        """The state in a message of `Client.encrypt_state` (bytes or path), ready to be used.

        Raises ArtifactError, KeyMismatchError for what is not all of this model's state.
        """
        state = read_message(message)
        if state.direction != "state":
            raise ArtifactError(
                f"this is an encrypted {state.direction}, not a state",
                where=state.where,
                hint="Client.encrypt_state and Client.refresh make states",
            )
        self._check(state, self.model.state_names)
        return HeldState(self._load(state))

    def run(
        self,
        message: Source,
        on_step: Callable[[int], None] | None = None,
        *,
        state: HeldState | None = None,
    ) -> bytes:
        """The answer to a client's message (bytes or path), as a message.

        `state` is what `load_state` returned; a message may bring state along instead. Model, key,
        parameters, names, numbers and levels of the ciphertexts are checked in the header before
        the library reads any of them. Raises ArtifactError, KeyMismatchError.
        """
        question = read_message(message)
        if question.direction != "input":
            raise ArtifactError(
                f"this is an encrypted {_CALLED[question.direction]}, not an input",
                where=question.where,
                hint=_ELSEWHERE[question.direction],
            )
        held = {} if state is None else state.ciphers
        self._check(question, tuple(p.name for p in self.model.inputs if p.name not in held))
        values = {**held, **self._load(question)}
        inputs = [cipher for p in self.model.inputs for cipher in values[p.name]]
        outputs = self._executor.run(inputs, on_step)
        return message_to_bytes(
            Message(
                binding=self._binding,
                where="",
                direction="output",
                windows=question.windows,
                names=("outputs",),
                counts=(len(outputs),),
                levels=tuple(self._evaluator.level(c) for c in outputs),
                bodies=tuple(self._engine.save_cipher(c) for c in outputs),
            )
        )

    def _check(self, message: Message, names: tuple[str, ...]) -> None:
        """Raise unless the header announces exactly the inputs `names` of this model."""
        where, model = message.where, self.model
        message.binding.check_model(model, self._engine.family, "ciphertext", where)
        message.binding.check_key(self._binding.key_id, "ciphertext", where)
        if message.windows > model.most_windows:
            raise ArtifactError(
                f"the message claims {message.windows} windows; {model.most_windows} fit",
                where=where,
                hint="run eer encrypt again",
            )
        if message.names != names:
            missing = [n for n in names if n not in message.names]
            unasked = [n for n in message.names if n not in names]
            raise ArtifactError(
                f"the message holds {_listed(message.names)}; {_listed(names)} is wanted",
                where=where,
                hint=_ABOUT_NAMES["missing" if missing else "unasked" if unasked else "order"],
            )
        places = cipher_places(model.inputs)
        levels = tuple(model.program.input_levels[k] for n in names for k in places[n])
        if message.levels != levels:
            raise ArtifactError(
                f"the message holds ciphertexts of levels {list(message.levels)}; "
                f"the model takes {list(levels)}",
                where=where,
                hint="run eer encrypt again with this model's client bundle",
            )
        if message.counts != tuple(len(places[n]) for n in names):
            raise ArtifactError(
                f"the message holds {list(message.counts)} ciphertexts for {_listed(names)}; "
                f"the model takes {[len(places[n]) for n in names]}",
                where=where,
                hint="run eer encrypt again with this model's client bundle",
            )

    def _load(self, message: Message) -> dict[str, tuple[Cipher, ...]]:
        """The ciphertexts of a checked message, by input."""
        ciphers = iter([self._load_cipher(k, message) for k in range(len(message.bodies))])
        return {
            name: tuple(islice(ciphers, count))
            for name, count in zip(message.names, message.counts, strict=True)
        }

    def _load_cipher(self, number: int, message: Message) -> Cipher:
        cipher = self._engine.load_cipher(message.bodies[number])
        level, scale = self._evaluator.level(cipher), self._evaluator.scale(cipher)
        wanted = self.model.input_scale
        fits = not self._engine.capabilities.exact_scale or (
            abs(scale - wanted) <= SCALE_TOLERANCE * wanted
        )
        if level != message.levels[number] or not fits:
            raise ArtifactError(
                f"ciphertext {number} is not of the level and scale that its header promises",
                where=message.where,
                hint="run eer encrypt again",
            )
        if self._evaluator.parts(cipher) != 2:
            raise ArtifactError(
                f"ciphertext {number} is a product that was not relinearised, not a fresh one",
                where=message.where,
                hint="run eer encrypt again",
            )
        return cipher


def _listed(names: tuple[str, ...]) -> str:
    return ", ".join(f"'{n}'" for n in names) or "nothing"
