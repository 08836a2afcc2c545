"""A sheet of an Excel workbook as rows of a table, cell by cell; and what is said of one that cannot be one."""

import subprocess
import sys
import zipfile
from datetime import date, datetime, time, timedelta

import openpyxl
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from training.data.dataset_toml import Table
from training.data.table import packed, workbook
from training.data.table.suspect import Unreadable
from training.data.table.workbook import letters, read, write

NAMES = ["mass", "kind"]


def table(**settings):
    return Table(("*",), "kind", **{"sheet": "Birds", **settings})


def saved(rows, path, change=lambda _: None):
    """A workbook with these rows in its second sheet."""
    book = openpyxl.Workbook()
    book.active.title = "Notes"
    sheet = book.create_sheet("Birds")
    for row in rows:
        sheet.append(row)
    change(sheet)
    book.save(path)
    return path


@pytest.fixture
def file(tmp_path):
    """Reads a workbook with these rows."""

    def file(*rows, change=lambda _: None, **settings):
        return read(saved(rows, tmp_path / "data.xlsx", change), table(**settings))

    return file


def refused(file, *rows, **settings):
    with pytest.raises(Unreadable) as error:
        file(*rows, **settings)
    return str(error.value), error.value.hint


def test_a_column_holds_what_its_cells_hold(file):
    moment, day = datetime(2026, 11, 30, 14, 5), datetime(2026, 11, 29)  # noqa: DTZ001
    rows, lines, notes = file(
        ["whole", "number", "truth", "day", "moment", "kind"],
        [1, 1.5, True, day, moment, "cat"],
        [2, 3, False, day, day, "007"],
        [None, None, None, None, None, None],
        [None, None, None, None, None, "cat"],
    )
    assert rows.to_pydict() == {
        "whole": [1, 2, None],
        "number": [1.5, 3.0, None],
        "truth": [True, False, None],
        "day": [date(2026, 11, 29)] * 2 + [None],
        "moment": [moment, day, None],
        "kind": ["cat", "007", "cat"],
    }
    assert lines.tolist() == [2, 3, 5]
    assert notes == ["has an empty row between its rows: left out"]


def test_a_table_may_begin_below_a_title_and_beside_an_empty_column(file):
    def change(sheet):
        sheet.merge_cells("A1:C1")

    rows, lines, _ = file(["Penguins"], [], [*NAMES, None], [1, "cat"], [2, "dog"], [], change=change, skip_rows=1)
    assert rows.to_pydict() == {"mass": [1, 2], "kind": ["cat", "dog"]}
    assert lines.tolist() == [4, 5]


def test_a_formula_is_the_value_that_was_saved_with_it(file, tmp_path):
    saved([NAMES, ["=1+1", "cat"]], tmp_path / "data.xlsx")
    path = tmp_path / "calculated.xlsx"
    with zipfile.ZipFile(tmp_path / "data.xlsx") as old, zipfile.ZipFile(path, "w") as new:
        for each in old.namelist():
            new.writestr(
                each,
                old.read(each)
                .replace(b"<f>1+1</f><v></v>", b"<f>1+1</f><v>2</v>")
                .replace(b"<f>1+1</f><v />", b"<f>1+1</f><v>2</v>"),
            )
    assert read(path, table())[0].to_pydict() == {"mass": [2], "kind": ["cat"]}
    message, hint = refused(file, NAMES, [1, "cat"], ["=1+1", "dog"])
    assert message == "has a formula without a value in sheet 'Birds' cell A3"
    assert "open the workbook in a spreadsheet, and save it" in hint
    assert file(NAMES, ["=1+1", "dog"], ignore=("mass",))[0].to_pydict() == {"mass": [None], "kind": ["dog"]}


def test_texts_that_mean_missing_are_missing(file):
    rows, _, _ = file(NAMES, ["n/a", "cat"], [2, "?"], ["#N/A", "dog"], ["", "#N/A"])
    assert rows.to_pydict() == {"mass": [None, 2, None, None], "kind": ["cat", "?", "dog", None]}
    rows, _, _ = file(NAMES, ["#DIV/0!", "cat"], [2, "?"], na=("?", "#DIV/0!"))
    assert rows.to_pydict() == {"mass": [None, 2], "kind": ["cat", None]}


MERGED = {"change": lambda sheet: sheet.merge_cells("B2:B3")}
REFUSED = {
    "text among numbers": (
        ([1, "cat"], ["heavy", "dog"]), {},
        "holds numbers as 'mass' in sheet 'Birds' cell A2, and text in sheet 'Birds' cell A3",
        "store one kind of value in a column",
    ),
    "an error": (
        (["#DIV/0!", "cat"],), {}, "holds the error #DIV/0! in sheet 'Birds' cell A2", 'write na = ["#DIV/0!"]',
    ),
    "a duration": (
        ([timedelta(hours=30), "cat"],), {}, "holds a duration in sheet 'Birds' cell A2", "store a number, such as hours",
    ),
    "merged cells": (
        ([1, "cat"], [2, None]), MERGED, "has merged cells in sheet 'Birds', B2:B3", "write the value into each",
    ),
    "a value beside the table": (
        ([1, "cat", None, "note"],), {}, "holds 'note' in sheet 'Birds' cell D2, in a column without a name", "into D1",
    ),
    "a misspelled sheet": (
        ([1, "cat"],), {"sheet": "birds"},
        "has no sheet 'birds' (its sheets: 'Notes', 'Birds')", 'write sheet = "Birds" under [table]',
    ),
    "no sheet": (([1, "cat"],), {"sheet": ""}, "is an Excel workbook, of which a sheet has to be named", 'sheet = "Notes"'),
    "an empty sheet": (([1, "cat"],), {"sheet": "Notes"}, "has no row with the names of columns in sheet 'Notes'", "add"),
}  # fmt: skip


@pytest.mark.parametrize(("rows", "settings", "message", "hint"), REFUSED.values(), ids=REFUSED)
def test_what_cannot_be_read_is_refused_with_sheet_and_cell(file, rows, settings, message, hint):
    found = refused(file, NAMES, *rows, **settings)
    assert message in found[0]
    assert hint in found[1]


def test_a_title_in_merged_cells_is_recognised(file):
    message, hint = refused(file, ["Penguins"], NAMES, [1, "cat"], change=lambda sheet: sheet.merge_cells("A1:B1"))
    assert message == "has merged cells in sheet 'Birds', A1:B1"
    assert "write skip_rows = 1 under [table]" in hint


def test_a_column_that_is_there_twice_is_refused(file):
    assert refused(file, ["a", "a"], [1, 2])[0] == "has column 'a' 2 times"


class TestBounds:
    def test_a_workbook_that_is_much_larger_unpacked_is_refused(self, tmp_path, monkeypatch):
        monkeypatch.setattr(packed, "SMALL", 1 << 16)
        path = saved([NAMES, *([i, "cat" * 300] for i in range(2))], tmp_path / "data.xlsx")
        with zipfile.ZipFile(path, "a", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("xl/more.xml", b"\0" * (8 << 20))
        with pytest.raises(Unreadable, match=r"is 8 MB when it is unpacked, from [\d,]+ bytes; \d MB are allowed"):
            read(path, table())

    def test_a_sheet_with_cells_far_away_is_refused_soon(self, file, monkeypatch):
        monkeypatch.setattr(workbook, "MOST_CELLS", 1000)

        def change(sheet):
            sheet["ZZ1"] = " "

        assert refused(file, NAMES, *[[1, "cat"]] * 300, change=change)[0].startswith("has more than 1,000 cells")

    def test_an_entity_that_grows_is_refused(self, tmp_path):
        path = saved([NAMES, [1, "cat"]], tmp_path / "data.xlsx")
        entities = "".join(f'<!ENTITY a{i + 1} "{f"&a{i};" * 10}">' for i in range(9))
        start = f'<?xml version="1.0"?><!DOCTYPE worksheet [<!ENTITY a0 "aaaaaaaaaa">{entities}]>'.encode()
        with zipfile.ZipFile(path) as old, zipfile.ZipFile(tmp_path / "bomb.xlsx", "w") as new:
            for each in old.namelist():
                data = old.read(each)
                new.writestr(each, start + data.replace(b">cat<", b">&a9;<") if b">cat<" in data else data)
        with pytest.raises(Unreadable, match="cannot be read as a workbook"):
            read(tmp_path / "bomb.xlsx", table())

    @pytest.mark.parametrize("cut", [100, -200])
    def test_a_file_that_is_cut_off_is_refused(self, tmp_path, cut):
        path = saved([NAMES, [1, "cat"]], tmp_path / "data.xlsx")
        path.write_bytes(path.read_bytes()[:cut])
        with pytest.raises(Unreadable, match="cannot be read as a workbook"):
            read(path, table())

    def test_another_file_is_refused_with_what_it_is(self, tmp_path):
        path = tmp_path / "data.xlsx"
        path.write_bytes(b"\xd0\xcf\x11\xe0 and more")
        with pytest.raises(Unreadable, match="is an old Excel workbook") as error:
            read(path, table())
        assert "without a password" in error.value.hint


VALUES = [
    st.integers(-(2**31), 2**31), st.floats(-1e6, 1e6).map(lambda each: round(each, 3)), st.booleans(), st.text("=a+'é 1", min_size=1, max_size=4),
    st.datetimes(datetime(1990, 1, 1), datetime(2030, 1, 1)).map(lambda each: each.replace(hour=5, microsecond=0)),  # noqa: DTZ001
]  # fmt: skip


@given(data=st.data(), kind=st.sampled_from(VALUES), skip_rows=st.integers(0, 2))
def test_rows_that_are_written_are_read_as_they_were(tmp_path_factory, data, kind, skip_rows):
    path, settings = tmp_path_factory.mktemp("book") / "data.xlsx", table(skip_rows=skip_rows)
    rows = pa.table({"mass": data.draw(st.lists(kind, min_size=1, max_size=4))})
    rows = rows.append_column("kind", pa.array(["x"] * len(rows)))
    write(rows, settings, path)
    again, numbers, _ = read(path, settings)
    assert again.to_pydict() == rows.to_pydict()
    assert numbers.tolist() == [2 + skip_rows + i for i in range(len(rows))]


def test_columns_are_named_as_a_spreadsheet_names_them():
    names = [openpyxl.utils.get_column_letter(i + 1) for i in range(800)]
    assert [letters(i) for i in range(800)] == names
    assert [workbook._number(name) for name in names] == list(range(800))


def test_a_time_of_day_is_a_text(file):
    assert file(NAMES, [time(14, 5), "cat"])[0].to_pydict()["mass"] == ["14:05:00"]


def test_openpyxl_is_loaded_where_there_is_a_workbook_alone():
    code = "import sys, training.data.prepare, training.data.table.read; print('openpyxl' in sys.modules)"
    done = subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"
