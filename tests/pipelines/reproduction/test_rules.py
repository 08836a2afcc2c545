"""Whether a version was reproduced: by bytes, by numbers, or not; and what was different around it."""

import math
from dataclasses import replace

import pytest
from versions import candidate

from pipelines.reproduction.rules import Reproduction, circumstances, decide, model_files
from pipelines.workers.jobs import Differences
from registry.records import Served, TrainJob

SAME = Differences(0.0, 0.0, 76, {"accuracy": 0.97}, {"accuracy": 0.97})
JOB = TrainJob("digits", 1, 7, 32, 2, 5, "accuracy", 0.9)


def test_the_same_bytes_are_all_that_has_to_be_known():
    assert decide((), None, 0.0) == ("bit-identical", ("every file of the model has the same bytes",))


def test_the_same_numbers_in_other_bytes_are_identical_too():
    outcome, (reason,) = decide(("model.keras",), SAME, 0.0)
    assert outcome == "bit-identical"
    assert "model.keras" in reason


@pytest.mark.parametrize(
    ("weights", "predictions", "outcome"),
    [
        (1e-7, 0.0, "equal"),
        (1e-5, 1e-5, "equal"),
        (1.1e-5, 0.0, "different"),
        (0.0, 1.1e-5, "different"),
        (math.nan, 0.0, "different"),
        (0.0, math.nan, "different"),
        (None, 0.0, "different"),
        (0.0, None, "different"),
    ],
)
def test_both_weights_and_predictions_must_be_within_the_tolerance(weights, predictions, outcome):
    found = replace(SAME, weights=weights, predictions=predictions)
    assert decide(("model.tflite",), found, 1e-5)[0] == outcome


@pytest.mark.parametrize(
    ("predictions", "outcome"),
    [(0.0, "bit-identical"), (1e-5, "equal"), (1.1e-5, "different"), (math.nan, "different"), (None, "different")],
)
def test_models_without_weights_that_can_be_compared_count_by_their_predictions(predictions, outcome):
    found = replace(SAME, weights=None, predictions=predictions, by_predictions=True)
    assert decide(("model.onnx",), found, 1e-5)[0] == outcome


def test_every_number_that_differs_is_a_reason():
    found = Differences(0.25, 0.5, 76, {"accuracy": 0.97, "loss": 0.1}, {"accuracy": 0.93, "loss": 0.1}, ("a note",))
    _, reasons = decide(("model.keras",), found, 1e-5)
    said = "; ".join(reasons)
    for words in ("a note", "weights differ by at most 0.25", "76 samples", "at most 0.5", "accuracy 0.97", "1e-05"):
        assert words in said
    assert "loss" not in said


def test_other_bytes_that_nothing_can_compare_are_a_difference():
    assert decide(("model.keras",), None, 1e9)[0] == "different"


def test_all_that_was_not_the_same_is_listed():
    card = candidate(
        packages={"keras": "3.15.1", "numpy": "2.4.6"}, machine={"threads": "2"}, image="sha256:1",
        training=replace(JOB, deterministic=False), how="command",
    )  # fmt: skip
    found = list(circumstances(card, {"keras": "3.16.0", "numpy": "2.4.6"}, {"threads": "2", "oneDNN": "0"}, None))
    assert found[:3] == [
        "sha256:1 then, no container image (a process) now",
        "keras 3.15.1 then, 3.16.0 now",
        "oneDNN not there then, 0 now",
    ]
    assert "deterministic" in found[3]
    assert "script" in found[4]


def test_where_all_was_the_same_nothing_is_listed():
    card = candidate(packages={"keras": "3"}, machine={"threads": "2"}, training=JOB)
    assert not list(circumstances(card, {"keras": "3"}, {"threads": "2"}, None))


def test_the_model_is_what_is_served_and_the_file_of_keras():
    files = dict.fromkeys(("model.keras", "saved_model/a", "saved_model/b/c", "saved_model.txt", "history.json"), "x")
    found = model_files(files, Served("saved_model", "saved_model", ""))
    assert sorted(found) == ["model.keras", "saved_model/a", "saved_model/b/c"]


def test_scripts_know_the_outcome_by_the_exit_code():
    codes = {
        outcome: Reproduction("digits", 1, "", 0.0, "", outcome).exit_code
        for outcome in ("bit-identical", "equal", "different", "impossible")
    }
    assert Reproduction("digits", 1, "", 0.0, "", "equal").seconds == 0
    assert codes == {"bit-identical": 0, "equal": 0, "different": 3, "impossible": 2}
