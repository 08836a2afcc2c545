"""What the API, batches, the prediction log and feedback say of a model that gives any number of labels."""

import json

import numpy as np
import pyarrow as pa
import pytest

from registry.records import Signature, TensorSpec
from serving.batch.answers import Answers
from serving.explain.target import choose_target
from serving.feedback.items import Invalid
from serving.feedback.rules import value_of
from serving.prediction_log.values import best, one_of
from serving.probabilities import Probabilities, form_of
from serving.protocols.write_predictions import Writer

LABELS = ("rain", "wind", "fog")
X = (TensorSpec("x", (None, 2), "float32"),)
P = TensorSpec("probabilities", (None, 3), "float32", 0.0, 1.0)
SIGNATURE = Signature("multi-label", "array", X, (P,), LABELS, threshold=0.4)
WARM = {"probabilities": np.array([[0.2, 0.3, 0.5], [0.1, 0.4, 0.5]], np.float32)}
"""They add up to 1, by chance: the task decides, not the numbers."""
OUTPUTS = {"probabilities": np.array([[0.9, 0.4, 0.1], [0.3, 0.39, 0.0]], np.float32)}


def test_the_form_of_the_answer_follows_from_the_task():
    assert form_of(SIGNATURE, WARM["probabilities"]) == "labels"
    assert Probabilities(SIGNATURE, WARM).of(OUTPUTS) is None


def test_an_answer_names_the_labels_that_apply_with_the_probability_of_each():
    found = Writer(SIGNATURE, WARM).write(OUTPUTS)
    assert [each["labels"] for each in found] == [["rain", "wind"], []]
    assert list(found[0]["probabilities"]) == list(LABELS)
    assert found[0]["probabilities"]["rain"] == pytest.approx(0.9)


def test_a_batch_writes_lists_of_labels_or_a_column_for_each():
    answers = Answers(SIGNATURE, WARM)
    nested = dict(answers.columns(OUTPUTS, flat=False))
    assert nested["predicted_labels"].to_pylist() == [["rain", "wind"], []]
    assert nested["probabilities"].type == pa.list_(pa.float32(), 3)
    flat = dict(answers.columns(OUTPUTS, flat=True))
    assert list(flat) == [*(f"predicted_{each}" for each in LABELS), *(f"probability_{each}" for each in LABELS)]
    assert flat["predicted_wind"].to_pylist() == [True, False]
    assert answers.names == ["predicted_labels", "probabilities"]
    assert json.loads(json.dumps(answers.entries(OUTPUTS)[1]["labels"])) == []


def test_what_is_explained_is_the_most_probable_label_or_the_one_that_is_named():
    forms = {"probabilities": form_of(SIGNATURE, WARM["probabilities"])}
    assert choose_target(SIGNATURE, forms, OUTPUTS, 0).name == "rain"
    named = choose_target(SIGNATURE, forms, OUTPUTS, 0, wanted="fog")
    assert (named.name, named.of(OUTPUTS).tolist()) == ("fog", pytest.approx([0.1, 0.0]))


def test_the_log_has_no_class_of_such_an_answer():
    assert best([None], [OUTPUTS], one_of(SIGNATURE)) == ([], [])
    assert one_of(Signature("classification", "array", X, (P,), LABELS)) == LABELS


def test_feedback_with_one_label_is_refused_with_what_may_be_said():
    header = {"classes": [], "labels": list(LABELS), "outputs": {"probabilities": {"type": "float[]"}}}
    with pytest.raises(Invalid) as caught:
        value_of("rain", header)
    assert "gives any number of labels" in str(caught.value)
    assert '"correct": true' in caught.value.hint
