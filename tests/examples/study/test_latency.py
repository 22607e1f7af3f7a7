"""How long a window takes: medians by stage, by each of two clocks."""

from __future__ import annotations

import json
from dataclasses import asdict

from examples.study.latency import Latency, Stages, middle


def test_the_median_is_taken_by_stage_and_by_clock() -> None:
    found = middle(
        [
            Latency(Stages(1, 9, 5), Stages(2, 10, 6)),
            Latency(Stages(3, 7, 1), Stages(4, 8, 90)),
            Latency(Stages(2, 8, 3), Stages(90, 9, 4)),
        ]
    )
    assert found == Latency(Stages(2, 8, 3), Stages(4, 9, 6))
    assert str(found) == "13 ms of CPU time, 19 ms as wall time"


def test_it_is_read_as_it_was_written() -> None:
    found = Latency(Stages(1.5, 2.5, 3.5), Stages(2.5, 3.5, 4.5))
    assert Latency.from_json(json.loads(json.dumps(asdict(found)))) == found
