"""Permutation importance: what the numbers mean, how sure they are, and that they end in time."""

import numpy as np
import pytest

from pipelines.workers.importance import POSITIONS, SAMPLES, SECONDS, choose, importance, places
from registry.records import Signature, TensorSpec
from training.metrics import Answers, Estimates

OUT = (TensorSpec("out", (None, 1), "float32"),)


def signature(*inputs, kind="table", classes=()):
    specs = tuple(TensorSpec(name, (None, *shape), "float32") for name, shape in inputs)
    return Signature("classification" if classes else "regression", kind, specs, OUT, classes)


ABC = signature(("a", (1,)), ("b", (1,)), ("c", (1,)))


def table(samples, seed):
    random = np.random.default_rng(seed)
    return {name: random.normal(size=(samples, 1)) for name in "abc"}


def estimates(function, x):
    y = function(x)
    return lambda shuffled: Estimates(y, function(shuffled))


def linear(x):
    return 2 * x["a"][:, 0] + 0.5 * x["b"][:, 0]


def test_the_input_that_matters_most_comes_first_and_one_that_is_ignored_costs_nothing():
    x = table(2000, 1)
    found = importance(estimates(linear, x), ABC, x, 1)
    assert [each.name for each in found.inputs] == ["a", "b", "c"]
    assert (found.metric, found.samples, found.repeats, found.total) == ("mae", 2000, 3, 3)
    expected = 2 / np.sqrt(np.pi)  # the mean distance of two standard normal numbers
    assert [each.loss for each in found.inputs] == pytest.approx([2 * expected, expected / 2, 0], rel=0.05)
    assert (found.inputs[2].low, found.inputs[2].high) == (0, 0)


def test_the_interval_holds_the_true_importance_in_19_of_20_cases():
    inside = []
    for seed in range(150):
        x = table(120, seed)
        first = importance(estimates(linear, x), ABC, x, seed).inputs[0]
        inside.append(first.low <= 4 / np.sqrt(np.pi) <= first.high)
    assert 0.9 <= np.mean(inside) < 1


def test_of_a_classifier_it_is_what_its_accuracy_falls_by():
    x = table(1000, 1)
    truth = (x["a"][:, 0] > 0).astype(np.int64)

    def ask(shuffled):
        nothing = np.zeros(1000)
        return Answers(truth, (shuffled["a"][:, 0] > 0).astype(np.int64), nothing, nothing, nothing)

    found = importance(ask, ABC, x, 1)
    assert found.metric == "accuracy"
    assert found.inputs[0].loss == pytest.approx(0.5, abs=0.05)


@pytest.mark.parametrize(
    ("per_call", "repeats", "measured"), [(0.1, 3, 3), (1.0, 1, 3), (1.4, 1, 3), (2.4, 1, 2), (9, 1, 1)]
)
def test_a_slow_model_is_asked_less_often(per_call, repeats, measured):
    now, x = [0.0], table(10, 1)
    ask = estimates(linear, x)

    def slow(shuffled):
        now[0] += per_call
        return ask(shuffled)

    found = importance(slow, ABC, x, 1, lambda: now[0])
    assert (found.repeats, len(found.inputs), found.total) == (repeats, measured, 3)
    assert now[0] <= SECONDS + 2 * per_call


def test_it_is_the_same_in_each_run_with_the_same_seed():
    x = table(50, 1)
    first, again, other = (importance(estimates(linear, x), ABC, x, seed) for seed in (1, 1, 2))
    assert first == again != other


def test_samples_are_bounded_in_number_and_bytes():
    rows, x = choose(ABC, table(5000, 1), 5000, 1)
    assert len(rows) == SAMPLES == len(x["a"])
    assert rows.tolist() == sorted(set(rows.tolist()))
    large = signature(("p", (1 << 20,)), ("q", (1,)))
    rows, _ = choose(large, {"p": np.zeros((40, 1 << 20)), "q": np.zeros((40, 1))}, 40, 1)
    assert len(rows) == 7  # of 8 MiB


@pytest.mark.parametrize(
    ("of", "shapes", "names"),
    [
        (signature(("image", (8, 8, 1)), kind="image"), {"image": (8, 8, 1)}, []),
        (signature(("x", (3,)), kind="array"), {"x": (3,)}, ["x[0]", "x[1]", "x[2]"]),
        (signature(("x", (POSITIONS + 1,)), kind="array"), {"x": (POSITIONS + 1,)}, []),
        (signature(("x", (9, 2)), kind="array"), {"x": (9, 2)}, []),
        (signature(("x", (9, 2)), ("z", (3,)), kind="array"), {"x": (9, 2), "z": (3,)}, ["x", "z"]),
        (signature(("x", (1,))), {"x": (1,)}, ["x"]),
        (signature(("x", ())), {"x": ()}, ["x"]),
    ],
)
def test_what_can_be_shuffled(of, shapes, names):
    x = {name: np.zeros((4, *shape)) for name, shape in shapes.items()}
    assert [each.name for each in places(of, x)] == names
    if not names:
        assert not len(choose(of, x, 4, 1)[0])


def test_one_number_of_an_array_is_shuffled_alone():
    x = {"x": np.random.default_rng(1).normal(size=(500, 3))}
    found = importance(estimates(lambda x: x["x"][:, 1] * 3, x), signature(("x", (3,)), kind="array"), x, 1)
    assert found.inputs[0].name == "x[1]"
    assert [each.loss for each in found.inputs[1:]] == [0, 0]


def test_a_model_that_answers_with_nan_has_no_importance():
    x = table(10, 1)
    assert importance(lambda _: Estimates(np.zeros(10), np.full(10, np.nan)), ABC, x, 1) is None


def test_an_evaluation_of_an_earlier_version_can_still_be_read():
    from registry import codec
    from registry.records import Evaluation, Metrics

    old = Evaluation(Metrics("regression", 1, {"mae": 0.5}))
    data = codec.to_json(old).replace(b' "importance": null,\n', b"")
    assert b"importance" not in data
    assert codec.from_json(Evaluation, data, "result.json") == old
