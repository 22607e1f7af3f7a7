"""The rig of the conformance suite, for one engine after the other."""

from __future__ import annotations

import pytest

from eer.runtime.engines import open_engine
from eer.runtime.engines.desilo_library import installed
from tests.engines.rig import CASES, STEPS, TOP, Rig, has_cuda_build, has_gpu


@pytest.fixture(scope="module", params=list(CASES))
def rig(request: pytest.FixtureRequest) -> Rig:
    name: str = request.param
    if name == "desilo" and not installed():
        pytest.skip("needs desilofhe")
    if name == "desilo-gpu" and not (has_cuda_build() and has_gpu()):
        pytest.skip("needs desilofhe-cu130 and a GPU")
    params, tolerance = CASES[name]
    engine = open_engine(params, name)
    key, data = engine.generate_keys(STEPS, conjugation=TOP)
    keys = engine.load_evaluation_keys(data, key.key_id, STEPS, conjugation=True)
    return Rig(engine, key, data, keys, engine.evaluator(keys), tolerance)
