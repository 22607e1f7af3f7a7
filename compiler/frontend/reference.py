"""The original model in onnxruntime: the first of the three references that must agree."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eer.runtime.errors import DataError, ModelError

from .load import OnnxModel

Array = NDArray[Any]


class Reference:
    """The ONNX model on windows, whatever batch size it was exported with."""

    def __init__(self, model: OnnxModel) -> None:
        import onnxruntime as ort

        options = ort.SessionOptions()
        options.log_severity_level = 4
        try:
            self._session = ort.InferenceSession(
                model.proto.SerializeToString(), options, providers=["CPUExecutionProvider"]
            )
        except Exception as error:
            reason = next(iter(str(error).splitlines()), "unknown")
            raise ModelError(
                f"onnxruntime cannot run the model: {reason}",
                where=model.where,
                hint="export again with the current torch, or upgrade onnxruntime",
            ) from error
        self._model = model
        self._outputs = tuple(o.name for o in model.proto.graph.output)

    def run(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """Named outputs [windows, ...] for named inputs [windows, ...]."""
        specs = self._model.inputs
        missing = [s.name for s in specs if s.name not in inputs]
        if missing:
            raise DataError(f"no data for input {', '.join(missing)}", hint="name every input")
        feeds = {s.name: np.asarray(inputs[s.name]).astype(s.dtype) for s in specs}
        for spec in specs:
            if feeds[spec.name].shape[1:] != spec.shape:
                raise DataError(
                    f"input '{spec.name}' has shape {feeds[spec.name].shape}, "
                    f"expected [windows, {', '.join(map(str, spec.shape))}]"
                )
        counts = {len(a) for a in feeds.values()}
        if len(counts) != 1:
            raise DataError(f"the inputs have different numbers of windows: {sorted(counts)}")
        (count,) = counts
        fixed = {s.name: feeds[s.name] for s in specs if not s.batched}
        if self._model.batch is None and all((f == f[:1]).all() for f in fixed.values()):
            return self._once(feeds | {name: f[0] for name, f in fixed.items()})
        size = self._model.batch or 1
        parts = [self._padded(feeds, start, size) for start in range(0, count, size)]
        return {name: np.concatenate([p[name] for p in parts])[:count] for name in self._outputs}

    def _padded(self, feeds: Mapping[str, Array], start: int, size: int) -> dict[str, Array]:
        """One batch of the size that the model was exported with; the last window fills it up."""
        chunk = {}
        for spec in self._model.inputs:
            part = feeds[spec.name][start : start + size]
            part = np.concatenate([part, np.repeat(part[-1:], size - len(part), axis=0)])
            chunk[spec.name] = part if spec.batched else part[0]
        results = self._once(chunk)
        if size > 1:
            return results
        if not any(s.batched for s in self._model.inputs):
            return {n: r[None] for n, r in results.items()}
        # A model for one window may return it without a batch axis.
        return {n: r if r.ndim and r.shape[0] == 1 else r[None] for n, r in results.items()}

    def _once(self, feeds: Mapping[str, Array]) -> dict[str, Array]:
        return dict(zip(self._outputs, self._session.run(None, dict(feeds)), strict=True))
