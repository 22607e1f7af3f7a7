"""What one step costs of a model whose outputs feed its inputs, for reports."""

from __future__ import annotations

from eer.runtime.fields import Json
from eer.runtime.model import ClientModel
from eer.runtime.program import Program, infer_levels

from .backend.predict import Prediction
from .cost import CostModel

REFRESH = "client"
"""Who makes fresh ciphertexts of the state: the only policy that there is (docs/adr/0012)."""


def step_json(
    client: ClientModel, program: Program, prediction: Prediction, cost: CostModel
) -> Json | None:
    """Levels, refreshes and milliseconds of a step; None for a model that feeds no state.

    State enters at the level "level_in" and leaves at "level_out". It can enter nowhere else, so
    that each step takes one refresh: the client decrypts the answer and encrypts "ciphertexts" of
    state anew, in "client_ms". "lesson_ms" is the encryption of the other inputs, which may stay
    the same for many steps.
    """
    if not client.is_step:
        return None
    roles = [spec.role for spec in client.inputs for _ in range(spec.ciphers)]
    entered = list(zip(client.input_levels, roles, strict=True))
    state = [level for level, role in entered if role == "state"]
    levels = infer_levels(program)
    fed = [output for output in client.outputs if output.state]
    left = min(levels[program.outputs[c]] for output in fed for c in output.ciphers)
    return {
        "state": {output.name: output.state for output in fed},
        "level_in": max(state),
        "level_out": left,
        "levels": max(state) - left,
        "refresh": REFRESH,
        "refreshes": 1,
        "ciphertexts": len(state),
        "server_ms": prediction.run,
        "client_ms": prediction.decrypt + sum(map(cost.send, state)),
        "lesson_ms": sum(cost.send(level) for level, role in entered if role != "state"),
    }
