"""How the text files of a table are read: delimiter, decimal mark, encoding, missing values; and what is said when that fails."""

import codecs
import gzip
import json
import shutil
from datetime import date, timedelta

import numpy as np
import pytest
from data_makers import job_folder, messages, outputs, run

from training.data.spec import SPLITS, load_split
from training.data.table import packed

HEAD = 'format = "table"\n[table]\nfile = "data.csv"\ntarget = "kind"\nduplicates = "allow"\n'
ROWS = 60


def text(first=lambda i: f"{i / 4}", second=lambda i: f"{i * 1.5}", *, delimiter=",", end="\n", head="a,b,kind"):
    """A table with two columns and a label."""
    lines = [head.replace(",", delimiter)]
    lines += [delimiter.join((first(i), second(i), ("cat", "dog")[i % 2])) for i in range(ROWS)]
    return end.join([*lines, ""])


def european(value):
    return str(value).replace(".", ",")


@pytest.fixture
def dataset(tmp_path):
    return job_folder(tmp_path)


def prepare(dataset, data, settings="", file="data.csv"):
    (dataset / "dataset.toml").write_text(HEAD.replace("data.csv", file) + settings, encoding="utf-8")
    (dataset / file).write_bytes(data if isinstance(data, bytes) else data.encode())
    return run(dataset)


def column(dataset, name):
    """The values of a column in all splits, as prepared."""
    splits = [load_split(outputs(dataset) / "data" / split) for split in SPLITS]
    return sorted(value for split in splits for value in split.x[name][:, 0].tolist())


NUMBERS = [i / 4 for i in range(ROWS)]
PLAIN = text()
READ = {
    "a byte order mark": (codecs.BOM_UTF8 + PLAIN.encode(), "", 'delimiter ",", decimal ".", encoding "utf-8-sig"'),
    "UTF-16 with its mark": (PLAIN.encode("utf-16"), "", 'encoding "utf-16"'),
    "UTF-16 without, declared": (PLAIN.encode("utf-16-le"), 'encoding = "utf-16-le"', 'encoding "utf-16-le"'),
    "semicolons": (text(delimiter=";"), 'delimiter = ";"', 'delimiter ";"'),
    "decimal commas": (
        text(lambda i: european(i / 4), lambda i: european(i * 1.5), delimiter=";"),
        'delimiter = ";"\ndecimal = ","',
        'delimiter ";", decimal ","',
    ),
    "decimal commas in quotation marks": (text(lambda i: f'"{european(i / 4)}"', str), 'decimal = ","', 'decimal ","'),
    "sep= in the first line": ("sep=;\r\n" + text(delimiter=";", end="\r\n"), "", 'delimiter ";"'),
    "carriage returns": (text(end="\r"), "", 'delimiter ","'),
    "empty rows at the end": (PLAIN + ",,\n" * 3, "", 'delimiter ","'),
    "one delimiter too many": (PLAIN.replace("kind", "kind,").replace("cat", "cat,").replace("dog", "dog,"), "", ""),
    "comments before, between and behind the rows": (
        "# made today\n" + PLAIN.replace("\n1.0,", "\n  # one, two, three\n1.0,") + "# end\n",
        'comment = "#"',
        'comment "#"',
    ),
    "other quotation marks, declared": (text(lambda i: f"'{i / 4}'"), 'quote = "\'"', 'quote "\'"'),
    "quotation marks that mean nothing": (text(second=lambda i: f'"{i}'), 'quote = ""', 'quote ""'),
    "declared missing": (text() + "?,1,cat\n", 'na = ["?"]\nmissing = "drop"', ""),
}


@pytest.mark.parametrize(("data", "settings", "said"), READ.values(), ids=READ)
def test_a_file_is_read_as_declared_and_what_was_recognised_is_reported(dataset, data, settings, said):
    found = prepare(dataset, data, settings)
    assert found.ok, messages(found)
    assert column(dataset, "a") == NUMBERS
    assert said in found.read_as[0]


def test_groups_of_digits_are_read_as_declared(dataset):
    data = text(lambda i: f"{1000 + i}.5", lambda i: f"{i + 1}\u202f{100 + i}", delimiter=";")
    data = data.replace(".5", ",5")
    found = prepare(dataset, data, 'delimiter = ";"\ndecimal = ","\nthousands = " "')
    assert found.ok, messages(found)
    assert column(dataset, "a") == [1000.5 + i for i in range(ROWS)]
    assert column(dataset, "b") == [1000 * (i + 1) + 100 + i for i in range(ROWS)]


def test_a_tab_is_the_delimiter_of_a_tsv_file(dataset):
    found = prepare(dataset, text(delimiter="\t"), file="data.tsv")
    assert found.ok, messages(found)
    assert column(dataset, "a") == NUMBERS


def test_letters_of_another_encoding_are_read_as_declared(dataset):
    data = text(second=lambda i: ("caf\xe9", "th\xe9")[i // 2 % 2]).encode("cp1252")
    assert prepare(dataset, data, 'encoding = "cp1252"').ok
    assert set(column(dataset, "b")) == {"caf\xe9", "th\xe9"}


def test_the_files_of_a_split_are_written_as_the_repository_has_them(dataset):
    data = "sep=;\n" + text(lambda i: f"{i},50", lambda i: ("caf\xe9", 'a "b"; c')[i // 2 % 2], delimiter=";")
    data = data.replace('a "b"; c', '"a ""b""; c"')
    assert prepare(dataset, data.encode("cp1252"), 'decimal = ","\nencoding = "cp1252"').ok
    written = [(outputs(dataset) / "data" / split / "files" / "data.csv").read_bytes() for split in SPLITS]
    lines = [line for each in written for line in each.decode("cp1252").splitlines()]
    assert sorted(set(lines)) == sorted(set(data.splitlines()))
    assert len(lines) == ROWS + 2 * len(SPLITS)


@pytest.mark.parametrize("file", ["data.jsonl", "data.ndjson.xz"])
def test_json_lines_are_prepared_as_a_text_file_of_the_same_values_and_written_as_such(dataset, file):
    rows = [{"a": i / 4, "kind": ("cat", "dog")[i % 2]} | ({} if i % 3 else {"b": i}) for i in range(ROWS)]
    lines = "\n".join(map(json.dumps, rows)).encode()
    assert prepare(dataset, packed.pack(file, lines), 'missing = "keep"', file=file).ok
    from_json = [load_split(outputs(dataset) / "data" / split) for split in SPLITS]
    for split in from_json:
        places = [int(name.removeprefix(f"{file} line ")) for name in split.names]
        written = bytes(memoryview(packed.read(split.files / file))).splitlines()
        assert list(map(json.loads, written)) == [{"b": None, **rows[place - 1]} for place in sorted(places)]
    arrays = [{name: np.array(split.x[name]) for name in ("a", "b")} for split in from_json]
    shutil.rmtree(outputs(dataset))
    data = "".join(["a,b,kind\n", *(f"{each['a']},{each.get('b', '')},{each['kind']}\n" for each in rows)])
    assert prepare(dataset, data, 'missing = "keep"').ok
    for split, before in zip(SPLITS, arrays, strict=True):
        after = load_split(outputs(dataset) / "data" / split)
        assert all(np.array_equal(after.x[name], before[name], equal_nan=True) for name in before)


REFUSED = {
    "semicolons and decimal commas": (
        text(lambda i: european(i / 4), lambda i: european(i * 1.5), delimiter=";"),
        "data.csv has ';' between its columns: its first line, 'a;b;kind', is 3 columns with ';', and 1 with ','",
        'write delimiter = ";" and decimal = "," under [table]',
    ),
    "groups of digits": (
        text(lambda i: f"{i + 1}.234,50", lambda _: "1", delimiter=";"),
        "has ';' between its columns",
        'delimiter = ";" and decimal = "," and thousands = "."',
    ),
    "tabs": (text(delimiter="\t"), "has a tab between its columns", 'delimiter = "\\\\t"'),
    "UTF-16 without its mark": (PLAIN.encode("utf-16-be"), "looks like UTF-16", 'encoding = "utf-16-be"'),
    "latin-1": (
        text(second=lambda _: "caf\xe9").encode("latin-1"),
        "data.csv is not UTF-8 in line 2",
        'encoding = "cp1252"',
    ),
    "two encodings": (
        text(second=lambda _: "caf\xe9").encode("latin-1") + "1,caf\xe9,cat\n".encode(),
        f"mixes encodings: some lines (e.g. line {ROWS + 2}) are UTF-8, others (e.g. line 2) are not",
        "write the whole file in one encoding",
    ),
    "sep= against the settings": (
        ("sep=;\n" + text(delimiter=";"), 'delimiter = "|"'),
        "says 'sep=;' in its first line, but '|' is declared",
        'delimiter = ";"',
    ),
    "a comment before the names": (
        "# made today\n" + PLAIN,
        "begins with '# made today'; the names of its columns seem to be in line 2",
        'write comment = "#" under [table] in dataset.toml, or delete the comments',
    ),
    "a title and an empty line": (
        "Report\n\n" + PLAIN,
        "names of its columns seem to be in line 3",
        "write skip_rows = 2 under",
    ),
    "a comment in between": (PLAIN + "# end\n1,2,cat\n", f"in line {ROWS + 2}", 'write comment = "#" under [table]'),
    "other quotation marks": (
        text(second=lambda i: ("'one, two'", "'two, one'")[i // 2 % 2]),
        "has 4 fields in line 2, but its first line names 3 columns",
        'write quote = "\'" under [table]',
    ),
    "a footer": (PLAIN + "Total: 60\n", "the last lines look like a footer", "delete the lines below the table"),
    "a footer with all columns": (
        PLAIN + "Total,100,cat\n",
        f"but holds 'Total' in 1 row (e.g. data.csv line {ROWS + 2})",
        "delete the rows that sum up others",
    ),
    "the names once more": (
        PLAIN + "a,b,kind\n",
        f"repeats the names of its columns in line {ROWS + 2}",
        "delete that line",
    ),
    "no names": (PLAIN.partition("\n")[2], "has no line with the names of its columns", "add one"),
    "an open quotation mark": (
        PLAIN.replace("cat", '"cat', 1),
        "a quotation mark in line 2 that is not closed",
        "correct",
    ),
    "decimal commas without quotation marks": (
        text(lambda i: european(i / 4), lambda i: european(i * 1.5)),
        "data.csv has 5 fields in line 2, but its first line names 3 columns",
        "with decimal commas, write ';' between columns",
    ),
    "a zero byte": (PLAIN.replace("cat", "c\0t", 1), "holds a zero byte in line 2", "write the file again"),
    "a web page": ("\n<!DOCTYPE html><html>", "is a web page", "download the data again"),
    "a workbook": (b"PK\x03\x04 and more", "a zip archive, as Excel workbooks (.xlsx) are", "give it the ending .xlsx"),
    "gzip": (gzip.compress(PLAIN.encode()), "is compressed by gzip", "give it the ending .csv.gz"),
    "fewer lines than are skipped": (("a,b,kind\n1,2,cat\n", "skip_rows = 7"), "has no 7 lines to skip", "skip_rows"),
    "Parquet": (b"PAR1 and more", "is a Parquet file", "give it the ending .parquet"),
    "a mark alone": (codecs.BOM_UTF8, "has no line with the names of columns", "add one"),
}


@pytest.mark.parametrize(("data", "message", "hint"), REFUSED.values(), ids=REFUSED)
def test_what_is_read_in_another_way_is_refused_with_the_line_to_write(dataset, data, message, hint):
    data, settings = data if isinstance(data, tuple) else (data, "")
    found = prepare(dataset, data, settings)
    assert not found.ok
    assert message in messages(found).replace('\\"', '"')
    assert hint in messages(found).replace('\\"', '"')


def sometimes(value):
    return lambda i: value if i % 6 == 0 else f"{i / 4}"


@pytest.mark.parametrize("mark", ["?", "-", "--", ".", "None", "(empty)", "#DIV/0!", "k.A."])
def test_a_numeric_column_with_a_mark_for_missing_is_refused_until_that_is_declared(dataset, mark):
    found = prepare(dataset, text(sometimes(mark)), 'missing = "drop"\n')
    said = messages(found).replace('\\"', '"')
    assert not found.ok
    assert f"column 'a' holds numbers in 50 of 60 rows, but holds {mark!r} in 10 rows (e.g. data.csv line 2)" in said
    assert f'na = ["{mark}"]' in said
    assert prepare(dataset, text(sometimes(mark)), f'missing = "drop"\nna = ["{mark}"]').ok
    assert column(dataset, "a") == [i / 4 for i in range(ROWS) if i % 6]
    assert prepare(dataset, text(sometimes(mark)), 'categorical = ["a"]\n').ok


@pytest.mark.parametrize("mark", ["NA", "NaN", "nan", "null", "NULL", "n/a", "#N/A", "", " "])
def test_what_no_number_is_written_like_is_missing_in_a_numeric_column(dataset, mark):
    assert prepare(dataset, text(sometimes(mark)), 'missing = "drop"').ok
    assert len(column(dataset, "a")) == ROWS - 10


def test_a_number_that_is_declared_to_mean_missing_is_missing(dataset):
    assert prepare(dataset, text(sometimes("-999")), 'missing = "drop"\nna = ["-999"]').ok
    assert min(column(dataset, "a")) == 0.25


def test_a_hint_names_the_other_columns_that_it_concerns(dataset):
    found = prepare(dataset, text(sometimes("?"), lambda i: "xyz?"[i // 2 % 4]))
    assert "then they are missing in 'b', too" in messages(found)


def test_a_mark_is_found_where_most_values_are_missing(dataset):
    found = prepare(dataset, text(lambda i: f"{i}" if i % 6 == 0 else "-"))
    assert "holds numbers in 10 of 60 rows, but holds '-' in 50 rows" in messages(found)


ODD_NUMBERS = {
    "decimal comma": ("12,5", 'decimal = ","'),
    "groups": ("1 234", 'thousands = " "'),
    "groups with a thin blank": ("1\u202f234", 'thousands = " "'),
    "per cent": ("12%", "store the number without the sign"),
    "currency": ("\u20ac 12.50", "store the number without the sign"),
    "unit": ("12 kg", "store the number without its unit"),
    "underscores": ("1_000", "delete the underscores"),
    "hexadecimal": ("0x10", "write the number in decimal digits"),
    "an apostrophe": ("'12", "store the number without it"),
    "Arabic digits": ("\u0661\u0662", "write the digits 0 to 9"),
    "full-width digits": ("\uff11\uff12", "write the digits 0 to 9"),
    "minus sign": ("\u221212.5", "write negative numbers as -1"),
}


@pytest.mark.parametrize(("written", "hint"), ODD_NUMBERS.values(), ids=ODD_NUMBERS)
def test_numbers_that_are_written_in_another_way_are_not_categories(dataset, written, hint):
    found = prepare(dataset, text(lambda i: f'"{written}"' if i % 3 else "7"))
    assert not found.ok
    assert hint in messages(found).replace('\\"', '"')


def test_truth_values_that_are_written_in_two_ways_are_refused(dataset):
    said = messages(prepare(dataset, text(second=lambda i: ("true", "false", "1", "0")[i // 2 % 4])))
    assert "column 'b' holds numbers in 28 rows and 'true' in 16 rows (e.g. data.csv line 2)" in said
    assert "write truth values in one way" in said


def test_a_blank_before_a_quotation_mark_is_named_as_such(dataset):
    said = messages(prepare(dataset, text(second=lambda i: f' "{i},5"')))
    assert "data.csv has 4 fields in line 2" in said
    assert "delete the blanks before quotation marks" in said


def test_a_comma_that_may_be_either_mark_is_not_guessed(dataset):
    said = messages(prepare(dataset, text(lambda i: f'"{i + 1},{100 + i}"'))).replace('\\"', '"')
    assert 'write decimal = ",", or thousands = "," (one or the other, as the mark means)' in said


def test_numbers_of_the_other_convention_are_no_numbers(dataset):
    settings = 'delimiter = ";"\ndecimal = ","\nthousands = "."'
    found = prepare(dataset, text(lambda i: f"{i}.25", lambda _: "1", delimiter=";"), settings)
    assert "text like '9.99'" in messages(found)


def test_values_of_few_rows_are_shown_in_their_form_only(dataset):
    found = prepare(dataset, text(lambda i: "Ann B7" if i == 3 else f"{i}"))
    assert "text like 'xxx x9' in 1 row (e.g. data.csv line 5)" in messages(found)
    assert "Ann" not in messages(found)


DATES = ["%d/%m/%Y", "%d.%m.%Y", "%d-%m-%y", "%m/%d/%Y", "%Y-%m-%d", "%Y/%m/%d", "%d.%m.%Y %H:%M", "%d-%b-%Y", "%H:%M"]


@pytest.mark.parametrize("form", DATES)
def test_dates_are_refused_and_not_hundreds_of_categories(dataset, form):
    days = text(lambda i: f"{i}", lambda i: (date(2026, 1, 1) + timedelta(i)).strftime(form))
    found = prepare(dataset, days)
    assert "column 'b' holds dates or times" in messages(found)
    assert "list the column under [table] ignore" in messages(found)
    assert prepare(dataset, days, 'ignore = ["b"]').ok
    assert prepare(dataset, days, 'categorical = ["b"]').ok


def test_the_order_of_day_and_month_is_said_where_it_shows(dataset):
    days = text(second=lambda i: (date(2026, 1, 1) + timedelta(i)).strftime("%d/%m/%Y"))
    assert "holds dates or times, day first" in messages(prepare(dataset, days))


COUNTRY = text(second=lambda i: ("NA", "ZA", "BW")[i // 2 % 3])


def test_a_declared_text_column_knows_only_the_empty_field_as_missing(dataset):
    assert prepare(dataset, COUNTRY, 'categorical = ["b"]').ok
    assert set(column(dataset, "b")) == {"NA", "ZA", "BW"}
    found = prepare(dataset, COUNTRY, 'categorical = ["b"]\nna = ["NA"]\nmissing = "drop"')
    assert "20 of 60 rows are dropped, with a value missing in 'b' (20)" in found.notes


def test_what_is_read_as_missing_in_a_column_that_is_not_declared_is_reported(dataset):
    found = prepare(dataset, COUNTRY)
    assert "column 'b' is missing in 20 rows ('NA' in 20)" in messages(found)
    assert "where 'NA' is a value: categorical = [\"b\"]" in messages(found).replace('\\"', '"')
    found = prepare(dataset, COUNTRY, 'missing = "drop"')
    assert "column 'b': 'NA' in 20 rows are read as missing" in found.notes[0]
    assert prepare(dataset, COUNTRY, "na = []").ok
    assert set(column(dataset, "b")) == {"NA", "ZA", "BW"}


def test_a_label_that_reads_as_missing_is_refused_until_it_is_declared_to_be_a_class(dataset):
    labels = PLAIN.replace("cat", "NA")
    found = prepare(dataset, labels)
    assert "where it is a class, write na = []" in messages(found)
    assert prepare(dataset, labels, "na = []").ok


def test_doubtful_values_are_noted(dataset):
    found = prepare(dataset, text(lambda i: f"{i % 50:05d}", lambda i: "xy?"[i // 2 % 3]))
    assert found.ok, messages(found)
    assert any("column 'a' holds numbers with leading zeros in 60 rows" in note for note in found.notes)
    assert any("column 'b' holds '?' in 20 rows, as values of their own" in note for note in found.notes)
    found = prepare(dataset, text(second=lambda i: "xy"[i // 2 % 2]) + "1,Total,cat\n")
    assert any("ends in a row with 'Total' in 'b'" in note for note in found.notes)


@pytest.mark.parametrize("written", ["1e5", "+7", "7.", ".5", "1E-3", " 7 "])
def test_numbers_in_their_usual_forms_are_numbers(dataset, written):
    assert prepare(dataset, text(lambda i: written if i % 2 else "3")).ok
    assert set(column(dataset, "a")) == {np.float32(float(written)), 3.0}


def test_a_long_field_is_read_though_it_is_longer_than_a_block(dataset):
    long = "x" * (3 << 20)
    found = prepare(dataset, text(second=lambda i: f'"{long if i == 3 else i}"'), 'ignore = ["b"]')
    assert found.ok, messages(found)
