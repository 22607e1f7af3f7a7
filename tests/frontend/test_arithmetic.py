"""Sums, products, contractions and reductions against onnxruntime, with broadcasting."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eer.compiler.ir.tensor import Affine, Polynomial, Product, TensorGraph

Agree = Callable[..., TensorGraph]
quick = settings(max_examples=20, deadline=None, database=None, derandomize=True)


def numbers(*shape: int) -> Any:
    return np.random.default_rng(5).uniform(0.5, 2.0, shape) * np.where(
        np.random.default_rng(6).random(shape) < 0.5, -1, 1
    )


def kinds(graph: TensorGraph) -> list[type]:
    return [type(n.op) for n in graph.nodes if n.operands]


@quick
@given(
    op=st.sampled_from(["Add", "Sub", "Mul", "Div"]),
    shape=st.sampled_from([(), (1,), (3,), (2, 1), (1, 1, 3), (1, 2, 3)]),
    swap=st.booleans(),
)
def test_with_a_constant(agree: Agree, op: str, shape: tuple[int, ...], swap: bool) -> None:
    constant = numbers(*shape)
    swap = swap and op != "Div"
    agree(lambda s, x: s(op, constant, x) if swap else s(op, x, constant), (2, 3))


@quick
@given(
    op=st.sampled_from(["Add", "Sub", "Mul"]),
    x=st.sampled_from([(2, 3), (1, 3), (2, 1), (1, 1)]),
    y=st.sampled_from([(2, 3), (1, 3), (2, 1), (1, 1)]),
)
def test_of_two_encrypted(agree: Agree, op: str, x: tuple[int, ...], y: tuple[int, ...]) -> None:
    agree(lambda s, a, b: s(op, a, b), x, y)


def test_several_operands(agree: Agree) -> None:
    agree(lambda s, x, y: s("Sum", x, y, numbers(3)), (2, 3), (1, 3))
    agree(lambda s, x, y: s("Mean", x, y, numbers(3)), (2, 3), (1, 3))
    agree(lambda s, x: s("Neg", x), (2, 3))


def test_a_value_with_itself(agree: Agree) -> None:
    doubled = agree(lambda s, x: s("Add", x, x), (3,))
    assert kinds(doubled) == [Affine]
    squared = agree(lambda s, x: s("Mul", x, x), (3,))
    assert kinds(squared) == [Polynomial]
    crossed = agree(lambda s, x, y: s("Mul", x, y), (3,), (3,))
    assert kinds(crossed) == [Product]


@pytest.mark.parametrize("exponent", [1, 2, 3, 4, 7])
def test_power(agree: Agree, exponent: int) -> None:
    graph = agree(lambda s, x: s("Pow", x, np.float32(exponent)), (3,), tolerance=1e-4)
    assert kinds(graph) == ([] if exponent == 1 else [Polynomial])


def test_power_with_an_integer_exponent(agree: Agree) -> None:
    agree(lambda s, x: s("Pow", x, np.array([3], dtype=np.int64)), (3,))


def test_a_polynomial_written_out_becomes_one_node(agree: Agree) -> None:
    """0.3 x^2 + x - 2, and a cubic in Horner's form."""

    def quadratic(sketch: Any, x: str) -> Any:
        square = sketch("Mul", np.float32(0.3), sketch("Mul", x, x))
        return sketch("Sub", sketch("Add", square, x), np.float32(2))

    def cubic(sketch: Any, x: str) -> Any:
        inner = sketch("Add", sketch("Mul", x, np.array([0.2, 0.4, 0.6])), np.float32(1))
        inner = sketch("Add", sketch("Mul", inner, x), np.float32(-1))
        return sketch("Add", sketch("Mul", inner, x), np.float32(0.5))

    assert kinds(agree(quadratic, (3,))) == [Polynomial, Affine]
    assert kinds(agree(cubic, (3,))) == [Polynomial, Affine]


def test_batch_normalisation(agree: Agree) -> None:
    statistics = [numbers(3), numbers(3), numbers(3), np.abs(numbers(3))]
    for shape in ((3,), (3, 4), (3, 2, 2)):
        agree(lambda s, x: s("BatchNormalization", x, *statistics, epsilon=1e-3), shape)


@quick
@given(
    left=st.sampled_from([(4,), (3, 4), (2, 3, 4), (1, 3, 4)]),
    right=st.sampled_from([(4,), (4, 5), (2, 4, 5), (1, 4, 1)]),
)
def test_matmul_by_a_constant(agree: Agree, left: tuple[int, ...], right: tuple[int, ...]) -> None:
    if len(right) > len(left) + 1 or (len(right) == 3 and len(left) < 3):
        right = right[-2:]
    agree(lambda s, x: s("MatMul", x, numbers(*right)), left)


@pytest.mark.parametrize("left", [(3,), (2, 3), (5, 2, 3), (1, 1, 2, 3)])
def test_matmul_of_a_constant(agree: Agree, left: tuple[int, ...]) -> None:
    agree(lambda s, x: s("MatMul", numbers(*left), x), (5, 3, 4))


def test_matmul_of_two_encrypted(agree: Agree) -> None:
    graph = agree(lambda s, x, y: s("MatMul", x, y), (2, 3), (3, 4))
    assert kinds(graph) == [Affine, Affine, Product, Affine]
    agree(lambda s, x: s("MatMul", x, s("Transpose", x, perm=[0, 2, 1])), (2, 3))


@quick
@given(
    across=st.booleans(),
    alpha=st.sampled_from([1.0, 0.5]),
    beta=st.sampled_from([1.0, 0.0, -2.0]),
    bias=st.sampled_from([None, (), (1,), (5,), (1, 5)]),
)
def test_gemm(
    agree: Agree, across: bool, alpha: float, beta: float, bias: tuple[int, ...] | None
) -> None:
    weight = numbers(5, 4) if across else numbers(4, 5)
    more = [] if bias is None else [numbers(*bias)]
    graph = agree(
        lambda s, x: s("Gemm", x, weight, *more, transB=int(across), alpha=alpha, beta=beta), (4,)
    )
    assert kinds(graph) == [Affine]


def test_gemm_with_an_encrypted_bias(agree: Agree) -> None:
    agree(lambda s, x, y: s("Gemm", x, numbers(4, 3), y, beta=0.5), (4,), (3,))


@pytest.mark.parametrize(
    ("equation", "shape"),
    [("bij,jk->bik", (3, 4)), ("bij,kj->bki", (3, 4)), ("bij,j->bi", (3, 4)), ("bij,ij", (3, 4))],
)
def test_einsum_with_a_constant(agree: Agree, equation: str, shape: tuple[int, ...]) -> None:
    second = equation.partition("->")[0].partition(",")[2]
    weight = numbers(*({"i": 3, "j": 4, "k": 2}[c] for c in second))
    agree(lambda s, x: s("Einsum", x, weight, equation=equation), shape)


def test_einsum_of_two_encrypted(agree: Agree) -> None:
    agree(lambda s, x, y: s("Einsum", x, y, equation="bij,bkj->bik"), (3, 4), (2, 4))


@quick
@given(
    op=st.sampled_from(["ReduceMean", "ReduceSum", "ReduceSumSquare", "ReduceL1"]),
    axes=st.sampled_from([[1], [-1], [1, 3], [2, 3], [1, 2, 3]]),
    keep=st.integers(0, 1),
    opset=st.sampled_from([13, 18]),
)
def test_reductions(agree: Agree, op: str, axes: list[int], keep: int, opset: int) -> None:
    def make(sketch: Any, x: str) -> Any:
        if opset == 13 and op != "ReduceSum":
            return sketch(op, x, axes=axes, keepdims=keep)
        return sketch(op, x, np.array(axes), keepdims=keep)

    agree(make, (2, 3, 4), opset=opset)


def test_reduction_of_no_axes(agree: Agree) -> None:
    agree(
        lambda s, x: s("ReduceSum", x, np.zeros(0, dtype=np.int64), noop_with_empty_axes=1), (2, 3)
    )


@pytest.mark.parametrize(("exclusive", "reverse"), [(0, 0), (1, 0), (0, 1), (1, 1)])
def test_cumulative_sum(agree: Agree, exclusive: int, reverse: int) -> None:
    agree(lambda s, x: s("CumSum", x, np.int64(-1), exclusive=exclusive, reverse=reverse), (2, 4))


def test_encrypted_weights(same: Any, sketch_type: Any) -> None:
    """An input without the symbolic batch axis is one for all windows: a head's weights."""
    sketch = sketch_type()
    x, w = sketch.input("N", 4, name="x"), sketch.input(4, 3, name="w")
    graph = same(sketch.model([sketch("MatMul", x, w)]))
    assert graph.nodes[1].shape == (4, 3)
    assert graph.outputs[0].shape == (3,)


def test_an_unbatched_model(same: Any, sketch_type: Any) -> None:
    sketch = sketch_type()
    graph = same(sketch.model([sketch("MatMul", sketch.input(4), numbers(4, 3))]))
    assert graph.nodes[0].shape == (4,)
    assert graph.outputs[0].shape == (3,)
