"""A text file as rows of texts: its encoding, what is between its columns, its line of names; and the same file written again."""

import codecs

import pyarrow as pa
import pytest

from training.data.dataset_toml import Table
from training.data.table import csv_file
from training.data.table.csv_file import read, write
from training.data.table.dialect import Dialect
from training.data.table.suspect import Unreadable

PLAIN = "a,kind\n1,x\n2,y\n"
ROWS = {"a": ["1", "2"], "kind": ["x", "y"]}


@pytest.fixture
def file(tmp_path):
    """Reads these bytes as a file with this name."""

    def file(data, name="data.csv", **settings):
        path = tmp_path / name
        path.write_bytes(data if isinstance(data, bytes) else data.encode())
        return read(path, Table(("*",), "kind", **settings))

    return file


def refused(file, *args, **settings):
    with pytest.raises(Unreadable) as error:
        file(*args, **settings)
    return str(error.value), error.value.hint


class TestColumns:
    @pytest.mark.parametrize(
        ("name", "delimiter", "settings"),
        [
            ("data.csv", ",", {}), ("data.tsv", "\t", {}), ("data.TXT", ",", {}),
            ("data.csv", ";", {"delimiter": ";"}), ("data.tsv", "|", {"delimiter": "|"}),
        ],
    )  # fmt: skip
    def test_are_divided_by_what_is_declared_else_by_what_the_ending_says(self, file, name, delimiter, settings):
        found = file(PLAIN.replace(",", delimiter), name, **settings)
        assert found.rows.to_pydict() == ROWS
        assert found.dialect == Dialect(delimiter, "utf-8")
        assert found.notes == ()

    @pytest.mark.parametrize(
        ("first", "settings"), [("sep=;\n", {}), ('"sep=;"\r\n', {}), ("SEP=;\r", {"delimiter": ";"})]
    )
    def test_are_divided_by_what_the_first_line_says(self, file, first, settings):
        found = file(first + PLAIN.replace(",", ";"), **settings)
        assert found.rows.to_pydict() == ROWS
        assert found.dialect == Dialect(";", "utf-8", first)
        assert found.lines.tolist() == [3, 4]

    def test_are_not_divided_in_two_ways(self, file):
        message, hint = refused(file, "sep=;\n" + PLAIN, delimiter="|")
        assert message == "says 'sep=;' in its first line, but '|' is declared"
        assert hint.startswith('write delimiter = ";"')

    @pytest.mark.parametrize(
        ("data", "rows"),
        [
            (PLAIN.replace("\n", "\r\n"), ROWS),
            (PLAIN.replace("\n", "\r"), ROWS),
            (PLAIN.rstrip("\n"), ROWS),
            ("\n\r\n" + PLAIN, ROWS),
            ('"a",kind\n"1",x\n2,"y"\n', ROWS),
            ('"a\nb",kind\n1,x\n2,y\n', {"a\nb": ["1", "2"], "kind": ["x", "y"]}),
            ('a,kind\n"1\n2",x\n,y\n', {"a": ["1\n2", ""], "kind": ["x", "y"]}),
            ("a,kind\nNA,x\n 2 ,\n", {"a": ["NA", " 2 "], "kind": ["x", ""]}),
        ],
    )
    def test_hold_every_field_as_it_is(self, file, data, rows):
        assert file(data).rows.to_pydict() == rows

    @pytest.mark.parametrize("data", ["a,kind\n", "a,kind", "a,kind\r\n\n\n"])
    def test_may_have_no_rows(self, file, data):
        found = file(data)
        assert (found.rows.column_names, found.rows.num_rows, str(found.rows.schema.types[0])) == (
            ["a", "kind"],
            0,
            "string",
        )

    def test_of_one_long_field_are_read(self, file):
        long = "x" * (3 << 20)
        assert file(f"a,kind\n{long},x\n2,y\n").rows.column("a").to_pylist() == [long, "2"]

    @pytest.mark.parametrize(
        ("data", "message"),
        [
            ("\n\n", "has no line with the names of columns"),
            ("a,kind\n1,x,3\n2,y\n", "has 3 fields in"),
            ("a,kind\n1\n2,y\n", "has 1 field in"),
            ('a,"kind\n1,x\n', "names"),
            ('"' + "x" * (1 << 20), "has a first line that does not end"),
            (b"PK\x03\x04", "is a zip archive"),
            (b"a,kind\n1,\xff\n", "is not UTF-8 in line 2"),
            (b"a\xff,kind\n1,x\n", "is not UTF-8 in line 1"),
            (b"a,kind\n1,x\0\n", "holds a zero byte in line 2"),
        ],
    )
    def test_that_are_none_are_refused(self, file, data, message):
        if message == "names":
            assert file(data).rows.num_rows == 0
        else:
            assert message in refused(file, data)[0]

    def test_that_are_left_out_or_end_in_a_sum_are_noted(self, file):
        found = file("a,kind,\n1,x,\nTotal,y,\n,,\n")
        assert found.rows.to_pydict() == {"a": ["1", "Total"], "kind": ["x", "y"]}
        assert [each.split(":")[0] for each in found.notes] == [
            "has a column without name and values", "ends in empty rows (1)", "ends in a row with 'Total' in 'a'",
        ]  # fmt: skip


LETTERS = "a,kind\ncaf\xe9,x\n2,y\n"


class TestEncodings:
    @pytest.mark.parametrize(
        ("data", "declared", "encoding"),
        [
            (LETTERS.encode(), "", "utf-8"),
            (LETTERS.encode(), "utf-8", "utf-8"),
            (codecs.BOM_UTF8 + LETTERS.encode(), "", "utf-8-sig"),
            (codecs.BOM_UTF8 + LETTERS.encode(), "utf-8", "utf-8-sig"),
            (LETTERS.encode("utf-8"), "utf-8-sig", "utf-8-sig"),
            (LETTERS.encode("utf-16"), "", "utf-16"),
            (LETTERS.encode("utf-16"), "utf-16", "utf-16"),
            (codecs.BOM_UTF16_LE + LETTERS.encode("utf-16-le"), "utf-16-le", "utf-16-le"),
            (codecs.BOM_UTF16_BE + LETTERS.encode("utf-16-be"), "", "utf-16"),
            (LETTERS.encode("utf-16-le"), "utf-16-le", "utf-16-le"),
            (LETTERS.encode("utf-32"), "", "utf-32"),
            (codecs.BOM_UTF32_BE + LETTERS.encode("utf-32-be"), "", "utf-32"),
            (LETTERS.encode("cp1252"), "cp1252", "cp1252"),
        ],
    )
    def test_are_those_that_are_declared_or_marked_and_else_utf_8(self, file, data, declared, encoding):
        found = file(data, encoding=declared)
        assert found.rows.column("a").to_pylist() == ["caf\xe9", "2"]
        assert found.rows.column_names == ["a", "kind"]
        assert (found.dialect.encoding, found.notes) == (encoding, ())

    def test_other_than_utf_8_for_letters_that_are_utf_8_are_noted(self, file):
        (note,) = file(LETTERS.encode(), encoding="cp1252").notes
        assert note == "is read as cp1252, as declared, though it is valid UTF-8: are its letters right?"
        assert file(PLAIN, encoding="cp1252").notes == ()

    @pytest.mark.parametrize(
        ("data", "declared", "message"),
        [
            (LETTERS.encode("utf-16"), "cp1252", "begins with the byte order mark of UTF-16, but cp1252 is declared"),
            (
                codecs.BOM_UTF8 + PLAIN.encode(),
                "cp1252",
                "begins with the byte order mark of UTF-8, but cp1252 is declared",
            ),
            (PLAIN.encode(), "utf-16", "is not encoded as utf-16, which is declared"),
            (PLAIN.encode() + b"\x81,z\n", "cp1252", "is not encoded as cp1252: line 4 cannot be read"),
            (PLAIN.encode("utf-16-be"), "", "looks like UTF-16 without a byte order mark"),
            (LETTERS.encode("cp1252"), "", "is not UTF-8 in line 2"),
            (PLAIN.replace("x", "\0").encode(), "cp1252", "holds a zero byte in line 2"),
        ],
    )
    def test_that_do_not_fit_are_refused(self, file, data, declared, message):
        found, hint = refused(file, data, encoding=declared)
        assert message in found
        assert hint


class TestWritten:
    @pytest.mark.parametrize(
        ("data", "settings"),
        [
            (PLAIN, {}),
            ("sep=;\r\n" + PLAIN.replace(",", ";"), {}),
            (LETTERS.encode("cp1252"), {"encoding": "cp1252"}),
            (LETTERS.encode("utf-16"), {}),
            (codecs.BOM_UTF8 + LETTERS.encode(), {}),
            (PLAIN.replace(",", "\t"), {"delimiter": "\t"}),
            ('a,kind\n"1,5","x ""y"""\n"2\n3",y\n', {}),
            ('"a,b",kind\n1,x\n', {}),
        ],
    )
    def test_again_a_file_is_what_it_was(self, file, tmp_path, data, settings):
        found = file(data, **settings)
        write(found.rows, found.dialect, tmp_path / "again.csv")
        assert (tmp_path / "again.csv").read_bytes() == (tmp_path / "data.csv").read_bytes()

    def test_some_rows_have_quotation_marks_where_they_are_needed_only(self, tmp_path):
        rows = pa.table({"a": ["1", "x,y", ""], "kind": ["x", "y", ""]})
        write(rows, Dialect(",", "utf-8"), tmp_path / "a.csv")
        assert (tmp_path / "a.csv").read_text() == 'a,kind\n1,x\n"x,y",y\n,\n'


def test_the_endings_are_those_of_text_files():
    assert csv_file.ENDINGS == {".csv": ",", ".tsv": "\t", ".txt": ","}
