"""The server: it computes on ciphertexts and holds nothing that could open one.

No attribute of `Server` and no type that it takes has room for a secret key; a file that holds one
is refused by its kind.
"""

from __future__ import annotations

from collections.abc import Callable

from .container import Source
from .engine import Cipher, Engine, Evaluator
from .engines import open_engine
from .errors import ArtifactError, KeyMismatchError
from .executor import Executor
from .model import ServerModel
from .wire import Binding, Message, message_to_bytes, read_evaluation_keys, read_message

SCALE_TOLERANCE = 1e-6
"""Relative difference at which the scale of an input ciphertext is still the model's."""


class Server:
    """A compiled model bound to the evaluation keys (bytes or path) of one user.

    `engine` defaults to the one that the model was compiled for. Raises ArtifactError for a
    damaged key file, KeyMismatchError for keys of another model or that lack a rotation.
    """

    def __init__(
        self, model: ServerModel, evaluation_keys: Source, engine: Engine | None = None
    ) -> None:
        self.model = model
        self._engine: Engine = open_engine(model.params) if engine is None else engine
        file = read_evaluation_keys(evaluation_keys)
        file.binding.check_model(model, self._engine.family, "evaluation keys", file.where)
        batch = model.params.slots // model.program.slots
        missing = {r * batch for r in model.program.rotations} - set(file.rotations)
        if missing:
            raise KeyMismatchError(
                f"the evaluation keys lack {len(missing)} of the model's rotations",
                where=file.where,
                hint="run eer keygen again with this model's client bundle",
            )
        self._batch: int = batch
        self._key_id: str = file.binding.key_id
        keys = self._engine.load_evaluation_keys(file.body, self._key_id, file.rotations)
        self._evaluator: Evaluator = self._engine.evaluator(keys)
        self._executor: Executor = Executor(
            self._engine, self._evaluator, model.program, model.input_scale
        )

    @property
    def steps(self) -> int:
        """Instructions of the program: what `on_step` of `run` counts up to."""
        return len(self.model.program.instructions)

    def run(self, message: Source, on_step: Callable[[int], None] | None = None) -> bytes:
        """The answer to a client's message (bytes or path), as a message.

        Model, key, parameters, number and levels of the ciphertexts are checked in the header
        before the library reads any of them. Raises ArtifactError, KeyMismatchError.
        """
        question = read_message(message)
        self._check(question)
        inputs = [self._load(k, body, question) for k, body in enumerate(question.bodies)]
        outputs = self._executor.run(inputs, on_step)
        return message_to_bytes(
            Message(
                binding=Binding.of(self.model, self._engine.family, self._key_id),
                where="",
                direction="output",
                windows=question.windows,
                names=("outputs",),
                counts=(len(outputs),),
                levels=tuple(self._evaluator.level(c) for c in outputs),
                bodies=tuple(self._engine.save_cipher(c) for c in outputs),
            )
        )

    def _check(self, question: Message) -> None:
        where, program = question.where, self.model.program
        question.binding.check_model(self.model, self._engine.family, "ciphertext", where)
        question.binding.check_key(self._key_id, "ciphertext", where)
        if question.direction != "input":
            raise ArtifactError(
                "this is an encrypted answer, not an input",
                where=where,
                hint="decrypt it with the client (eer decrypt)",
            )
        if question.windows > self._batch:
            raise ArtifactError(
                f"the message claims {question.windows} windows; {self._batch} fit",
                where=where,
                hint="run eer encrypt again",
            )
        if question.levels != program.input_levels:
            raise ArtifactError(
                f"the message holds ciphertexts of levels {list(question.levels)}; "
                f"the model takes {list(program.input_levels)}",
                where=where,
                hint="run eer encrypt again with this model's client bundle",
            )

    def _load(self, number: int, body: bytes, question: Message) -> Cipher:
        cipher = self._engine.load_cipher(body)
        level, scale = self._evaluator.level(cipher), self._evaluator.scale(cipher)
        wanted = self.model.input_scale
        fits = not self._engine.capabilities.exact_scale or (
            abs(scale - wanted) <= SCALE_TOLERANCE * wanted
        )
        if level != self.model.program.input_levels[number] or not fits:
            raise ArtifactError(
                f"ciphertext {number} is not of the level and scale that its header promises",
                where=question.where,
                hint="run eer encrypt again",
            )
        return cipher
