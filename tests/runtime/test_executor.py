"""The executor: order, lifetimes, grouped rotations, batches and what it refuses."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest

from eer.runtime.engine import Cipher, Evaluator
from eer.runtime.engines.clear import ClearEngine
from eer.runtime.engines.dry import DryEngine
from eer.runtime.errors import InternalError
from eer.runtime.executor import Executor, schedule
from eer.runtime.params import CkksParams
from eer.runtime.program import (
    Add,
    AddPlain,
    Conjugate,
    DotCipher,
    DotPlain,
    Instruction,
    LevelDown,
    Negate,
    Program,
    Rotate,
    Slots,
    Sub,
    TimesI,
    Vector,
)

SLOTS = 8
SCALE = 2.0**30
TOP = 3


def params(slots: int) -> CkksParams:
    log_n = slots.bit_length()
    return CkksParams("clear", log_n, (45.0, *(30.0,) * TOP), (50.0,), 30.0, 128)


def program(
    *instructions: Instruction,
    inputs: int = 1,
    outputs: tuple[int, ...] | None = None,
    plains: tuple[Slots, ...] = (np.arange(1.0, 9.0), np.full(8, 0.5)),
) -> Program:
    last = inputs + len(instructions) - 1
    return Program(SLOTS, (TOP,) * inputs, instructions, outputs or (last,), plains)


@dataclass
class Ready:
    """A program on an engine, with the inputs encrypted."""

    engine: Any
    key: Any
    executor: Executor
    evaluator: Evaluator

    def encrypt(self, values: Slots) -> Cipher:
        return self.engine.encrypt(self.key, values, TOP, SCALE)

    def run(self, *inputs: Slots) -> list[Vector]:
        outputs = self.executor.run([self.encrypt(x) for x in inputs])
        return [self.engine.decrypt(self.key, c) for c in outputs]


def ready(p: Program, engine: Any = None, wrap: Any = lambda ev: ev) -> Ready:
    engine = engine or ClearEngine(params(SLOTS))
    steps = tuple(r * (engine.slots // p.slots) for r in p.rotations)
    level = p.conjugation_level
    key, blob = engine.generate_keys(steps, conjugation=level)
    keys = engine.load_evaluation_keys(blob, key.key_id, steps, level is not None)
    evaluator = wrap(engine.evaluator(keys))
    return Ready(engine, key, Executor(engine, evaluator, p, SCALE), evaluator)


X = np.linspace(-1, 1, SLOTS)
Y = np.cos(np.arange(SLOTS))


def test_every_instruction_does_what_it_says() -> None:
    w, half = np.arange(1.0, 9.0), np.full(8, 0.5)
    p = program(
        Rotate(0, 3),
        Add(0, 2),
        Sub(3, 1),
        Negate(4),
        AddPlain(5, 0),
        DotPlain((6, 1), (0, 1)),
        LevelDown(6, TOP - 1),
        DotCipher(((7, 7), (7, 8))),
        inputs=2,
        outputs=(9, 4, 1),
    )
    turned = X + np.roll(X, -3) - Y
    shifted = w - turned
    product = shifted * w + Y * half
    found = ready(p).run(X, Y)
    np.testing.assert_allclose(found[0], product * product + product * shifted, atol=1e-9)
    np.testing.assert_allclose(found[1], turned, atol=1e-12)
    np.testing.assert_allclose(found[2], Y, atol=1e-12)


def test_windows_are_interleaved_on_a_larger_engine() -> None:
    p = program(Rotate(0, 3), DotPlain((0, 1), (0, 1)))
    larger = ready(p, ClearEngine(params(4 * SLOTS)))
    assert larger.executor.batch == 4
    windows = np.random.default_rng(0).normal(size=(4, SLOTS))
    (found,) = larger.run(windows.T.reshape(-1))
    for window, values in zip(windows, found.reshape(SLOTS, 4).T, strict=True):
        (alone,) = ready(p).run(window)
        np.testing.assert_allclose(values, alone, atol=1e-12)


def test_an_engine_of_too_few_slots_is_refused() -> None:
    with pytest.raises(InternalError, match="8 slots do not divide the engine's 4"):
        ready(program(Negate(0)), ClearEngine(params(4)))


def test_the_number_of_inputs_is_checked() -> None:
    r = ready(program(Add(0, 1), inputs=2))
    with pytest.raises(InternalError, match="1 input ciphertexts given, 2 expected"):
        r.executor.run([r.encrypt(X)])


@dataclass
class Noting:
    """An evaluator that notes what it is asked for."""

    inner: Evaluator
    calls: list[tuple[str, Any]] = field(default_factory=list)

    def __getattr__(self, name: str) -> Any:
        def call(*args: Any) -> Any:
            self.calls.append((name, args[1] if name.startswith("rotate") else None))
            return getattr(self.inner, name)(*args)

        return call

    def names(self) -> Sequence[str]:
        return [name for name, _ in self.calls]


def test_neighbouring_rotations_of_one_value_are_one_call() -> None:
    p = program(
        Rotate(0, 1), Rotate(0, 2), Rotate(1, 4), Rotate(0, 5), Add(1, 2), Add(4, 5), Add(3, 6)
    )
    r = ready(p, wrap=Noting)
    noting: Any = r.evaluator
    (found,) = r.run(X)
    assert noting.calls[:3] == [("rotate_many", [1, 2]), ("rotate", 4), ("rotate", 5)]
    wanted = np.roll(X, -1) + np.roll(X, -2) + 2 * np.roll(X, -5)
    np.testing.assert_allclose(found, wanted, atol=1e-12)


def test_rotations_are_those_of_the_ring() -> None:
    p = program(Rotate(0, 1), Rotate(0, 2), Add(1, 2))
    r = ready(p, ClearEngine(params(2 * SLOTS)), wrap=Noting)
    noting: Any = r.evaluator
    r.run(np.repeat(X, 2))
    assert noting.calls[0] == ("rotate_many", [2, 4])


def test_plaintexts_are_encoded_once_and_before_the_first_run() -> None:
    """Two products with one vector at one level and scale share an encoding."""
    p = program(
        DotPlain((0,), (0,)), DotPlain((0,), (0,), True, 31.0), DotPlain((0,), (0,)), AddPlain(3, 0)
    )
    r = ready(p, wrap=Noting)
    noting: Any = r.evaluator
    assert noting.names().count("prepare_plain") == len(noting.calls) == 3
    for _ in range(2):
        r.run(X)
    assert noting.names().count("prepare_plain") == 3


def test_progress_is_told_after_every_call() -> None:
    p = program(Rotate(0, 1), Rotate(0, 2), Add(1, 2), Negate(3))
    r = ready(p)
    done: list[int] = []
    r.executor.run([r.encrypt(X)], done.append)
    assert done == [2, 3, 4]


def peak(p: Program) -> int:
    """The most ciphertexts that live at once in a run, the caller's inputs included."""
    engine = DryEngine(params(SLOTS))
    r = ready(p, engine)
    inputs = [r.encrypt(X) for _ in p.input_levels]
    outputs = r.executor.run(inputs)
    assert engine.counts.live == len({id(c) for c in (*inputs, *outputs)})
    return engine.counts.peak


def test_values_are_freed_at_their_last_use() -> None:
    """A chain needs its input, what is read and what is made, however long it is."""
    assert peak(program(*(Negate(k) for k in range(20)))) == 3


def test_sums_do_not_keep_their_summands() -> None:
    instructions: list[Instruction] = []
    total = 0
    for step in range(1, 8):
        instructions.append(Rotate(total, step % 7 + 1))
        turned = len(instructions)
        instructions.append(Add(total, turned))
        total = turned + 1
    assert peak(program(*instructions)) == 3


def test_a_value_added_to_its_rotation_is_one_call() -> None:
    p = program(
        Rotate(0, 1),
        Add(0, 1),
        Rotate(2, 2),
        Add(3, 2),
        Rotate(4, 4),
        Negate(4),
        Add(4, 5),
        Rotate(7, 1),
        Add(7, 8),
        Add(9, 8),
        Sub(10, 6),
    )
    r = ready(p, wrap=Noting)
    noting: Any = r.evaluator
    done: list[int] = []
    (found,) = (r.engine.decrypt(r.key, c) for c in r.executor.run([r.encrypt(X)], done.append))
    assert noting.calls[:3] == [("rotate_add", 1), ("rotate_add", 2), ("rotate", 4)]
    # Another use of a rotation, or an instruction between, and it has to be kept.
    assert noting.names()[3:] == ["negate", "add", "rotate", "add", "add", "sub"]
    assert done == [2, 4, 5, 6, 7, 8, 9, 10, 11]
    fold = X + np.roll(X, -1)
    fold = fold + np.roll(fold, -2)
    last = fold + np.roll(fold, -4)
    np.testing.assert_allclose(found, last + 2 * np.roll(last, -1) + fold, atol=1e-12)


def test_a_rotation_that_is_an_output_is_kept() -> None:
    p = program(Rotate(0, 1), Add(0, 1), outputs=(1, 2))
    turned, total = ready(p).run(X)
    np.testing.assert_allclose(turned, np.roll(X, -1))
    np.testing.assert_allclose(total, X + np.roll(X, -1))


def test_complex_slots() -> None:
    """Products of two pairs of real values at once, and a value brought into the imaginary part."""
    w, v = np.arange(1.0, 9.0), np.linspace(0.5, -1.5, 8)
    p = program(
        DotPlain((0,), (0,)),
        Conjugate(1),
        Add(1, 2),
        TimesI(3),
        Rotate(4, 1),
        Add(3, 5),
        DotPlain((6,), (1,)),
        outputs=(3, 7),
        plains=(w - 1j * v, np.full(8, 1 - 1j)),
    )
    for slots in (SLOTS, 4 * SLOTS):
        z = np.repeat(X + 1j * Y, slots // SLOTS)
        both, turned = ready(p, ClearEngine(params(slots))).run(z)
        wanted = np.repeat(2 * (X * w + Y * v), slots // SLOTS)
        np.testing.assert_allclose(both, wanted, atol=1e-12)
        step = slots // SLOTS
        np.testing.assert_allclose(turned, wanted + np.roll(wanted, -step), atol=1e-12)


def test_a_value_added_to_its_conjugate_is_one_call() -> None:
    p = program(
        Conjugate(0),
        Add(1, 0),
        Conjugate(2),
        Negate(3),
        Add(2, 3),
        TimesI(5),
        Conjugate(6),
        Conjugate(6),
        Add(6, 8),
        Add(9, 7),
        Add(4, 10),
    )
    r = ready(p, wrap=Noting)
    noting: Any = r.evaluator
    done: list[int] = []
    (found,) = (
        r.engine.decrypt(r.key, c) for c in r.executor.run([r.encrypt(X + 1j * Y)], done.append)
    )
    called = ["conjugate_add", "conjugate", "negate", "add", "times_i", "conjugate"]
    assert noting.names() == [*called, "conjugate_add", "add", "add"]
    assert done == [2, 3, 4, 5, 6, 7, 9, 10, 11]
    np.testing.assert_allclose(found, -2 * X, atol=1e-12)


def test_a_conjugate_that_is_an_output_is_kept() -> None:
    p = program(Conjugate(0), Add(0, 1), TimesI(1), outputs=(1, 2, 3))
    conjugate, total, turned = ready(p).run(X + 1j * Y)
    np.testing.assert_allclose(conjugate, X)
    np.testing.assert_allclose(total, 2 * X)
    np.testing.assert_allclose(turned, Y)


def test_folds_with_conjugates_keep_no_summands() -> None:
    folds: list[Instruction] = []
    for k in range(0, 20, 2):
        folds += [Conjugate(k), Add(k, k + 1)]
    assert peak(program(*folds)) == 3


def test_what_nobody_reads_is_freed_at_once() -> None:
    unread: list[Instruction] = [Rotate(0, 1), Negate(0)] * 5
    assert peak(program(*unread, AddPlain(0, 0))) == 2


def test_outputs_stay() -> None:
    p = program(Negate(0), Negate(1), Negate(2), outputs=(1, 2, 3))
    assert peak(p) == 4
    found = ready(p).run(X)
    for values, sign in zip(found, (-1, 1, -1), strict=True):
        np.testing.assert_allclose(values, sign * X)


def test_steps_list_last_reads() -> None:
    p = program(Rotate(0, 1), Rotate(0, 2), Add(1, 2), Negate(0), Add(3, 4), outputs=(3, 5))
    steps = schedule(p)
    assert [s.numbers for s in steps] == [(1, 2), (3,), (4,), (5,)]
    assert [set(s.last_reads) for s in steps] == [set(), {1, 2}, {0}, {4}]
    assert isinstance(steps[0].instructions[1], Rotate)


def test_scales_are_the_engines() -> None:
    """A square and a product of other history are summed: their scales differ without care."""
    p = program(
        DotPlain((0,), (1,)),
        DotCipher(((1, 1),)),
        LevelDown(0, TOP - 1),
        DotPlain((3,), (0,)),
        Add(2, 4),
    )
    (found,) = ready(p).run(X)
    np.testing.assert_allclose(found, (X / 2) ** 2 + X * np.arange(1.0, 9.0), atol=1e-9)
