"""Softmax inside the network, from functions of one variable that polynomials can take over.

Two classes are a sigmoid of their difference. With three, class i is the sigmoid of x_i less
log(e^x_j + e^x_k) = (x_j + x_k) / 2 + log(2 cosh((x_j - x_k) / 2)), whose last term is a smooth,
even function of one difference: no division, and no product of ciphertexts. From four on, e^x is
divided by its sum, x being taken relative to its mean over the classes, which changes nothing but
the range.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array, eye_array, kron

from .activation_ops import sigmoid
from .arithmetic_ops import reciprocal_of, times
from .call import Call
from .value import Value

Numbers = NDArray[np.float64]


def softmax_inside(call: Call, x: Value, axis: int) -> Value:
    """The softmax of x along an axis that is not the batch's."""
    classes = x.shape[axis]
    if classes == 1:
        return _mixed(call, [(x, np.zeros((1, 1)))], np.ones(1), axis)
    if classes == 2:
        gap = _mixed(call, [(x, np.array([[1.0, -1.0]]))], None, axis)
        first = call.build.elementwise("Sigmoid", sigmoid, gap, call.origin)
        return _mixed(call, [(first, np.array([[1.0], [-1.0]]))], np.array([0.0, 1.0]), axis)
    if classes == 3:
        others = np.array([[0.0, 1.0, -1.0], [1.0, 0.0, -1.0], [1.0, -1.0, 0.0]])
        gaps = _mixed(call, [(x, others)], None, axis)
        joint = call.build.elementwise("LogCosh", log_two_cosh, gaps, call.origin)
        ahead = 1.5 * np.eye(3) - 0.5
        score = _mixed(call, [(x, ahead), (joint, -np.eye(3))], None, axis)
        return call.build.elementwise("Sigmoid", sigmoid, score, call.origin)
    centred = _mixed(call, [(x, np.eye(classes) - 1.0 / classes)], None, axis)
    powers = call.build.elementwise("Exp", np.exp, centred, call.origin)
    total = _mixed(call, [(powers, np.ones((1, classes)))], None, axis)
    return times(call, powers, reciprocal_of(call, total))


def log_two_cosh(x: Numbers) -> Numbers:
    """log(2 cosh(x / 2)), without overflow."""
    return np.asarray(np.abs(x) / 2.0 + np.log1p(np.exp(-np.abs(x))))


def _mixed(
    call: Call, terms: list[tuple[Value, Numbers]], offset: Numbers | None, axis: int
) -> Value:
    """sum of weights [m, n] along an axis of each value, plus offset [m]."""
    rows = len(terms[0][1])
    first = terms[0][0]
    shape = (*first.shape[:axis], rows, *first.shape[axis + 1 :])
    before = int(np.prod(first.shape[:axis], dtype=np.int64))
    after = int(np.prod(first.shape[axis + 1 :], dtype=np.int64))
    matrices = []
    for value, weights in terms:
        inner = kron(csr_array(weights), eye_array(after))
        matrices.append((value, csr_array(kron(eye_array(before), inner))))
    bias = None
    if offset is not None:
        column = offset.reshape(-1, *(1,) * (len(shape) - axis - 1))
        bias = np.broadcast_to(column, shape).reshape(-1)
    return call.build.affine(matrices, bias, shape, first.batch, call.origin)
