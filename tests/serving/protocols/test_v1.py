"""TensorFlow Serving's REST API, as its server answers (`json_tensor.cc`), and KServe's first protocol."""

import base64
import json

import numpy as np
import pytest
from echo_model import app_of, echo_model, echo_table

PREDICT = "/v1/models/m:predict"


@pytest.fixture(scope="module")
def one():
    return app_of(echo_model(("float32",)))


@pytest.fixture(scope="module")
def two():
    return app_of(echo_model(("float32", "string"), ()))


@pytest.fixture(scope="module")
def table():
    return app_of(echo_table({"a": "float32", "b": "string"}))


def refused(answer):
    assert answer.content_type == "application/json"
    assert answer.get_json().keys() == {"error"}
    return answer.status_code, answer.get_json()["error"]


ROWS = [[1.0, 2.5, 3.0], [4.0, 5.0, 6.0]]


@pytest.mark.parametrize(
    ("asked", "answered"),
    [
        ({"instances": ROWS}, {"predictions": ROWS}),
        ({"instances": [{"in_float32": each} for each in ROWS]}, {"predictions": ROWS}),
        ({"inputs": ROWS}, {"outputs": ROWS}),
        ({"inputs": {"in_float32": ROWS}}, {"outputs": ROWS}),
        ({"signature_name": "serving_default", "instances": ROWS}, {"predictions": ROWS}),
        ({"signature_name": "", "instances": ROWS}, {"predictions": ROWS}),
    ],
)
def test_one_input_and_one_output_are_bare_lists(one, asked, answered):
    assert one.post(PREDICT, json=asked).get_json() == answered
    assert one.post("/v1/models/m/versions/7:predict", json=asked).get_json() == answered
    assert one.post("/v1/models/m/labels/stable:predict", json=asked).get_json() == answered


def test_several_are_an_object_per_row_or_a_list_per_output(two):
    rows = [{"in_float32": 1.5, "in_string": "a"}, {"in_float32": 2, "in_string": {"b64": "w6k="}}]
    columns = {"in_float32": [1.5, 2], "in_string": ["a", "é"]}
    by_row = [{"out_float32": 1.5, "out_string": "a"}, {"out_float32": 2.0, "out_string": "é"}]
    assert two.post(PREDICT, json={"instances": rows}).get_json() == {"predictions": by_row}
    assert two.post(PREDICT, json={"inputs": columns}).get_json() == {
        "outputs": {"out_float32": [1.5, 2.0], "out_string": ["a", "é"]}
    }


def test_whole_numbers_are_answered_with_their_point(one):
    assert one.post(PREDICT, json={"instances": [[1, 2, 3]]}).data == b'{"predictions":[[1.0,2.0,3.0]]}'


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({}, "one of them is expected"),
        ({"instances": ROWS, "inputs": ROWS}, "one of them is expected"),
        ({"instances": []}, "instances: empty"),
        ({"instances": {}}, "a list of samples is expected"),
        ({"inputs": []}, "inputs.in_float32: empty"),
        ({"instances": [[1, 2, 3], [1, 2]]}, "instances[1]: 2 values, 3 are expected"),
        ({"instances": [[1, 2, "3"]]}, "instances[0][2]: '3' is not a number"),
        ({"inputs": {"other": ROWS}}, "'other': no such input"),
        ({"instances": ROWS, "signature_name": "other"}, "no such signature"),
        ({"instances": ROWS, "other": 1}, "other: not known"),
        ([ROWS], "an object is expected"),
    ],
)
def test_what_is_wrong_is_400(one, asked, message):
    status, text = refused(one.post(PREDICT, data=json.dumps(asked)))
    assert (status, message in text) == (400, True), text


def test_nan_is_refused_where_it_is(one):
    body = json.dumps({"instances": [[1, float("nan"), 3]]})
    assert refused(one.post(PREDICT, data=body)) == (400, "instances[0][1]: NaN is not a number")


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([{"in_float32": 1.5}], "in_string: this input is missing"),
        ([[1.5, "a"]], "a list"),
        ([{"in_float32": 1.5, "in_string": "a", "c": 1}], "c: no such input"),
        ([{"in_float32": 1.5, "in_string": {"b64": "/w=="}}], "not UTF-8"),
        ([{"in_float32": 1.5, "in_string": {"b64": "/"}}], "not base64"),
        ([{"in_float32": 1.5, "in_string": {"b64": "w6k=", "c": 1}}], "an object is not a string"),
    ],
)
def test_rows_of_several_inputs_are_checked_by_name(two, rows, message):
    status, text = refused(two.post(PREDICT, json={"instances": rows}))
    assert (status, message in text) == (400, True), text


def test_more_instances_than_allowed_are_413(one, table):
    assert refused(one.post(PREDICT, json={"instances": ROWS * 6}))[0] == 413
    assert refused(one.post(PREDICT, json={"inputs": ROWS * 6}))[0] == 413
    assert refused(table.post("/v1/models/m:regress", json={"examples": [{}] * 11}))[0] == 413


def test_an_image_may_come_as_base64(clients, loaded):
    image = clients("digits").get("/example").data
    encoded = {"b64": base64.b64encode(image).decode()}
    name = loaded("digits").signature.inputs[0].name
    plain = clients("digits").post(PREDICT, json={"instances": [encoded]}).get_json()["predictions"]
    assert plain == clients("digits").post(PREDICT, json={"instances": [{name: encoded}]}).get_json()["predictions"]
    pixels = clients("digits").post("/predict", data=image).get_json()["predictions"][0]["probabilities"]
    assert np.allclose(plain[0], list(pixels.values()))


def test_classes_come_with_their_scores(clients, loaded):
    rows = next(iter(loaded("digits").warm_inputs.values()))[:2].tolist()
    name = loaded("digits").signature.inputs[0].name
    asked = {"examples": [{name: each} for each in rows]}
    found = clients("digits").post("/v1/models/m:classify", json=asked).get_json()["results"]
    assert [[label for label, _ in row] for row in found] == [list(loaded("digits").signature.classes)] * 2
    assert all(abs(sum(score for _, score in row) - 1) < 1e-3 for row in found)
    status, text = refused(clients("digits").post("/v1/models/m:regress", json=asked))
    assert (status, ":classify" in text) == (400, True)


def test_a_number_is_the_result_and_what_examples_share_is_their_context():
    api = app_of(echo_model(("float32",), ()))
    asked = {"context": {"in_float32": 1.5}, "examples": [{}, {"in_float32": 2}]}
    assert api.post("/v1/models/m:regress", json=asked).get_json() == {"results": [1.5, 2.0]}
    for bad in ({"examples": []}, {"examples": [1]}, {"examples": [{}], "context": 1}, {"instances": [{}]}):
        assert refused(api.post("/v1/models/m:regress", json=bad))[0] == 400
    status, text = refused(api.post("/v1/models/m:classify", json=asked))
    assert (status, ":regress" in text) == (400, True)


def test_the_status_serves_both_kinds_of_clients(one):
    state = {"version": "7", "state": "AVAILABLE", "status": {"error_code": "OK", "error_message": ""}}
    wanted = {"name": "m", "ready": True, "model_version_status": [state]}
    for place in ("", "/versions/7", "/labels/stable"):
        assert one.get(f"/v1/models/m{place}").get_json() == wanted
    assert one.get("/v1/models").get_json() == {"models": ["m"]}
    assert one.get("/", headers={"Accept": "*/*"}).get_json()["status"] == "alive"


def test_the_metadata_has_tensorflows_form(one):
    found = one.get("/v1/models/m/metadata").get_json()
    assert found["model_spec"] == {"name": "m", "signature_name": "", "version": "7"}
    signature = found["metadata"]["signature_def"]["signature_def"]["serving_default"]
    shape = {"dim": [{"size": "-1", "name": ""}, {"size": "3", "name": ""}], "unknown_rank": False}
    assert signature["inputs"] == {"in_float32": {"dtype": "DT_FLOAT", "tensor_shape": shape, "name": ""}}


@pytest.mark.parametrize(
    ("method", "path", "status", "message"),
    [
        ("POST", "/v1/models/other:predict", 404, "this API serves m"),
        ("GET", "/v1/models/mm", 404, "this API serves m"),
        ("POST", "/v1/models/m/versions/8:predict", 404, "version 8"),
        ("POST", "/v1/models/m/labels/canary:predict", 404, "no such label"),
        ("POST", "/v1/models/m/versions/7/labels/stable:predict", 404, "no such page"),
        ("POST", "/v1/models/m:generate", 404, "no such page"),
        ("GET", "/v1/nothing", 404, "no such page"),
        ("GET", PREDICT, 405, "allowed: OPTIONS, POST"),
        ("POST", PREDICT, 400, "the body is empty"),
    ],
)
def test_errors_have_the_shape_that_clients_read(one, method, path, status, message):
    found = refused(one.open(path, method=method))
    assert (found[0], message in found[1]) == (status, True), found


def test_without_a_model_it_is_not_ready():
    api = app_of(None)
    assert refused(api.get("/v1/models/m"))[0] == 503
    assert refused(api.post(PREDICT, json={"instances": [1]}))[0] == 503
