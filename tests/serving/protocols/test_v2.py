"""The Open Inference Protocol, as a client on the wire has it; the real clients are in tests/serving/clients."""

import gzip
import json
import struct
import zlib

import numpy as np
import pytest
from echo_model import app_of, echo_model

HEADER = "Inference-Header-Content-Length"
INFER = "/v2/models/m/infer"


@pytest.fixture(scope="module")
def api():
    return app_of(echo_model(("float32", "int32", "string", "bool"), (2,)))


def tensor(dtype="float32", datatype="FP32", data=(1.5, 2.0), shape=(1, 2), **more):
    return {"name": f"in_{dtype}", "datatype": datatype, "shape": list(shape), "data": list(data)} | more


FOUR = (
    tensor(),
    tensor("int32", "INT32", (1, 2)),
    tensor("string", "BYTES", ("a", "b")),
    tensor("bool", "BOOL", (True, False)),
)


def without(name):
    return [each for each in FOUR if each["name"] != f"in_{name}"]


def test_what_goes_in_comes_out_by_name(api):
    found = api.post(INFER, json={"id": "7", "inputs": FOUR[::-1]}).get_json()
    assert (found["model_name"], found["model_version"], found["id"]) == ("m", "7", "7")
    assert found["outputs"][0] == {"name": "out_float32", "datatype": "FP32", "shape": [1, 2], "data": [1.5, 2.0]}
    assert [each["data"] for each in found["outputs"][1:]] == [[1, 2], ["a", "b"], [True, False]]


def test_data_may_be_nested_and_a_last_dimension_of_one_left_out(api):
    nested = tensor(data=[[1, 2], [3, 4]], shape=(2, 2))
    rest = [each | {"shape": [2, 2], "data": each["data"] * 2} for each in without("float32")]
    assert api.post(INFER, json={"inputs": [nested, *rest]}).get_json()["outputs"][0]["data"] == [1, 2, 3, 4]
    one = app_of(echo_model(("float32",), (1,)))
    asked = tensor(data=[1, 2, 3], shape=(3,))
    assert one.post(INFER, json={"inputs": [asked]}).get_json()["outputs"][0]["shape"] == [3, 1]


def test_a_scalar_is_one_row():
    api = app_of(echo_model(("float32",), (1,)))
    found = api.post(INFER, json={"inputs": [tensor(data=[2.5], shape=())]}).get_json()
    assert found["outputs"][0] | {"name": ""} == {"name": "", "datatype": "FP32", "shape": [1, 1], "data": [2.5]}


def test_no_rows_are_answered_with_no_rows(api):
    empty = [each | {"shape": [0, 2], "data": []} for each in FOUR]
    found = api.post(INFER, json={"inputs": empty}).get_json()
    assert [(each["shape"], each["data"]) for each in found["outputs"]] == [([0, 2], [])] * 4


def binary(array, name="in_float32", datatype="FP32", **more):
    head = {
        "inputs": [
            {"name": name, "datatype": datatype, "shape": array.shape, "parameters": {"binary_data_size": array.nbytes}}
        ]
    }
    return json.dumps(head | more).encode(), array.tobytes()


@pytest.fixture(scope="module")
def floats():
    return app_of(echo_model(("float32",), (2,)))


def test_bytes_behind_the_json_are_the_tensor_and_the_content_type_decides_nothing(floats):
    head, tail = binary(np.array([[1.5, 2]], np.float32), parameters={"binary_data_output": True})
    for kind in (None, "application/json", "application/octet-stream", "text/csv"):
        answer = floats.post(INFER, data=head + tail, headers={HEADER: str(len(head))}, content_type=kind)
        size = int(answer.headers[HEADER])
        described = json.loads(answer.data[:size])["outputs"][0]
        assert described == {
            "name": "out_float32",
            "datatype": "FP32",
            "shape": [1, 2],
            "parameters": {"binary_data_size": 8},
        }
        assert answer.data[size:] == tail
        assert answer.content_type == "application/octet-stream"


@pytest.mark.parametrize("pack", [gzip.compress, zlib.compress])
def test_a_compressed_body_is_unpacked_with_its_tail(floats, pack):
    head, tail = binary(np.array([[1.5, 2]], np.float32))
    encoding = "gzip" if pack is gzip.compress else "deflate"
    headers = {HEADER: str(len(head)), "Content-Encoding": encoding}
    assert floats.post(INFER, data=pack(head + tail), headers=headers).get_json()["outputs"][0]["data"] == [1.5, 2.0]


@pytest.mark.parametrize(
    ("encoding", "body", "status", "message"),
    [
        ("gzip", gzip.compress(b" " * (1 << 20), mtime=0), 413, "larger"),
        ("gzip", gzip.compress(b"{}", mtime=0)[:-3], 400, "ends early"),
        ("gzip", gzip.compress(b"{}", mtime=0) * 2, 400, "more behind it"),
        ("gzip", b"{}", 400, "not gzip"),
        ("deflate", b"\0\0", 400, "not deflate"),
        ("br", b"{}", 415, "known: gzip"),
        ("gzip, gzip", b"{}", 415, "known: gzip"),
    ],
)
def test_a_body_that_does_not_unpack_within_the_limit_is_refused(floats, encoding, body, status, message):
    answer = floats.post(INFER, data=body, headers={"Content-Encoding": encoding})
    assert answer.status_code == status
    assert message in answer.get_json()["error"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"inputs": without("bool")}, "'in_bool' is missing"),
        ({"inputs": [*FOUR, FOUR[0]]}, "'in_float32' is there twice"),
        ({"inputs": [*FOUR, tensor() | {"name": "in_flaot32"}]}, "did you mean 'in_float32'"),
        ({"inputs": [*without("float32"), tensor(datatype="FP64")]}, "datatype: 'FP64', the model takes FP32"),
        ({"inputs": [*without("float32"), tensor(shape=(2, 1))]}, "shape 1 per row, 2 is expected"),
        ({"inputs": [*without("float32"), tensor(shape=(1, 2, 1))]}, "shape 2x1 per row"),
        ({"inputs": [*without("float32"), tensor(shape=(1, 3))]}, "2 elements, 3 are expected"),
        ({"inputs": [*without("float32"), tensor(shape=(-1, 2))]}, "not a list of whole numbers"),
        ({"inputs": [*without("float32"), tensor(shape=(True, 2))]}, "not a list of whole numbers"),
        ({"inputs": [*without("float32"), tensor(shape=(2**40, 2**40))]}, "more than a request can hold"),
        ({"inputs": [*without("float32"), tensor(data=("1", "2"))]}, "'1' is not a number"),
        ({"inputs": [*without("float32"), tensor(data=(None, 1))]}, "null is not a number"),
        ({"inputs": [*without("float32"), tensor(data=(True, 1))]}, "true is not a number"),
        ({"inputs": [*without("float32"), tensor(data=([1], 1))]}, "lists and values beside each other"),
        ({"inputs": [*without("float32"), tensor(data=(1e39, 1))]}, "more than float32 can hold"),
        ({"inputs": [*without("int32"), tensor("int32", "INT32", (1.5, 1))]}, "1.5 is not a whole number"),
        ({"inputs": [*without("int32"), tensor("int32", "INT32", (2**31, 1))]}, "out of range"),
        ({"inputs": [*without("bool"), tensor("bool", "BOOL", (1, 0))]}, "1 is not true or false"),
        ({"inputs": [*without("string"), tensor("string", "BYTES", (1, "a"))]}, "1 is not a string"),
        ({"inputs": [*without("string"), tensor("string", "BYTES", ({"b64": "/w=="}, "a"))]}, "not UTF-8"),
        ({"inputs": [*without("string"), tensor("string", "BYTES", ({"b64": "%"}, "a"))]}, "not base64"),
        ({"inputs": [*without("float32"), tensor(shape=(3, 2), data=[1] * 6)]}, "has 1 rows, 'in_float32' has 3"),
        ({"inputs": {}}, "a list of tensors is expected"),
        ({"inputs": [1]}, "inputs[0]: 1, an object is expected"),
        ({"inputs": [{"name": "in_float32"}]}, "inputs[0].datatype: is missing"),
        ({"inputs": FOUR, "outputs": [{"name": "other"}]}, "no such output"),
        ({"inputs": FOUR, "outputs": [{"name": "out_bool"}] * 2}, "'out_bool' is there twice"),
        ({"inputs": FOUR, "outputs": [{"name": "out_bool", "parameters": {"binary_data": 1}}]}, "not true or false"),
        (
            {"inputs": FOUR, "outputs": [{"name": "out_string", "parameters": {"classification": 1}}]},
            "one number per class",
        ),
        ({"inputs": FOUR, "parameters": {"sequence_id": 3}}, "keeps no sequences"),
        ({"inputs": FOUR, "id": 3}, "id: a string"),
        ({"inputs": [*without("bool"), FOUR[3] | {"parameters": {"shared_memory_region": "a"}}]}, "shared memory"),
        ({"inputs": [*without("bool"), FOUR[3] | {"parameters": {"binary_data_size": 2}}]}, "both data and binary"),
    ],
)
def test_what_is_wrong_is_named_by_its_place(api, change, message):
    answer = api.post(INFER, json=change)
    assert answer.status_code == 400
    assert message in answer.get_json()["error"]
    assert answer.content_type == "application/json"


@pytest.mark.parametrize(
    ("body", "message"),
    [(b"", "the body is empty"), (b"[]", "an object is expected"), (b"{", "not JSON"), (b"\xff", "not JSON")],
)
def test_what_is_not_an_object_is_refused(api, body, message):
    answer = api.post(INFER, data=body)
    assert (answer.status_code, message in answer.get_json()["error"]) == (400, True)


def test_the_words_nan_and_infinity_are_refused_by_their_place(floats):
    body = json.dumps({"inputs": [tensor(data=[1.0, float("nan")])]})
    assert "inputs[0].data[1]" in floats.post(INFER, data=body).get_json()["error"]


@pytest.mark.parametrize("header", ["-1", "0", "abc", "1e3", "99999", "9" * 30, "²"])
def test_a_header_that_is_not_a_length_within_the_body_is_refused(floats, header):
    answer = floats.post(INFER, data=b"{}", headers={HEADER: header})
    assert (answer.status_code, HEADER in answer.get_json()["error"]) == (400, True)


@pytest.mark.parametrize(
    ("size", "tail", "message"),
    [
        (8, b"1234567", "7 bytes are left"),
        (8, b"123456789", "1 bytes more"),
        (4, b"1234", "4 bytes for 2 elements of FP32"),
        (-1, b"", "-1"),
        (True, b"1", "true"),
        ("8", b"12345678", "'8'"),
    ],
)
def test_bytes_that_are_not_the_tensor_are_refused(floats, size, tail, message):
    entry = {"name": "in_float32", "datatype": "FP32", "shape": [1, 2], "parameters": {"binary_data_size": size}}
    head = json.dumps({"inputs": [entry]}).encode()
    answer = floats.post(INFER, data=head + tail, headers={HEADER: str(len(head))})
    assert (answer.status_code, message in answer.get_json()["error"]) == (400, True)


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (struct.pack("<I", 5) + b"abc", "element 0 has 5 bytes, 3 are left"),
        (struct.pack("<I", 1) + b"a" + b"\0", "length is cut off"),
        (struct.pack("<I", 1) + b"a", "1 elements, 2 are expected"),
        ((struct.pack("<I", 1) + b"a") * 3, "more than 2 elements"),
        (struct.pack("<I", 1) + b"\xff" + struct.pack("<I", 0), "not UTF-8"),
    ],
)
def test_bytes_that_are_not_texts_are_refused(raw, message):
    api = app_of(echo_model(("string",), (2,)))
    entry = {"name": "in_string", "datatype": "BYTES", "shape": [1, 2], "parameters": {"binary_data_size": len(raw)}}
    head = json.dumps({"inputs": [entry]}).encode()
    answer = api.post(INFER, data=head + raw, headers={HEADER: str(len(head))})
    assert (answer.status_code, message in answer.get_json()["error"]) == (400, True)


def test_more_rows_than_allowed_are_refused(floats):
    answer = floats.post(INFER, json={"inputs": [tensor(data=[1] * 22, shape=(11, 2))]})
    assert (answer.status_code, "10 are allowed" in answer.get_json()["error"]) == (413, True)


@pytest.mark.parametrize(
    ("method", "path", "status", "message"),
    [
        ("GET", "/v2/models/other", 404, "this API serves m"),
        ("POST", "/v2/models/other/infer", 404, "this API serves m"),
        ("POST", "/v2/models/null%2Cnull/infer", 404, "this API serves m"),
        ("POST", "/v2/repository/models/other/load", 404, "this API serves m"),
        ("GET", "/v2/models/m/versions/8", 404, "version 8"),
        ("GET", "/v2/models/m/versions/7x", 404, "no such version"),
        ("GET", "/v2/models/m/versions/-1", 404, "no such version"),
        ("GET", "/v2/models/m/nothing", 404, "no such page"),
        ("GET", "/v2/nothing", 404, "no such page"),
        ("GET", INFER, 405, "allowed: OPTIONS, POST"),
        ("DELETE", "/v2", 405, "allowed: GET, HEAD, OPTIONS"),
        ("POST", "/v2/repository/models/m/unload", 409, "releases decide"),
    ],
)
def test_errors_of_paths_have_the_shape_that_clients_read(api, method, path, status, message):
    answer = api.open(path, method=method)
    assert answer.status_code == status
    assert answer.get_json().keys() == {"error"}
    assert message in answer.get_json()["error"]


def test_the_server_and_its_model_describe_themselves(api):
    assert api.get("/v2").get_json()["extensions"][0] == "binary_tensor_data"
    assert api.get("/v2/").get_json() == api.get("/v2").get_json()
    assert api.get("/v2/health/live").get_json() == {"live": True}
    assert api.get("/v2/health/ready").get_json()["ready"] is True
    assert api.get("/v2/models").get_json() == {"models": ["m"]}
    found = api.get("/v2/models/m").get_json()
    assert found == api.get("/v2/models/m/versions/7").get_json()
    assert found["inputs"][0] == {"name": "in_float32", "datatype": "FP32", "shape": [-1, 2]}
    assert api.get("/v2/models/m/versions/7/ready").get_json() == {"name": "m", "ready": True}
    listed = [{"name": "m", "version": "7", "state": "READY", "reason": ""}]
    assert api.post("/v2/repository/index").get_json() == listed
    assert api.post("/v2/repository/index", json={"ready": True}).get_json() == listed


def test_without_a_model_it_is_live_and_not_ready():
    api = app_of(None)
    assert api.get("/v2/health/live").status_code == 200
    for path in ("/v2/health/ready", "/v2/models/m", "/v2/models/m/ready"):
        answer = api.get(path)
        assert (answer.status_code, list(answer.get_json())) == (503, ["error"])
    assert api.post("/v2/repository/index").get_json()[0]["state"] == "UNAVAILABLE"
    assert api.post("/v2/repository/index", json={"ready": True}).get_json() == []


def test_the_best_classes_are_given_as_triton_writes_them(clients, loaded):
    api, image = clients("digits"), loaded("digits").warm_inputs
    name, array = next(iter(image.items()))
    output = loaded("digits").signature.outputs[0].name
    asked = {
        "inputs": [{"name": name, "datatype": "FP32", "shape": array[:1].shape, "data": array[:1].ravel().tolist()}],
        "outputs": [{"name": output, "parameters": {"classification": 3}}],
    }
    found = api.post(INFER, json=asked).get_json()["outputs"][0]
    assert (found["datatype"], found["shape"]) == ("BYTES", [1, 3])
    scores = [float(each.split(":")[0]) for each in found["data"]]
    assert scores == sorted(scores, reverse=True)
    assert all(
        loaded("digits").signature.classes[int(each.split(":")[1])] == each.split(":")[2] for each in found["data"]
    )
