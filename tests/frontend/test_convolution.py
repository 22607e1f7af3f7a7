"""Conv, ConvTranspose and pooling against onnxruntime, over shapes, strides and paddings."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eer.compiler.frontend import import_graph, load_onnx
from eer.compiler.ir.tensor import TensorGraph

Agree = Callable[..., TensorGraph]
quick = settings(max_examples=25, deadline=None, database=None, derandomize=True)


@st.composite
def sliding(draw: st.DrawFn) -> dict[str, Any]:
    """Spatial axes, kernel, strides, dilations and pads that leave at least one output."""
    rank = draw(st.integers(1, 2))

    def each(low: int, high: int) -> list[int]:
        return [draw(st.integers(low, high)) for _ in range(rank)]

    kernel, strides, dilations = each(1, 3), each(1, 3), each(1, 2)
    reach = [(k - 1) * d + 1 for k, d in zip(kernel, dilations, strict=True)]
    spatial = [r + draw(st.integers(0, 5)) for r in reach]
    pads = [draw(st.integers(0, k - 1)) for k in kernel + kernel]
    return {
        "spatial": spatial,
        "kernel": kernel,
        "strides": strides,
        "dilations": dilations,
        "pads": pads,
    }


def weights(*shape: int) -> Any:
    return np.random.default_rng(3).standard_normal(shape)


@quick
@given(
    where=sliding(),
    groups=st.integers(1, 2),
    depth=st.integers(1, 2),
    spread=st.integers(1, 2),
    bias=st.booleans(),
    mode=st.sampled_from(["NOTSET", "SAME_UPPER", "SAME_LOWER", "VALID"]),
)
def test_conv(
    agree: Agree, where: dict[str, Any], groups: int, depth: int, spread: int, bias: bool, mode: str
) -> None:
    kernel = weights(groups * spread, depth, *where["kernel"])
    more: dict[str, Any] = {"auto_pad": mode, "dilations": where["dilations"]}
    if mode == "NOTSET":
        more["pads"] = where["pads"]
    elif mode != "VALID":
        more["dilations"] = [1] * len(where["dilations"])  # onnxruntime has no other there

    def make(sketch: Any, x: str) -> Any:
        operands = [x, kernel] + ([weights(groups * spread)] if bias else [])
        return sketch(
            "Conv",
            *operands,
            group=groups,
            strides=where["strides"],
            **more,
        )

    agree(make, (groups * depth, *where["spatial"]), batches=("N",))


@quick
@given(where=sliding(), groups=st.integers(1, 2), extra=st.booleans())
def test_conv_transpose(agree: Agree, where: dict[str, Any], groups: int, extra: bool) -> None:
    kernel = weights(2 * groups, 2, *where["kernel"])
    added = [int(extra and s > 1) for s in where["strides"]]
    pads = [
        min(p, (k - 1) * d // 2)
        for p, k, d in zip(where["pads"], where["kernel"] * 2, where["dilations"] * 2, strict=True)
    ]

    def make(sketch: Any, x: str) -> Any:
        return sketch(
            "ConvTranspose",
            x,
            kernel,
            weights(2 * groups),
            group=groups,
            strides=where["strides"],
            dilations=where["dilations"],
            pads=pads,
            output_padding=added,
        )

    agree(make, (2 * groups, *where["spatial"]), batches=("N",))


@quick
@given(where=sliding(), include=st.booleans(), ceil=st.booleans())
def test_average_pool(agree: Agree, where: dict[str, Any], include: bool, ceil: bool) -> None:
    def make(sketch: Any, x: str) -> Any:
        return sketch(
            "AveragePool",
            x,
            kernel_shape=where["kernel"],
            strides=where["strides"],
            pads=where["pads"],
            count_include_pad=int(include),
            ceil_mode=int(ceil),
        )

    agree(make, (2, *where["spatial"]), batches=("N",))


@pytest.mark.parametrize("mode", ["SAME_UPPER", "SAME_LOWER", "VALID"])
def test_average_pool_chooses_its_padding(agree: Agree, mode: str) -> None:
    agree(lambda s, x: s("AveragePool", x, kernel_shape=[3], strides=[2], auto_pad=mode), (2, 8))


def test_average_pool_with_dilation(agree: Agree) -> None:
    agree(
        lambda s, x: s("AveragePool", x, kernel_shape=[2, 3], dilations=[2, 1]), (2, 6, 7), opset=19
    )


def test_every_batch(agree: Agree) -> None:
    """Symbolic, of one window, and of several: the graph of one window is the same."""
    agree(lambda s, x: s("Conv", x, weights(3, 2, 3), pads=[1, 1]), (2, 7))
    agree(lambda s, x: s("GlobalAveragePool", x), (2, 7, 5))


def test_merged_batch(agree: Agree) -> None:
    """Windows and frames in one axis, as in a convolution applied to every frame."""

    def make(sketch: Any, x: str) -> Any:
        frames = sketch("Reshape", x, np.array([-1, 2, 6]))
        pooled = sketch("ReduceMean", sketch("Conv", frames, weights(3, 2, 3)), np.array([2]))
        return sketch("Reshape", pooled, np.array([-1, 5, 3]))

    agree(make, (5, 2, 6))


def test_a_large_convolution_is_quick(sketch_type: Any) -> None:
    """40,000 inputs; on an idle core 0.2 s, here with room for a busy machine."""
    sketch = sketch_type()
    out = sketch("Conv", sketch.input("N", 4, 10_000), weights(8, 4, 7), strides=[2], pads=[3, 3])
    model = load_onnx(sketch.model([out]))
    start = time.process_time()
    graph = import_graph(model)
    assert time.process_time() - start < 2
    assert graph.nodes[1].size == 40_000
