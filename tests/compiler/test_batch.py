"""Batches: the most windows per second, and what does not fit."""

from __future__ import annotations

import numpy as np
import pytest

from eer.compiler import Options, compile_model, verify
from eer.runtime.errors import ParameterError, UsageError
from tests.compiler.networks import Net, make


def small(net: Net) -> str:
    hidden = net.linear(net.input(16), 16, 8)
    return net.linear(net("Mul", hidden, hidden), 8, 3)


def test_auto_doubles_the_batch_as_long_as_it_is_worth_the_wait() -> None:
    model, data = make(small)
    compiled = compile_model(model, data, Options(batch="auto", costs="shipped", effort="low"))
    trials = compiled.report["batches"]
    assert [t["batch"] for t in trials] == [1 << k for k in range(len(trials))]
    rates = np.array([t["windows_per_second"] for t in trials])
    best = int(np.log2(compiled.client.batch))
    assert best > 0
    # Of all that were tried the one from which no number of doublings brings 15 % each.
    assert (rates[best + 1 :] < rates[best] * 1.15 ** np.arange(1, len(rates) - best)).all()
    assert (rates[:best] <= rates[best] / 1.15 ** np.arange(best, 0, -1)).all()
    assert len(rates) - best <= 3
    for trial in trials:
        rate = 1e3 * trial["batch"] / trial["milliseconds"]
        assert trial["windows_per_second"] == pytest.approx(rate)
    # No more than a quick search promised is left undone.
    assert compiled.report["predicted"]["windows_per_second"] >= 0.99 * rates[best]
    found = verify(compiled, np.asarray(data["x"], np.float32), "clear", windows=40)
    assert found.total.agreement == 1.0


def test_a_batch_larger_than_any_ring_is_refused() -> None:
    model, data = make(small)
    with pytest.raises(ParameterError, match="a batch of 65536 windows does not fit") as caught:
        compile_model(model, data, Options(batch=65536))
    assert "--batch auto" in str(caught.value.hint)


def test_what_is_no_batch() -> None:
    with pytest.raises(UsageError, match="the batch is 3"):
        Options(batch=3)
