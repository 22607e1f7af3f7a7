"""Share intervals: elements with the same polynomial are given one interval to write it on.

Promise: the same polynomials on their intervals, to eight digits; elements with one function get
one center, one radius and one column of coefficients.
Why: a polynomial's scaling moves into its neighbours' weights. Written on an interval of its own
for every element, it would make different what was equal there, such as the weights of an average
pool, whose equality saves most of its products (backend/prefold.py).
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.polynomial import chebyshev
from numpy.typing import NDArray

from ..ir.tensor import Polynomial, TensorGraph, Vector

DIGITS = 9
"""Significant digits to which values agree where polynomials count as the same."""

SAME = 1e-8
"""Largest difference of such polynomials on an element's own interval, relative to its values."""

Index = NDArray[np.int64]


def share_intervals(graph: TensorGraph) -> TensorGraph:
    """The same graph with every Polynomial on common intervals."""
    nodes = tuple(
        replace(n, op=_shared(n.op)) if isinstance(n.op, Polynomial) else n for n in graph.nodes
    )
    return replace(graph, nodes=nodes)


def _shared(polynomial: Polynomial) -> Polynomial:
    low = float((polynomial.center - polynomial.radius).min())
    high = float((polynomial.center + polynomial.radius).max())
    points = chebyshev.chebpts1(2 * polynomial.degree + 1)
    values = _values(polynomial, (low + high) / 2 + (high - low) / 2 * points)
    size = np.abs(values).max(axis=0, initial=0.0)
    size[size == 0] = 1.0
    group = _alike(np.vstack([values / size, np.log2(size)]))
    coefficients = polynomial.chebyshev.copy()
    center, radius = polynomial.center.copy(), polynomial.radius.copy()
    nodes = chebyshev.chebpts1(polynomial.degree + 1)
    for g in np.unique(group):
        members = np.flatnonzero(group == g)
        bottom = float((polynomial.center - polynomial.radius)[members].min())
        top = float((polynomial.center + polynomial.radius)[members].max())
        middle, half = (bottom + top) / 2, (top - bottom) / 2
        # The element with the widest interval knows the polynomial best.
        widest = members[np.argmax(polynomial.radius[members])]
        at = _values(polynomial, middle + half * nodes)[:, widest]
        shared = np.asarray(chebyshev.chebfit(nodes, at, polynomial.degree), np.float64)
        # Far outside its own interval a polynomial's lower terms do not show.
        members = members[_agree(polynomial, members, shared, middle, half)]
        coefficients[:, members] = shared[:, None]
        center[members], radius[members] = middle, half
    return replace(polynomial, chebyshev=coefficients, center=center, radius=radius)


def _alike(keys: Vector) -> Index:
    """A number for each column of `keys`, the same for those that agree to DIGITS decimals.

    What lies on both sides of where rounding turns is together when all is moved by half a unit.
    """
    units = keys * 10.0**DIGITS
    first, second = (
        np.unique(np.floor(units + moved), axis=1, return_inverse=True)[1].reshape(-1)
        for moved in (0.0, 0.5)
    )
    group = np.arange(len(first))
    while True:
        # Whatever is linked has the lowest number of any.
        linked = _lowest(_lowest(group, first), second)
        if np.array_equal(linked, group):
            return group
        group = linked


def _lowest(numbers: Index, group: Index) -> Index:
    """For each entry the lowest number in its group."""
    lowest = np.full(len(group), len(group))
    np.minimum.at(lowest, group, numbers)
    return lowest[group]


def _agree(
    polynomial: Polynomial, members: Index, shared: Vector, middle: float, half: float
) -> NDArray[np.bool_]:
    """Which members equal the polynomial `shared` on middle +- half, each on its own interval."""
    t = chebyshev.chebpts1(polynomial.degree + 1)[:, None]
    own = chebyshev.chebval(t, polynomial.chebyshev[:, members], tensor=False)
    x = polynomial.center[members] + polynomial.radius[members] * t
    difference = np.abs(chebyshev.chebval((x - middle) / half, shared) - own).max(axis=0)
    close: NDArray[np.bool_] = difference <= SAME * np.abs(own).max(axis=0)
    return close


def _values(polynomial: Polynomial, x: Vector) -> Vector:
    """Values [points, n] at the points x."""
    t = (x[:, None] - polynomial.center) / polynomial.radius
    return np.asarray(chebyshev.chebval(t, polynomial.chebyshev, tensor=False))
