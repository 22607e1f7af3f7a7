"""Every deliberate error of eer: what is wrong, where, and what to do about it."""

from __future__ import annotations

from typing import ClassVar


class EerError(Exception):
    """Base of every deliberate error.

    `reason` says what is wrong, `where` names the node, file or argument, and `hint` says what to
    change. `code` identifies the error to scripts; `exit_code` is what the commands exit with.
    """

    code: ClassVar[str] = "eer"
    exit_code: ClassVar[int] = 1

    def __init__(self, reason: str, *, where: str | None = None, hint: str | None = None) -> None:
        super().__init__(reason)
        self.reason = reason
        self.where = where
        self.hint = hint

    def __str__(self) -> str:
        lines = [f"error[{self.code}]: {self.reason}"]
        if self.where:
            lines.append(f"   at: {self.where}")
        if self.hint:
            lines.append(f" hint: {self.hint}")
        return "\n".join(lines)


class InternalError(EerError):
    """A bug of eer itself; everything else is for the user to mend."""

    code = "internal"
    exit_code = 70


class UsageError(EerError):
    """Options or arguments that contradict each other or name what is not there."""

    code = "usage"
    exit_code = 2


class ModelError(EerError):
    """The model cannot be read, or holds what cannot be compiled."""

    code = "model"
    exit_code = 3


class DataError(EerError):
    """Input data of the wrong shape, type or range."""

    code = "data"
    exit_code = 4


class ArtifactError(EerError):
    """A bundle, key or ciphertext file that is truncated, tampered with, too new, or not ours."""

    code = "artifact"
    exit_code = 5


class KeyMismatchError(ArtifactError):
    """Keys, ciphertexts and models that do not belong together."""

    code = "key-mismatch"
    exit_code = 5


class ParameterError(EerError):
    """No CKKS parameters fit: the model is too deep, or the security asked for is too low."""

    code = "parameters"
    exit_code = 6


class EngineError(EerError):
    """An engine's library is missing, of a refused version, or failed."""

    code = "engine"
    exit_code = 7


class FileError(EerError):
    """A path that cannot be read or written."""

    code = "file"
    exit_code = 8


class EerWarning(UserWarning):
    """Base of every deliberate warning: the work goes on, on an assumption that may be wrong."""
