"""Malformed requests: each is refused as 4xx JSON that names the path of the error, and the next good one is answered."""

import gzip
import io
import json
import struct
import zlib
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from serving_parts import samples

from serving.app import create_app
from serving.calls import Limits
from serving.engines.base import EngineError

ROW = {"age": 30, "city": "Ulm"}
GREY = [[0] * 8] * 8


def refusal(client, data, status=400, content_type="application/json"):
    response = client.post("/predict", data=data, content_type=content_type)
    assert response.status_code == status, response.text
    assert response.json["request_id"] == response.headers["X-Request-Id"]
    assert "Traceback" not in response.text
    return response.json["error"]


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"", "the body is empty"),
        (b"{", "the body is not JSON"),
        (b"\xff\xfe", "the body is not JSON"),
        (b'{"instances": [NaN]}', "the body is not JSON"),
        (b'{"instances": [1e999]}', "the body is not JSON"),
        (b"[" * 5000 + b"]" * 5000, "the body is not JSON"),
        (b"[]", "the body is a list"),
        (b"null", "the body is null"),
        (b"{}", '"instances" is missing'),
        (b'{"instances": []}', "instances: empty"),
        (b'{"instances": {}}', "instances: an object, a list of samples is expected"),
        (b'{"instances": [1], "signature_name": "x"}', "signature_name: not known"),
    ],
)
def test_bodies_that_are_not_a_request(clients, body, said):
    assert refusal(clients("table"), body).startswith(said)


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ({"age": 30}, "instances[1].city: this column is missing"),
        ({**ROW, "size": 3}, "instances[1].size: no such column"),
        ({"agee": 30, "city": "Ulm"}, "instances[1].agee: no such column"),
        ({**ROW, "age": None}, "instances[1].age: null is not a number"),
        ({**ROW, "age": "30"}, "instances[1].age: '30' is not a number"),
        ({**ROW, "age": True}, "instances[1].age: true is not a number"),
        ({**ROW, "age": [30]}, "instances[1].age: a list is not a number"),
        ({**ROW, "age": 121}, "instances[1].age: 121 is out of range, 0 to 120 is allowed"),
        ({**ROW, "age": -1e300}, "instances[1].age: -1e+300 is out of range, 0 to 120 is allowed"),
        ({**ROW, "age": 10**40}, "instances[1].age: 1e+40 is out of range"),
        ({**ROW, "city": 7}, "instances[1].city: 7 is not a string"),
        ({**ROW, "city": None}, "instances[1].city: null is not a string"),
        ({**ROW, "city": "x" * 10001}, "instances[1].city: 10001 characters, 10000 are allowed"),
        ([30, "Ulm"], "instances[1]: a list"),
        ("text", "instances[1]: 'text'"),
        (None, "instances[1]: null"),
    ],
)
def test_rows_that_are_not_the_table(clients, row, said):
    assert refusal(clients("table"), json.dumps({"instances": [ROW, row, ROW]})).startswith(said)


def test_a_column_that_is_nearly_right_is_suggested(clients):
    response = clients("table").post("/predict", json={"instances": [{"age": 1, "ciity": "Ulm"}]})
    assert response.json["hint"] == "did you mean 'city'?"


@pytest.mark.parametrize(
    ("instances", "said"),
    [
        ([[[0] * 8] * 7], "instances[0]: 7 values, 8 are expected (shape 8x8)"),
        ([GREY, [[0] * 8] * 7 + [[0] * 9]], "instances[1][7]: 9 values, 8 are expected"),
        ([[[0] * 27] * 27], "instances[0]: 27 values, 8 are expected"),
        ([GREY, [[0] * 8] * 7 + [[0] * 7 + [256]]], "instances[1][7][7]: 256 is out of range, 0 to 255 is allowed"),
        ([[[-0.5] * 8] * 8], "instances[0][0][0]: -0.5 is out of range, 0 to 255 is allowed"),
        ([[[0] * 8] * 7 + [[0] * 7 + [None]]], "instances[0][7][7]: null is not a number"),
        ([[[0] * 8] * 7 + [[0] * 7 + ["1"]]], "instances[0][7][7]: '1' is not a number"),
        ([[[0] * 8] * 7 + [[0] * 7 + [True]]], "instances[0][7][7]: true is not a number"),
        ([[[0] * 8] * 7 + [[0] * 7 + [{}]]], "instances[0][7][7]: an object is not a number"),
        ([[[[0, 0]] * 8] * 8], "instances[0][0][0]: 2 values, 1 are expected"),
        ([0] * 8, "instances[0]: 0, a list of shape 8x8x1 is expected"),
        ([[]], "instances[0]: 0 values, 8 are expected"),
        ([GREY, None], "instances[1]: null, a list of shape 8x8 is expected"),
        (["x" * 900_000] * 1, "instances[0]: 'xxx"),
    ],
)
def test_pixels_that_are_not_an_image_of_this_model(clients, instances, said):
    assert refusal(clients("digits"), json.dumps({"instances": instances})).startswith(said)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([1, 2, 3, 2.5], "instances[0][3]: 2.5 is not a whole number"),
        ([1, 2, 3, 2**31], "instances[0][3]: 2147483648 is out of range, -2147483648 to 2147483647 is allowed"),
        ([1, 2, 3, 10], "instances[0]: the model cannot take this: gather index out of bounds"),
    ],
)
def test_numbers_that_the_model_cannot_look_up(clients, words, said):
    assert refusal(clients("lookup"), json.dumps({"instances": [words]})).startswith(said)


def test_the_row_that_the_model_cannot_take_is_named(clients):
    good = [1, 2, 3, 4]
    body = json.dumps({"instances": [good, good, [1, 2, 3, 99], good]})
    assert refusal(clients("lookup"), body).startswith("instances[2]: the model cannot take this")


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ({"left": [1, 2]}, "instances[0].right: this input is missing"),
        ({"left": [1, 2], "right": [1, 2]}, "instances[0].right: 2 values, 3 are expected"),
        ({"left": 1, "right": [1, 2, 3]}, "instances[0].left: 1, a list of shape 2 is expected"),
    ],
)
def test_inputs_by_name_that_do_not_fit(clients, row, said):
    assert refusal(clients("pair"), json.dumps({"instances": [row]})).startswith(said)


def png(width, height, mode="L"):
    file = io.BytesIO()
    Image.new(mode, (width, height)).save(file, "PNG")
    return file.getvalue()


def bomb():
    """A PNG that says it is 30000 x 30000 pixels, in some hundred bytes."""
    header = struct.pack(">IIBBBBB", 30000, 30000, 8, 0, 0, 0, 0)
    chunks = [(b"IHDR", header), (b"IDAT", zlib.compress(b"\0" * 1000)), (b"IEND", b"")]
    packed = [
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in chunks
    ]
    return b"\x89PNG\r\n\x1a\n" + b"".join(packed)


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (png(28, 28), "the image is 28x28 pixels, not a PNG or JPEG of 8x8 pixels (width x height), grey"),
        (png(8, 9), "the image is 8x9 pixels, not"),
        (png(8, 8)[:-20], "the image is "),
        (png(8, 8)[:30], "the image "),
        (png(8, 8, "RGBA"), "the image has an alpha channel"),
        (png(8, 8, "I;16"), "the image has 16 bits per channel"),
        (bomb(), "the image "),
        (b"GIF89a", "the body is neither PNG nor JPEG"),
        (b"\xff\xd8\xff\xe0", "the image cannot be read"),
    ],
    ids=["large", "oblong", "truncated", "header only", "alpha", "16 bit", "bomb", "gif", "jpeg head"],
)
def test_images_that_are_refused(clients, data, said):
    assert refusal(clients("digits"), data, content_type="image/png").startswith(said)


def test_images_for_a_table_are_the_wrong_type(clients):
    assert refusal(clients("table"), png(8, 8), 415, "image/png") == "this model takes no images"


@pytest.mark.parametrize("content_type", ["text/xml", "text/plain; charset=utf-8", "image/gif", "video/mp4", ";;;"])
def test_unknown_types_are_415_or_read_by_content(clients, content_type):
    status = 200 if content_type == ";;;" else 415
    response = clients("table").post("/predict", data=json.dumps({"instances": [ROW]}), content_type=content_type)
    assert response.status_code == status, response.text


@pytest.mark.parametrize(("encoding", "status"), [("gzip", 400), ("deflate", 400), ("br", 415), ("gzip, br", 415)])
def test_a_body_that_is_not_compressed_as_it_says_is_refused(clients, encoding, status):
    response = clients("table").post("/predict", data=b"\x1f\x8b", headers={"Content-Encoding": encoding})
    assert response.status_code == status


def test_a_compressed_body_is_read(clients):
    body = gzip.compress(json.dumps({"instances": [ROW]}).encode())
    kind = "application/json"
    response = clients("table").post("/predict", data=body, headers={"Content-Encoding": "gzip"}, content_type=kind)
    assert response.status_code == 200, response.text


def test_a_compressed_form_is_refused(clients):
    kind = "multipart/form-data; boundary=a"
    response = clients("table").post("/predict", data=b"", headers={"Content-Encoding": "gzip"}, content_type=kind)
    assert response.status_code == 415


def test_a_form_without_a_file_is_refused(clients):
    response = clients("digits").post("/predict", data={"a": "b"}, content_type="multipart/form-data")
    assert (response.status_code, response.json["error"]) == (400, "the form holds no file")


def test_too_many_instances_are_413(clients):
    body = json.dumps({"instances": [ROW] * 11})
    assert refusal(clients("table"), body, 413) == "11 instances, 10 are allowed in one request"


def test_too_large_bodies_are_413(clients):
    client = clients("table", max_body=1000)
    assert refusal(client, b" " * 1001, 413) == "the body is larger than 1000 bytes"
    form = client.post("/predict", data={"f": (io.BytesIO(b"x" * 2000), "x.png")}, content_type="multipart/form-data")
    assert form.status_code == 413


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [("GET", "/nope", 404), ("GET", "/predict", 405), ("DELETE", "/", 405), ("POST", "/version", 405)],
)
def test_other_pages_and_methods_are_refused_as_json(clients, method, path, status):
    response = clients("digits").open(path, method=method)
    assert response.status_code == status
    assert response.json.keys() == {"error", "hint", "request_id"}


@pytest.mark.parametrize("path", ["//predict", "///predict", "/predict/", "//health/live"])
def test_a_path_that_is_nearly_a_page_is_404(clients, path):
    response = clients("digits").post("/", environ_overrides={"PATH_INFO": path})
    assert (response.status_code, response.json["request_id"]) == (404, response.headers["X-Request-Id"])


def test_without_a_model_all_is_503_but_life_and_only_the_log_says_why(caplog):
    class Nothing:
        current, error = None, "/srv/registry/model.tflite: is broken"

    app = create_app(Nothing(), "m", Limits(1000, 1))
    client = app.test_client()
    for method, path in (("POST", "/predict"), ("GET", "/"), ("GET", "/health/ready"), ("GET", "/example")):
        response = client.open(path, method=method)
        assert response.status_code == 503
        assert "srv" not in response.text
        assert f"request {response.json['request_id']}: m: no model to answer with: /srv/registry" in caplog.text
        assert response.headers["Retry-After"] == "1"
    assert client.get("/health/live").status_code == 200
    nothing = {"model": "m", "version": None, "release": None, "engine": None}
    assert client.get("/version").json == nothing


def test_the_version_page_has_what_a_client_may_know(clients):
    assert clients("digits").get("/version").json == {"model": "m", "version": 1, "release": 3, "engine": "litert"}


def test_an_engine_that_is_broken_is_500_without_a_traceback(clients, loaded, caplog):
    def broken(_inputs):
        raise EngineError("no memory left")

    model = replace(loaded("price"), engine=broken)
    response = clients(model).post("/predict", json={"instances": [{"size": 1, "floors": 2}]})
    assert response.status_code == 500
    assert "no memory" not in response.text
    assert response.json["request_id"] in caplog.text


def test_no_memory_for_now_is_503(clients, loaded):
    def full(_inputs):
        raise MemoryError("OOM when allocating tensor")

    response = clients(replace(loaded("price"), engine=full)).post(
        "/predict", json={"instances": [{"size": 1, "floors": 2}]}
    )
    assert (response.status_code, response.headers["Retry-After"]) == (503, "1")
    assert response.json["error"] == "the server is out of memory"


def test_a_model_that_answers_nan_has_no_answer(clients, loaded):
    def doubtful(inputs):
        return {"prediction": np.where(inputs["size"] > 5, np.nan, inputs["size"])}

    client = clients(replace(loaded("price"), engine=doubtful))
    rows = [{"size": size, "floors": 2} for size in (1, 2, 9)]
    assert refusal(client, json.dumps({"instances": rows})) == (
        "instances[2]: the model has no answer: its output prediction is NaN or infinite"
    )


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=9)
        | st.dictionaries(st.sampled_from(["age", "city", "left", "x"]) | st.text(max_size=5), inner)
    ),
    max_leaves=30,
)
CONTENT_TYPES = st.sampled_from(
    ["application/json", "image/png", "image/jpeg", "", "application/octet-stream", "multipart/form-data; boundary=x"]
)


@pytest.mark.parametrize("kind", ["digits", "table", "lookup", "pair"])
@given(instances=ANYTHING)
@pytest.mark.slow
def test_no_json_causes_a_server_error(clients, kind, instances):
    response = clients(kind).post("/predict", json={"instances": instances})
    assert response.status_code in {200, 400, 413}, response.text


@pytest.mark.parametrize("kind", ["digits", "table"])
@given(data=st.binary(max_size=200), content_type=CONTENT_TYPES)
def test_no_bytes_cause_a_server_error(clients, kind, data, content_type):
    response = clients(kind).post("/predict", data=data, content_type=content_type)
    assert response.status_code in {400, 413, 415}, response.text


@given(
    changes=st.lists(st.tuples(st.integers(0, 10**6), st.integers(0, 255)), min_size=1, max_size=4), jpeg=st.booleans()
)
def test_no_damaged_image_causes_a_server_error(clients, changes, jpeg):
    file = io.BytesIO()
    Image.fromarray(np.arange(64, dtype=np.uint8).reshape(8, 8)).save(file, "JPEG" if jpeg else "PNG")
    data = bytearray(file.getvalue())
    for index, value in changes:
        data[index % len(data)] = value
    response = clients("digits").post("/predict", data=bytes(data))
    assert response.status_code in {200, 400, 415}, response.text


@given(values=st.lists(st.floats(width=32, allow_nan=False, allow_infinity=False), min_size=10, max_size=10))
def test_any_float_of_the_dtype_is_taken_as_it_is(clients, values):
    response = clients("recurrent").post("/predict", json={"instances": [[values[i : i + 2] for i in range(0, 10, 2)]]})
    assert response.status_code == 200 or "NaN or infinite" in response.json["error"]


def test_a_good_request_after_all_that_is_answered(clients, served_models):
    x, _ = samples(served_models / "digits")
    assert clients("digits").post("/predict", json={"instances": x["image"][:1].tolist()}).status_code == 200
