"""Requests with dates: their texts are taken as the file has them, in every form of a request, and the model gets their parts."""

import io
import json
from datetime import UTC, date, datetime, timedelta, timezone

import jsonschema
import numpy as np
import pyarrow as pa
import pytest
from pyarrow import parquet

from registry.records import DateColumn, Signature, TensorSpec
from serving.batch.columns import ColumnReader
from serving.calls import Limits
from serving.engines.base import BadInput
from serving.engines.dated import Dated
from serving.errors import Refused
from serving.explain.explanation import Explainer, Wanted
from serving.protocols.frames import ARROW, CSV, PARQUET, FrameReader
from serving.protocols.named_inputs import NamedInputs
from serving.protocols.openapi_schemas import schemas
from serving.protocols.read_instances import Reader
from serving.warm_up import example
from training.data.dataset_toml import Table
from training.data.spec import Column, DataSpec

PARTS = (
    TensorSpec("when year", (None, 1), "float32"),
    TensorSpec("when hour", (None, 1), "int32"),
    TensorSpec("size", (None, 1), "float32"),
    TensorSpec("born days", (None, 1), "float32", may_miss=True),
)
WHEN, BORN = DateColumn("when", parts=("year", "hour")), DateColumn("born", "%d.%m.%Y")
DATA = DataSpec(
    "table", "regression", PARTS, (),
    tuple(Column(each.name, "numeric", 1.0, levels=(0.0, 1.0, 2.0), has_missing=each.may_miss) for each in PARTS),
    missing="keep", dates=(WHEN, BORN),
)  # fmt: skip
OUTPUTS = (TensorSpec("y", (None, 1), "float32"),)
SIGNATURE = Signature("regression", "table", PARTS, OUTPUTS).with_dates(DATA.dates)
ROWS = [
    {"when": "2026-11-30T14:05", "size": 2, "born": "01.02.1970"},
    {"when": "2025-01-01 01:30:00+03:00", "size": 3, "born": None},
]
TABLE = pa.table({
    "when": pa.array([datetime(2026, 11, 30, 14, 5, tzinfo=UTC), datetime(2024, 12, 31, 22, 30, tzinfo=UTC)], pa.timestamp("us", "UTC")),
    "size": [2.0, 3.0],
    "born": pa.array([date(1970, 2, 1), None], pa.date32()),
})  # fmt: skip


class Summing:
    """An engine that answers with the sum of what it gets, and keeps it."""

    def __call__(self, inputs):
        self.got = inputs
        numbers = np.concatenate([np.nan_to_num(inputs[each.name]).astype(np.float32) for each in PARTS], axis=1)
        return {"y": numbers.sum(axis=1, keepdims=True)}

    def renew(self, most, many, at_once):
        self.renewed = most, many, at_once


@pytest.fixture
def reader():
    return Reader(SIGNATURE, DATA)


def check(inputs):
    assert set(inputs) == {"when", "size", "born"}
    engine = Summing()
    Dated(engine, SIGNATURE)(inputs)
    assert {name: (array.dtype.name, array.shape) for name, array in engine.got.items()} == {
        each.name: (each.dtype, (2, 1)) for each in PARTS
    }
    assert engine.got["when year"].tolist() == [[2026], [2024]]
    assert engine.got["when hour"].tolist() == [[14], [22]]
    np.testing.assert_array_equal(engine.got["born days"], [[31], [np.nan]])


def test_the_signature_has_dates_in_the_place_of_their_parts():
    assert [(each.name, each.dtype, each.may_miss) for each in SIGNATURE.inputs] == [
        ("when", "string", False), ("size", "float32", False), ("born", "string", True),
    ]  # fmt: skip
    assert SIGNATURE.in_parts == Signature("regression", "table", PARTS, OUTPUTS)
    other = Signature("regression", "table", PARTS[1:], OUTPUTS)  # of a model that does not take all parts
    assert other.with_dates((WHEN,)) == other


def test_json(reader):
    check(reader.instances(json.dumps({"instances": ROWS}).encode(), 9)[0])


@pytest.mark.parametrize("kind", [CSV, PARQUET, ARROW])
def test_files(reader, kind):
    file = io.BytesIO()
    given = TABLE.set_column(2, "born", pa.array([row["born"] for row in ROWS]))
    if kind == CSV:
        file.write(b"when,size,born\n2026-11-30T14:05,2,01.02.1970\n2025-01-01 01:30+03:00,3,\n")
    elif kind == PARQUET:
        parquet.write_table(TABLE, file)
    else:
        with pa.ipc.new_stream(file, given.schema) as stream:
            stream.write_table(given)
    check(FrameReader(reader).read(kind, file.getvalue(), 9)[0])


def test_tensors(reader):
    named = NamedInputs(reader)
    when, size, born = (named.spec(name, "x") for name in ("when", "size", "born"))
    arrays = {
        "when": named.from_texts(when, [each["when"] for each in ROWS], (2, 1), "x"),
        "size": named.from_flat(size, [2, 3], (2, 1), "x"),
        "born": named.from_texts(born, ["01.02.1970", None], (2, 1), "x"),
    }
    check(named.joined(arrays, 9)[0])
    with pytest.raises(Refused, match=r"x\[0\]: '30.11.2026' is not a date as ISO 8601 writes it"):
        named.from_texts(when, ["30.11.2026"], (1, 1), "x")


@pytest.mark.parametrize("written", [True, False])
def test_a_batch(reader, written):
    given = TABLE
    if written:
        given = pa.table({name: [str(row[name] or "") for row in ROWS] for name in ROWS[0]})
    columns = ColumnReader(reader, given.column_names, Table(("a.csv",), "y"), written=written)
    inputs, rows, rejected = columns.read(given)
    assert (rows.tolist(), rejected) == ([0, 1], {})
    check({name: array.reshape(2, 1) for name, array in inputs.items()})


def test_a_batch_rejects_rows_with_other_texts(reader):
    given = pa.table({name: [str(row[name] or "") for row in ROWS] for name in ROWS[0]})
    given = given.set_column(0, "when", pa.array(["2026-13-01", "2026-12-01"]))
    columns = ColumnReader(reader, given.column_names, Table(("a.csv",), "y"), written=True)
    _, rows, rejected = columns.read(given)
    assert rows.tolist() == [1]
    assert rejected[0].startswith("when: '2026-13-01' is not a date as ISO 8601 writes it")


@pytest.mark.parametrize("value", ["", "soon", "2026-02-30", "2026-11-30" * 30])
def test_a_text_that_is_not_a_date_is_refused_with_its_place(reader, value):
    with pytest.raises(Refused, match=r"^instances\[1\]\.when: .* is not a date as ISO 8601 writes it \(2026-11-30, "):
        reader.rows([ROWS[0], ROWS[1] | {"when": value}], 9)


def test_a_number_and_another_format_are_refused(reader):
    with pytest.raises(Refused, match=r"instances\[0\]\.when: 20787 is not a string"):
        reader.rows([ROWS[0] | {"when": 20787}], 9)
    with pytest.raises(Refused, match=r"born: '1970-02-01' is not a date as '%d.%m.%Y' \(30.11.2026\)"):
        reader.rows([ROWS[0] | {"born": "1970-02-01"}], 9)


def test_an_engine_refuses_what_nobody_has_checked():
    with pytest.raises(BadInput, match="is not a date"):
        Dated(Summing(), SIGNATURE)(
            {"when": np.array([["soon"]]), "size": np.ones((1, 1), np.float32), "born": np.array([[""]])}
        )


def test_an_engine_is_renewed_through_the_dates():
    engine = Summing()
    Dated(engine, SIGNATURE).renew(1, 2, 3)
    assert engine.renewed == (1, 2, 3)


def test_a_moment_with_an_offset_is_taken_in_utc(reader):
    zone = timezone(timedelta(hours=3))
    inputs, _ = reader.rows([ROWS[0] | {"when": datetime(2025, 1, 1, 1, 30, tzinfo=zone).isoformat()}], 9)
    engine = Summing()
    Dated(engine, SIGNATURE)(inputs)
    assert engine.got["when year"].tolist() == [[2024]]


def test_each_part_is_explained(reader):
    run = Dated(Summing(), SIGNATURE)
    inputs, rows = reader.rows(ROWS[:1], 9)
    explain = Explainer(lambda arrays, _: run(arrays), SIGNATURE, DATA, {"y": np.zeros((1, 1), np.float32)})
    (found,) = explain(inputs, rows, Wanted(1.0))
    effects = {part["column"]: part["value"] for part in found.parts}
    assert list(effects) == [each.name for each in PARTS]
    assert effects["when year"] == pytest.approx(2026 - 1, abs=1)


def test_the_description_and_the_example_say_how_dates_are_written(reader):
    found = schemas(reader, SIGNATURE, {"y": np.zeros((1, 1), np.float32)}, Limits(1 << 20, 9))["Instance"]
    assert found["properties"]["when"]["description"].startswith("a date as ISO 8601 writes it")
    jsonschema.validate(ROWS[1], found)
    made = example(SIGNATURE, DATA)
    assert {name: array.tolist() for name, array in made.items()} == {
        "when": [["2024-10-04"]], "size": [[1.0]], "born": [["02.01.1970"]],
    }  # fmt: skip
    reader.rows([{name: array.item() for name, array in made.items()}], 9)
