"""Engines by name, and what opening one imports."""

from __future__ import annotations

import subprocess
import sys

import pytest

from eer.runtime.engines import desilo_literal, engine_names, open_engine
from eer.runtime.errors import ParameterError, UsageError
from eer.runtime.params import CkksLiteral

PARAMS = CkksLiteral("seal", 13, (40.0, 30.0), (45.0,), 30.0).check()


def test_an_unknown_name_lists_the_known() -> None:
    with pytest.raises(UsageError) as caught:
        open_engine(PARAMS, "heaan")
    for name in engine_names():
        assert name in (caught.value.hint or "")


def test_the_parameters_name_the_engine() -> None:
    assert open_engine(PARAMS).name == "seal"


@pytest.mark.parametrize("name", ["clear", "dry"])
def test_the_interpreters_open_on_any_parameters(name: str) -> None:
    engine = open_engine(desilo_literal(5).check(), name)
    assert engine.name == name
    assert engine.slots == 1 << 13
    assert engine.moduli == (2.0**60, *(2.0**40,) * 5)


def test_parameters_of_desilo_are_not_for_seal() -> None:
    with pytest.raises(ParameterError):
        open_engine(desilo_literal(5).check(), "seal")


def test_no_library_is_imported_before_its_engine_is_opened() -> None:
    code = (
        "import sys, eer.runtime.engines as e; from eer.runtime.params import CkksLiteral\n"
        "p = CkksLiteral('seal', 13, (40.0, 30.0), (45.0,), 30.0).check()\n"
        "[e.open_engine(p, n) for n in ('clear', 'dry')]\n"
        "print(sorted({'tenseal', 'desilofhe', 'torch', 'onnx', 'scipy'} & set(sys.modules)))"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"
