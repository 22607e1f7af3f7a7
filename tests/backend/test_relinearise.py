"""Relinearisation: left out where nothing needs it and where it pays, nowhere else."""

from __future__ import annotations

import numpy as np
import pytest

from eer.compiler import Options, compile_model
from eer.compiler.backend.predict import predict
from eer.compiler.backend.relinearise import spare_relinearisations
from eer.compiler.backend.schedule import QUICK_BASE, Step
from eer.compiler.cost import CostModel
from eer.runtime.client import Client
from eer.runtime.engines import open_engine
from eer.runtime.engines.clear import ClearEngine, NoiseModel
from eer.runtime.params import CkksLiteral
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
    Sub,
    TimesI,
)
from eer.runtime.server import Server
from tests.backend.networks import seal_schedules
from tests.compiler.networks import Net, make

COST = CostModel(13)
STEPS = (Step.PLAIN, Step.PLAIN, Step.CIPHER, Step.PLAIN, Step.CIPHER, Step.PLAIN)


def program(*instructions: Instruction, outputs: tuple[int, ...] = ()) -> Program:
    last = len(instructions) + 1
    plains = (np.ones(8), np.arange(8.0))
    return Program(8, (1, 1), instructions, outputs or (last,), plains)


def spared(given: Program, cost: CostModel = COST) -> list[int]:
    """Numbers of the products that are not relinearised."""
    found = spare_relinearisations(given, cost)
    kept = [n for n, i in found if isinstance(i, DotCipher) and not i.relinearise]
    assert (found is given) == (not kept)
    return kept


SQUARE = DotCipher(((0, 0),), rescale=False)
HEAD = DotPlain((2,), (0,))


def test_a_head_that_the_client_sums() -> None:
    assert spared(program(SQUARE, HEAD, AddPlain(3, 1))) == [2]


def test_a_product_that_is_the_answer() -> None:
    assert spared(program(DotCipher(((0, 1),)))) == [2]


@pytest.mark.parametrize(
    "reader",
    [Rotate(3, 1), Conjugate(3), DotCipher(((3, 3),), rescale=False)],
    ids=lambda reader: type(reader).__name__,
)
def test_what_is_turned_or_multiplied_later_is_relinearised(reader: Instruction) -> None:
    given = program(SQUARE, HEAD, reader, DotPlain((2,), (1,)), outputs=(4, 5))
    # The last product of ciphertexts may itself go without.
    assert 2 not in spared(given)


def test_ways_out_through_everything_linear() -> None:
    given = program(
        SQUARE, Negate(2), TimesI(3), Add(4, 2), Sub(5, 3), DotPlain((6, 2), (0, 1)), outputs=(7,)
    )
    assert spared(given) == [2]
    assert spared(program(SQUARE, LevelDown(2, 0))) == [2]


def test_products_that_meet_are_spared_together_or_not_at_all() -> None:
    other = DotCipher(((1, 1),), rescale=False)
    assert spared(program(SQUARE, other, DotPlain((2, 3), (0, 1)))) == [2, 3]
    assert spared(program(SQUARE, other, DotPlain((2, 3), (0, 1)), Rotate(4, 1))) == []
    apart = (SQUARE, other, DotPlain((2,), (0,)), DotPlain((3,), (1,)), Rotate(5, 1))
    assert spared(program(*apart, outputs=(4, 6))) == [2]


def test_a_rescale_of_three_polynomials_does_not_lead_to_a_coarse_scale() -> None:
    given = program(SQUARE, HEAD, AddPlain(3, 1))
    assert spare_relinearisations(given, COST, {3, 4}) is given
    assert spare_relinearisations(given, COST, {0, 1, 2, 4}) is not given
    rescaled = program(DotCipher(((0, 1),)))
    assert spare_relinearisations(rescaled, COST, {2}) is rescaled
    assert spared(program(DotCipher(((0, 1),), rescale=False))) == [2]


@pytest.mark.parametrize("outputs", [1, 3, 9])
def test_sparing_pays_by_the_prediction(outputs: int) -> None:
    """One relinearisation against many answers that are half as large again."""
    heads = [DotPlain((2,), (0,), log_scale=20.0 + k) for k in range(outputs)]
    given = program(SQUARE, *heads, outputs=tuple(range(3, 3 + outputs)))
    without = program(DotCipher(((0, 0),), False, relinearise=False), *heads, outputs=given.outputs)
    pays = predict(without, COST).total < predict(given, COST).total
    assert spared(given) == [2] * pays
    assert pays == (outputs == 1)


def test_bases_are_large_where_the_last_rescale_has_the_bits() -> None:
    found = seal_schedules(STEPS, 6, (13,))
    assert any(s.params.log_q[0] == QUICK_BASE for s in found)
    for schedule in found:
        base = schedule.params.log_q[0]
        assert base >= QUICK_BASE or schedule.raised(int(QUICK_BASE - base)) is None


def test_scales_that_make_up_for_three_parts() -> None:
    """Nothing else changes, and the size of all primes together neither."""
    wider = [(s, s.for_three_parts()) for s in seal_schedules(STEPS, 6, (13,))]
    assert any(w is not None for _, w in wider)
    for schedule, raised in wider:
        if raised is None:
            continue
        scale, least = raised.rescaling.log_scales[0], raised.three_part_scale
        assert scale is not None
        assert least is not None
        assert scale >= least
        assert sum(raised.params.log_q) == sum(schedule.params.log_q)
        assert raised.rescaling.rescales == schedule.rescaling.rescales
        assert raised.rescaling.log_scales[1:] == schedule.rescaling.log_scales[1:]
        assert raised.for_three_parts() is raised


def test_bits_that_are_not_there_are_not_moved() -> None:
    assert all(s.raised(40) is None for s in seal_schedules(STEPS, 6, (13,)))
    assert all(s.raised(1) is None for s in seal_schedules((Step.PLAIN,), 6, (13,)))


def squares(net: Net) -> str:
    hidden = net.linear(net.input(8), 8, 6, "first")
    hidden = net.linear(net("Mul", hidden, hidden), 6, 6, "second")
    return net("Mul", hidden, net.linear(net("Mul", hidden, hidden), 6, 6, "last"))


def test_answers_of_three_parts() -> None:
    """Both references agree with SEAL, and the answers are as precise as those of two parts."""
    model, data = make(squares)
    compiled = compile_model(model, data, Options(costs="shipped", tolerance=0.005))
    products = [i for _, i in compiled.server.program if isinstance(i, DotCipher)]
    assert [p.relinearise for p in products] == [True, True, False]
    client = Client(compiled.client)
    server = Server(compiled.server, client.generate_keys().evaluation)
    windows = data["x"][:4]
    (output,) = (o.name for o in compiled.client.outputs)
    messages = client.encrypt_all(windows)
    found = np.concatenate([client.decrypt(server.run(m)).outputs[output] for m in messages])
    wanted = compiled.plaintext(windows)[output]
    assert np.allclose(compiled.simulated(windows)[output], wanted, atol=1e-9)
    error = float(np.sqrt(np.mean((found - wanted) ** 2)))
    noise = compiled.report["accuracy"]["noise"]
    assert error < 3 * noise["rms_error"]
    assert noise["precision_bits"] > 8


def test_the_noise_model_knows_three_parts() -> None:
    """SEAL's error after a rescale, against the slot interpreter's variance."""
    params = CkksLiteral("seal", 13, (40.0, 40.0), (50.0,), 20.0).check()
    engine, model = open_engine(params), ClearEngine(params, NoiseModel(0))
    key, data = engine.generate_keys(())
    ev = engine.evaluator(engine.load_evaluation_keys(data, key.key_id, ()))
    x = np.random.default_rng(1).uniform(-1, 1, engine.slots)
    a = engine.encrypt(key, x, 1, 2.0**35)
    for parts in (2, 3):
        product = ev.dot_cipher([(a, a)], relinearise=parts == 2)
        error = np.std(engine.decrypt(key, product) - x * x) * ev.scale(product)
        # A fresh error times twice the value comes along, and is felt where there are two parts.
        fresh = 2 * np.sqrt(np.mean(x**2) * model.fresh_variance()) * 2.0**35 / engine.moduli[1]
        wanted = np.hypot(np.sqrt(model.rescale_variance(parts)), fresh)
        assert error == pytest.approx(wanted, rel=0.25)
