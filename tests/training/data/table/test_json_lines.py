"""JSON Lines as rows of a table: what each column holds, the line of each row, and what is said of a line that is not a row."""

import gzip
import json

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from training.data.dataset_toml import Table
from training.data.table import json_lines
from training.data.table.json_lines import read, text
from training.data.table.suspect import Unreadable


@pytest.fixture
def file(tmp_path):
    """Reads this text as JSON Lines."""

    def file(data, name="data.jsonl", **settings):
        path = tmp_path / name
        path.write_bytes(data if isinstance(data, bytes) else data.encode())
        return read(path, Table(("*",), "kind", **settings))

    return file


def test_keys_are_columns_and_lines_are_numbered_as_an_editor_does(file):
    rows, lines = file('{"a": 1, "kind": "x"}\r\n\n{"kind": "y", "a": 2.5}\n{"a": null, "kind": "z", "b": true}')
    assert rows.to_pydict() == {"a": [1.0, 2.5, None], "kind": ["x", "y", "z"], "b": [None, None, True]}
    assert lines.tolist() == [1, 3, 4]
    assert [str(each) for each in rows.schema.types] == ["double", "string", "bool"]


def test_numbers_without_a_fraction_stay_whole_and_beyond_64_bits_are_floats(file):
    rows, _ = file(f'{{"a": {2**53 + 1}, "b": {2**63}}}\n{{"a": -1, "b": 1}}')
    assert rows.to_pydict() == {"a": [2**53 + 1, -1], "b": [2.0**63, 1.0]}


def test_a_compressed_file_and_a_byte_order_mark_are_read(file):
    rows, _ = file(gzip.compress('\ufeff{"kind": "é"}\n'.encode()), "data.ndjson.gz")
    assert rows.to_pydict() == {"kind": ["é"]}


@pytest.mark.parametrize(
    ("first", "second", "settings", "expected"),
    [
        ("1", '""', {}, [1, None]),
        ('" NA "', "2", {}, [None, 2]),
        ("1.5", '"?"', {"na": ("?",)}, [1.5, None]),
        ("true", '"n/a"', {}, [True, None]),
        ('"NA"', '"x"', {}, ["NA", "x"]),
    ],
)
def test_a_text_that_means_missing_is_missing_among_numbers(file, first, second, settings, expected):
    rows, _ = file(f'{{"a": {first}}}\n{{"a": {second}}}', **settings)
    assert rows.column("a").to_pylist() == expected


def test_what_is_ignored_may_hold_anything(file):
    lines = '{"a": 1, "kind": "x", "b": {"c": [1]}}\n{"a": "two", "kind": "y", "b": 3}\n'
    rows, _ = file(lines, ignore=("a", "b"))
    assert rows.to_pydict() == {"a": ["1", "two"], "kind": ["x", "y"], "b": ['{"c":[1]}', "3"]}


REFUSED = {
    "a list": ('{"a": 1}\n{"a": [1]}', "holds a list or an object as 'a' in line 2", "columns of their own"),
    "an object": ('{"a": {}}', "holds a list or an object as 'a' in line 1", "or list it under [table] ignore"),
    "two kinds": (
        '{"a": 1}\n{"a": null}\n{"a": "one"}',
        "holds numbers as 'a' in line 1, and text in line 3",
        'texts that mean missing are named by [table] na = ["…"]',
    ),
    "truth and numbers": ('{"a": true}\n{"a": 1}', "holds truth values as 'a' in line 1, and numbers", "one kind"),
    "a key twice": ('{"a": 1}\n{"a": 1, "b": "x", "a": 2}', 'has "a" twice in line 2', "delete or rename one"),
    "a key twice, escaped": ('{"b": "\\"", "a": 1, "\\u0061": 2}', 'has "a" twice in line 1', "rename one"),
    "a list of rows": ('[{"a": 1}]', "holds a list in line 1, not an object", "write each row as an object"),
    "a document": ('[\n{"a": 1},\n{"a": 2}\n]', "is one JSON document over many lines", "jq -c '.[]'"),
    "a number": ('{"a": 1}\n7', "holds a number in line 2, not an object", "write each row as an object"),
    "a line that is cut off": ('{"a": 1}\n{"a": ', "is not JSON in line 2: ", "correct the line"),
    "NaN": ('{"a": NaN}', "holds NaN or Infinity in line 1, which JSON has not", "write null"),
    "Parquet": (b"PAR1 and more", "is a Parquet file, not JSON Lines", "give it the ending .parquet"),
    "letters of Windows": ('{"a": "\xe9"}'.encode("cp1252"), "is not JSON in line 1", "correct the line"),
}


@pytest.mark.parametrize(("data", "message", "hint"), REFUSED.values(), ids=REFUSED)
def test_what_is_not_a_row_is_refused_with_its_line(file, data, message, hint):
    with pytest.raises(Unreadable) as error:
        file(data)
    assert message in str(error.value)
    assert hint in error.value.hint


def test_too_many_keys_are_refused(file, monkeypatch):
    monkeypatch.setattr(json_lines, "MOST_COLUMNS", 3)
    with pytest.raises(Unreadable, match="more than 3 different keys before line 4"):
        file("".join(f'{{"{i}": 1}}\n' for i in range(4)))


NAMES = st.text('ab":\\\n\u00e9', max_size=3)
VALUES = {
    "numbers": st.one_of(st.integers(-(2**40), 2**40), st.floats(-1e9, 1e9)),
    "text": st.text('x":\\,\n\u00e9', min_size=1, max_size=4).filter(str.strip),
    "truth": st.booleans(),
}


@given(data=st.data(), kinds=st.dictionaries(NAMES, st.sampled_from(sorted(VALUES)), min_size=1, max_size=4))
def test_every_value_is_that_of_the_file_and_again_the_file_says_the_same(tmp_path_factory, data, kinds):
    row = st.fixed_dictionaries({}, optional={name: st.none() | VALUES[kind] for name, kind in kinds.items()})
    rows = data.draw(st.lists(row, min_size=1, max_size=6))
    path = tmp_path_factory.mktemp("table") / "data.jsonl"
    path.write_text("\n".join(json.dumps(each, ensure_ascii=bool(len(rows) % 2)) for each in rows))
    names = dict.fromkeys(name for each in rows for name in each)
    found, lines = read(path, Table(("*",), "kind"))
    assert found.to_pylist() == ([{name: each.get(name) for name in names} for each in rows] if names else [])
    assert len(lines) == len(rows)
    path.write_bytes(text(found))
    again, _ = read(path, Table(("*",), "kind"))
    assert again.to_pylist() == found.to_pylist()


def test_blocks_make_the_same_columns_as_the_whole(file, monkeypatch):
    lines = '{"a": 1}\n{"b": "x"}\n{"a": 2.5, "b": "y"}\n{"a": null}\n{"c": true}\n'
    whole, numbers = file(lines)
    monkeypatch.setattr(json_lines, "BLOCK", 1)
    blocks, same = file(lines)
    assert isinstance(whole, pa.Table)
    assert blocks.to_pydict() == whole.to_pydict()
    assert same.tolist() == numbers.tolist()
