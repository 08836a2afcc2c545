"""A model that answers with several numbers: by their names where there is room for a name, in their order where there is not."""

import io
import json

import numpy as np
import pyarrow as pa
import pytest
from echo_model import app_of, echo_model
from jsonschema import validate

from registry.records import Signature, TensorSpec
from serving.batch.answers import Answers

TARGETS = ("wing", "+1 h", "weight")
ROWS = [[1.5, -2.0, 0.25], [4.0, 5.0, 6.0]]
NAMED = [{"values": dict(zip(TARGETS, row, strict=True))} for row in ROWS]
ARROW, NPY = "application/vnd.apache.arrow.stream", "application/x-npy"


@pytest.fixture(scope="module")
def model():
    """Answers with the three numbers that it is given."""
    return echo_model(("float32",), targets=TARGETS)


@pytest.fixture(scope="module")
def api(model):
    return app_of(model)


def test_predict_answers_with_numbers_by_name(api):
    answer = api.post("/predict", json={"instances": ROWS}).get_json()
    assert answer["predictions"] == NAMED
    document = api.get("/openapi.json").get_json()
    schema = document["components"]["schemas"]["Prediction"]
    for each in answer["predictions"]:
        validate(each, schema)
    assert list(schema["properties"]["values"]["properties"]) == list(TARGETS)


def test_an_arrow_stream_has_a_column_for_each_and_npy_the_order_of_the_description(api):
    assert api.get("/").get_json()["targets"] == list(TARGETS)
    asked = {"data": json.dumps({"instances": ROWS}), "content_type": "application/json"}
    with pa.ipc.open_stream(io.BytesIO(api.post("/predict", headers={"Accept": ARROW}, **asked).data)) as stream:
        table = stream.read_all()
    assert table.to_pydict() == {name: [row[i] for row in ROWS] for i, name in enumerate(TARGETS)}
    assert np.load(io.BytesIO(api.post("/predict", headers={"Accept": NPY}, **asked).data)).tolist() == ROWS


def test_protocols_of_tensors_answer_with_rows_of_numbers(api):
    assert api.post("/v1/models/m:predict", json={"instances": ROWS}).get_json() == {"predictions": ROWS}
    assert api.post("/invocations", json={"instances": ROWS}).get_json() == {"predictions": ROWS}
    tensor = {"name": "in_float32", "shape": [2, 3], "datatype": "FP32", "data": [each for row in ROWS for each in row]}
    (output,) = api.post("/v2/models/m/infer", json={"inputs": [tensor]}).get_json()["outputs"]
    assert (output["shape"], output["data"]) == ([2, 3], tensor["data"])
    refused = api.post("/v1/models/m:regress", json={"examples": [{"in_float32": ROWS[0]}]})
    assert refused.status_code == 400
    assert "one number" in refused.get_json()["error"]


def test_an_explanation_is_of_the_target_that_is_named(api):
    first, named = (
        api.post(f"/explain{query}", json={"instances": ROWS[:1]}).get_json()["explanations"][0]
        for query in ("", "?target=weight")
    )
    assert (first["target"], first["value"]) == ("wing", 1.5)
    assert (named["target"], named["value"]) == ("weight", 0.25)
    unknown = api.post("/explain?target=tail", json={"instances": ROWS[:1]})
    assert (unknown.status_code, unknown.get_json()["hint"]) == (400, "targets: wing, +1 h, weight")
    assert api.post("/explain?target=wing&class=wing", json={"instances": ROWS[:1]}).status_code == 400


def test_the_page_for_people_lists_the_targets(api):
    page = api.get("/", headers={"Accept": "text/html"}).get_data(as_text=True)
    assert "regression of 3 targets" in page
    assert "<h2>Targets</h2><p><bdi>wing</bdi>, <bdi>+1 h</bdi>" in page


@pytest.mark.parametrize("flat", [True, False])
def test_a_batch_has_a_column_for_each(flat):
    outputs = {"prediction": np.array(ROWS, np.float32)}
    specs = (TensorSpec("x", (None, 3), "float32"),), (TensorSpec("prediction", (None, 3), "float32"),)
    answers = Answers(Signature("regression", "array", *specs, targets=TARGETS), outputs)
    found = {name: column.to_pylist() for name, column in answers.columns(outputs, flat=flat)}
    assert found == {f"predicted_{name}": [row[i] for row in ROWS] for i, name in enumerate(TARGETS)}
    assert answers.entries(outputs) == NAMED
