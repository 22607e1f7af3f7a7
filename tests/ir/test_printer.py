"""The text of a small graph, and of the program that it becomes, as people read them."""

from __future__ import annotations

import numpy as np
from scipy.sparse import csr_array

from eer.compiler.backend.poly_schemes import plan_polynomial
from eer.compiler.ir.printer import print_graph, print_program
from eer.compiler.ir.tensor import (
    Affine,
    Core,
    Elementwise,
    Input,
    Node,
    Origin,
    Output,
    Polynomial,
    Product,
    TensorGraph,
)
from eer.runtime.program import (
    Add,
    AddPlain,
    Conjugate,
    DotCipher,
    DotPlain,
    LevelDown,
    Negate,
    Program,
    Rotate,
    Sub,
    TimesI,
)

GRAPH = """\
graph net
  %0: 2x3 = input x()
  %1: scalar = input bias()
  %2: 2 = affine[2x6/3 + 2x1/2](%0, %1)  # conv (net.py:7)
  %3: 2 = elementwise[Relu](%2)
  %4: 2 = polynomial[SiLU, degree 2](%2)
  %5: 2 = core[depth 1, 1 products](%2)
  %6: 2 = product(%3, %4)  # mul, act
  return scores = %6, client computes softmax
  return raw = %2
"""

PROGRAM = """\
program slots=8 rotations=[3]
  %0 = input  @3
  %1 = input  @2
  # conv
  %2 = Rotate(%0) by 3  @3
  %3 = DotPlain(%0, %2)  @2
  # act
  %4 = DotCipher(%3)  @1
  %5 = DotCipher(%3, %1) without rescale  @2
  %6 = Sub(%5, %3)  @2
  %7 = AddPlain(%6)  @2
  %8 = LevelDown(%7)  @1
  %9 = Negate(%8)  @1
  %10 = Add(%4, %9)  @1
  return %10, %3
"""


def test_a_graph() -> None:
    polynomial = Polynomial(np.eye(3)[:, [2, 2]], np.zeros(2), np.ones(2), "SiLU")
    sparse = csr_array(np.array([[1.0, 0, 2, 0, 0, 0], [0, 0, 0, 0, 0, 3]]))
    affine = Affine((sparse, csr_array(np.ones((2, 1)))), np.zeros(2))
    nodes = (
        Node(Input("x"), (), (2, 3)),
        Node(Input("bias"), (), ()),
        Node(affine, (0, 1), (2,), Origin(("conv",), ("Conv",), "net.py:7")),
        Node(Elementwise("Relu", lambda x: x), (2,), (2,)),
        Node(polynomial, (2,), (2,)),
        Node(Core(plan_polynomial(polynomial)), (2,), (2,)),
        Node(Product(), (3, 4), (2,), Origin(("mul", "act"), ("Mul", "Sigmoid"))),
    )
    outputs = (Output("scores", 6, (2,), "softmax"), Output("raw", 2, (2,)))
    assert print_graph(TensorGraph("net", nodes, outputs)) == GRAPH


def instructions() -> tuple[Program, tuple[str, ...]]:
    labels = ("conv", "conv", *("act",) * 7)
    program = Program(
        8,
        (3, 2),
        (
            Rotate(0, 3),
            DotPlain((0, 2), (0, 0)),
            DotCipher(((3, 3),)),
            DotCipher(((3, 1),), rescale=False),
            Sub(5, 3),
            AddPlain(6, 0),
            LevelDown(7, 1),
            Negate(8),
            Add(4, 9),
        ),
        (10, 3),
        (np.ones(8),),
        labels,
    )
    return program, labels


def test_a_program() -> None:
    program, labels = instructions()
    assert len(labels) == len(program.instructions)
    assert print_program(program) == PROGRAM


def test_a_program_with_complex_slots() -> None:
    program = Program(8, (1,), (Conjugate(0), TimesI(1)), (2,), ())
    lines = print_program(program).splitlines()
    assert lines[2:4] == ["  %1 = Conjugate(%0)  @1", "  %2 = TimesI(%1)  @1"]


def test_a_program_of_products_that_are_not_relinearised() -> None:
    products = (DotCipher(((0, 0),), False, False), DotCipher(((0, 0),), True, False))
    lines = print_program(Program(8, (1,), products, (1, 2), ())).splitlines()
    assert lines[2:4] == [
        "  %1 = DotCipher(%0) without relinearisation or rescale  @1",
        "  %2 = DotCipher(%0) without relinearisation  @0",
    ]


def test_a_program_without_labels() -> None:
    program, _ = instructions()
    bare = Program(8, program.input_levels, program.instructions, program.outputs, program.plains)
    wanted = "".join(line for line in PROGRAM.splitlines(keepends=True) if "#" not in line)
    assert print_program(bare) == wanted
