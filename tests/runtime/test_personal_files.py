"""The files of a personal model: damage and lies are refused, and no secret is in them."""

from __future__ import annotations

import typing
from pathlib import Path
from typing import Any

import pytest

from eer.runtime import personal as personal_module
from eer.runtime import personal_store as store_module
from eer.runtime.client import Client
from eer.runtime.container import pack, unpack
from eer.runtime.engine import SecretKey
from eer.runtime.errors import (
    ArtifactError,
    FileError,
)
from eer.runtime.personal import PersonalModel
from eer.runtime.personal_store import StateStore
from eer.runtime.server import Server
from tests.runtime.personal_setup import BATCHES, WINDOWS, Setup, build
from tests.runtime.role_types import types_within


@pytest.fixture(scope="module")
def setup() -> Setup:
    return build("clear")


def files_of(folder: Path) -> dict[str, bytes]:
    return {p.name: p.read_bytes() for p in folder.iterdir() if p.name != "lock"}


def test_damaged_files_are_refused(setup: Setup, tmp_path: Path) -> None:
    folder = tmp_path / "p"
    personal = setup.create(folder)
    setup.advance(personal, BATCHES[0])
    whole = files_of(folder)
    current = "version-0002.eer"
    window = setup.user.use.encrypt({"X": WINDOWS})
    flipped = bytearray(whole[current])
    flipped[len(flipped) // 2] ^= 4
    older = whole["version-0001.eer"]
    newer = whole["personal.eer"][:8] + b"\x63\x00" + whole["personal.eer"][10:]
    for name, content, reason in (
        (current, bytes(flipped), "not the one that the index names"),
        (current, whole[current][:-9], "bytes where the index names"),
        (current, whole[current] + b"x", "bytes where the index names"),
        (current, older, "not the one|bytes where"),
        ("personal.eer", whole["personal.eer"][:-3], "truncated"),
        ("personal.eer", older, "this is a version of a personal model"),
        ("personal.eer", newer, "format version 99; this eer reads up to"),
    ):
        (folder / name).write_bytes(content)
        with pytest.raises(ArtifactError, match=reason):
            setup.open(folder).run(window)
        (folder / name).write_bytes(whole[name])
    setup.open(folder).run(window)
    (folder / current).unlink()
    with pytest.raises(FileError, match="cannot read"):
        setup.open(folder).run(window)
    # The way out that the error names.
    assert PersonalModel(folder).rollback().step == 0
    setup.open(folder).run(window)


def test_an_index_that_lies_is_refused(setup: Setup, tmp_path: Path) -> None:
    """Rehashed, as somebody could make it on purpose: refused, or without effect."""
    folder = tmp_path / "p"
    setup.create(folder)
    container = unpack(folder / "personal.eer", ("personal",))
    meta = dict(container.meta.values)
    part, version = meta["parts"][0], meta["versions"][0]
    changes: list[dict[str, Any]] = [
        {"parts": []},
        {"parts": [part, part]},
        {"parts": [part | {"role": "boss"}]},
        {"parts": [part | {"counts": [2]}]},
        {"parts": [part | {"fed": ["V"]}]},
        {"parts": [part, part | {"role": "inference"}]},
        {"refresh": "bootstrap"},
        {"history": 1},
        {"next_version": 1},
        {"versions": []},
        {"versions": [version, version]},
        {"versions": [version | {"bytes": 0}]},
        {"versions": [version | {"sha256": "../x"}]},
    ]
    for change in changes:
        (folder / "personal.eer").write_bytes(pack("personal", meta | change))
        with pytest.raises(ArtifactError):
            PersonalModel(folder)
    (folder / "personal.eer").write_bytes(pack("personal", meta))
    assert PersonalModel(folder).version.step == 0


def test_personal_models_cannot_hold_a_secret_key(setup: Setup, tmp_path: Path) -> None:
    personal = setup.create(tmp_path / "p")
    setup.advance(personal, BATCHES[0])
    reachable: set[Any] = set()
    members = [m for c in (PersonalModel, StateStore) for m in vars(c).values()]
    for member in members:
        plain = getattr(member, "__func__", getattr(member, "fget", member))
        if callable(plain):
            for hint in typing.get_type_hints(plain).values():
                types_within(hint, reachable)
    for kept in vars(personal).values():
        types_within(type(kept), reachable)
    assert {PersonalModel, Server, StateStore} <= reachable
    assert SecretKey not in reachable
    assert not [t for t in reachable if "Secret" in t.__name__ or t is Client]
    for module in (personal_module, store_module):
        assert not [n for n in vars(module) if "secret" in n.lower() or n == "Client"]
    secrets = [k.secret for k in setup.user.keys]
    for content in files_of(tmp_path / "p").values():
        assert b"secret-key" not in content
        for secret in secrets:
            assert secret[-200:] not in content
    with pytest.raises(ArtifactError, match="this is a secret key"):
        personal.commit(secrets[0])
    with pytest.raises(ArtifactError, match="this is a secret key"):
        personal.step(secrets[0])
