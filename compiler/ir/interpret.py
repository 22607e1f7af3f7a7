"""The tensor interpreter: the second of the three references that must agree."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.polynomial import chebyshev

from .poly_plan import run_steps
from .tensor import (
    Affine,
    Contraction,
    Core,
    Elementwise,
    Input,
    Polynomial,
    Product,
    Readout,
    TensorGraph,
    Vector,
)


def evaluate(graph: TensorGraph, inputs: Mapping[str, Vector]) -> tuple[Vector, ...]:
    """Values of every node, each [windows, size], for inputs of [windows, ...]."""
    values: list[Vector] = []
    for node in graph.nodes:
        args = [values[o] for o in node.operands]
        match node.op:
            case Input(name):
                x = np.asarray(inputs[name], dtype=np.float64)
                values.append(x.reshape(len(x), node.size))
            case Affine(matrices, bias):
                total = np.tile(bias, (len(args[0]), 1)) if args else bias[None, :]
                for matrix, x in zip(matrices, args, strict=True):
                    total = total + (matrix @ x.T).T
                values.append(total)
            case Elementwise(_, function):
                values.append(function(args[0]))
            case Polynomial(coefficients, center, radius):
                t = (args[0] - center) / radius
                values.append(np.asarray(chebyshev.chebval(t, coefficients, tensor=False)))
            case Product():
                values.append(args[0] * args[1])
            case Contraction(left, right, _, addends, bias):
                pairs = args[0][:, left] * args[1][:, right]
                total = bias + (node.op.sums @ pairs.T).T
                for matrix, x in zip(addends, args[2:], strict=True):
                    total = total + (matrix @ x.T).T
                values.append(total)
            case Core(plan):
                values.append(run_steps(plan.steps, args[0])[-1])
            case Readout(real, imaginary, shift, size):
                held = args[0] + shift
                total = np.zeros((len(held), size))
                for owner, part in ((real, held.real), (imaginary, held.imag)):
                    np.add.at(total.T, owner[owner >= 0], part.T[owner >= 0])
                values.append(total)
    return tuple(values)


def outputs(graph: TensorGraph, inputs: Mapping[str, Vector]) -> dict[str, Vector]:
    """Named outputs [windows, size], before any client-side post-processing."""
    values = evaluate(graph, inputs)
    return {o.name: values[o.node] for o in graph.outputs}
