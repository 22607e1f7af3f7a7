"""Microsoft SEAL itself, and what it raises."""

from __future__ import annotations

from types import TracebackType

from ..errors import EerError, EngineError

try:
    from tenseal import sealapi
except ImportError as error:
    raise EngineError(
        f"the seal engine cannot be loaded: {error}", hint="pip install tenseal"
    ) from error

__all__ = ["SealCall", "sealapi"]


class SealCall:
    """Turns what SEAL raises inside a `with` block into an EngineError that names the operation."""

    __slots__ = ("_what",)

    def __init__(self, what: str) -> None:
        self._what = what

    def __enter__(self) -> None:
        return None

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        if isinstance(error, Exception) and not isinstance(error, EerError):
            raise EngineError(f"SEAL could not {self._what}: {error}") from error
