"""What every dialect says of a model that gives scores of anomalies, and what is refused of it."""

import io
import json

import numpy as np
import pyarrow as pa
import pytest
from echo_model import app_of, echo_scores
from grpc_parts import grpc_here
from jsonschema import validate

from serving.batch.answers import Answers
from serving.feedback.items import Invalid
from serving.feedback.rules import value_of
from serving.grpc_port import inference_pb2 as pb
from serving.prediction_log.rules import make_plan
from serving.prediction_log.values import field_types, one_of, output_columns

ROWS = [[0.25], [7.5]]
SAID = [
    {"score": 0.25, "anomalous": False, "threshold": 2.0},
    {"score": 7.5, "anomalous": True, "threshold": 2.0},
]
COLUMNS = {name: [each[name] for each in SAID] for name in SAID[0]}
ARROW, NPY = "application/vnd.apache.arrow.stream", "application/x-npy"


@pytest.fixture(scope="module")
def model():
    """Answers with the number that it is given, which is anomalous over 2."""
    return echo_scores(2.0)


@pytest.fixture(scope="module")
def api(model):
    return app_of(model)


@pytest.fixture(scope="module")
def document(api):
    return api.get("/openapi.json").get_json()


def must_fit(document, answer, name):
    """As `document` describes it."""
    validate(answer, document["components"]["schemas"][name] | {"components": document["components"]})


def test_predict_answers_with_score_decision_and_threshold(api, document):
    answer = api.post("/predict", json={"instances": ROWS}).get_json()
    assert answer["predictions"] == SAID
    must_fit(document, answer, "PredictAnswer")
    facts = api.get("/").get_json()
    assert (facts["task"], facts["threshold"]) == ("anomaly", 2.0)
    assert [each["name"] for each in facts["outputs"]] == list(COLUMNS)


def test_v1_answers_by_row_and_by_output(api, document):
    by_row = api.post("/v1/models/m:predict", json={"instances": ROWS}).get_json()
    assert by_row == {"predictions": SAID}
    by_output = api.post("/v1/models/m:predict", json={"inputs": ROWS}).get_json()
    assert by_output == {"outputs": COLUMNS}
    for each in (by_row, by_output):
        must_fit(document, each, "V1Answer")


@pytest.mark.parametrize("verb", ["classify", "regress"])
def test_v1_refuses_what_has_one_number_per_class_or_example(api, verb):
    refused = api.post(f"/v1/models/m:{verb}", json={"examples": [{"x": [0.5]}]})
    assert refused.status_code == 400
    assert "ask :predict" in refused.get_json()["error"]


def test_v2_has_three_tensors_or_those_that_are_asked_for(api, document):
    tensor = {"name": "x", "shape": [2, 1], "datatype": "FP32", "data": [0.25, 7.5]}
    answer = api.post("/v2/models/m/infer", json={"inputs": [tensor]}).get_json()
    found = {each["name"]: (each["datatype"], each["shape"], each["data"]) for each in answer["outputs"]}
    kinds = zip(COLUMNS.items(), ("FP32", "BOOL", "FP32"), strict=True)
    assert found == {name: (kind, [2], values) for (name, values), kind in kinds}
    must_fit(document, answer, "V2Answer")
    one = api.post("/v2/models/m/infer", json={"inputs": [tensor], "outputs": [{"name": "anomalous"}]}).get_json()
    assert [each["data"] for each in one["outputs"]] == [[False, True]]


def test_grpc_has_the_same_three(model):
    sent = pb.ModelInferRequest.InferInputTensor(
        name="x", datatype="FP32", shape=[2, 1], contents=pb.InferTensorContents(fp32_contents=[0.25, 7.5])
    )
    with grpc_here(model) as here:
        answer = here.call("ModelInfer", model_name="m", inputs=[sent])
    assert [(each.name, each.datatype, list(each.shape)) for each in answer.outputs] == [
        ("score", "FP32", [2]), ("anomalous", "BOOL", [2]), ("threshold", "FP32", [2]),
    ]  # fmt: skip
    assert list(answer.outputs[1].contents.bool_contents) == [False, True]


def test_mlflow_has_three_lists_and_arrow_three_columns(api, document):
    answer = api.post("/invocations", json={"instances": ROWS}).get_json()
    assert answer == {"predictions": COLUMNS}
    must_fit(document, answer, "MlflowAnswer")
    asked = {"data": json.dumps({"instances": ROWS}), "content_type": "application/json"}
    with pa.ipc.open_stream(io.BytesIO(api.post("/predict", headers={"Accept": ARROW}, **asked).data)) as stream:
        assert stream.read_all().to_pydict() == COLUMNS
    refused = api.post("/predict", headers={"Accept": NPY}, **asked)
    assert (refused.status_code, refused.get_json()["error"]) == (406, "the model's answer is not one array of numbers")


def test_an_explanation_is_of_the_score(api):
    (found,) = api.post("/explain", json={"instances": ROWS[1:]}).get_json()["explanations"]
    assert (found["output"], found["value"]) == ("score", 7.5)


@pytest.mark.parametrize("flat", [True, False])
def test_a_batch_has_the_same_columns_in_every_format(model, flat):
    outputs = model.engine({"x": np.array(ROWS, np.float32)})
    answers = Answers(model.signature, model.warm_outputs)
    assert {name: column.to_pylist() for name, column in answers.columns(outputs, flat=flat)} == COLUMNS
    assert answers.names == list(COLUMNS)
    assert answers.entries(outputs) == SAID


def test_the_log_keeps_score_and_decision_and_not_what_is_always_the_same(model):
    plan = make_plan(model.signature, None, {}, "features")
    assert field_types(model.signature, plan)["outputs"] == {
        "score": {"kept": "value", "type": "float"}, "anomalous": {"kept": "value", "type": "bool"},
    }  # fmt: skip
    outputs = model.engine({"x": np.array(ROWS, np.float32)})
    assert dict(output_columns(plan.outputs, [outputs], b"")) == {"score": [0.25, 7.5], "anomalous": [False, True]}
    assert one_of(model.signature) == ()


def test_feedback_may_say_whether_an_answer_was_right_and_no_label(model):
    plan = make_plan(model.signature, None, {}, "features")
    header = {"classes": [], "outputs": field_types(model.signature, plan)["outputs"]}
    for label in ("anomalous", 1.0):
        with pytest.raises(Invalid) as caught:
            value_of(label, header)
        assert '"correct": true or false' in caught.value.hint
