"""Columns of numbers that are read side by side: the same numbers and the same refusals as one by one."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from registry.records import Signature, TensorSpec
from serving.engines.base import BadInput, ColumnBlock, can_be_block, check_inputs, cut, joined
from serving.errors import Refused
from serving.protocols.read_instances import Reader

SPECS = (
    TensorSpec("a", (None, 1), "float32"),
    TensorSpec("b", (None, 1), "float32", low=-5.0, high=5.0),
    TensorSpec("the third", (None, 1), "float32"),
)
SIGNATURE = Signature("regression", "table", SPECS, (TensorSpec("prediction", (None, 1), "float32"),))
QUICK, SLOW = Reader(SIGNATURE), Reader(SIGNATURE)
SLOW._values = None

ODD = st.sampled_from([None, True, "1", [1], {}, 1e39, 1e308, 10**400, 6, -6, "", 2**60])
VALUE = st.one_of(st.floats(-5, 5), st.integers(-5, 5))


def read(reader, rows, *, parsed):
    try:
        body = json.dumps({"instances": rows}).encode()
        inputs, count = reader.rows(rows, 100) if parsed else reader.instances(body, 100)
    except Refused as error:
        return str(error), error.hint
    return {name: (array.dtype, array.shape, array.tolist()) for name, array in inputs.items()}, count


@st.composite
def requests(draw):
    rows = [{each.name: draw(VALUE) for each in SPECS} for _ in range(draw(st.integers(1, 4)))]
    row = rows[draw(st.integers(0, len(rows) - 1))]
    match draw(st.sampled_from(["good", "odd", "missing", "more", "other", "no row"])):
        case "odd":
            row[draw(st.sampled_from(list(row)))] = draw(ODD)
        case "missing":
            del row[draw(st.sampled_from(list(row)))]
        case "more":
            row["z"] = 1
        case "other":
            row["the third "] = row.pop("the third")
        case "no row":
            rows[0] = draw(ODD)
    return rows


@given(requests(), st.booleans())
def test_every_request_is_read_or_refused_as_it_is_column_by_column(rows, parsed):
    assert read(QUICK, rows, parsed=parsed) == read(SLOW, rows, parsed=parsed)


def test_a_request_of_numbers_is_read_side_by_side():
    inputs, rows = QUICK.instances(
        b'{"instances": [{"b": 2, "a": 1, "the third": 3}, {"a": 4, "b": 5, "the third": 6}]}', 9
    )
    assert isinstance(inputs, ColumnBlock)
    assert (rows, check_inputs(SIGNATURE, inputs)) == (2, 2)
    assert inputs.by_column.tolist() == [[1, 4], [2, 5], [3, 6]]


def block(rows):
    return ColumnBlock(SPECS, np.arange(3 * rows, dtype=np.float32).reshape(3, rows))


@pytest.mark.parametrize(("start", "stop", "batch"), [(0, 4, 4), (1, 3, 2), (2, 4, 5)])
def test_rows_are_cut_as_those_of_single_columns(start, stop, batch):
    whole = block(4)
    found, expected = cut(whole, start, stop, batch), cut(dict(whole), start, stop, batch)
    assert {name: each.tolist() for name, each in found.items()} == {
        name: each.tolist() for name, each in expected.items()
    }


def test_several_requests_are_joined_whether_or_not_all_are_side_by_side():
    expected = {name: [[0.0], [1.0]] for name in ("a",)}["a"] + [[0.0]]
    one, two = block(2), block(1)
    assert joined([one, two])["a"].tolist() == expected
    assert isinstance(joined([one, two]), ColumnBlock)
    mixed = joined([one, dict(two)])
    assert not isinstance(mixed, ColumnBlock)
    assert {name: each.tolist() for name, each in mixed.items()} == {
        name: each.tolist() for name, each in joined([one, two]).items()
    }


def test_columns_of_another_model_are_checked_one_by_one():
    other = Signature("regression", "table", (*SPECS[:2], TensorSpec("c", (None, 1), "float32")), SIGNATURE.outputs)
    with pytest.raises(BadInput, match="the model takes a, b, c"):
        check_inputs(other, block(2))
    with pytest.raises(BadInput, match="no rows"):
        check_inputs(SIGNATURE, block(0))


@pytest.mark.parametrize(
    "change", [{"dtype": "string"}, {"dtype": "int32"}, {"dtype": "float64"}, {"shape": (None, 2)}, {"shape": (None,)}]
)
def test_only_numbers_of_one_dtype_are_read_side_by_side(change):
    from dataclasses import replace

    assert can_be_block(SPECS)
    assert not can_be_block((*SPECS, replace(SPECS[0], name="d", **change)))
    assert not can_be_block(SPECS[:1])
