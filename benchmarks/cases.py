"""What is measured: a network, a variant of it, and how many windows share a ciphertext."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from eer.runtime.errors import UsageError

from .tasks import VARIANTS, WINDOWS

ENGINES = ("seal", "desilo")

STANDARD = (
    "T1/square",
    "T2/square",
    "T3/square",
    "T1/silu",
    "T2/silu",
    "T3/silu",
    "T1/square/128",
    "T1/square/auto",
    "wesad/mlp",
    "wesad/personal",
    "wesad/cnn",
)


AUTO = 0
"""The batch that the compiler chooses."""

AUTO_WINDOWS = 1024
"""Different windows for it: a message holds no more, even where more would fit."""


@dataclass(frozen=True, slots=True)
class Case:
    """One comparison. `onnx` and `data` stand for a model of the user's own in place of a task."""

    task: str
    variant: str
    batch: int = 1
    onnx: Path | None = None
    data: Path | None = None

    @property
    def name(self) -> str:
        """As on the command line: T1/silu, or T1/square/128 for a batch."""
        batch = {1: [], AUTO: ["auto"]}.get(self.batch, [str(self.batch)])
        return "/".join([self.task, self.variant, *batch])

    def messages(self, wanted: int) -> int:
        """How many messages are sent: one for each of `wanted` windows, or three full batches."""
        return wanted if self.batch == 1 else min(3, wanted)

    def windows(self, wanted: int) -> int:
        """Different windows among them: a batch is sent as often as there are messages."""
        if self.batch == AUTO:
            return AUTO_WINDOWS
        return max(self.batch, min(wanted, WINDOWS)) if self.batch > 1 else wanted


def parse(text: str) -> Case:
    """The case named `text`. Raises UsageError for one that there is not."""
    task, _, rest = text.partition("/")
    variant, _, batch = rest.partition("/")
    known = variant in VARIANTS.get(task, ())
    if known and batch == "auto":
        return Case(task, variant, AUTO)
    if not known or not (batch or "1").isdecimal() or int(batch or "1") < 1:
        choices = (f"{name}/{{{','.join(of)}}}" for name, of in VARIANTS.items())
        raise UsageError(
            f"there is no case {text!r}",
            hint=f"one of {' '.join(choices)}, /BATCH or /auto behind it for more in a message",
        )
    return Case(task, variant, int(batch or "1"))


def parse_all(texts: list[str]) -> Iterator[Case]:
    for text in texts or STANDARD:
        yield parse(text)
