"""MLflow's scoring protocol, and the files that it and `/predict` take; its real client is in tests/serving/clients."""

import io
import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from echo_model import app_of, echo_model, echo_table

from serving.protocols import frames

ARROW, PARQUET, NPY = "application/vnd.apache.arrow.stream", "application/vnd.apache.parquet", "application/x-npy"
COLUMNS = {"a": [1.5, 2.0], "b": ["é", "x"]}
SAME = {"predictions": {"out a": [[1.5], [2.0]], "out b": [["é"], ["x"]]}}
ROWS = [[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]]


@pytest.fixture(scope="module")
def table():
    return app_of(echo_table({"a": "float32", "b": "string"}))


@pytest.fixture(scope="module")
def one():
    return app_of(echo_model(("float32",)))


def parquet(columns):
    sink = io.BytesIO()
    pq.write_table(pa.table(columns), sink)
    return sink.getvalue()


def arrow(columns):
    sink, found = io.BytesIO(), pa.table(columns)
    with pa.ipc.new_stream(sink, found.schema) as stream:
        stream.write_table(found)
    return sink.getvalue()


def npy(array):
    sink = io.BytesIO()
    np.save(sink, array, allow_pickle=True)
    return sink.getvalue()


@pytest.mark.parametrize(
    "asked",
    [
        {"dataframe_split": {"index": [7, 8], "columns": ["b", "a"], "data": [["é", 1.5], ["x", 2]]}},
        {"dataframe_records": [{"a": 1.5, "b": "é"}, {"a": 2, "b": "x"}]},
        {"instances": [{"a": 1.5, "b": "é"}, {"a": 2, "b": "x"}]},
        {"inputs": COLUMNS, "params": {}, "signature_name": "ignored"},
    ],
)
def test_columns_come_in_four_forms(table, asked):
    assert table.post("/invocations", json=asked).get_json() == SAME


@pytest.mark.parametrize("asked", [{"inputs": ROWS}, {"instances": ROWS}, {"dataframe_split": {"data": ROWS}}])
def test_arrays_come_in_three(one, asked):
    assert one.post("/invocations", json=asked).get_json() == {"predictions": ROWS}


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        ("b,a\né,1.5\nx,2\n".encode(), "text/csv"),
        ("\ufeffa,b\r\n1.5,é\r\n2,x\r\n".encode(), "text/csv; charset=utf-8"),
        (parquet(COLUMNS), PARQUET),
        (parquet(COLUMNS | {"__index_level_0__": [0, 1]}), PARQUET),
    ],
)
def test_files_are_read_by_their_type(table, body, kind):
    assert table.post("/invocations", data=body, content_type=kind).get_json() == SAME
    assert table.post("/predict", data=body, content_type=kind).status_code == 200


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({}, "none of"),
        ({"inputs": COLUMNS, "instances": []}, "instances and inputs"),
        ([COLUMNS], "an object is expected"),
        ({"inputs": COLUMNS, "params": {"a": 1}}, "this model takes none"),
        ({"dataframe_split": {"columns": ["a", "a"], "data": []}}, "a name is there twice"),
        ({"dataframe_split": {"columns": ["a", "b"], "data": [[1]]}}, "1 values, 2 values are expected"),
        ({"dataframe_split": {"columns": ["a", "b"], "data": [1]}}, "data[0]: 1"),
        ({"dataframe_split": []}, "columns and data"),
        ({"dataframe_records": [1]}, "a list of objects"),
        ({"inputs": {"a": [1], "b": ["x", "y"]}}, "'b' has 2 rows, 'a' has 1"),
        ({"inputs": {"a": [1]}}, "'b' is missing"),
    ],
)
def test_what_is_wrong_is_said_in_mlflows_shape(table, asked, message):
    answer = table.post("/invocations", data=json.dumps(asked), content_type="application/json")
    found = answer.get_json()
    assert (answer.status_code, found.keys(), found["error_code"]) == (400, {"error_code", "message"}, "BAD_REQUEST")
    assert message in found["message"]


def hollow_npy():
    """A header that says gigabytes, and nothing behind it."""
    body = npy(np.zeros((2, 3), np.float32))
    return body.replace(b"(2, 3), ", b"(1000000000, 3), ")[:128]


@pytest.mark.parametrize(
    ("kind", "body", "status", "message"),
    [
        ("text/csv", b"a,b\n1,x,3\n", 400, "row 0: 3 values, 2 are expected"),
        ("text/csv", b"a,b\n", 400, "no row"),
        ("text/csv", b"a,a\n1,2\n", 400, "a name twice"),
        ("text/csv", b"a,c\n1,2\n", 400, "'c': no such column"),
        ("text/csv", b"a,b\nx,x\n", 400, "column a[0]: 'x' is not a number"),
        ("text/csv", b'a,b\n1,"x\n', 400, "cannot be read"),
        ("text/csv", b"a,b\n1,\xff\n", 400, "not UTF-8"),
        ("text/csv", b"a,b\n" + b"1,x\n" * 11, 413, "11 rows, 10 are allowed"),
        (PARQUET, b"PAR1", 400, "cannot be read"),
        (PARQUET, parquet(COLUMNS)[:-9], 400, "cannot be read"),
        (PARQUET, parquet({"a": [1.5]}), 400, "'b' is missing"),
        (PARQUET, parquet({"a": [1.5, None], "b": ["x", "y"]}), 400, "column a[1]"),
        (PARQUET, parquet({"a": ["1.5"], "b": ["x"]}), 400, "'1.5' is not a number"),
        (PARQUET, parquet({"a": [], "b": []}), 400, "no row"),
        (PARQUET, parquet({"a": [1.0] * 11, "b": ["x"] * 11}), 413, "11 rows"),
        (ARROW, b"abc", 400, "cannot be read"),
        (ARROW, arrow(COLUMNS)[:-40], 400, "cannot be read"),
        (ARROW, arrow({"a": [1.0] * 11, "b": ["x"] * 11}), 413, "11 rows"),
        (ARROW, b"", 400, "empty"),
        (NPY, npy(np.zeros((1, 3))), 415, "several inputs"),
    ],
)
def test_files_that_cannot_be_taken_are_refused(table, kind, body, status, message):
    answer = table.post("/predict", data=body, content_type=kind)
    assert (answer.status_code, message in answer.get_json()["error"]) == (status, True), answer.text


def test_a_file_that_unpacks_to_more_than_there_is_room_for_is_refused_unread(monkeypatch):
    monkeypatch.setattr(frames, "MAX_UNPACKED", 1000)
    api = app_of(echo_table({"a": "float32", "b": "string"}))
    answer = api.post("/predict", data=parquet({"a": [1.0], "b": ["x" * 2000]}), content_type=PARQUET)
    assert (answer.status_code, "bytes unpacked" in answer.get_json()["error"]) == (413, True)


@pytest.mark.parametrize(
    ("body", "status", "message"),
    [
        (b"\x93NUMPY", 400, "not an .npy file"),
        (hollow_npy(), 400, "bytes behind the header"),
        (npy(np.zeros((2, 3), np.float32)) + b"x", 400, "bytes behind the header"),
        (npy(np.array([None])), 400, "object"),
        (npy(np.float32(1)), 400, "float32 with shape []"),
        (npy(np.zeros((0, 3), np.float32)), 400, "no row"),
        (npy(np.zeros((2, 4), np.float32)), 400, "shape 4 per row, 3 is expected"),
        (npy(np.full((2, 3), np.nan)), 400, "npy[0][0]: NaN"),
        (npy(np.full((2, 3), 1e300)), 400, "more than float32 can hold"),
        (npy(np.zeros((2, 3), complex)), 400, "complex128"),
        (npy(np.zeros((11, 3))), 413, "11 rows"),
    ],
)
def test_an_npy_file_that_cannot_be_taken_is_refused(one, body, status, message):
    answer = one.post("/predict", data=body, content_type=NPY)
    assert (answer.status_code, message in answer.get_json()["error"]) == (status, True), answer.text


@pytest.mark.parametrize(
    "array", [np.array(ROWS), np.array(ROWS, ">f4"), np.asfortranarray(ROWS), np.array(ROWS, np.int8)]
)
def test_an_npy_file_is_read_whatever_its_order_and_type(one, array):
    answer = one.post("/predict", data=npy(array), content_type=NPY, headers={"Accept": NPY})
    assert answer.content_type == NPY
    assert answer.headers["X-Model-Version"] == "7"
    found = np.load(io.BytesIO(answer.data))
    assert found.dtype == np.float32
    assert found.tolist() == ROWS


def test_an_arrow_stream_is_answered_with_one_if_asked(table):
    answer = table.post("/predict", data=arrow(COLUMNS), content_type=ARROW, headers={"Accept": f"{ARROW}, */*;q=0.5"})
    with pa.ipc.open_stream(answer.data) as stream:
        found = stream.read_all()
    assert found.schema.metadata[b"version"] == b"7"
    assert found.column("out a").to_pylist() == [[1.5], [2.0]]
    refused = table.post("/predict", data=arrow(COLUMNS), content_type=ARROW, headers={"Accept": NPY})
    assert (refused.status_code, "not one array" in refused.get_json()["error"]) == (406, True)


def test_an_arrow_answer_has_the_class_before_the_numbers(clients):
    image = clients("digits").get("/example").data
    answer = clients("digits").post("/predict", data=image, headers={"Accept": ARROW})
    with pa.ipc.open_stream(answer.data) as stream:
        found = stream.read_all()
    plain = clients("digits").post("/predict", data=image).get_json()["predictions"][0]
    assert found.column_names[:2] == ["class", "probability"]
    assert found.column("class").to_pylist() == [plain["class"]]


@pytest.mark.parametrize(
    "accept", ["*/*", "", "text/html", "application/json", "application/json, application/x-npy;q=0.1"]
)
def test_json_is_answered_to_everybody_else(one, accept):
    answer = one.post("/predict", json={"instances": ROWS}, headers={"Accept": accept})
    assert answer.content_type == "application/json"


@pytest.mark.parametrize("kind", ["text/plain", ARROW, "application/json; charset=latin-1", "image/png"])
def test_other_types_are_415(table, kind):
    answer = table.post("/invocations", data=b"{}", content_type=kind)
    assert (answer.status_code, "not taken" in answer.get_json()["message"]) == (415, True)


def test_it_answers_pings_when_it_has_a_model(table):
    for path in ("/ping", "/health"):
        assert (table.get(path).status_code, table.get(path).data) == (200, b"\n")
        assert app_of(None).get(path).status_code == 503
    assert table.get("/version").status_code == 200
