"""Virtual environments of the peers, made when asked for, in the user's cache folder."""

from __future__ import annotations

import os
import shutil
import subprocess
import venv
from pathlib import Path

from eer.runtime.errors import EerError, UsageError

from .catalogue import PEERS, Peer


class InstallError(EerError):
    """pip could not install a peer."""

    code = "install"


def find(name: str) -> Peer:
    """The peer of that name. Raises UsageError where there is none."""
    if name not in PEERS:
        raise UsageError(
            f"there is no peer named {name!r}", hint=f"one of: {', '.join(sorted(PEERS))}"
        )
    return PEERS[name]


def folder() -> Path:
    """EER_PEERS, or a folder in the user's cache."""
    given = os.environ.get("EER_PEERS")
    if given:
        return Path(given)
    cache = os.environ.get("XDG_CACHE_HOME")
    return (Path(cache) if cache else Path.home() / ".cache") / "eer" / "peers"


def interpreter(peer: Peer) -> Path:
    """Its Python, whether it is there or not."""
    return folder() / peer.name / "bin" / "python"


def version(peer: Peer) -> str | None:
    """The version that is installed; None where the peer is not."""
    python = interpreter(peer)
    if not python.exists():
        return None
    code = f"from importlib.metadata import version; print(version({peer.distribution!r}))"
    found = subprocess.run([python, "-c", code], capture_output=True, text=True, check=False)
    return found.stdout.strip() if found.returncode == 0 else None


def usable() -> list[Peer]:
    """The peers that are installed and whose libraries load."""
    return [peer for peer in PEERS.values() if version(peer) is not None and loads(peer)]


def loads(peer: Peer) -> bool:
    """Whether its `imports` can be imported: CuKKS's cannot where there is no CUDA driver."""
    if not peer.imports:
        return True
    code = f"import {peer.imports}"
    done = subprocess.run([interpreter(peer), "-c", code], capture_output=True, check=False)
    return done.returncode == 0


def install(peer: Peer) -> str:
    """Make the peer's environment anew and return the version. Raises InstallError."""
    home = folder() / peer.name
    if home.exists():
        shutil.rmtree(home)
    venv.create(home, with_pip=True)
    command = [str(interpreter(peer)), "-m", "pip", "install", "--quiet", *peer.requirements]
    done = subprocess.run(command, check=False)
    found = version(peer)
    if done.returncode or found is None:
        raise InstallError(
            f"pip could not install {' '.join(peer.requirements)}",
            hint="its output above says why; the benchmark runs without peers as well",
        )
    return found


def remove(peer: Peer) -> bool:
    """Delete the peer's environment; False where there was none."""
    home = folder() / peer.name
    if not home.exists():
        return False
    shutil.rmtree(home)
    return True
