"""Merge elementwise expressions of one value into one node.

Exporters write SiLU as Sigmoid and Mul, GELU as Div, Erf, Add, Mul, Mul, and modules written by
hand are longer still. Each becomes one Elementwise, to be fitted by one polynomial, or, where it
is a polynomial already, one exact Polynomial.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.polynomial import chebyshev
from numpy.typing import NDArray

from ..ir.tensor import (
    Affine,
    Elementwise,
    Node,
    Origin,
    Polynomial,
    Product,
    TensorGraph,
)
from .familiar import familiar_name
from .univariate import Composite, Mix, Univariate

Numbers = NDArray[np.float64]

# Beyond this a name is not readable any more.
MAX_NAME = 60


def fuse_elementwise(graph: TensorGraph) -> TensorGraph:
    """Collapse every expression that is a function of one node, element by element.

    Promise: the same outputs for the same inputs. An expression with an Elementwise in it becomes
    one Elementwise; one without, of degree up to 8, one exact Polynomial. Diagonal affine maps
    before and after it stay on their own, so that they can merge into the neighbouring layers,
    unless with them the expression is a well-known activation.
    """
    univariate = Univariate.of(graph)
    nodes = list(graph.nodes)
    waiting = univariate.tops()
    done: set[int] = set()
    while waiting:
        top = waiting.pop()
        if top in done:
            continue
        done.add(top)
        expression = _Expression.below(univariate, top)
        if expression is None:
            continue
        if expression.trailing and expression.usual is None:
            waiting.append(nodes[top].operands[0])
            continue
        fused = expression.fused()
        if fused is not None:
            nodes[top] = fused
    return replace(graph, nodes=tuple(nodes)).pruned()


@dataclass(frozen=True, slots=True, eq=False)
class _Expression:
    """The nodes between a root and a top, the diagonal affine maps on the root taken off."""

    univariate: Univariate
    root: int
    region: list[int]
    composite: Composite
    usual: str | None

    @staticmethod
    def below(univariate: Univariate, top: int) -> _Expression | None:
        """None where the top is its own root, or only affine maps lie between."""
        root, nodes = univariate.roots[top], univariate.graph.nodes
        region = univariate.region(root, top)
        while region:
            users = [n for n in region if root in nodes[n].operands]
            if len(users) > 1 or not isinstance(nodes[users[0]].op, Affine):
                break
            root, region = users[0], region[1:]
        if not any(not isinstance(nodes[n].op, Affine) for n in region):
            return None
        composite = univariate.composite(root, region)
        usual = None
        if _curved(univariate, region):
            usual = familiar_name(composite, nodes[top].size)
        return _Expression(univariate, root, region, composite, usual)

    @property
    def nodes(self) -> list[Node]:
        return [self.univariate.graph.nodes[n] for n in self.region]

    @property
    def trailing(self) -> bool:
        """Whether the last step only scales and shifts one value."""
        last = self.nodes[-1]
        return isinstance(last.op, Affine) and len(set(last.operands)) == 1

    def fused(self) -> Node | None:
        """The node that replaces the last one; None where it is one node already."""
        nodes = self.nodes
        top = nodes[-1]
        if len(nodes) == 1 and not isinstance(top.op, Product):
            return None
        origin = Origin()
        for node in nodes:
            origin = origin | node.origin
        if _curved(self.univariate, self.region):
            name = self.usual or expression_text(self.composite)
            op: Elementwise | Polynomial = Elementwise(name, self.composite)
        else:
            op = exact_polynomial(self.composite, self.degree, top.size)
        return Node(op, (self.root,), top.shape, origin)

    @property
    def degree(self) -> int:
        """The degree in the root, none of the steps being curved."""
        degrees = {self.root: 1}
        for number in self.region:
            node = self.univariate.graph.nodes[number]
            own = [degrees[o] for o in node.operands]
            match node.op:
                case Polynomial():
                    degrees[number] = own[0] * node.op.degree
                case Product():
                    degrees[number] = sum(own)
                case _:
                    degrees[number] = max(own)
        return degrees[self.region[-1]]


def _curved(univariate: Univariate, region: list[int]) -> bool:
    """Whether something else than a polynomial takes part."""
    return any(isinstance(univariate.graph.nodes[n].op, Elementwise) for n in region)


def exact_polynomial(function: Composite, degree: int, size: int) -> Polynomial:
    """A function known to be a polynomial of this degree, by interpolation at Chebyshev points."""
    points = np.cos(np.pi * (np.arange(degree + 1) + 0.5) / (degree + 1))
    values = function(np.repeat(points[:, None], size, axis=1))
    basis = chebyshev.chebvander(points, degree)
    series = np.asarray(np.linalg.solve(basis, values), dtype=np.float64)
    # What is left of coefficients that are zero: rounding, relative to the largest.
    scale = np.abs(series).max(axis=0, initial=0.0)
    series[np.abs(series) < 1e-15 * degree * scale] = 0.0
    name = expression_text(function)
    return Polynomial(series, np.zeros(size), np.ones(size), name)


def expression_text(function: Composite) -> str:
    """The function as a formula in x; the names of its parts where that would be too long."""
    texts, names = ["x"], []
    for op, operands in function.steps:
        args = [texts[o] for o in operands]
        match op:
            case Mix(factors, bias):
                terms = [_scaled(f, a) for f, a in zip(factors, args, strict=True)]
                if bias.any():
                    terms.append(f"{bias[0]:.4g}" if len(bias) == 1 else "b")
                texts.append("+".join(terms).replace("+-", "-"))
            case Elementwise(name, _):
                names.append(name)
                texts.append(f"{name}({args[0]})")
            case Polynomial():
                names.append(op.name)
                simple = op.name.startswith("x^") and op.name[2:].isdigit()
                power = op.name[1:] if simple else ""
                texts.append(f"{_grouped(args[0])}{power}" if simple else f"{op.name}({args[0]})")
            case Product():
                texts.append("*".join(_grouped(a) for a in args))
    if len(texts[-1]) <= MAX_NAME:
        return texts[-1]
    return f"Fused({', '.join(dict.fromkeys(names))})"


def _scaled(factor: Numbers, text: str) -> str:
    if len(factor) > 1:
        return f"a*{_grouped(text)}"
    if factor[0] == 1:
        return text
    return f"{factor[0]:.4g}*{_grouped(text)}" if factor[0] != -1 else f"-{_grouped(text)}"


def _grouped(text: str) -> str:
    """In brackets if it is a sum at its top."""
    depth = 0
    for place, character in enumerate(text):
        depth += (character == "(") - (character == ")")
        if depth == 0 and character in "+-" and place > 0 and text[place - 1] != "e":
            return f"({text})"
    return f"({text})" if text.startswith("-") else text
