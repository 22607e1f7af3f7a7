"""Memory of a server that runs a program: predicted, and measured in a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from eer.runtime.executor import schedule
from eer.runtime.fields import Json
from eer.runtime.files import write_file
from eer.runtime.params import CkksParams
from eer.runtime.program import (
    DotCipher,
    DotPlain,
    Program,
    infer_levels,
    infer_parts,
    operands,
)

from .backend.predict import encoded_plains
from .clock import on_gpu
from .sizes import WORD, galois_levels, key_bytes_held

PROCESS = {"seal": 53e6, "desilo": 117e6, "desilo-gpu": 0.0}
"""Bytes of a process that has loaded Python, numpy and the engine's library, and no model yet.
Where a GPU computes it is the GPU's memory that counts, beside what CUDA takes for itself."""


@dataclass(frozen=True, slots=True)
class ServerMemory:
    """Bytes that a server holds for one model and one user while it answers.

    `ciphertexts` is the most at any moment of a run, the message included.
    """

    process: float
    keys: float
    plaintexts: float
    ciphertexts: float

    @property
    def peak(self) -> float:
        return self.process + self.keys + self.plaintexts + self.ciphertexts

    def to_json(self) -> Json:
        return {
            "process": round(self.process),
            "keys": round(self.keys),
            "plaintexts": round(self.plaintexts),
            "ciphertexts": round(self.ciphertexts),
            "peak": round(self.peak),
        }


def predict_memory(program: Program, params: CkksParams, engine: str) -> ServerMemory:
    """What `program` takes on `engine`, with its Galois keys."""
    places = encoded_plains(program)
    plaintexts = float(sum((level + 1) * params.ring_dimension * WORD for _, level in places))
    if not on_gpu(engine):
        plaintexts += sum(plain.nbytes for plain in program.plains)
    if engine == "desilo":
        # Its adapter keeps the values of every plaintext as well.
        plaintexts += sum(params.slots * program.plains[plain].itemsize for plain, _ in places)
    keys = key_bytes_held(params, galois_levels(program))
    return ServerMemory(PROCESS[engine], keys, plaintexts, _most_ciphertexts(program, params))


def _most_ciphertexts(program: Program, params: CkksParams) -> float:
    """Bytes of ciphertexts at the fullest moment, as the executor frees them."""
    levels, parts = infer_levels(program), infer_parts(program)
    # Whoever calls the executor keeps the inputs until the end.
    inputs = range(len(program.input_levels))
    held = {n: _cipher_bytes(params, levels[n]) for n in inputs}
    most = sum(held.values())
    factors: set[int] = set()
    for step in schedule(program):
        for number in step.numbers:
            held[number] = parts[number] / 2 * _cipher_bytes(params, levels[number])
        ins = step.instructions[0]
        work = 0.0
        if isinstance(ins, DotPlain | DotCipher):
            # A sum, and the product that is added to it.
            read = set(operands(ins))
            polynomials = max(parts[v] for v in read) if isinstance(ins, DotPlain) else 3
            work = polynomials / 2 * _cipher_bytes(params, levels[min(read)])
            for value in read - factors:
                held[value] = held.get(value, 0.0) + _factor_bytes(params, levels[value])
            factors |= read
        most = max(most, sum(held.values()) + work)
        for number in step.last_reads:
            if number not in inputs:
                held.pop(number, None)
    return most


def _cipher_bytes(params: CkksParams, level: int) -> float:
    extra = 2 if params.engine == "desilo" else 1
    return 2.0 * (level + extra) * params.ring_dimension * WORD


def _factor_bytes(params: CkksParams, level: int) -> float:
    """What an engine keeps beside a ciphertext that products have read."""
    return 2.0 * (level + 1) * params.ring_dimension * WORD if params.engine == "desilo" else 0.0


_SERVER = """
import sys
from eer.runtime.server_bundle import load_server
from eer.runtime.engines import open_engine
from eer.runtime.server import Server

folder, engine = sys.argv[1:]
model = load_server(f"{folder}/server.eer")
server = Server(model, f"{folder}/evaluation.key", open_engine(model.params, engine))
for _ in range(2):
    server.run(f"{folder}/window.ct")
with open("/proc/self/status") as status:
    print(next(line.split()[1] for line in status if line.startswith("VmHWM:")))
"""


def measure_server_peak(server: bytes, keys: bytes, message: bytes, engine: str) -> int | None:
    """Most bytes of resident memory of a new process that answers `message`.

    Arguments are the contents of files. None where the system does not tell, or where the process
    failed: a verification is worth something without it.
    """
    if not Path("/proc/self/status").exists():
        return None
    with TemporaryDirectory(prefix="eer-") as folder:
        contents = {"server.eer": server, "evaluation.key": keys, "window.ct": message}
        for name, content in contents.items():
            write_file(Path(folder) / name, content)
        done = subprocess.run(
            [sys.executable, "-c", _SERVER, folder, engine],
            env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            check=False,
        )
    if done.returncode or not done.stdout.strip().isdecimal():
        return None
    return int(done.stdout) * 1024
