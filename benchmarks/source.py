"""The data of a case: of a task of the benchmark, or of an ONNX model of the user's own."""

from __future__ import annotations

import numpy as np

from eer.runtime.errors import DataError

from .cases import Case
from .data import TaskData
from .tasks import make


def load_case(case: Case, windows: int) -> TaskData:
    """`windows` inputs of the case, with calibration data and reference outputs.

    An .npz file beside an ONNX model holds `calibration` and `inputs` [windows, ...]; the
    reference is onnxruntime's answer. Raises DataError where either is missing.
    """
    if case.onnx is None or case.data is None:
        return make(case.task, case.variant, windows)
    import onnxruntime

    with np.load(case.data, allow_pickle=False) as file:
        if not {"calibration", "inputs"} <= set(file):
            raise DataError(
                f"it holds {', '.join(sorted(file))}",
                where=str(case.data),
                hint="store the arrays 'calibration' and 'inputs'",
            )
        calibration = file["calibration"].astype(np.float32)
        inputs = file["inputs"].astype(np.float32)[:windows]
    session = onnxruntime.InferenceSession(case.onnx, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    # One by one: a model may have been exported for a batch of one.
    outputs = np.concatenate([session.run(None, {name: x[None]})[0] for x in inputs])
    return TaskData(case.task, case.variant, {}, inputs, calibration, outputs)
