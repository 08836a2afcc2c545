"""Reads and writes the files of a table through pyarrow. Text stays text, so that `007` keeps its zeros.

Python values are not handed to pyarrow (`pa.array(list)`, `pa.scalar(…)`): it would import pandas, which takes longer
than all the rest, only to ask whether they are pandas' own.
"""

from __future__ import annotations

from array import array
from bisect import bisect_right
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from typing import Any

import pyarrow as pa
from pyarrow import compute, csv, parquet

from registry.spelling import difference, name_spelling, shown
from training.data.checks import Checks
from training.data.dataset_toml import Table
from training.data.files import CORRECT, FILES, find_files
from training.data.table.index import index_columns

PARQUET = (".parquet", ".pq")
COLUMNS = "every file has the same columns"
UNNAMED = "delete it if it numbers the rows (DataFrame.to_csv(index=False) writes none); else name it"


class MixedTypes(ValueError):
    """The files store a column as types that do not go together; `kinds` is type → the first file that has it."""

    def __init__(self, kinds: dict[Any, str]) -> None:
        super().__init__()
        self.kinds = kinds


@dataclass(frozen=True, slots=True)
class Part:
    """One file of a table."""

    name: str
    rows: Any
    """pyarrow.Table, with the columns as the file has them."""


class Rows:
    """All rows of a table's files, numbered from 0 through all files."""

    def __init__(self, parts: Sequence[Part], index: Collection[str] = ()) -> None:
        self._parts, self.index = parts, index
        self._starts: list[int] = [0, *accumulate(part.rows.num_rows for part in parts)]
        self.columns: list[str] = parts[0].rows.column_names
        """In the order of the first file; those in `index` are the index of a pandas DataFrame."""

    def __len__(self) -> int:
        return self._starts[-1]

    def where(self, row: int) -> str:
        """The file and the row in it, from 1, not counting a header; e.g. `data.csv row 17`."""
        part, inside = self._find(row)
        return f"{self._parts[part].name} row {inside + 1}"

    def column(self, name: str) -> Any:
        """One column of all files, as one pyarrow.ChunkedArray; raises MixedTypes."""
        columns = [_plain(part.rows.column(name)) for part in self._parts]
        try:
            tables = [pa.table({name: column}) for column in columns]
            joined = pa.concat_tables(tables, promote_options="permissive").column(0)
        except (pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowNotImplementedError):
            kinds: dict[Any, str] = {}
            for part in self._parts:
                kinds.setdefault(part.rows.schema.field(name).type, part.name)
            raise MixedTypes(kinds) from None
        if pa.types.is_string(joined.type):  # an empty text is a missing one
            return compute.if_else(compute.match_substring_regex(joined, "^$"), pa.nulls(1, pa.string())[0], joined)
        return joined

    def write(self, rows: Sequence[int], folder: Path) -> None:
        """Write some rows of each file under its own name, in its own format and order."""
        chosen: list[list[int]] = [[] for _ in self._parts]
        for row in sorted(rows):
            number, inside = self._find(row)
            chosen[number].append(inside)
        for part, inside_part in zip(self._parts, chosen, strict=True):
            _write_part(part, inside_part, folder)

    def _find(self, row: int) -> tuple[int, int]:
        """The number of the file, and the row in it, from 0."""
        part = bisect_right(self._starts, row) - 1
        return part, row - self._starts[part]


def read_rows(repository: Path, table: Table, checks: Checks) -> Rows | None:
    """All files of the table; None when there is something wrong with one, which goes to `checks`."""
    parts = []
    for name in find_files(repository, table.file, "[table] file", checks):
        try:
            rows = _read(repository / name, table)
        except UnicodeDecodeError:
            checks.fail(FILES, f"{name} cannot be read: a column's name is not UTF-8", "save it as UTF-8")
            continue
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError, OSError) as error:
            said = str(error).strip().partition("\n")[0]
            checks.fail(FILES, f"{name} cannot be read: {said:.300}", CORRECT)
            continue
        if rows is None:
            checks.fail(FILES, f"{name} is neither .csv nor .parquet", CORRECT)
        elif not rows.num_rows:
            checks.fail(FILES, f"{name} has no rows", "add rows, or delete the file")
        else:
            parts.append(Part(name, rows))
    index = {name for part in parts for name in index_columns(part.rows)} - table.used
    if parts:
        _check_columns(parts, table, index, checks)
    return None if checks.failed or not parts else Rows(parts, index)


def _read(path: Path, table: Table) -> Any:
    if path.suffix.lower() in PARQUET:
        return parquet.read_table(path, partitioning=None)
    if path.suffix.lower() == ".csv":
        return _read_csv(path, table)
    return None


def _read_csv(path: Path, table: Table) -> Any:
    text = {table.key, table.group, *table.ignore, *table.categorical}
    if table.task == "classification":
        text.add(table.target)
    convert = csv.ConvertOptions(
        column_types=dict.fromkeys(text - {""}, pa.string()), strings_can_be_null=True, quoted_strings_can_be_null=True
    )
    parse = csv.ParseOptions(newlines_in_values=True)
    try:
        rows = csv.read_csv(path, parse_options=parse, convert_options=convert)
    except pa.ArrowInvalid:  # without threads the message names the row
        rows = csv.read_csv(path, csv.ReadOptions(use_threads=False), parse, convert)
    rows.column_names  # noqa: B018  (decodes them: raises UnicodeDecodeError)
    return rows


def _check_columns(parts: Sequence[Part], table: Table, index: Collection[str], checks: Checks) -> None:
    """The index of a pandas DataFrame may be in some files only."""
    checks.make(COLUMNS)
    first = [name for name in parts[0].rows.column_names if name not in index]
    for part in parts:
        names = [name for name in part.rows.column_names if name not in index]
        if len(names) == 1 and names[0].count(";") + names[0].count("\t") and table.target not in names:
            checks.fail(
                COLUMNS, f"{part.name}: {names[0]!r:.80} is one column", "save the file with commas between columns"
            )
        for name, times in Counter(names).items():
            if times > 1:
                checks.fail(COLUMNS, f"{part.name}: column {name!r} appears {times} times", "rename or delete one")
            elif not name.strip():
                checks.fail(COLUMNS, f"{part.name}: a column has no name", UNNAMED)
            elif "\0" in name:
                checks.fail(COLUMNS, f"{part.name}: column {name!r:.80} holds a NUL character", "rename the column")
        _check_names(part, checks)
        same = "give all files the same columns"
        for name in (each for each in first if each not in names):
            checks.fail(COLUMNS, f"{part.name} lacks column {name!r}, which {parts[0].name} has", same)
        for name in (each for each in names if each not in first):
            checks.fail(COLUMNS, f"{part.name} has column {name!r}, which {parts[0].name} lacks", same)


def _check_names(part: Part, checks: Checks) -> None:
    by_name: dict[str, str] = {}
    for name in part.rows.column_names:
        before = by_name.setdefault(name_spelling(name), name)
        if before != name:
            one, other = shown(before, name)
            message = f"{part.name}: columns {one} and {other} differ only in {difference(before, name)}"
            checks.fail(COLUMNS, message, "rename or delete one")


def _plain(column: Any) -> Any:
    """A column without the variants that mean the same: dictionaries, large or viewed strings, decimals."""
    kind = column.type
    if pa.types.is_dictionary(kind):
        column, kind = column.cast(kind.value_type), kind.value_type
    if pa.types.is_large_string(kind) or pa.types.is_string_view(kind):
        return column.cast(pa.string())
    if pa.types.is_decimal(kind):
        return column.cast(pa.float64())
    return column


def _write_part(part: Part, rows: list[int], folder: Path) -> None:
    path = folder / part.name
    path.parent.mkdir(parents=True, exist_ok=True)
    wanted = pa.py_buffer(array("q", rows))
    chosen = part.rows.take(pa.Array.from_buffers(pa.int64(), len(rows), [None, wanted]))
    if path.suffix.lower() in PARQUET:
        parquet.write_table(chosen, path)
    else:
        csv.write_csv(chosen, path)
