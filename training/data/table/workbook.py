"""A sheet of an Excel workbook (`.xlsx`) as a table. openpyxl is imported where there is one, and in the worker alone.

Cells have types: numbers, texts, truth values, dates. Of a formula it is the value that was there when the workbook was saved.
"""

from __future__ import annotations

import contextlib
import difflib
import re
import warnings
import zipfile
from collections.abc import Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, time, timedelta
from itertools import repeat
from pathlib import Path
from typing import Any

import numpy as np

from training.data.table import packed
from training.data.table.content import known_kind
from training.data.table.dialect import quoted
from training.data.table.suspect import Unreadable
from training.data.table.values import Gathered
from training.data.table_toml import Table

ENDINGS = (".xlsx",)
BLOCK = 8192
"""Rows that become columns together."""
MOST_ROWS, MOST_CELLS = 1 << 20, 50_000_000
"""Of a sheet: rows that Excel can hold; cells, those that are empty before the last one of a row included."""
ERRORS = frozenset({"#NULL!", "#DIV/0!", "#VALUE!", "#REF!", "#NAME?", "#NUM!"})
NOT_AVAILABLE = "#N/A"
MERGED = re.compile(rb'<(?:\w+:)?mergeCell\s[^>]*?ref="([A-Z]{1,3})(\d{1,7}):([A-Z]{1,3})(\d{1,7})"')
FORMULA = re.compile(rb"<(?:\w+:)?f[\s/>]")
PIECE, OVERLAP = 1 << 20, 256


@dataclass(slots=True)
class Sheet:
    """What the rows of a sheet become."""

    name: str
    merged: list[tuple[str, int, str, int]] = field(default_factory=list)
    """Cells that are one: the column and the row of the first, and of the last."""
    names: list[str] = field(default_factory=list)
    """Of the columns, by their place in the sheet; empty where there is none."""
    header: int = 0
    """The row with the names, from 1."""
    numbers: list[int] = field(default_factory=list)
    """Of the rows in the sheet."""
    empty: int = 0
    """Rows without a value."""

    def cell(self, row: int, column: int) -> str:
        """A place, by the row's number from 1 and the column's from 0."""
        return f"sheet {self.name!r} cell {letters(column)}{row}"


def read(path: Path, table: Table) -> tuple[Any, Any, list[str]]:
    """The rows as a pyarrow.Table, a NumPy array with the number of each in the sheet, and notes. Raises Unreadable."""
    _check_archive(path)
    with _opened(path, table, values=True) as (book, rows):
        merged, has_formulas = _look_into(path, book[table.sheet]._worksheet_path)  # noqa: SLF001  (openpyxl says it nowhere else)
        sheet, gathered = Sheet(table.sheet, merged), Gathered()
        if has_formulas:
            with _opened(path, table, values=False) as (_, formulas):
                _gather(rows, formulas, sheet, gathered, table)
        else:
            _gather(rows, repeat(()), sheet, gathered, table)
    _check_merged(sheet, sheet.header, (sheet.numbers or [sheet.header])[-1])
    named = [name for name in sheet.names if name]
    if not named:
        raise Unreadable(f"has no row with the names of columns in sheet {sheet.name!r}", "add one")
    places = {name: i for i, name in enumerate(sheet.names)}
    found = gathered.table(table, lambda row, name: sheet.cell(sheet.numbers[row], places[name]))
    several = f"{sheet.empty:,} empty rows" if sheet.empty > 1 else "an empty row"
    notes = [f"has {several} between its rows: left out"] if sheet.empty else []
    return found, np.array(sheet.numbers, np.int64), notes


def write(rows: Any, table: Table, path: Path) -> None:
    """Write rows, a pyarrow.Table, as a workbook that `read` reads with the same settings."""
    import openpyxl
    from openpyxl.cell import WriteOnlyCell

    book = openpyxl.Workbook(write_only=True)
    sheet = book.create_sheet(table.sheet)
    for _ in range(table.skip_rows):
        sheet.append([])
    for row in [rows.column_names, *zip(*(column.to_pylist() for column in rows.columns), strict=True)]:
        cells = [WriteOnlyCell(sheet, value) for value in row]
        for cell, value in zip(cells, row, strict=True):
            if isinstance(value, str):
                cell.data_type = "s"  # otherwise a text that begins with = would be a formula
        sheet.append(cells)
    book.save(path)


def letters(column: int) -> str:
    """A column's name in a sheet, by its number from 0: A, …, Z, AA, …"""
    found, column = "", column + 1
    while column:
        column, rest = divmod(column - 1, 26)
        found = chr(ord("A") + rest) + found
    return found


def _check_archive(path: Path) -> None:
    """Raise Unreadable for what is not a workbook, or is too large unpacked."""
    with path.open("rb") as file:
        start = file.read(4096)
    if not start.startswith(b"PK\x03\x04"):
        kind, hint = known_kind(start) or (
            "something else",
            "save the sheet as .xlsx, or give the file its right ending",
        )
        raise Unreadable(f"is {kind}, not an Excel workbook (.xlsx)", hint)
    size = path.stat().st_size
    most = min(packed.MOST, max(packed.SMALL, packed.TIMES * size))
    try:
        with zipfile.ZipFile(path) as archive:
            unpacked = sum(each.file_size for each in archive.infolist())
    except (zipfile.BadZipFile, OSError, ValueError) as error:
        raise Unreadable(f"cannot be read as a workbook: {error!s:.200}", "replace the file by a whole one") from None
    if unpacked > most:
        raise Unreadable(
            f"is {unpacked >> 20:,} MB when it is unpacked, from {size:,} bytes; {most >> 20:,} MB are allowed",
            "store it as several files, or as CSV",
        )


@contextlib.contextmanager
def _opened(path: Path, table: Table, *, values: bool) -> Iterator[tuple[Any, Iterable[Sequence[Any]]]]:
    """The workbook, and the rows of the sheet from the first one on, each a tuple that may be short: values, or formulas."""
    import openpyxl

    with warnings.catch_warnings():
        warnings.simplefilter(
            "ignore", UserWarning
        )  # what it does not read of a workbook: styles, drawings, validations
        try:
            book = openpyxl.load_workbook(path, read_only=True, data_only=values, keep_links=False)
        except Exception as error:  # noqa: BLE001  (a damaged workbook makes openpyxl raise anything)
            raise _damaged(error) from None
        try:
            with contextlib.closing(_rows(_sheet(book, table))) as rows:
                yield book, rows
        finally:
            book.close()


def _sheet(book: Any, table: Table) -> Any:
    names = [each.title for each in book.worksheets]
    if table.sheet in names:
        return book[table.sheet]
    first = next(iter(difflib.get_close_matches(table.sheet, names, n=1)), names[0] if names else "")
    said = f"has no sheet {table.sheet!r}" if table.sheet else "is an Excel workbook, of which a sheet has to be named"
    sheets = f" (its sheets: {', '.join(map(repr, names[:10]))})" if names else ": it has none"
    raise Unreadable(f"{said}{sheets}", f"write sheet = {quoted(first)} under [table] in dataset.toml", "sheet")


def _rows(sheet: Any) -> Generator[Sequence[Any], None, None]:
    sheet.reset_dimensions()  # what the file says of them may be wrong
    cells = 0
    try:
        for row in sheet.iter_rows(max_row=MOST_ROWS, values_only=True):
            cells += len(row)
            if cells > MOST_CELLS:
                raise Unreadable(
                    f"has more than {MOST_CELLS:,} cells in sheet {sheet.title!r}", "store it as CSV or Parquet"
                )
            yield row
    except Unreadable:
        raise
    except Exception as error:  # noqa: BLE001
        raise _damaged(error) from None


def _damaged(error: Exception) -> Unreadable:
    said = str(error).partition("\n")[0] or type(error).__name__
    return Unreadable(f"cannot be read as a workbook: {said:.200}", "open it in a spreadsheet, and save it again")


def _look_into(path: Path, member: str) -> tuple[list[tuple[str, int, str, int]], bool]:
    """The cells of a sheet that are merged, and whether it holds formulas."""
    merged: list[tuple[str, int, str, int]] = []
    formulas, before = False, b""
    with zipfile.ZipFile(path) as archive, archive.open(member) as file:
        while piece := file.read(PIECE):
            text, end = before + piece, 0
            formulas = formulas or bool(FORMULA.search(text))
            for each in MERGED.finditer(text):
                left, top, right, bottom = (part.decode() for part in each.groups())
                merged.append((left, int(top), right, int(bottom)))
                end = each.end()
            before = text[max(end, len(text) - OVERLAP) :]
    return merged, formulas


def _check_merged(sheet: Sheet, first: int, last: int) -> None:
    """Raise Unreadable for merged cells of the table in some of its rows: only the first one has a value."""
    for left, top, right, bottom in sheet.merged:
        if bottom >= first and top <= last and _number(left) < len(sheet.names):
            title = f"; is it a title? Then write skip_rows = {bottom} under [table] in dataset.toml"
            raise Unreadable(
                f"has merged cells in sheet {sheet.name!r}, {left}{top}:{right}{bottom}",
                f"unmerge them, and write the value into each{title if first == last else ''}",
            )


def _number(name: str) -> int:
    """The number of a column, from 0, by its letters."""
    found = 0
    for each in name:
        found = found * 26 + ord(each) - ord("A") + 1
    return found - 1


def _gather(
    rows: Iterable[Sequence[Any]], formulas: Iterable[Sequence[Any]], sheet: Sheet, gathered: Gathered, table: Table
) -> None:
    """All rows below that with the names. Empty ones between others are left out."""
    block: list[list[Any]] = []
    empty = 0
    for number, (row, written) in enumerate(zip(rows, formulas, strict=False), 1):
        if number <= table.skip_rows:
            continue
        if all(each is None or each == "" for each in (*row, *written)):
            empty += bool(sheet.header)
            continue
        if not sheet.header:
            sheet.header, sheet.names = number, _names(row)
            _check_merged(sheet, number, number)
            continue
        block.append(_values(number, row, written, sheet, table))
        sheet.numbers.append(number)
        sheet.empty, empty = sheet.empty + empty, 0
        if len(block) == BLOCK:
            _add(block, sheet, gathered)
            block = []
    _add(block, sheet, gathered)


def _add(block: Sequence[Sequence[Any]], sheet: Sheet, gathered: Gathered) -> None:
    columns = {name: [row[i] for row in block] for i, name in enumerate(sheet.names) if name}
    gathered.add(columns, len(block))


def _names(row: Sequence[Any]) -> list[str]:
    names = ["" if each is None else str(each) for each in row]
    while names and not names[-1].strip():
        names.pop()
    repeated = next((name for name in names if name.strip() and names.count(name) > 1), None)
    if repeated is not None:
        raise Unreadable(f"has column {repeated!r} {names.count(repeated)} times", "rename or delete one")
    return [name if name.strip() else "" for name in names]


def _values(number: int, row: Sequence[Any], written: Sequence[Any], sheet: Sheet, table: Table) -> list[Any]:
    """The values of a row by the places of the columns. Raises Unreadable, naming the cell."""
    found: list[Any] = [None] * len(sheet.names)
    for column, value in enumerate(row):
        name = sheet.names[column] if column < len(sheet.names) else ""
        if value is None or value == "":
            formula = written[column] if column < len(written) else None
            if name and formula is not None and name not in table.ignore:
                raise Unreadable(
                    f"has a formula without a value in {sheet.cell(number, column)}",
                    "open the workbook in a spreadsheet, and save it: what wrote it does not calculate",
                )
        elif not name:
            raise Unreadable(
                f"holds {value!r:.40} in {sheet.cell(number, column)}, in a column without a name",
                f"write a name into {letters(column)}{sheet.header}, or delete what is beside the table",
            )
        else:
            found[column] = _value(value, number, column, sheet, table)
    return found


def _value(value: Any, number: int, column: int, sheet: Sheet, table: Table) -> Any:
    if isinstance(value, str):
        if value == NOT_AVAILABLE or (table.na and value.strip() in table.na):
            return None
        if value in ERRORS and sheet.names[column] not in table.ignore:
            raise Unreadable(
                f"holds the error {value} in {sheet.cell(number, column)}",
                f"correct its formula; where it means missing, write na = [{quoted(value)}] under [table] in dataset.toml",
            )
        return value
    if isinstance(value, bool | int | float | datetime | date):
        return value
    if isinstance(value, time):
        return value.isoformat()
    if isinstance(value, timedelta) and sheet.names[column] not in table.ignore:
        raise Unreadable(f"holds a duration in {sheet.cell(number, column)}", "store a number, such as hours")
    return str(value)
