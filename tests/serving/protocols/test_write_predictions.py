"""From what a model returns to what a client reads, for every kind of output."""

import numpy as np
import orjson
import pytest

from registry.records import Signature, TensorSpec
from serving import probabilities
from serving.probabilities import TOLERANCE
from serving.protocols.write_predictions import WIDE, Writer

INPUT = (TensorSpec("x", (None, 2), "float32"),)


def written(classes, warm, output=None):
    warm = np.asarray(warm)
    spec = TensorSpec("y", (None, *warm.shape[1:]), "float32")
    kind = "classification" if classes else "regression"
    writer = Writer(Signature(kind, "array", INPUT, (spec,), classes=tuple(classes)), {"y": warm})
    return writer.write({"y": warm if output is None else np.asarray(output)})


def test_a_distribution_is_answered_as_probabilities():
    (found,) = written("ab", [[0.25, 0.75]])
    assert found == {"class": "b", "probability": 0.75, "probabilities": {"a": 0.25, "b": 0.75}}


@pytest.mark.parametrize("row", [[0.9, 0.9], [0.2, 0.2], [1.5, -0.5], [3.0, -2.0]])
def test_scores_that_are_no_distribution_are_answered_as_scores(row):
    (found,) = written("ab", [row])
    assert found == {"class": "a", "scores": {"a": row[0], "b": row[1]}}


def test_one_row_that_is_no_distribution_decides_for_all():
    assert "scores" in written("ab", [[0.5, 0.5], [0.9, 0.9]])[0]
    assert "scores" in written("ab", [[0.5, 0.5], [1.5, -0.5]])[0]


@pytest.mark.parametrize(("error", "kind"), [(0.9 * TOLERANCE, "probabilities"), (1.1 * TOLERANCE, "scores")])
def test_a_coarse_sum_is_still_a_distribution(error, kind):
    assert kind in written("ab", [[0.5, 0.5 + error]])[0]
    assert kind in written("ab", [[0.5, 0.5 - error]])[0]
    assert kind in written("ab", [[1 + error, -error]])[0]


def test_a_sum_on_the_tolerance_is_still_a_distribution(monkeypatch):
    monkeypatch.setattr(probabilities, "TOLERANCE", 0.25)
    assert "probabilities" in written("ab", [[0.5, 0.75]])[0]
    assert "probabilities" in written("ab", [[0.25, 0.5]])[0]
    assert "probabilities" in written("ab", [[1.25, -0.25]])[0]


@pytest.mark.parametrize("warm", [[[0.75], [0.0], [1.0]], [0.75, 0.0, 1.0]])
def test_one_number_and_two_classes_is_the_probability_of_the_second(warm):
    found = written("ab", warm)
    assert found[0] == {"class": "b", "probability": 0.75, "probabilities": {"a": 0.25, "b": 0.75}}
    assert [each["class"] for each in found] == ["b", "a", "b"]


@pytest.mark.parametrize("warm", [[[1.5]], [[-0.5]], [[0.5], [7.0]], [[0.5], [-0.1]]])
def test_one_logit_of_two_classes_is_answered_as_it_is(warm):
    assert written("ab", warm)[0] == {"value": warm[0][0]}


def test_one_number_of_three_classes_is_answered_as_it_is():
    assert written("abc", [[0.5]]) == [{"value": 0.5}]


def test_a_regression_of_one_number_is_a_value_and_of_several_are_values():
    assert written("", [1.5, 2.5]) == [{"value": 1.5}, {"value": 2.5}]
    assert written("", [[1.5], [2.5]]) == [{"value": 1.5}, {"value": 2.5}]
    assert [list(each["values"]) for each in written("", [[1.5, 2.5]])] == [[1.5, 2.5]]
    (found,) = written("", [[[1.0, 2.0], [3.0, 4.0]]])
    assert found["values"].tolist() == [[1.0, 2.0], [3.0, 4.0]]
    (found,) = written("ab", [[[0.5], [0.5]]])
    assert found["values"].tolist() == [[0.5], [0.5]]


def test_texts_are_answered_as_texts():
    assert written("", np.array([b"yes", "n\u00f6".encode("latin-1")], object)) == [
        {"value": "yes"},
        {"value": "n\ufffd"},
    ]
    assert written("", np.array(["yes", 3], object)) == [{"value": "yes"}, {"value": "3"}]
    assert written("", np.array([["a", "b"]], object)) == [{"values": ["a", "b"]}]
    assert written("", np.array([["a", "b"]])) == [{"values": ["a", "b"]}]
    assert written("", np.array([[[b"a"], [b"b"]]], object)) == [{"values": [["a"], ["b"]]}]
    assert written("", np.array([[b"a", b"b"]])) == [{"values": ["a", "b"]}]


@pytest.mark.parametrize(
    ("dtype", "answered"), [("float16", np.float32), ("float32", np.float32), ("float64", np.float64)]
)
def test_numbers_keep_their_dtype_but_for_one_that_json_cannot_write(dtype, answered):
    (found,) = written("", np.array([[0.5, 0.25]], dtype))
    assert found["values"].dtype == answered
    (found,) = written("", np.array([[1, 2]], np.int16))
    assert found["values"].dtype == np.int16


def test_several_outputs_are_answered_under_their_names():
    outputs = (TensorSpec("low", (None, 1), "float32"), TensorSpec("high", (None, 2), "float32"))
    warm = {"low": np.array([[1.0]]), "high": np.array([[2.0, 3.0]])}
    (found,) = Writer(Signature("regression", "array", INPUT, outputs), warm).write(warm)
    assert found["low"] == {"value": 1.0}
    assert list(found["high"]["values"]) == [2.0, 3.0]


def test_of_several_targets_the_numbers_are_answered_by_name():
    warm = np.array([[1.5, -2.0], [0.0, 7.0]], np.float32)
    spec = TensorSpec("prediction", (None, 2), "float32")
    writer = Writer(Signature("regression", "array", INPUT, (spec,), targets=("wing", "+1 h")), {"prediction": warm})
    assert writer.write({"prediction": warm}) == [
        {"values": {"wing": 1.5, "+1 h": -2.0}},
        {"values": {"wing": 0.0, "+1 h": 7.0}},
    ]


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
@pytest.mark.parametrize("form", ["probabilities", "scores"])
def test_many_classes_are_the_same_json_as_few_would_be(dtype, form):
    classes = tuple(f'"{i}", é:' for i in range(WIDE))
    numbers = np.random.default_rng(3).dirichlet(np.ones(WIDE), 5) * (1 if form == "probabilities" else -40)
    output = numbers.astype(dtype)
    spec = TensorSpec("y", (None, WIDE), dtype)
    signature = Signature("classification", "array", INPUT, (spec,), classes=classes)
    plain, as_json = (Writer(signature, {"y": output}, as_json=each).write({"y": output}) for each in (False, True))
    assert set(plain[0][form]) == set(classes)
    assert isinstance(as_json[0][form], orjson.Fragment)
    written = [orjson.dumps(each, option=orjson.OPT_SERIALIZE_NUMPY) for each in (plain, as_json)]
    assert written[0] == written[1]
    assert [each["class"] for each in orjson.loads(written[1])] == [each["class"] for each in plain]


def test_few_classes_are_left_to_orjson():
    spec = TensorSpec("y", (None, 2), "float32")
    warm = {"y": np.array([[0.25, 0.75]], np.float32)}
    writer = Writer(Signature("classification", "array", INPUT, (spec,), classes=("a", "b")), warm, as_json=True)
    assert writer.write(warm)[0]["probabilities"] == {"a": 0.25, "b": 0.75}
