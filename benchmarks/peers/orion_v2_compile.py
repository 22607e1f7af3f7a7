"""Orion v2 as a contestant: its compiler (`orion-v2-compiler`).

Written against its README and the signatures of version 2.1.8.
"""

from __future__ import annotations

import logging
from pathlib import Path

import orion_compiler.nn as on  # type: ignore[import-not-found]
import torch
from orion_compiler import CKKSParams, Compiler, CompilerConfig
from torch.utils.data import DataLoader, TensorDataset

from ..contestant import Json, load
from . import networks
from .orion_layers import MARGIN, build, dense_hamming_weight
from .orion_v2_serve import MODEL_FILE


def compile_task(folder: Path) -> Json:
    torch.set_num_threads(1)
    logging.getLogger("orion_compiler").setLevel(logging.WARNING)
    data, settings = load(folder)
    given = settings.parameters
    net = build(on, data, given).eval()
    parameters = CKKSParams(
        logn=given["log_n"],
        logq=tuple(given["log_q"]),
        logp=tuple(given["log_p"]),
        log_default_scale=given["log_scale"],
        h=dense_hamming_weight(given["log_n"]),
        ring_type=given.get("ring_type", "standard"),
    )
    compiler = Compiler(net, parameters, CompilerConfig(margin=MARGIN))
    calibration = torch.from_numpy(networks.images(data, data.calibration))
    with torch.no_grad():
        compiler.fit(DataLoader(TensorDataset(calibration), batch_size=settings.batch))
        compiled = compiler.compile()
    (folder / MODEL_FILE).write_bytes(compiled.to_bytes())
    return {"input_level": compiled.input_level}
