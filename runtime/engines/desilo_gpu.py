"""DESILO FHE 1.17.0 on an NVIDIA GPU: its CUDA build, in asynchronous mode.

A call returns when its kernels are launched. At the sizes of small models launching takes longer
than computing, so that not waiting in between halves the time of a program.
"""

from __future__ import annotations

from dataclasses import replace

from .desilo import DesiloEngine, Held
from .desilo_library import DesiloCall


class DesiloGpuEngine(DesiloEngine):
    """`DesiloEngine` with all of its data on the GPU; needs `desilofhe-cu130==1.17.0` or the build
    for another version of CUDA."""

    name = "desilo-gpu"
    mode = "async gpu"
    capabilities = replace(DesiloEngine.capabilities, forks=False, asynchronous=True)

    def synchronise(self) -> None:
        with DesiloCall("wait for the GPU"):
            self.lib.sync()

    def resident(self, held: Held) -> Held:
        """What was read or encoded lies in the host's memory until somebody asks for it."""
        self.lib.to_cuda(held)
        return held
