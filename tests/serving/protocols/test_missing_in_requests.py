"""Requests with holes: null is taken for the columns that may miss a value, in every form of a request, and for no other."""

import io
import json

import jsonschema
import numpy as np
import pyarrow as pa
import pytest
from pyarrow import parquet

from registry.records import Signature, TensorSpec
from serving.batch.columns import ColumnReader
from serving.calls import Limits
from serving.errors import Refused
from serving.protocols.frames import ARROW, CSV, PARQUET, FrameReader
from serving.protocols.named_inputs import NamedInputs
from serving.protocols.openapi_schemas import schemas
from serving.protocols.read_instances import Reader
from training.data.dataset_toml import Table
from training.data.spec import Column, DataSpec

INPUTS = (
    TensorSpec("age", (None, 1), "float32", may_miss=True),
    TensorSpec("city", (None, 1), "string", may_miss=True),
    TensorSpec("size", (None, 1), "float32"),
)
DATA = DataSpec(
    "table",
    "regression",
    INPUTS,
    (),
    (
        Column("age", "numeric", has_missing=True),
        Column("city", "categorical", vocabulary=("Bern",), has_missing=True),
        Column("size", "numeric"),
    ),
    missing="keep",
)
SIGNATURE = Signature("regression", "table", INPUTS, (TensorSpec("y", (None, 1), "float32"),))
ROWS = [
    {"age": 1.5, "city": "Bern", "size": 2},
    {"age": None, "city": "Thun", "size": 3},
    {"age": 4, "city": None, "size": 5},
]


@pytest.fixture
def reader():
    return Reader(SIGNATURE, DATA)


def check(inputs):
    np.testing.assert_array_equal(inputs["age"], np.array([[1.5], [np.nan], [4]], np.float32))
    assert inputs["age"].dtype == np.float32
    assert inputs["city"].tolist() == [["Bern"], ["Thun"], [""]]
    assert inputs["size"].tolist() == [[2], [3], [5]]


def table():
    return pa.table({name: [row[name] for row in ROWS] for name in ROWS[0]})


def test_json(reader):
    check(reader.instances(json.dumps({"instances": ROWS}).encode(), 9)[0])
    numbers = [{"age": None, "city": None, "size": 1}] * 2  # nothing but numbers and null
    found = reader.instances(json.dumps({"instances": numbers}).encode(), 9)[0]
    assert np.isnan(found["age"]).all()
    assert found["city"].tolist() == [[""], [""]]


@pytest.mark.parametrize("kind", [CSV, PARQUET, ARROW])
def test_files(reader, kind):
    file = io.BytesIO()
    if kind == CSV:
        file.write(b"age,city,size\n1.5,Bern,2\n,Thun,3\n4,,5\n")
    elif kind == PARQUET:
        parquet.write_table(table(), file)
    else:
        with pa.ipc.new_stream(file, table().schema) as stream:
            stream.write_table(table())
    check(FrameReader(reader).read(kind, file.getvalue(), 9)[0])


def test_tensors(reader):
    named = NamedInputs(reader)
    age, city, _ = INPUTS
    for given in (
        named.from_flat(age, [1.5, None, 4], (3, 1), "x"),
        named.from_array(age, np.array([1.5, np.nan, 4], np.float32), "x"),
        named.from_list(age, [1.5, None, 4], "x"),
    ):
        np.testing.assert_array_equal(given, np.array([[1.5], [np.nan], [4]], np.float32))
    assert named.from_texts(city, ["Bern", None, ""], (3,), "x").tolist() == [["Bern"], [""], [""]]


def test_a_form_with_an_empty_field(reader):
    inputs, _ = reader.form({"age": " ", "city": "", "size": "2"})
    assert np.isnan(inputs["age"]).all()
    assert inputs["city"].tolist() == [[""]]


@pytest.mark.parametrize("written", [True, False])
def test_a_batch(reader, written):
    given = table()
    if written:
        texts = {name: ["" if each is None else str(each) for each in given[name].to_pylist()] for name in ROWS[0]}
        given = pa.table(texts)
    columns = ColumnReader(reader, given.column_names, Table(("a.csv",), "y"), written=written)
    assert columns.always_there == {"size"}
    inputs, rows, rejected = columns.read(given)
    assert (rows.tolist(), rejected) == ([0, 1, 2], {})
    check({name: array.reshape(3, 1) for name, array in inputs.items()})


def test_a_batch_rejects_rows_without_what_is_needed(reader):
    given = table().set_column(2, "size", pa.array([2, None, 5]))
    columns = ColumnReader(reader, given.column_names, Table(("a.csv",), "y"), written=False)
    _, rows, rejected = columns.read(given)
    assert (rows.tolist(), rejected) == ([0, 2], {1: "size: is missing"})


def test_null_for_any_other_column_is_refused_as_before(reader):
    with pytest.raises(Refused, match=r"^instances\[1\]\.size: null is not a number$"):
        reader.rows([ROWS[0], ROWS[1] | {"size": None}], 9)
    with pytest.raises(Refused, match=r"^instances\[0\]\.age: 1e\+300 is out of range|1e\+300 is more than"):
        reader.rows([ROWS[0] | {"age": 1e300}, ROWS[1]], 9)
    with pytest.raises(Refused, match=r"^instances\[0\]\.age: this column is missing$"):
        reader.rows([{"city": "Bern", "size": 1}], 9)
    strict = Reader(Signature("regression", "table", (TensorSpec("city", (None, 1), "string"),), SIGNATURE.outputs))
    with pytest.raises(Refused, match="null is not a string"):
        strict.rows([{"city": None}], 9)


def test_the_description_for_programs_says_so(reader):
    found = schemas(reader, SIGNATURE, {"y": np.zeros((1, 1), np.float32)}, Limits(1 << 20, 9))["Instance"]
    jsonschema.validate(ROWS[1], found)
    jsonschema.validate(ROWS[2], found)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(ROWS[0] | {"size": None}, found)


@pytest.mark.parametrize("between", [";", "\t", "|"])
def test_a_csv_with_another_delimiter_is_named_as_one(reader, between):
    for line in ("age|city|size\n1,5|Bern|2\n", "age|city|size\n1.5|Bern|2\n", "age|city|size\n1,5|Bern|2,0\n"):
        with pytest.raises(Refused) as error:
            FrameReader(reader).read(CSV, line.replace("|", between).encode(), 9)
        assert str(error.value) == f"the CSV has {between!r} between its columns"
        assert "trainyard batch" in error.value.hint


def test_a_csv_that_is_not_utf_8_or_has_too_few_values_says_what_to_do(reader):
    for body, hint in (
        ("age,city,size\n1,Zürich,2\n".encode("cp1252"), "save it as UTF-8"),
        (b"age,city,size\n1,2\n", "quotes"),
    ):
        with pytest.raises(Refused) as error:
            FrameReader(reader).read(CSV, body, 9)
        assert hint in error.value.hint
