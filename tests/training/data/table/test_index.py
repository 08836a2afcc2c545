"""Which columns are the index of a pandas DataFrame: a model that sees where a row was may know the label."""

import json

import pyarrow as pa
import pytest

from training.data.table.index import index_columns, numbers_rows


@pytest.mark.parametrize(
    ("values", "numbers"),
    [
        (["0", "1", "2"], True),
        (["3", "2", "4"], True),
        (["-1", "0", "1"], True),
        ([5, 6], True),
        (["7"], True),
        (["0", "1", "3"], False),
        (["0", "1", "1"], False),
        (["0", "0", "2"], False),
        (["0", "1.0"], False),
        (["0", "a"], False),
        ([0, None, 1], False),
        (["0" * 15, "1"], True),
        (["0" * 16, "1"], False),
        ([], False),
    ],
)
def test_rows_are_numbered_by_whole_numbers_each_once_without_a_gap(values, numbers):
    assert numbers_rows(pa.array(values, None if values else pa.string())) is numbers


def named(*names, **metadata):
    table = pa.table([["0", "1"] for _ in names], list(names))
    return table.replace_schema_metadata({b"pandas": metadata["pandas"]} if metadata else None)


@pytest.mark.parametrize(
    ("table", "index"),
    [
        (named("a", "__index_level_0__"), {"__index_level_0__"}),
        (named("Unnamed: 0", "a", "Unnamed: 12_level_3.1"), {"Unnamed: 0", "Unnamed: 12_level_3.1"}),
        (named("my__index_level_0__", "Unnamed: 0 b"), set()),
        (named("", "a"), {""}),
        (named("a", ""), set()),
        (pa.table([["b", "a"], ["0", "1"]], ["", "a"]), set()),
        (named("a", "b", pandas=json.dumps({"index_columns": ["b", "gone", {"kind": "range"}]})), {"b"}),
        (named("a", pandas=json.dumps({"index_columns": "a"})), set()),
        (named("a", pandas=json.dumps({"columns": ["a"]})), set()),
        (named("a", pandas="[]"), set()),
        (named("a", pandas="no JSON"), set()),
    ],
)
def test_the_index_is_known_by_its_name_by_what_pandas_lists_or_as_the_first_column_that_numbers_the_rows(table, index):
    assert index_columns(table) == index
