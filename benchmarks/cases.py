"""What is measured: a network, a variant of it, what eer may change of its labels, and how many
windows share a ciphertext."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from eer.runtime.errors import UsageError

from .tasks import VARIANTS, WINDOWS

STANDARD = (
    "T1/square",
    "T2/square",
    "T3/square",
    "T1/silu",
    "T1/silu:2%",
    "T2/silu",
    "T3/silu",
    "T1/square/128",
    "T2/square/16",
    "T1/square/auto",
    "wesad/mlp",
    "wesad/personal",
    "wesad/cnn",
)


AUTO = 0
"""The batch that the compiler chooses."""

AUTO_WINDOWS = 1 << 14
"""Different windows for it: a message holds no more, even where more would fit."""


@dataclass(frozen=True, slots=True)
class Case:
    """One comparison. `onnx` and `data` stand for a model of the user's own in place of a task.

    `percent` is eer's tolerance: 1 unless a user asks for another.
    """

    task: str
    variant: str
    batch: int = 1
    onnx: Path | None = None
    data: Path | None = None
    percent: float = 1.0

    @property
    def name(self) -> str:
        """As on the command line: T1/silu, T1/silu:2%, or T1/square/128 for a batch."""
        variant = self.variant if self.percent == 1 else f"{self.variant}:{self.percent:g}%"
        batch = {1: [], AUTO: ["auto"]}.get(self.batch, [str(self.batch)])
        return "/".join([self.task, variant, *batch])

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
    variant, colon, percent = variant.partition(":")
    try:
        case = Case(
            task,
            variant,
            AUTO if batch == "auto" else int(batch or "1"),
            percent=float(percent.removesuffix("%")) if colon else 1.0,
        )
    except ValueError:
        case = None
    named = case is not None and variant in VARIANTS.get(task, ()) and 0 < case.percent < 100
    if case is None or not named or (case.batch < 1 and batch != "auto"):
        choices = (f"{name}/{{{','.join(of)}}}" for name, of in VARIANTS.items())
        raise UsageError(
            f"there is no case {text!r}",
            hint=f"one of {' '.join(choices)}, :PERCENT behind it for another tolerance than 1 %, "
            "/BATCH or /auto for more in a message",
        )
    return case


def parse_all(texts: list[str]) -> Iterator[Case]:
    for text in texts or STANDARD:
        yield parse(text)
