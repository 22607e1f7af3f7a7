"""What nodes take at least is never more than what a plan takes."""

from __future__ import annotations

import pytest

from eer.compiler.backend.bounds import left_over
from eer.compiler.backend.levels import assign_levels
from eer.compiler.backend.schedule import Rescaling
from eer.compiler.cost import CostModel
from eer.compiler.ir.tensor import TensorGraph
from tests.backend.networks import Net, planned

SLOTS = 128


def mlp(seed: int) -> TensorGraph:
    net = Net(seed)
    h = net.polynomial(net.affine(net.input(12), size=9), 4)
    h = net.polynomial(net.affine(h, size=7), 2)
    return net.graph(net.affine(h, size=3))


@pytest.mark.parametrize("seed", range(4))
def test_a_plan_takes_at_least_what_its_nodes_do(seed: int) -> None:
    graph, plan, _ = planned(mlp(seed), SLOTS)
    rescaling = Rescaling.eager(max(assign_levels(graph)))
    cost = CostModel(13)
    after = left_over(graph, SLOTS, rescaling, cost)
    assert list(after) == sorted(after, reverse=True)
    assert after[-1] == 0.0
    assert 0.0 < after[0] <= plan.milliseconds
