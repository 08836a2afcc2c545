"""What the API, batches, the prediction log and feedback say of a model that gives any number of labels."""

import io
import json

import numpy as np
import pyarrow as pa
import pytest
from echo_model import app_of, echo_labels
from grpc_parts import grpc_here
from jsonschema import ValidationError, validate

from registry.records import Signature, TensorSpec
from serving.batch.answers import Answers
from serving.explain.target import choose_target
from serving.feedback.items import Invalid
from serving.feedback.rules import value_of
from serving.grpc_port import inference_pb2 as pb
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


ROWS = [[0.9, 0.4, 0.1], [0.3, 0.39, 0.0]]
ARROW = "application/vnd.apache.arrow.stream"


@pytest.fixture(scope="module")
def model():
    """Answers with the probabilities that it is given."""
    return echo_labels(LABELS, threshold=0.4)


@pytest.fixture(scope="module")
def api(model):
    return app_of(model)


def plain(rows):
    return [[pytest.approx(each, abs=1e-6) for each in row] for row in rows]


def test_v1_classifies_with_each_label_and_its_probability_and_predicts_the_probabilities(api):
    found = api.post("/v1/models/m:classify", json={"examples": [{"x": row} for row in ROWS]}).get_json()
    assert found == {
        "results": [[[name, pytest.approx(p, abs=1e-6)] for name, p in zip(LABELS, row, strict=True)] for row in ROWS]
    }
    assert api.post("/v1/models/m:predict", json={"instances": ROWS}).get_json() == {"predictions": plain(ROWS)}
    refused = api.post("/v1/models/m:regress", json={"examples": [{"x": ROWS[0]}]})
    assert refused.status_code == 400
    assert "ask :predict, or :classify" in refused.get_json()["error"]


def test_an_arrow_stream_has_the_labels_that_apply_beside_the_probabilities(api):
    asked = {"data": json.dumps({"instances": ROWS}), "content_type": "application/json"}
    with pa.ipc.open_stream(io.BytesIO(api.post("/predict", headers={"Accept": ARROW}, **asked).data)) as stream:
        table = stream.read_all()
    assert table.column_names == ["labels", "probabilities"]
    assert table.schema.field("labels").type == pa.list_(pa.string())
    assert table["labels"].to_pylist() == [["rain", "wind"], []]
    assert table["probabilities"].to_pylist() == plain(ROWS)


def test_the_document_describes_what_is_answered_and_no_label_that_there_is_not(api):
    schema = api.get("/openapi.json").get_json()["components"]["schemas"]["Prediction"]
    answers = api.post("/predict", json={"instances": ROWS}).get_json()["predictions"]
    for each in answers:
        validate(each, schema)
    for wrong in ({"labels": ["snow"]}, {"labels": ["rain", "rain"]}, {"class": "rain"}):
        with pytest.raises(ValidationError):
            validate(answers[0] | wrong, schema)
    facts = api.get("/").get_json()
    assert (facts["task"], facts["threshold"], facts["classes"]) == ("multi-label", 0.4, list(LABELS))


def test_protocols_of_tensors_answer_with_the_probabilities_in_the_order_of_the_labels(api, model):
    flat = [each for row in ROWS for each in row]
    tensor = {"name": "x", "shape": [2, 3], "datatype": "FP32", "data": flat}
    (output,) = api.post("/v2/models/m/infer", json={"inputs": [tensor]}).get_json()["outputs"]
    assert (output["name"], output["shape"], *plain([output["data"]])) == ("probabilities", [2, 3], flat)
    assert api.post("/invocations", json={"instances": ROWS}).get_json() == {"predictions": plain(ROWS)}
    sent = pb.ModelInferRequest.InferInputTensor(
        name="x", datatype="FP32", shape=[2, 3], contents=pb.InferTensorContents(fp32_contents=flat)
    )
    with grpc_here(model) as here:
        (tensor,) = here.call("ModelInfer", model_name="m", inputs=[sent]).outputs
    assert (tensor.name, list(tensor.shape)) == ("probabilities", [2, 3])
