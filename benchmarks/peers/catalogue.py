"""The peers: what to install, and the parameters that each gets for a case.

All are given 128-bit security by the table that eer itself keeps to (log2(QP) of at most 214 in
ring 2^13 and 430 in 2^14, uniform ternary secrets), and the smallest ring in which they work.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from ..cases import Case
from ..contestant import Json


@dataclass(frozen=True, slots=True)
class Peer:
    """A tool. `requirements` go into one pip command; `distribution` names the version shown.

    `parameters` returns None for a case that the tool cannot do, or not in reasonable time.
    `imports` is a module that must load, beyond being installed.
    """

    name: str
    module: str
    distribution: str
    requirements: tuple[str, ...]
    parameters: Callable[[Case], Json | None]
    compiles: bool
    most_windows: int | None = None
    imports: str = ""


def _chain(log_n: int, log_q: tuple[int, ...], log_p: tuple[int, ...], **more: object) -> Json:
    """The description that all parameters share, and what is the tool's own."""
    return {
        "log_n": log_n,
        "log_scale": log_q[-1],
        "levels": len(log_q) - 1,
        "log_qp": sum(log_q) + sum(log_p),
        "log_q": log_q,
        "log_p": log_p,
        **more,
    }


_FIVE_LEVELS = _chain(13, (28, *(26,) * 5), (28, 28))
"""Linear, square, linear, square, linear: what fits the smallest ring."""

_SILU_7 = _chain(14, (35, *(30,) * 9), (40, 40, 40), degree=7)
"""Two activations of degree 7, three levels each. Of the chains that were tried the quickest."""


_LENET = _chain(14, (30, *(26,) * 11), (28, 28, 28))
"""Eleven levels: both poolings take one each."""


def _orion_v2(case: Case) -> Json | None:
    if case.batch > 1 and case.activation != "square":
        return None
    match case.task, case.activation:
        case (("T1" | "T2"), "square"):
            return _FIVE_LEVELS
        case (("T1" | "T2"), "silu"):
            return _SILU_7
        case "T3", "square":
            return _LENET
        case _:
            return None


def _orion(case: Case) -> Json | None:
    return None if case.activation == "silu" or case.batch > 1 else _orion_v2(case)


def _cukks(case: Case) -> Json | None:
    if case.task != "T1" or case.batch > 1 or case.activation == "relu":
        return None
    return {"degree": 4}


def _tenseal(case: Case) -> Json | None:
    if case.task != "T1" or case.activation != "square" or case.batch > 1:
        return None
    return _chain(13, (36, *(26,) * 5), (36,))


PEERS: dict[str, Peer] = {
    peer.name: peer
    for peer in (
        Peer(
            name="orion-v2",
            module="benchmarks.peers.orion_v2",
            distribution="orion-v2-compiler",
            # In one command with PyTorch, or pip replaces PyTorch's CPU build.
            requirements=("torch==2.13.0", "orion-v2-compiler", "orion-v2-evaluator"),
            parameters=_orion_v2,
            compiles=True,
        ),
        Peer(
            name="orion",
            module="benchmarks.peers.orion_v1",
            distribution="orion-fhe",
            requirements=("torch==2.13.0", "orion-fhe==1.0.2"),
            parameters=_orion,
            compiles=False,
            most_windows=10,
        ),
        Peer(
            name="tenseal",
            module="benchmarks.peers.tenseal_vectors",
            distribution="tenseal",
            requirements=("tenseal", "numpy"),
            parameters=_tenseal,
            compiles=False,
            most_windows=5,
        ),
        Peer(
            name="cukks",
            module="benchmarks.peers.cukks_convert",
            distribution="cukks",
            requirements=("torch==2.13.0", "cukks", "cukks-cu121"),
            parameters=_cukks,
            compiles=False,
            most_windows=4,
            imports="ckks",
        ),
    )
}
