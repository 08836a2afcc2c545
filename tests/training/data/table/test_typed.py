"""What a column of texts holds: numbers, truth values, texts or nothing, and which texts mean that a value is missing."""

import math

import pyarrow as pa
import pytest

from training.data.dataset_toml import Table
from training.data.table.dialect import MARKS
from training.data.table.typed import by_value, kind, text, typed, without, without_numbers


def table(**settings):
    return Table(("data.csv",), "kind", **settings)


def texts(*values):
    return pa.chunked_array([pa.array(values, pa.string())])


def found(column):
    return str(column.type), column.to_pylist()


EUROPEAN = {"decimal": ",", "thousands": "."}
TYPED = {
    "whole numbers": (("1", "-2"), {}, "int64", [1, -2]),
    "a plus sign": (("+1", "-2"), {}, "double", [1.0, -2.0]),
    "decimal numbers": (("1", "2.5"), {}, "double", [1.0, 2.5]),
    "exponents": (("1e5", "2"), {}, "double", [1e5, 2.0]),
    "numbers with blanks around": ((" 1 ", "2"), {}, "int64", [1, 2]),
    "numbers with gaps": (("1", "", "NA", " nan "), {}, "int64", [1, None, None, None]),
    "truth": (("true", "False", "TRUE"), {}, "bool", [True, False, True]),
    "truth with gaps": (("true", "", "NA"), {}, "bool", [True, None, None]),
    "gaps alone": (("", "NA", " "), {}, "null", [None, None, None]),
    "texts": (("a", "1", "NA"), {}, "string", ["a", "1", "NA"]),
    "texts with blanks around, which stay": ((" a", "1"), {}, "string", [" a", "1"]),
    "other words for truth": (("yes", "no"), {}, "string", ["yes", "no"]),
    "hexadecimal digits": (("0x10", "1"), {}, "string", ["0x10", "1"]),
    "a mark that is declared": (("1", "?"), {"na": ("?",)}, "int64", [1, None]),
    "a number that is declared": (("1", "-9"), {"na": ("-9",)}, "int64", [1, None]),
    "a mark that is known, and others declared": (("1", "NA"), {"na": ("?",)}, "int64", [1, None]),
    "a mark that nobody declared": (("1", "?"), {}, "string", ["1", "?"]),
    "decimal commas": (("1,5", "2"), {"decimal": ","}, "double", [1.5, 2.0]),
    "decimal commas with gaps": (("1,5", "NA"), {"decimal": ","}, "double", [1.5, None]),
    "decimal points where commas are declared": (("1.5", "2"), {"decimal": ","}, "string", ["1.5", "2"]),
    "groups and decimal commas": (("1.234,5", "12"), EUROPEAN, "double", [1234.5, 12.0]),
    "groups of another length": (("1.23", "12"), EUROPEAN, "string", ["1.23", "12"]),
    "groups": (("1,234", "5"), {"thousands": ","}, "int64", [1234, 5]),
    "groups and decimal points": (("1,234.5", "5"), {"thousands": ","}, "double", [1234.5, 5.0]),
    "groups with any blank": (("1\u202f234", "5 678"), {"thousands": " "}, "int64", [1234, 5678]),
    "groups with quotation marks": (("1'234", "5"), {"thousands": "'"}, "int64", [1234, 5]),
    "groups where points are declared": (("1x234", "5"), EUROPEAN, "string", ["1x234", "5"]),
    "truth in a file with decimal commas": (("true", "false"), {"decimal": ","}, "bool", [True, False]),
}


@pytest.mark.parametrize(("values", "settings", "type_", "read"), TYPED.values(), ids=TYPED)
def test_a_column_holds_what_all_of_its_texts_are(values, settings, type_, read):
    assert found(typed(texts(*values), table(**settings))) == (type_, read)


@pytest.mark.parametrize("written", ["NAN", "Nan", "+nan", "-NAN"])
def test_not_a_number_is_a_number_however_it_is_written(written):
    column = typed(texts("1", written, "NA"), table())
    assert str(column.type) == "double"
    assert math.isnan(column[1].as_py())


def test_numbers_in_several_pieces_are_read_as_one_column():
    pieces = pa.chunked_array([pa.array(["1", "NA"]), pa.array(["2.5", "1"])])
    assert found(typed(pieces, table())) == ("double", [1.0, None, 2.5, 1.0])


@pytest.mark.parametrize(
    ("name", "settings", "read"),
    [
        ("colour", {}, ["a", None, None, "?"]),
        ("colour", {"categorical": ("colour",)}, ["a", "NA", None, "?"]),
        ("colour", {"key": "colour"}, ["a", "NA", None, "?"]),
        ("kind", {}, ["a", None, None, "?"]),
        ("kind", {"categorical": ("colour",)}, ["a", None, None, "?"]),
        ("colour", {"na": ("?",)}, ["a", "NA", None, None]),
        ("colour", {"na": ("?",), "categorical": ("colour",)}, ["a", "NA", None, None]),
        ("colour", {"na": ()}, ["a", "NA", None, "?"]),
    ],
)
def test_a_text_is_missing_where_it_is_blank_or_declared_or_known_and_the_column_is_not(name, settings, read):
    assert text(texts("a", "NA", " ", "?"), table(**settings), name).to_pylist() == read


def test_marks_are_whole_texts_with_or_without_blanks_around_them():
    column = texts("NA", " NA\t", "NAN", "a NA", "a.b", "a+b", " ", "")
    assert without(column, ("NA", "a.b")).to_pylist() == [None, None, "NAN", "a NA", None, "a+b", None, None]
    assert without(texts("axb"), ("a.b",)).to_pylist() == ["axb"]
    assert without(texts(*MARKS), MARKS).null_count == len(MARKS)


@pytest.mark.parametrize(
    ("values", "marks", "read"),
    [
        ([-999, 1], ("-999",), [None, 1]),
        ([-999.0, 0.5, None], ("?", " -999", "1"), [None, 0.5, None]),
        ([-999, 1], ("?",), [-999, 1]),
        ([2**53 + 1, 1], ("1",), [2**53 + 1, None]),
        ([-999, 1], (), [-999, 1]),
        ([True, False], ("1",), [True, False]),
        (["-999", "1"], ("-999",), ["-999", "1"]),
    ],
)
def test_a_number_is_missing_where_a_mark_is_that_number_however_it_is_written(values, marks, read):
    column = pa.chunked_array([pa.array(values)])
    assert found(without_numbers(column, marks)) == (str(column.type), read)


def test_what_is_asked_about_texts_is_asked_once_about_each_different_one():
    asked = []

    def upper(values):
        asked.extend(values.to_pylist())
        return pa.chunked_array([pa.array([each.upper() for each in values.to_pylist()])])

    pieces = pa.chunked_array([pa.array(["a", "b", "a"]), pa.array(["c", "a"])])
    assert by_value(pieces, upper).to_pylist() == ["A", "B", "A", "C", "A"]
    assert asked == ["a", "b", "c"]
    nothing = pa.chunked_array([], pa.string())
    assert by_value(nothing, lambda values: values) is nothing


@pytest.mark.parametrize(
    ("values", "settings", "type_"),
    [
        (("1", "2"), {}, "double"),
        (("1", "2.5", "NA"), {}, "double"),
        (("true", "false"), {}, "bool"),
        (("", "NA"), {}, "null"),
        (("a", "b", "1"), {}, "string"),
        (("a", "1", "2"), {}, None),
        (("a", "1"), {}, None),
        (("a", "1,5"), {}, "string"),
        (("a", "1,5"), {"decimal": ","}, None),
        (("a", "b"), {}, "string"),
    ],
)
def test_a_files_column_is_of_one_kind_unless_half_of_it_is_numbers(values, settings, type_):
    of_it = kind(texts(*values), table(**settings))
    assert (of_it and str(of_it)) == type_
