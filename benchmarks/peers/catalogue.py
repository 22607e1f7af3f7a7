"""The peers: what to install, and the parameters that each gets for a case.

All are given 128-bit security by the table that eer itself keeps to (log2(QP) of at most 214 in
ring 2^13 and 430 in 2^14, uniform ternary secrets), and the smallest ring in which they work.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from ..cases import AUTO, Case
from ..contestant import Json


@dataclass(frozen=True, slots=True)
class Unable:
    """Why a tool is not asked for a case."""

    reason: str


@dataclass(frozen=True, slots=True)
class Peer:
    """A tool. `requirements` go into one pip command; `distribution` names the version shown.

    `parameters` says why where the tool cannot do a case, or not in reasonable time. `serves` and
    `compiles` are the adapter's modules. `imports` must load, beyond being installed.
    """

    name: str
    serves: str
    compiles: str | None
    distribution: str
    requirements: tuple[str, ...]
    parameters: Callable[[Case], Json | Unable]
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

_THREE_LEVELS = _chain(13, (40, *(32,) * 3), (36, 36))
"""Linear, square, linear, in the same ring: fewer levels leave more bits to each."""

_SILU_7 = _chain(14, (35, *(30,) * 9), (40, 40, 40), degree=7)
"""Two activations of degree 7, three levels each. Of the chains that were tried the quickest."""

_LENET = _chain(14, (30, *(26,) * 11), (28, 28, 28))
"""Eleven levels: both poolings take one each."""


_NO_OWN_WEIGHTS = Unable("its layers take no encrypted weights")


def _orion_v2(case: Case) -> Json | Unable:
    if case.batch == AUTO:
        return Unable("the batch is its user's choice: see 128")
    match case.task, case.variant:
        case (("T1" | "T2"), "square"):
            return _FIVE_LEVELS
        case "T3", "square":
            return _LENET
        case (("T1" | "T2"), "silu") if case.batch == 1:
            return _SILU_7
        case "wesad", "mlp":
            return _THREE_LEVELS
        case "wesad", "personal":
            return _NO_OWN_WEIGHTS
        case "wesad", "cnn":
            return Unable("square kernels only, and of 16 x 16 none fits a signal")
        case "T3", "silu":
            return Unable("19 levels need ring 2^15; T3 takes 11 GB at 2^14 already")
        case _, "relu":
            return Unable("its ReLU is too deep without bootstrapping")
        case _:
            return Unable("it was never tried")


def _orion(case: Case) -> Json | Unable:
    if case.batch != 1:
        return Unable("no batches")
    return _orion_v2(case)


def _cukks(case: Case) -> Json | Unable:
    if case.task != "T1" or case.batch != 1 or case.variant == "relu":
        return Unable("T1 alone, one window, square or SiLU")
    return {"degree": 4}


def _tenseal(case: Case) -> Json | Unable:
    if case.batch != 1:
        return Unable("no batches")
    match case.task, case.variant:
        case "T1", "square":
            return _chain(13, (36, *(26,) * 5), (36,))
        case "wesad", "mlp":
            return _chain(13, (44, *(34,) * 3), (44,))
        case "wesad", "personal":
            return _NO_OWN_WEIGHTS
        case ("T2", "square") | ("wesad", "cnn"):
            return Unable("a convolution behind the first is a dense matrix: a minute a window")
        case "T3", _:
            return Unable("no answer within minutes")
        case _:
            return Unable("squares only")


PEERS: dict[str, Peer] = {
    peer.name: peer
    for peer in (
        Peer(
            name="orion-v2",
            serves="benchmarks.peers.orion_v2_serve",
            compiles="benchmarks.peers.orion_v2_compile",
            distribution="orion-v2-compiler",
            # In one command with PyTorch, or pip replaces PyTorch's CPU build.
            requirements=("torch==2.13.0", "orion-v2-compiler", "orion-v2-evaluator"),
            parameters=_orion_v2,
        ),
        Peer(
            name="orion",
            serves="benchmarks.peers.orion_v1",
            compiles=None,
            distribution="orion-fhe",
            requirements=("torch==2.13.0", "orion-fhe==1.0.2"),
            parameters=_orion,
        ),
        Peer(
            name="tenseal",
            serves="benchmarks.peers.tenseal_vectors",
            compiles=None,
            distribution="tenseal",
            requirements=("tenseal", "numpy"),
            parameters=_tenseal,
        ),
        Peer(
            name="cukks",
            serves="benchmarks.peers.cukks_convert",
            compiles=None,
            distribution="cukks",
            requirements=("torch==2.13.0", "cukks", "cukks-cu121"),
            parameters=_cukks,
            imports="ckks",
        ),
    )
}
