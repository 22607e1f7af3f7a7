"""What cannot be compiled: collected node by node, raised as one error that lists them all."""

from __future__ import annotations

from dataclasses import dataclass

from eer.runtime.errors import ModelError

from ..ir.tensor import Origin

MIXES_WINDOWS = (
    "combines values of different windows: it works along the batch axis",
    "every window is encrypted and classified on its own; keep axis 0 for the batch, untouched",
)


class Unsupported(ModelError):  # noqa: N818
    """One node cannot be compiled. Caught by the importer, which goes on and collects them."""

    def __init__(self, reason: str, hint: str) -> None:
        super().__init__(reason, hint=hint)
        self.advice = hint


@dataclass(frozen=True, slots=True)
class Problem:
    """A node that cannot be compiled, why, and what to do instead."""

    origin: Origin
    reason: str
    advice: str

    def __str__(self) -> str:
        lines = [f"{self.origin.ops[0]} '{self.origin.names[0]}': {self.reason}"]
        if self.origin.source:
            lines.append(f"    from: {self.origin.source}")
        lines.append(f"    instead: {self.advice}")
        return "\n".join(lines)


def listing(problems: list[Problem], model: str) -> ModelError:
    """One error for all of them, in the order of the graph."""
    count = "1 node" if len(problems) == 1 else f"{len(problems)} nodes"
    body = "\n".join(f"  {problem}" for problem in problems)
    return ModelError(
        f"{count} of the model cannot be compiled\n{body}",
        where=model,
        hint="change these lines of the PyTorch module, train and export again",
    )
