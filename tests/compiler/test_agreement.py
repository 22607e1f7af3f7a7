"""What counts as the same answer, and in how many bits."""

from __future__ import annotations

import numpy as np
import pytest

from eer.compiler.agreement import classes, compare
from eer.compiler.labels import Truth, read_labels
from eer.runtime.errors import DataError
from eer.runtime.model import OutputSpec


def spec(
    shape: tuple[int, ...], post: str = "none", axis: int = -1, labels: tuple[str, ...] = ()
) -> OutputSpec:
    nothing = np.zeros(int(np.prod(shape)), dtype=np.int64)
    return OutputSpec("y", shape, nothing, nothing, nothing, post, axis, labels)


A = np.array([[0.1, 0.9, 0.0], [3.0, 1.0, 2.0], [-1.0, -3.0, -2.0], [0.5, 0.4, 0.3]])


def test_a_flip_is_another_largest_score() -> None:
    b = A.copy()
    b[3] = [0.4, 0.5, 0.3]
    found = compare({"y": A}, {"y": b}, [spec((3,))])
    assert (found.windows, found.class_flips, found.agreement) == (4, 1, 0.75)
    assert found.max_error == pytest.approx(0.1)
    assert found.smallest_margin == pytest.approx(0.1)


def test_bits_count_the_error_against_the_size_of_the_outputs() -> None:
    scale = np.sqrt(np.mean(A**2))
    b = A + 2.0**-10 * scale
    assert compare({"y": A}, {"y": b}, [spec((3,))]).precision_bits == pytest.approx(10.0)
    assert compare({"y": A}, {"y": A}, [spec((3,))]).precision_bits == 52.0


def test_a_value_that_is_no_class_agrees_within_a_hundredth_of_the_spread() -> None:
    a = np.array([[0.0], [1.0], [2.0], [3.0]])
    b = a + np.array([[0.0], [0.005], [0.02], [0.5]]) * a.std()
    found = compare({"y": a}, {"y": b}, [spec((1,))])
    assert (found.class_flips, found.agreement) == (0, 0.5)
    assert found.smallest_margin is None


def test_one_score_is_a_class_by_its_sign_where_it_has_two_labels() -> None:
    a, b = np.array([[0.1], [-0.1]]), np.array([[-0.1], [-0.2]])
    assert compare({"y": a}, {"y": b}, [spec((1,), labels=("no", "yes"))]).class_flips == 1
    assert compare({"y": a}, {"y": b}, [spec((1,))]).class_flips == 0


def test_answers_that_are_not_finite_agree_with_nothing() -> None:
    b = A.copy()
    b[0, 1] = np.inf
    b[1, 0] = np.nan
    found = compare({"y": A}, {"y": b}, [spec((3,))])
    assert found.class_flips >= 2
    plain = found.to_json()
    assert plain["max_error"] is None
    assert plain["precision_bits"] is None


@pytest.mark.parametrize(
    ("kind", "values", "wanted"),
    [
        (spec((3,), "softmax", 0), A, [[1], [0], [0], [0]]),
        (spec((1, 3)), A, [[1], [0], [0], [0]]),
        (spec((3,), "sigmoid"), A, [[0, 1, 0], [1, 1, 1], [0, 0, 0], [1, 0, 0]]),
        (spec((3,), "sigmoid", labels=("a", "b", "c")), A, [[1], [0], [0], [0]]),
        (spec((3,), "argmax", 0), np.array([[2.0], [1.0]]), [[2], [1]]),
        (spec((2, 2)), np.zeros((1, 4)), None),
    ],
    ids=["softmax", "one axis", "yes or no", "labelled sigmoid", "argmax", "no classes"],
)
def test_classes_are_those_that_the_client_decodes(
    kind: OutputSpec, values: np.ndarray, wanted: list[list[int]] | None
) -> None:
    found = classes(values, kind)
    assert (found is None) == (wanted is None)
    if found is not None:
        assert found.tolist() == wanted


def test_several_outputs_must_all_agree() -> None:
    nothing = np.zeros(1, int)
    other = OutputSpec("z", (1,), nothing, nothing, nothing, "none", -1, ())
    a = {"y": A, "z": np.arange(4.0)[:, None]}
    b = {"y": A, "z": np.array([[0.0], [1.0], [2.0], [9.0]])}
    assert compare(a, b, [spec((3,)), other]).agreement == 0.75


def test_true_labels_may_be_numbers_or_names(tmp_path_factory: pytest.TempPathFactory) -> None:
    kind = spec((3,), labels=("calm", "tense", "happy"))
    for labels in (np.array([1, 0, 0, 2]), np.array(["tense", "calm", "calm", "happy"])):
        truth = Truth.of(labels, [kind])
        assert truth is not None
        assert truth.share({"y": A}) == 0.75
    with pytest.raises(DataError, match="labels go from 1 to 3; output 'y' has classes 0 to 2"):
        Truth.of(np.array([1, 2, 3]), [kind])
    with pytest.raises(DataError, match="label 'angry' is none of the model's: calm, tense, happy"):
        Truth.of(np.array(["calm", "angry"]), [kind])
    assert Truth.of(np.array([0, 1]), [spec((2, 2))]) is None


def test_labels_are_found_beside_the_windows(tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("labels")
    np.savez(folder / "a.npz", x=A, target=np.array([[1], [0], [0], [2]]))
    np.savez(folder / "b.npz", x=A)
    np.save(folder / "c.npy", A)
    (folder / "d.csv").write_text("f1,f2,Label\n1,2,calm\n3,4,tense\n")
    (folder / "e.csv").write_text("1;2\n3;4\n")
    found = {p.stem: read_labels(p) for p in sorted(folder.iterdir())}
    assert found["a"] is not None
    assert found["a"].tolist() == [1, 0, 0, 2]
    assert found["d"] is not None
    assert found["d"].tolist() == ["calm", "tense"]
    assert found["b"] is found["c"] is found["e"] is None
