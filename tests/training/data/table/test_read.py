"""All files of a table as one: what each column holds, where each row is, and what is wrong with a file."""

from decimal import Decimal

import pyarrow as pa
import pytest
from pyarrow import csv, parquet

from training.data.checks import Checks
from training.data.dataset_toml import Table
from training.data.files import FILES
from training.data.table.dialect import Dialect
from training.data.table.read import COLUMNS, MixedTypes, Part, Rows, read_rows

COMMAS = Dialect(",", "utf-8")


def table(**settings):
    return Table(settings.pop("file", ("*",)), "kind", **settings)


def text(name="a.csv", **columns):
    rows = pa.table(columns)
    return Part(name, rows, COMMAS, range(2, 2 + rows.num_rows))


def binary(name="b.parquet", **columns):
    return Part(name, pa.table(columns))


def rows(*parts, index=(), **settings):
    return Rows(parts, table(**settings), index)


def held(column):
    return str(column.type), column.to_pylist()


class TestPlaces:
    def test_rows_are_numbered_through_all_files(self):
        found = rows(text("a.csv", x=["1", "2"]), text("b.csv", x=["3"]), binary("c.pq", x=["4", "5"]))
        assert len(found) == 5
        places = ["a.csv line 2", "a.csv line 3", "b.csv line 2", "c.pq row index 0", "c.pq row index 1"]
        assert [found.where(row) for row in range(5)] == places

    def test_columns_are_those_of_the_first_file_in_its_order(self):
        assert rows(text(z=["1"], a=["2"]), text("b.csv", a=["1"], z=["2"])).columns == ["z", "a"]

    def test_some_rows_are_written_each_under_its_own_file_in_its_order(self, tmp_path):
        numbers = pa.array([7, 8, 9], pa.int16())
        found = rows(
            text("in/side/a.csv", x=["1", "2", "3"]), binary("in/side/B.PQ", x=numbers), text("c.csv", x=["4"])
        )
        found.write([5, 2, 0, 4], tmp_path)
        assert (tmp_path / "in/side/a.csv").read_text() == "x\n1\n3\n"
        assert (tmp_path / "c.csv").read_text() == "x\n"
        assert parquet.read_table(tmp_path / "in/side/B.PQ") == pa.table({"x": numbers[1:]})


HELD = {
    "numbers of texts": ((text(x=["1", "2"]),), {}, ("int64", [1, 2])),
    "numbers of several files": ((text(x=["1"]), text("b.csv", x=["2.5"])), {}, ("double", [1.0, 2.5])),
    "numbers of both formats, texts first": ((binary(x=[1.5]), text(x=["2"])), {}, ("double", [2.0, 1.5])),
    "texts of both formats": ((text(x=["a"]), binary(x=["b", "NA"])), {}, ("string", ["a", "b", None])),
    "texts in Parquet, where only the empty one is missing": (
        (binary(x=["a", "NA", " "]),), {}, ("string", ["a", "NA", None]),
    ),
    "texts in Parquet with a mark that is declared": (
        (binary(x=["a", "NA", "?"]),), {"na": ("?",)}, ("string", ["a", "NA", None]),
    ),
    "numbers as texts in Parquet": ((binary(x=["1", "2"]),), {}, ("string", ["1", "2"])),
    "numbers as texts in Parquet, declared": ((binary(x=["1", "2"]),), {"numeric": ("x",)}, ("int64", [1, 2])),
    "numbers in Parquet, declared": ((binary(x=[1, 2]),), {"numeric": ("x",)}, ("int64", [1, 2])),
    "numbers in Parquet beside texts with decimal commas": (
        (binary(x=[1.5]), text(x=["2,5"])), {"numeric": ("x",), "decimal": ","}, ("double", [2.5, 1.5]),
    ),
    "declared texts": ((text(x=["01", "NA", ""]),), {"categorical": ("x",)}, ("string", ["01", "NA", None])),
    "texts that are mixed with numbers": ((text(x=["1", "a"]),), {}, ("string", ["1", "a"])),
    "declared texts in one file, numbers in another": (
        (text(x=["1"]), text("b.csv", x=["a"])), {"categorical": ("x",)}, ("string", ["1", "a"]),
    ),
    "one file of gaps, one of texts": ((text(x=["NA"]), text("b.csv", x=["a"])), {}, ("string", [None, "a"])),
    "a dictionary": ((binary(x=pa.array(["a", "b"]).dictionary_encode()),), {}, ("string", ["a", "b"])),
    "a dictionary of large texts": (
        (binary(x=pa.array(["a"], pa.large_string()).dictionary_encode()),), {}, ("string", ["a"]),
    ),
    "large texts": ((binary(x=pa.array(["a"], pa.large_string())),), {}, ("string", ["a"])),
    "views of texts": ((binary(x=pa.array(["a"], pa.string_view())),), {}, ("string", ["a"])),
    "decimals": ((binary(x=pa.array([Decimal("1.25")])),), {}, ("double", [1.25])),
    "truth": ((binary(x=[True, None]),), {}, ("bool", [True, None])),
    "a number that is declared to be missing": ((binary(x=[-9.0, 1.5]),), {"na": ("-9",)}, ("double", [None, 1.5])),
}  # fmt: skip


class TestColumns:
    @pytest.mark.parametrize(("parts", "settings", "read"), HELD.values(), ids=HELD)
    def test_hold_the_same_in_all_files(self, parts, settings, read):
        assert held(rows(*parts, **settings).column("x")) == read

    def test_a_target_is_a_number_where_one_is_predicted(self):
        part = binary(kind=["1", "2"], x=["1", "2"])
        assert held(rows(part, task="regression").column("kind")) == ("int64", [1, 2])
        assert held(rows(part).column("kind")) == ("string", ["1", "2"])
        assert held(rows(part, task="regression").column("x")) == ("string", ["1", "2"])

    @pytest.mark.parametrize(
        ("parts", "kinds"),
        [
            ((text(x=["1", "2"]), text("b.csv", x=["a", "b"])), {"double": "a.csv", "string": "b.csv"}),
            ((text(x=["true"]), text("b.csv", x=["a"])), {"bool": "a.csv", "string": "b.csv"}),
            ((text(x=["1"]), text("b.csv", x=["2"]), binary(x=["a"])), {"int64": "a.csv", "string": "b.parquet"}),
            ((binary("1", x=[1]), binary("2", x=[2]), binary("3", x=["a"])), {"int64": "1", "string": "3"}),
        ],
    )
    def test_that_hold_different_kinds_in_different_files_are_refused(self, parts, kinds):
        with pytest.raises(MixedTypes) as error:
            rows(*parts).column("x")
        assert {str(kind): file for kind, file in error.value.kinds.items()} == kinds
        assert str(error.value) == ""

    def test_are_shown_as_they_are_written(self):
        found = rows(text(x=["01", ""]), binary(x=[1.5]))
        assert held(found.as_written("x")) == ("string", ["01", "", "1.5"])

    def test_three_views_of_all_columns(self):
        first = text(n=["1", "NA"], t=["a", ""], m=["1", "2"], i=["0", "1"])
        second = text("b.csv", n=["2"], t=["b"], m=["a"])
        table_, texts, numbers = rows(first, second, index={"i"}, na=("2", "NA")).views()
        assert list(table_) == list(texts) == list(numbers) == ["n", "t", "m"]
        assert held(table_["n"]) == ("int64", [1, None, None])
        assert held(texts["n"]) == ("string", ["1", None, None])
        assert held(numbers["n"]) == ("int64", [1, None, None])
        assert held(texts["t"]) == held(numbers["t"]) == held(table_["t"]) == ("string", ["a", None, "b"])
        assert held(table_["m"]) == ("string", ["1", None, "a"])

    def test_numbers_that_are_texts_are_numbers_in_one_view_and_lists_have_no_text(self):
        table_, texts, numbers = rows(binary(t=["1", "2"], e=[[1], [2]])).views()
        assert (held(table_["t"]), held(numbers["t"])) == (("string", ["1", "2"]), ("int64", [1, 2]))
        assert held(texts["e"]) == held(table_["e"]) == held(numbers["e"])

    def test_that_are_mixed_are_texts_in_the_views_without_what_is_declared_to_be_missing(self):
        parts = binary("1", x=[1, 2]), binary("2", x=["a", "?"])
        assert held(rows(*parts, na=("?",)).views()[0]["x"]) == ("string", ["1", "2", "a", None])
        assert held(rows(*parts).views()[0]["x"]) == ("string", ["1", "2", "a", "?"])


class TestWhatIsInATextColumn:
    def test_matches_are_counted_in_text_files_alone(self):
        found = rows(text(x=["01", "1"]), binary(x=["02"]), text("c.csv", x=["03", "04"]))
        assert found.matches("x", "^0") == 3
        assert found.matches("x", "^9") == 0
        assert rows(binary(x=["02"])).matches("x", "^0") == 0
        assert rows(text(x=pa.nulls(0, pa.string()))).matches("x", "^0") == 0

    def test_a_mark_is_held_by_some_file(self):
        found = rows(binary(x=[1]), text(x=["a", ""]), text("c.csv", x=["b", " ? "]))
        assert found.holds("x", ["?", "-"])
        assert not found.holds("x", ["-"])
        assert not rows(binary(x=[1])).holds("x", ["1"])

    def test_marks_are_counted_without_the_empty_field(self):
        found = rows(text(x=["a", "NA", "", " NA ", "null", "null"]))
        assert found.marks("x") == {"NA": 1, "null": 2}
        assert rows(text(x=["a", "NA"]), categorical=("x",)).marks("x") == {}
        assert rows(binary(x=["a", "NA"])).marks("x") == {}
        assert rows(binary(x=["a", "NA"]), na=("NA",)).marks("x") == {"NA": 1}

    def test_a_field_may_be_empty_where_one_of_the_files_is_a_text_file(self):
        assert rows(binary(x=["a"]), text(x=["a"])).has_text_files is True
        assert rows(binary(x=["a"])).has_text_files is False


class TestFiles:
    @pytest.fixture
    def read(self, tmp_path):
        def read(**settings):
            return read_rows(tmp_path, table(**settings), checks), checks

        checks = Checks()
        return read

    def test_are_read_by_their_ending_in_the_order_of_their_names(self, tmp_path, read):
        (tmp_path / "b.tsv").write_text("x\tkind\n1\ta\n")
        csv.write_csv(pa.table({"x": [2], "kind": ["b"]}), tmp_path / "c.CSV")
        parquet.write_table(pa.table({"x": [3], "kind": ["c"]}), tmp_path / "a.Parquet")
        parquet.write_table(pa.table({"x": [4], "kind": ["d"]}), tmp_path / "d.pq")
        found, checks = read()
        assert [found.where(row) for row in range(4)] == [
            "a.Parquet row index 0", "b.tsv line 2", "c.CSV line 2", "d.pq row index 0",
        ]  # fmt: skip
        assert checks.failed == ()
        assert checks.read_as == [
            'b.tsv: delimiter "\\t", decimal ".", encoding "utf-8"', 'c.CSV: delimiter ",", decimal ".", encoding "utf-8"',
        ]  # fmt: skip

    def test_that_were_read_in_one_way_are_reported_in_one_line(self, tmp_path, read):
        for name in "abc":
            (tmp_path / f"{name}.csv").write_text("x,kind\n1,a\n")
        assert read()[1].read_as == ['3 files: delimiter ",", decimal ".", encoding "utf-8"']

    @pytest.mark.parametrize(
        ("files", "messages"),
        [
            ({"a.csv": b"x,kind\n"}, ["a.csv has no rows"]),
            ({"a.xlsx": b"PK\x03\x04"}, ["a.xlsx cannot be read as a workbook: "]),
            ({"a.xls": b"PK\x03\x04"}, ["a.xls has none of the endings .csv, .tsv, .jsonl, .xlsx and .parquet, but a zip archive"]),
            ({"a.doc": b"hello"}, ["a.doc has none of the endings .csv, .tsv, .jsonl, .xlsx and .parquet"]),
            ({"a.parquet": b"\x1f\x8b"}, ["a.parquet is compressed by gzip, not a Parquet file"]),
            ({"a.parquet": b"hello"}, ["a.parquet is something else, not a Parquet file"]),
            ({"a.parquet": b"PAR1 and no more"}, ["a.parquet cannot be read: "]),
            ({"a.csv": b"x,kind\n1,a\nx,kind\n"}, ["a.csv repeats the names of its columns in line 3"]),
            ({"a.csv": b"x,x,kind\n1,2,a\n"}, ["a.csv: column 'x' appears 2 times"]),
            ({"a.csv": b"x,,kind\n1,2,a\n2,9,a\n"}, ["a.csv: a column has no name"]),
            ({"a.csv": b"x,X ,kind\n1,2,a\n", "b.csv": b"x,X ,kind\n1,2,a\n"}, []),
            ({"a.csv": b"x,x ,kind\n1,2,a\n"}, ["a.csv: columns 'x' and 'x ' differ only in blanks"]),
            (
                {"a.csv": b"x,kind\n1,a\n", "b.csv": b"y,kind\n1,a\n"},
                ["b.csv lacks column 'x', which a.csv has", "b.csv has column 'y', which a.csv lacks"],
            ),
            (
                {"a.csv": b"", "b.csv": b"x,kind\n", "c.doc": b"?", "d.csv": b"x,kind\n1,a\n"},
                ["a.csv is empty (0 bytes)", "c.doc has none of the endings .csv, .tsv, .jsonl, .xlsx and .parquet", "b.csv has no rows"],
            ),
        ],
        ids=lambda each: " ".join(each) if isinstance(each, dict) else "",
    )  # fmt: skip
    def test_each_that_is_wrong_is_named_and_then_there_are_no_rows(self, tmp_path, read, files, messages):
        for name, data in files.items():
            (tmp_path / name).write_bytes(data)
        found, checks = read()
        said = [message for each in checks.failed for message in each.messages]
        assert len(said) == len(messages)
        assert all(one.startswith(wanted) for one, wanted in zip(said, messages, strict=True))
        assert all(each.hint for each in checks.failed)
        assert not any(one.endswith(": ") for one in said)
        assert (found is None) == bool(messages)

    def test_a_column_whose_name_holds_a_nul_is_refused(self, tmp_path, read):
        parquet.write_table(pa.table({"x\0": [1], "kind": ["a"]}), tmp_path / "a.parquet")
        found, checks = read()
        assert found is None
        assert [each.messages for each in checks.failed] == [("a.parquet: column 'x\\x00' holds a NUL character",)]

    def test_what_is_wrong_elsewhere_leaves_no_rows(self, tmp_path):
        (tmp_path / "a.csv").write_text("x,kind\n1,a\n")
        checks = Checks()
        checks.fail("another check", "something is wrong")
        assert read_rows(tmp_path, table(), checks) is None

    def test_none_is_read_where_there_is_none(self, read):
        found, checks = read(file=("*.csv",))
        assert found is None
        assert [each.messages for each in checks.failed] == [("[table] file: '*.csv' matches no file",)]

    def test_the_index_may_be_in_some_files_only_and_is_an_input_where_it_is_named(self, tmp_path, read):
        (tmp_path / "a.csv").write_text("Unnamed: 0,x,kind\n1,1,a\n")
        (tmp_path / "b.csv").write_text("x,kind\n1,a\n")
        (tmp_path / "c.csv").write_text("Unnamed: 0,x,kind\n7,2,b\n")
        found, checks = read()
        assert checks.failed == ()
        assert [each.name for each in checks.report().cases] == [FILES, COLUMNS]
        assert found.index == {"Unnamed: 0"}
        assert read(numeric=("Unnamed: 0",))[0] is None

    def test_what_was_left_out_of_a_text_file_is_noted_with_its_name(self, tmp_path, read):
        (tmp_path / "a.csv").write_text("x,kind\n1,a\n,\n")
        assert read()[1].notes == ["a.csv ends in empty rows (1): left out"]
