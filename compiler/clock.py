"""By which clock engines are predicted and measured."""

from __future__ import annotations

_ON_A_GPU = frozenset({"desilo-gpu"})


def on_gpu(engine: str) -> bool:
    """Whether `engine` computes on a GPU."""
    return engine in _ON_A_GPU


def clock(engine: str) -> str:
    """What milliseconds are of. CPU time tells what operations take, and depends little on what
    else a machine does; of what is computed elsewhere it tells nothing."""
    return "wall time" if on_gpu(engine) else "CPU time"
