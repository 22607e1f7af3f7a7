"""DESILO FHE 1.17.0 on an NVIDIA GPU: its CUDA build, in asynchronous mode.

A call returns when its kernels are launched. At the sizes of small models launching takes longer
than computing, so that not waiting in between halves the time of a program.
"""

from __future__ import annotations

from dataclasses import replace

from ..errors import EngineError
from ..params import CkksParams
from .desilo import DesiloEngine, Held
from .desilo_library import VERSION, DesiloCall, installed

CPU_BUILD = "desilofhe"
"""The distribution that has no GPU in it."""


class DesiloGpuEngine(DesiloEngine):
    """`DesiloEngine` with all of its data on the GPU; needs `desilofhe-cu130==1.17.0` or the build
    for another version of CUDA."""

    name = "desilo-gpu"
    mode = "async gpu"
    capabilities = replace(DesiloEngine.capabilities, forks=False, asynchronous=True)

    def __init__(self, params: CkksParams) -> None:
        found = installed()
        if not set(found) - {CPU_BUILD}:
            raise EngineError(
                "the desilo-gpu engine needs a CUDA build of DESILO FHE, and "
                f"{'the CPU build' if found else 'none'} is installed",
                hint=(f"pip uninstall {CPU_BUILD}, then " if found else "")
                + f"pip install {CPU_BUILD}-cu130=={VERSION} (free for non-commercial use only)",
            )
        try:
            super().__init__(params)
        except EngineError as error:
            if "CUDA" not in error.reason:
                raise
            raise EngineError(
                error.reason,
                hint="it takes an NVIDIA GPU with a driver for the CUDA version that the build is "
                "named after: see nvidia-smi; run on the CPU with --engine desilo",
            ) from error

    def synchronise(self) -> None:
        with DesiloCall("wait for the GPU"):
            self.lib.sync()

    def resident(self, held: Held) -> Held:
        """What was read or encoded lies in the host's memory until somebody asks for it."""
        self.lib.to_cuda(held)
        return held
