"""Several files in one table, each written in its own way, and what Parquet holds beside numbers and texts."""

import datetime as dt
import json
from decimal import Decimal

import numpy as np
import pyarrow as pa
import pytest
from data_makers import job_folder, messages, outputs, run
from pyarrow import parquet

from training.data.spec import SPLITS, load_split

HEAD = 'format = "table"\n[table]\ntarget = "kind"\nduplicates = "allow"\nmissing = "drop"\n'
ROWS = 60
KIND = [("cat", "dog")[i % 2] for i in range(ROWS)]


@pytest.fixture
def dataset(tmp_path):
    return job_folder(tmp_path)


def text(start=0, *, delimiter=",", encoding="utf-8", word="caf\xe9"):
    lines = [["a", "v", "kind"], *([str(i + start / 4), (word, "tea")[i // 2 % 2], KIND[i]] for i in range(ROWS))]
    return "".join(delimiter.join(line) + "\n" for line in lines).encode(encoding)


def prepare(dataset, files, settings=""):
    (dataset / "dataset.toml").write_text(HEAD + settings)
    for name, content in files.items():
        if isinstance(content, bytes):
            (dataset / name).write_bytes(content)
        else:
            parquet.write_table(content, dataset / name)
    return run(dataset)


def values(dataset, name="v"):
    splits = [load_split(outputs(dataset) / "data" / split) for split in SPLITS]
    return {value for split in splits for value in split.x[name][:, 0].tolist()}


ALL = 'file = ["a.csv", "b.csv"]\n'
READ = {
    "two byte order marks": (text(encoding="utf-8-sig"), text(1, encoding="utf-16"), ""),
    "sep= in one": (b"sep=;\n" + text(delimiter=";"), text(1), ""),
    "one without other letters": (text(encoding="cp1252"), text(1, word="mate"), 'encoding = "cp1252"'),
}


@pytest.mark.parametrize(("first", "second", "settings"), READ.values(), ids=READ)
def test_files_that_say_how_they_are_written_are_read_together(dataset, first, second, settings):
    found = prepare(dataset, {"a.csv": first, "b.csv": second}, ALL + settings)
    assert found.ok, messages(found)
    assert {"caf\xe9", "tea"} <= values(dataset)


REFUSED = {
    "two delimiters": (text(), text(1, delimiter=";"), "", "b.csv has ';'", "a.csv is written in another way"),
    "the declared one in one only": (
        text(delimiter=";"),
        text(1),
        'delimiter = ";"',
        "b.csv has ','",
        "a.csv is written in another way",
    ),
    "neither is the default": (
        text(delimiter=";"),
        text(1, delimiter="|"),
        "",
        "a.csv has ';'",
        "b.csv is written in another way: write all files with the same delimiter",
    ),
    "both in the same other way": (text(delimiter=";"), text(1, delimiter=";"), "", "b.csv has ';'", "delimiter ="),
    "two encodings": (text(), text(1, encoding="cp1252"), "", "b.csv is not UTF-8", "with the same encoding"),
    "ASCII and another": (text(word="mate"), text(1, encoding="cp1252"), "", "b.csv is not UTF-8", 'encoding = "cp1252"'),
    "UTF-8 among the declared": (
        text(encoding="cp1252"),
        text(1),
        'encoding = "cp1252"',
        "b.csv is UTF-8, and a.csv is not",
        "write all files in one encoding",
    ),
    "a mark of UTF-8 among the declared": (
        text(encoding="cp1252"),
        text(1, encoding="utf-8-sig"),
        'encoding = "cp1252"',
        "b.csv begins with the byte order mark of UTF-8, but cp1252 is declared",
        "with the same encoding",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("first", "second", "settings", "message", "hint"), REFUSED.values(), ids=REFUSED)
def test_files_that_do_not_go_together_are_refused_without_a_hint_that_spoils_another(
    dataset, first, second, settings, message, hint
):
    said = messages(prepare(dataset, {"a.csv": first, "b.csv": second}, ALL + settings)).replace('\\"', '"')
    assert message in said
    assert hint in said


def stored(column, **more):
    return {"a.parquet": pa.table({"x": [i / 4 for i in range(ROWS)], "v": column, "kind": KIND} | more)}


PARQUET = 'file = "a.parquet"\n'
MARKS = [("NA", "-", "x", "y", "", None)[i // 2 % 6] for i in range(ROWS)]


@pytest.mark.parametrize("na", ['["-"]', '["-", "NA"]', "[]"])
def test_what_is_declared_to_mean_missing_does_so_in_both_formats(dataset, na):
    assert prepare(dataset, stored(MARKS), f"{PARQUET}na = {na}").ok
    ours = values(dataset)
    rows = "".join(f"{i / 4},{MARKS[i] or ''},{KIND[i]}\n" for i in range(ROWS))
    assert prepare(dataset, {"a.csv": f"x,v,kind\n{rows}".encode()}, f'file = "a.csv"\nna = {na}').ok
    assert ours == values(dataset) == {"NA", "-", "x", "y"} - set(json.loads(na))


@pytest.mark.parametrize("written", ["-999", "-999.0"])
def test_a_number_that_means_missing_does_so_however_it_is_stored(dataset, written):
    numbers = [float(i) if i % 6 else -999.0 for i in range(ROWS)]
    assert prepare(dataset, stored(numbers), f'{PARQUET}na = ["-999"]').ok
    assert min(values(dataset)) == 1
    rows = "".join(f"{i / 4},{i if i % 6 else written},{KIND[i]}\n" for i in range(ROWS))
    assert prepare(dataset, {"a.csv": f"x,v,kind\n{rows}".encode()}, 'file = "a.csv"\nna = ["-999"]').ok
    assert min(values(dataset)) == 1


def test_a_text_that_often_means_missing_is_a_value_of_parquet_and_noted_once(dataset):
    found = prepare(dataset, stored(MARKS), PARQUET)
    assert values(dataset) == {"NA", "-", "x", "y"}
    (note,) = [each for each in found.notes if "'NA'" in each]
    assert note.startswith("column 'v' holds 'NA' in 10 rows, '-' in 10 rows, as values of their own")


def test_numbers_that_are_stored_as_texts_are_categories_and_noted(dataset):
    found = prepare(dataset, stored([str(i % 9) for i in range(ROWS)]), PARQUET)
    assert (
        "column 'v' holds numbers, stored as texts: they are categories; numeric = [\"v\"] reads them as numbers"
        in found.notes
    )
    marked = stored([str(i % 9) if i % 6 else "-" for i in range(ROWS)])
    assert 'the file stores texts: numeric = ["v"]' in messages(prepare(dataset, marked, PARQUET)).replace('\\"', '"')
    assert prepare(dataset, marked, f'{PARQUET}na = ["-"]\nnumeric = ["v"]').ok
    assert min(values(dataset)) == 0


TAKEN = {
    "dictionary of texts": (pa.array(["a", "b", None] * 20).dictionary_encode(), {"a", "b"}),
    "dictionary of numbers": (pa.array([1, 2, 3] * 20).dictionary_encode(), {1, 2, 3}),
    "viewed texts": (pa.array(["a", "b", "b"] * 20, pa.string_view()), {"a", "b"}),
    "large texts": (pa.array(["a", "b", "b"] * 20, pa.large_string()), {"a", "b"}),
    "decimals": (pa.array([Decimal("1.50"), Decimal("2.25")] * 30), {1.5, 2.25}),
    "short floats": (pa.array(np.array([1.5, 2.0, 2.0] * 20, np.float16)), {1.5, 2.0}),
    "truth values": (pa.array([True, False, None] * 20), {"true", "false"}),
}


@pytest.mark.parametrize(("column", "wanted"), TAKEN.values(), ids=TAKEN)
def test_what_parquet_stores_is_read_as_its_value(dataset, column, wanted):
    found = prepare(dataset, stored(column), PARQUET)
    assert found.ok, messages(found)
    assert values(dataset) == wanted


NOT_TAKEN = {
    "timestamps": (pa.array([dt.datetime(2026, 1, 1, tzinfo=dt.UTC)] * ROWS), "dates or times (timestamp[us, tz=UTC])"),
    "dates": (pa.array([dt.date(2026, 1, 1)] * ROWS), "dates or times (date32[day])"),
    "durations": (pa.array([dt.timedelta(1)] * ROWS), "dates or times (duration[us])"),
    "lists": (pa.array([[1]] * ROWS), "values of type list"),
    "structs": (pa.array([{"a": 1}] * ROWS), "values of type struct<a: int64>"),
    "bytes": (pa.array([b"a"] * ROWS), "bytes, not text (binary)"),
    "bytes of one length": (pa.array([b"ab"] * ROWS, pa.binary(2)), "bytes, not text (fixed_size_binary[2])"),
}


@pytest.mark.parametrize(("column", "said"), NOT_TAKEN.values(), ids=NOT_TAKEN)
def test_what_is_neither_number_nor_text_is_refused_unless_it_is_ignored(dataset, column, said):
    assert f"column 'v' holds {said}" in messages(prepare(dataset, stored(column), PARQUET))
    assert prepare(dataset, stored(column), f'{PARQUET}ignore = ["v"]').ok
